//! Connections that go on as something else than HTTP.

use crate::support::{End, Origin, Wire, World, ok};

const ASKS: &str = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: x\r\n\r\n";
const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n";

/// A tunnel: the client's end and the origin's. Both said something before it was open.
async fn tunnel(world: &World, origin: &mut Origin) -> (Wire, Wire) {
    let mut client = world.client().await;
    client.send(format!("{ASKS}early")).await;
    let mut wire = origin.accept().await;
    let head = wire.head().await;
    assert!(
        head.contains("\r\nUpgrade: websocket\r\n") && head.contains("\r\nConnection: Upgrade\r\n"),
        "{head}"
    );
    wire.send(format!("{SWITCHES}hello")).await;
    let head = client.head().await;
    for field in ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: y"] {
        assert_eq!(head.matches(&format!("\r\n{field}\r\n")).count(), 1, "{head}");
    }
    client.expect("hello").await;
    wire.expect("early").await;
    (client, wire)
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_side_ends_by_itself() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let (mut client, mut wire) = tunnel(&world, &mut origin).await;
    for round in 0..3 {
        client.send(format!("ping {round}\0\u{ff}")).await;
        wire.expect(&format!("ping {round}\0\u{ff}")).await;
        wire.send(format!("pong {round}")).await;
        client.expect(&format!("pong {round}")).await;
    }
    client.finish().await;
    assert_eq!(wire.ends().await, End::Clean);
    wire.send("still here").await;
    client.expect("still here").await;
    drop(wire);
    assert_eq!(client.ends().await, End::Clean);
    world.metric_becomes("portolan_entrypoint_connections_open", &[], 0.0).await;
    world.metric_becomes("portolan_service_connections_open", &[], 0.0).await;
    world.metric_becomes("portolan_entrypoint_requests_total", &["code=\"101\""], 1.0).await;
}

#[tokio::test]
async fn a_tunnel_outlives_its_endpoints_place_in_the_table() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    let (mut client, mut wire) = tunnel(&world, &mut origin).await;
    world.serve(Vec::new());
    client.send("ping").await;
    wire.expect("ping").await;
    wire.send("pong").await;
    client.expect("pong").await;
}

#[tokio::test]
async fn an_upgrade_that_is_refused_goes_on_as_http() {
    let mut origin = Origin::answering(|_| ok("no")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for _ in 0..2 {
        client.send(ASKS).await;
        assert_eq!(client.answer().await.body, "no");
        assert_eq!(origin.seen().await.connection, 0);
    }
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "no");
}

/// Behind such a tunnel no router would see the requests.
#[tokio::test]
async fn h2c_is_not_asked_for_on_a_clients_behalf() {
    let mut origin = Origin::answering(|_| ok("no")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "no");
    let head = origin.seen().await.head.to_ascii_lowercase();
    assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
}

/// What such an endpoint sends behind its 101 is nobody's answer.
#[tokio::test]
async fn a_switch_that_comes_before_the_request_is_whole_is_not_believed() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 10\r\n\r\n01234").await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 502);
}

#[tokio::test]
async fn an_endpoints_last_words_pass_though_it_hears_nothing_any_more() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let (mut client, mut wire) = tunnel(&world, &mut origin).await;
    wire.send("bye").await;
    drop(wire);
    // The first byte provokes a reset, the second fails.
    let _ = client.try_send("a").await;
    let _ = client.try_send("b").await;
    client.expect("bye").await;
}
