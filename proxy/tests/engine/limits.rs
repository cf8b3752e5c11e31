//! Limits of an entry point: what is over them is refused with a reason of its own, and reaches nobody.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

use crate::support::{End, Origin, Wire, World, ok, soon};

/// Opens a connection from this address of the loopback network.
async fn connect_from(from: [u8; 4], to: SocketAddr) -> Wire {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("a loopback address");
    Wire::over(soon("a connection", socket.connect(to)).await.expect("the kernel accepts"))
}

async fn is_served(client: &mut Wire) -> bool {
    let sent = client.try_send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    sent.is_ok() && !client.ends_unanswered().await
}

#[tokio::test]
async fn an_entry_point_takes_as_many_connections_as_was_said() {
    let origin = Origin::answering(|_| ok("")).await;
    let world = World::tuned(&[origin.at], |entry_point| entry_point.limits.connections_max = Some(3));
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = world.client().await;
        assert!(is_served(&mut client).await);
        clients.push(client);
    }
    for _ in 0..5 {
        assert!(!is_served(&mut world.client().await).await);
    }
    world.metric_becomes("portolan_refusals_total", &["reason=\"connection_limit\"", "web"], 5.0).await;
    world.metric_becomes("portolan_entrypoint_connections_open", &["web"], 3.0).await;
    clients.pop();
    world.metric_becomes("portolan_entrypoint_connections_open", &["web"], 2.0).await;
    // It is counted as open until its task is gone, which is a moment later.
    soon("a free place", async { while !is_served(&mut world.client().await).await {} }).await;
}

#[tokio::test]
async fn one_client_can_not_take_the_place_of_all_others() {
    let origin = Origin::answering(|_| ok("")).await;
    let world =
        World::tuned(&[origin.at], |entry_point| entry_point.limits.connections_per_client_max = Some(2));
    let mut clients = Vec::new();
    for host in 1..4 {
        for _ in 0..2 {
            let mut client = connect_from([127, 0, 9, host], world.http).await;
            assert!(is_served(&mut client).await, "client {host}");
            clients.push(client);
        }
        let mut one_more = connect_from([127, 0, 9, host], world.http).await;
        assert!(!is_served(&mut one_more).await, "client {host}");
    }
    world.metric_becomes("portolan_refusals_total", &["reason=\"client_connection_limit\""], 3.0).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413_however_it_is_framed() {
    let mut origin = Origin::answering(|_| ok("")).await;
    let world = World::tuned(&[origin.at], |entry_point| entry_point.limits.body_bytes_max = Some(10));
    for (body, status) in [
        ("Content-Length: 10\r\n\r\n0123456789", 200),
        ("Content-Length: 11\r\n\r\n0123456789a", 413),
        ("Content-Length: 18446744073709551615\r\n\r\n", 413),
        // Ten bytes, though more on the wire.
        ("Transfer-Encoding: chunked\r\n\r\n5;x=y\r\n01234\r\n5\r\n56789\r\n0\r\nX: y\r\n\r\n", 200),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n", 413),
        ("Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n0123456789a", 413),
    ] {
        let mut client = world.client().await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{body}")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{body:?}");
        if status == 413 {
            assert_eq!(answer.body, "the request body is too large\n");
            assert_eq!(client.ends().await, End::Clean, "{body:?}");
        }
    }
    world.metric_becomes("portolan_refusals_total", &["reason=\"body_too_large\""], 4.0).await;
    assert_eq!(origin.seen_by_now().len(), 2);
}

#[tokio::test]
async fn heads_are_as_large_as_the_entry_point_says() {
    let origin = Origin::answering(|_| ok("")).await;
    for (max, length, status) in
        [(1000, 900, 200), (1000, 1100, 431), (100_000, 90_000, 200), (100_000, 101_000, 431)]
    {
        let world = World::tuned(&[origin.at], |entry_point| entry_point.limits.head_bytes_max = Some(max));
        let mut client = world.client().await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", "x".repeat(length))).await;
        assert_eq!(client.answer().await.status, status, "{length} of {max}");
    }
}

#[tokio::test]
async fn too_long_a_request_line_is_a_414() {
    let mut origin = Origin::answering(|_| ok("")).await;
    let world = World::in_front_of(&origin);
    for (length, status) in [(16_000, 200), (16_384, 414), (40_000, 414)] {
        let mut client = world.client().await;
        client.send(format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "x".repeat(length))).await;
        assert_eq!(client.answer().await.status, status, "{length}");
    }
    world.metric_becomes("portolan_refusals_total", &["reason=\"line_too_long\""], 2.0).await;
    assert_eq!(origin.seen_by_now().len(), 1);
}
