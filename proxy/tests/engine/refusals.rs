//! What Portolan answers itself.

use portolan_discovery::State;

use crate::support::{End, Origin, Wire, World, ok};

/// Sends this; gives the answer, after which the connection must end.
async fn refused(client: &mut Wire, request: &str) -> (u16, String) {
    client.send(request).await;
    let answer = client.answer().await;
    assert_eq!(answer.field("Connection"), Some("close"), "{request:?}");
    assert_eq!(client.ends().await, End::Clean, "{request:?}");
    (answer.status, answer.body)
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_and_reaches_nobody() {
    let mut origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    // Behind each of them waits what a fooled server would take for a request.
    let behind = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let fields = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\r\n : chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: \0y\r\n",
        "X y: z\r\n",
        ": z\r\n",
        "Host: b.test\r\n",
    ];
    for (count, fields) in fields.iter().enumerate() {
        let mut client = world.client().await;
        let request = format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n{behind}");
        let (status, body) = refused(&mut client, &request).await;
        assert_eq!(status, 400, "{fields:?}: {body}");
        world.metric_becomes("portolan_refusals_total", &["bad_request"], count as f64 + 1.0).await;
    }
    for line in [
        "GET / HTTP/1.1\n",
        "GET /a b HTTP/1.1\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET / HTTP/3.0\r\n",
        "GE\0T / HTTP/1.1\r\n",
    ] {
        let mut client = world.client().await;
        let (status, _) = refused(&mut client, &format!("{line}Host: a.test\r\n\r\n")).await;
        assert_eq!(status, 400, "{line:?}");
    }
    assert_eq!(origin.seen_by_now().len(), 0);
}

#[tokio::test]
async fn what_no_router_takes_is_a_404_and_the_connection_goes_on() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: nowhere.test\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.field("Connection")), (404, None));
    }
    client.send("HEAD / HTTP/1.1\r\nHost: nowhere.test\r\n\r\n").await;
    assert_eq!(client.answer_to_head().await.status, 404);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "fine");
}

#[tokio::test]
async fn the_body_of_a_request_that_nobody_takes_is_not_taken_for_a_request() {
    let mut origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    let body = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let head = format!("POST / HTTP/1.1\r\nHost: nowhere.test\r\nContent-Length: {}\r\n\r\n", body.len());
    assert_eq!(refused(&mut client, &format!("{head}{body}")).await.0, 404);
    assert_eq!(origin.seen_by_now().len(), 0);
}

#[tokio::test]
async fn too_large_a_head_is_a_431() {
    let mut origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let large = [
        format!("GET /{} HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", "x".repeat(16_000), "x".repeat(17_000)),
        format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", "x".repeat(33_000)),
        format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n", "X: y\r\n".repeat(100)),
        // One that never ends.
        format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}", "x".repeat(33_000)),
    ];
    for head in large {
        let mut client = world.client().await;
        let (status, _) = refused(&mut client, &head).await;
        assert_eq!(status, 431, "{}", &head[..60]);
    }
    let mut client = world.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", "x".repeat(32_000))).await;
    assert_eq!(client.answer().await.status, 200, "what is just small enough passes");
    assert_eq!(origin.seen_by_now().len(), 1);
}

#[tokio::test]
async fn what_no_proxy_of_this_kind_does_is_a_501() {
    let mut origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    for head in [
        "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ] {
        let mut client = world.client().await;
        assert_eq!(refused(&mut client, head).await.0, 501, "{head}");
    }
    assert_eq!(origin.seen_by_now().len(), 0);
}

#[tokio::test]
async fn a_service_that_can_not_serve_is_a_503_with_the_reason_and_the_connection_goes_on() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let mut world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for (state, word) in
        [(State::Unhealthy, "unhealthy"), (State::Draining, "draining"), (State::Stopped, "stopped")]
    {
        world.serve_in_state(origin.at, state);
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.field("Connection")), (503, None));
        assert_eq!(answer.body, format!("no available server: 1 endpoint: 1 {word}\n"));
    }
    world.serve_in_state(origin.at, State::Ready);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "fine");
}

#[tokio::test]
async fn a_client_that_leaves_within_a_head_is_not_answered() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a").await;
    client.finish().await;
    client.ends().await;
    world.metric_becomes("portolan_refusals_total", &["client_gone"], 1.0).await;
}
