//! HTTP over a published port: the same bytes to the same endpoint, and a connection that outlives it.

use portolan_config::Protocol;

use crate::support::{End, Origin, Reply, Then, Wire, World, ok, place};

const GET: &str = "GET / HTTP/1.1\r\nhost: whatever:1\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";

#[tokio::test]
async fn both_sides_see_exactly_what_the_other_wrote() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    let mut client = Wire::connect(world.publish(Protocol::Tcp)).await;
    let request = "POST /a/../b//c HTTP/1.1\r\nhOsT:   x \r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
        X-Forwarded-For: 6.6.6.6\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n";
    let answer = "HTTP/1.1 200  fine\r\nserver:  y \r\nConnection: keep-alive\r\nKeep-Alive: 5\r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n";
    client.send(request).await;
    let mut wire = origin.accept().await;
    for _ in 0..2 {
        wire.expect(request).await;
        wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        wire.send(answer).await;
        client.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
        client.expect(answer).await;
        client.send(request).await;
    }
}

#[tokio::test]
async fn a_connection_stays_with_its_endpoint_until_that_leaves() {
    let (mut a, mut b) = (Origin::answering(|_| ok("a")).await, Origin::answering(|_| ok("b")).await);
    let mut world = World::of(&[a.at, b.at]);
    let at = world.publish(Protocol::Tcp);
    let mut client = Wire::connect(at).await;
    client.send(GET).await;
    let first = client.answer().await.body;
    for _ in 0..5 {
        client.send(GET).await;
        assert_eq!(client.answer().await.body, first);
    }
    let (left, other) = if first == "a" { (("c1", b.at), "b") } else { (("c0", a.at), "a") };
    world.serve(vec![place(left.0, left.1)]);
    for request in [POST, GET, POST] {
        client.send(request).await;
        assert_eq!(client.answer().await.body, other);
    }
    let counts = (a.seen_by_now().len(), b.seen_by_now().len());
    assert!(counts == (6, 3) || counts == (3, 6), "{counts:?}");
}

/// An answer that fills a buffer to its last byte leaves the socket marked as readable.
#[tokio::test]
async fn an_answer_of_any_size_leaves_the_connection_where_it_is() {
    let answer = |seen: &crate::support::Seen| {
        let length: usize = seen.target()[1..].parse().expect("a number");
        let head = format!("HTTP/1.1 200 OK\r\nX-Connection: {}\r\nContent-Length: ", seen.connection);
        let room = length - head.len() - 4 - 5;
        Reply::raw(format!("{head}{room:05}\r\n\r\n{}", "x".repeat(room)))
    };
    let (a, b) = (Origin::answering(answer).await, Origin::answering(answer).await);
    let mut world = World::of(&[a.at, b.at]);
    let mut client = Wire::connect(world.publish(Protocol::Tcp)).await;
    let (mut a, mut b) = (a, b);
    for length in [16_384, 16_384, 32_768, 16_384, 16_383, 16_385] {
        client.send(format!("GET /{length} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(client.answer().await.field("X-Connection"), Some("0"));
    }
    let counts = [a.seen_by_now().len(), b.seen_by_now().len()];
    assert!(counts.contains(&6), "{counts:?}");
}

#[tokio::test]
async fn a_client_that_waits_does_not_notice_that_its_endpoint_closed() {
    let mut a = Origin::answering(|_| ok("a").then(Then::Close)).await;
    let mut world = World::in_front_of(&a);
    let mut client = Wire::connect(world.publish(Protocol::Tcp)).await;
    for connection in 0..5 {
        client.send(POST).await;
        assert_eq!(client.answer().await.body, "a");
        assert_eq!(a.seen().await.connection, connection);
        // The worker hears of the close before the next request.
        let mut other = world.client().await;
        other.send("GET / HTTP/1.1\r\nHost: nowhere\r\n\r\n").await;
        other.answer().await;
    }
}

#[tokio::test]
async fn a_get_that_got_no_byte_of_an_answer_goes_to_another_endpoint() {
    let bad = Origin::answering(|_| Reply::reset()).await;
    let good = Origin::answering(|_| ok("fine")).await;
    let mut world = World::of(&[bad.at, good.at]);
    let at = world.publish(Protocol::Tcp);
    for _ in 0..6 {
        let mut client = Wire::connect(at).await;
        client.send(GET).await;
        assert_eq!(client.answer().await.body, "fine");
    }
}

#[tokio::test]
async fn a_post_that_reached_an_endpoint_is_never_sent_twice() {
    let (mut bad, mut good) =
        (Origin::answering(|_| Reply::reset()).await, Origin::answering(|_| ok("fine")).await);
    let mut world = World::of(&[bad.at, good.at]);
    let at = world.publish(Protocol::Tcp);
    let mut closed = 0;
    for _ in 0..6 {
        let mut client = Wire::connect(at).await;
        client.send(POST).await;
        closed += usize::from(client.ends_unanswered().await);
    }
    assert_eq!((closed, bad.seen_by_now().len(), good.seen_by_now().len()), (3, 3, 3));
}

#[tokio::test]
async fn an_answer_that_announces_the_end_ends_the_clients_connection() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let origin = Origin::answering(move |_| Reply::raw(answer).then(Then::Close)).await;
    let mut world = World::in_front_of(&origin);
    let mut client = Wire::connect(world.publish(Protocol::Tcp)).await;
    client.send(GET).await;
    client.expect(answer).await;
    assert_eq!(client.ends().await, End::Clean);
}

#[tokio::test]
async fn a_client_that_stops_sending_still_gets_its_answer() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    let mut client = Wire::connect(world.publish(Protocol::Tcp)).await;
    client.send(GET).await;
    client.finish().await;
    let mut wire = origin.accept().await;
    wire.expect(GET).await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answer().await.body, "ok");
    assert_eq!(client.ends().await, End::Clean);
}

#[tokio::test]
async fn an_upgrade_passes_and_is_counted() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    let at = world.publish(Protocol::Tcp);
    let mut client = Wire::connect(at).await;
    let asks = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let switches = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.send(format!("{asks}early")).await;
    let mut wire = origin.accept().await;
    wire.expect(asks).await;
    wire.send(format!("{switches}hello")).await;
    wire.expect("early").await;
    client.expect(&format!("{switches}hello")).await;
    world.serve(Vec::new());
    client.send("ping").await;
    wire.expect("ping").await;
    drop(client);
    drop(wire);
    let port = format!("\"{}/tcp\"", at.port());
    let received = (asks.len() + "earlyping".len()) as f64;
    world.metric_becomes("portolan_entrypoint_received_bytes_total", &[&port], received).await;
    let sent = (switches.len() + "hello".len()) as f64;
    world.metric_becomes("portolan_entrypoint_sent_bytes_total", &[&port], sent).await;
}

#[tokio::test]
async fn what_turns_out_not_to_be_http_is_passed_on_as_it_is() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    let at = world.publish(Protocol::Tcp);
    // The answer is not HTTP.
    let mut client = Wire::connect(at).await;
    client.send(GET).await;
    let mut wire = origin.accept().await;
    wire.expect(GET).await;
    wire.send("-ERR unknown\r\n").await;
    client.expect("-ERR unknown\r\n").await;
    client.send("QUIT\r\n").await;
    wire.expect("QUIT\r\n").await;
    // The second request is none.
    let mut client = Wire::connect(at).await;
    client.send(GET).await;
    let mut wire = origin.accept().await;
    wire.expect(GET).await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    client.send("\0\x01binary\r\n").await;
    wire.expect("\0\x01binary\r\n").await;
}
