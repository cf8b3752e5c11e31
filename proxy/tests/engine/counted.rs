//! What is counted: requests, connections, bytes, refusals.

use crate::support::{Origin, Reply, Then, World, ok};

#[tokio::test]
async fn requests_are_counted_by_entry_point_router_service_and_endpoint() {
    let origin = Origin::answering(|seen| match seen.target() {
        "/missing" => Reply::raw("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        _ => ok("fine"),
    })
    .await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for (method, target) in [("GET", "/"), ("GET", "/missing"), ("PURGE", "/"), ("GET", "/")] {
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        client.answer().await;
    }
    client.send("GET / HTTP/1.1\r\nHost: nowhere\r\n\r\n").await;
    client.answer().await;
    for (labels, own, all) in [
        (["code=\"200\"", "method=\"GET\""], 2.0, 2.0),
        (["code=\"404\"", "method=\"GET\""], 1.0, 2.0),
        (["code=\"200\"", "method=\"other\""], 1.0, 1.0),
    ] {
        for name in ["portolan_service_requests_total", "portolan_route_requests_total"] {
            world.metric_becomes(name, &labels, own).await;
        }
        for name in
            ["portolan_entrypoint_requests_total", "portolan_entrypoint_request_duration_seconds_count"]
        {
            world.metric_becomes(name, &labels, all).await;
        }
    }
    world.metric_becomes("portolan_endpoint_requests_total", &["endpoint=\"c0\""], 4.0).await;
    world
        .metric_becomes("portolan_refusals_total", &["reason=\"no_route\"", "entrypoint=\"web\""], 1.0)
        .await;
}

#[tokio::test]
async fn open_connections_return_to_none_however_they_end() {
    let origin = Origin::answering(|seen| match seen.target() {
        "/half" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").then(Then::Reset),
        _ => ok("fine"),
    })
    .await;
    let world = World::in_front_of(&origin);
    let mut clients = Vec::new();
    for request in
        ["", "GET", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET /half HTTP/1.1\r\nHost: a.test\r\n\r\n"]
    {
        for _ in 0..4 {
            let mut client = world.client().await;
            client.send(request).await;
            clients.push(client);
        }
    }
    // Those whose answer was broken off are closed already.
    world.metric_becomes("portolan_entrypoint_connections_open", &["web"], 12.0).await;
    for (index, client) in clients.into_iter().enumerate() {
        if index % 2 == 0 {
            client.reset();
        }
    }
    world.metric_becomes("portolan_entrypoint_connections_open", &["web"], 0.0).await;
}

#[tokio::test]
async fn bytes_are_counted_both_ways() {
    let origin = Origin::answering(|_| ok("0123456789")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    let body = "x".repeat(100_000);
    client
        .send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
        .await;
    let answer = client.answer().await;
    let sent = (answer.head.len() + answer.body.len()) as f64;
    for scope in ["entrypoint", "service"] {
        world.metric_becomes(&format!("portolan_{scope}_received_bytes_total"), &[], 100_000.0).await;
        world.metric_becomes(&format!("portolan_{scope}_sent_bytes_total"), &[], sent).await;
    }
}

#[tokio::test]
async fn series_of_what_is_gone_go_with_it() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let mut world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.answer().await;
    world.metric_becomes("portolan_endpoint_requests_total", &["endpoint=\"c0\""], 1.0).await;
    world.serve(vec![crate::support::place("c1", origin.at)]);
    assert!(world.metric("portolan_endpoint_requests_total", &["endpoint=\"c0\""]) < 0.5);
}

#[tokio::test]
async fn tries_and_failures_are_counted_where_they_happened() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::of(&[Origin::nobody().await, origin.at]);
    for _ in 0..4 {
        let mut client = world.client().await;
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        client.answer().await;
    }
    let retries = world.metric("portolan_service_retries_total", &["app@test"]);
    let failures = world.metric("portolan_endpoint_failures_total", &["endpoint=\"c0\""]);
    assert!(retries > 0.5 && (retries - failures).abs() < 0.5, "{retries} {failures}");
    assert!(world.metric("portolan_endpoint_failures_total", &["endpoint=\"c1\""]) < 0.5);
    assert!(world.metric("portolan_refusals_total", &[]) < 0.5, "who was answered was not refused");
}
