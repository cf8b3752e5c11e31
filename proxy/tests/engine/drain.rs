//! Draining: nothing new, and nothing lost.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use portolan_config::Protocol;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::{End, Origin, Wire, World, ok, soon, until};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Begins draining, and waits until the entry point is closed.
async fn drain(world: World) -> JoinHandle<()> {
    let http = world.http;
    let drained = tokio::spawn(world.drain());
    refuses(http).await;
    drained
}

async fn refuses(at: SocketAddr) {
    soon("new connections are refused", async {
        while TcpStream::connect(at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// How long nobody waits who has nothing to say: whoever has said nothing yet is given a second.
const AT_ONCE: Duration = Duration::from_millis(900);

/// Tries up to three times: the machine may stall once, what waits for a second does so every time.
async fn at_once(mut attempt: impl AsyncFnMut() -> Duration) {
    let mut taken = Vec::new();
    while taken.len() < 3 {
        taken.push(attempt().await);
        if taken.last() < Some(&AT_ONCE) {
            return;
        }
    }
    panic!("{taken:?}");
}

#[tokio::test]
async fn connections_between_requests_are_closed_at_once() {
    at_once(close_between_requests).await;
}

async fn close_between_requests() -> Duration {
    let origin = Origin::answering(|_| ok("fine")).await;
    let mut world = World::in_front_of(&origin);
    let published = world.publish(Protocol::Tcp);
    let mut clients = Vec::new();
    for at in [world.http, world.http, published, published] {
        let mut client = Wire::connect(at).await;
        client.send(GET).await;
        assert_eq!(client.answer().await.body, "fine");
        clients.push(client);
    }
    let begun = Instant::now();
    let drained = drain(world).await;
    for mut client in clients {
        assert_eq!(client.ends().await, End::Clean);
    }
    soon("draining ends", drained).await.expect("no panic");
    let taken = begun.elapsed();
    refuses(published).await;
    taken
}

/// What was read to a buffer's last byte leaves the socket marked as readable.
#[tokio::test]
async fn connections_that_uploaded_any_number_of_bytes_are_closed_at_once_too() {
    at_once(close_after_uploads).await;
}

async fn close_after_uploads() -> Duration {
    let origin = Origin::answering(|_| ok("fine")).await;
    let mut world = World::in_front_of(&origin);
    let published = world.publish(Protocol::Tcp);
    let mut clients = Vec::new();
    for at in [world.http, published] {
        let mut client = Wire::connect(at).await;
        let head = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 00000\r\n\r\n";
        let length = 16_384 - head.len();
        client.send(head.replace("00000", &format!("{length:05}")) + &"x".repeat(length)).await;
        assert_eq!(client.answer().await.body, "fine");
        clients.push(client);
    }
    let begun = Instant::now();
    let drained = drain(world).await;
    for mut client in clients {
        assert_eq!(client.ends().await, End::Clean);
    }
    soon("draining ends", drained).await.expect("no panic");
    begun.elapsed()
}

#[tokio::test]
async fn a_request_in_progress_is_answered_and_told_that_it_was_the_last() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut wire = origin.accept().await;
    wire.head().await;
    let drained = drain(world).await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert!(!drained.is_finished(), "it waits for the answer's end");
    wire.send("fine").await;
    client.expect("fine").await;
    assert_eq!(client.ends().await, End::Clean);
    soon("draining ends", drained).await.expect("no panic");
}

#[tokio::test]
async fn connections_that_were_made_before_are_served_though_not_accepted_yet() {
    for _ in 0..20 {
        let origin = Origin::answering(|_| ok("fine")).await;
        let world = World::in_front_of(&origin);
        // The workers may or may not have accepted them when draining begins.
        let mut clients = Vec::new();
        for _ in 0..16 {
            let mut client = world.client().await;
            client.send(GET).await;
            clients.push(client);
        }
        let drained = tokio::spawn(world.drain());
        for mut client in clients {
            let answer = client.answer().await;
            assert_eq!(answer.body, "fine");
            client.ends().await;
        }
        soon("draining ends", drained).await.expect("no panic");
    }
}

#[tokio::test]
async fn a_request_that_is_on_its_way_when_draining_begins_is_served() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    world.metric_becomes("portolan_entrypoint_connections_open", &[], 1.0).await;
    let drained = drain(world).await;
    client.send(GET).await;
    assert_eq!(client.answer().await.body, "fine");
    client.ends().await;
    soon("draining ends", drained).await.expect("no panic");
}

#[tokio::test]
async fn tunnels_and_published_connections_go_on_until_they_are_done() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    let mut client = Wire::connect(world.publish(Protocol::Tcp)).await;
    let mut wire = origin.accept().await;
    client.send("\0hello").await;
    wire.expect("\0hello").await;
    let drained = drain(world).await;
    wire.send("welcome").await;
    client.expect("welcome").await;
    assert!(!drained.is_finished());
    drop(client);
    wire.ends().await;
    drop(wire);
    soon("draining ends", drained).await.expect("no panic");
}

#[tokio::test]
async fn a_published_port_that_leaves_the_table_is_closed_and_its_connections_go_on() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    let at = world.publish(Protocol::Tcp);
    let mut client = Wire::connect(at).await;
    let mut wire = origin.accept().await;
    wire.send("hello").await;
    client.expect("hello").await;
    world.withdraw();
    until("the port is closed", || std::net::TcpListener::bind(at).is_ok()).await;
    client.send("still here").await;
    wire.expect("still here").await;
}
