//! What is sent again, to whom, and what never is.

use std::net::SocketAddr;
use std::time::Duration;

use portolan_config::Protocol;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::{Origin, Reply, Then, Wire, World, ok, place};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc";

async fn resetting() -> Origin {
    Origin::answering(|_| Reply::reset()).await
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_is_passed_over() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::of(&[Origin::nobody().await, origin.at, Origin::nobody().await]);
    for request in [GET, POST] {
        for _ in 0..6 {
            let mut client = world.client().await;
            client.send(request).await;
            assert_eq!(client.answer().await.body, "fine");
        }
    }
}

/// The kernel drops what asks for a connection while the queue of a listener is full: as if nobody were there.
async fn unreached() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let listener = socket.listen(1).expect("it listens");
    let at = listener.local_addr().expect("an address");
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(200), TcpStream::connect(at)).await {
        waiting.push(connected.expect("a place in the queue"));
        assert!(waiting.len() < 100, "the queue never fills");
    }
    (at, waiting, listener)
}

#[tokio::test]
async fn an_endpoint_that_is_not_reached_is_waited_for_by_one_request_and_not_by_all() {
    let (at, _waiting, _listener) = unreached().await;
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::of(&[at, origin.at]);
    for request in [GET, POST].into_iter().cycle().take(20) {
        let mut client = world.client().await;
        client.send(request).await;
        assert_eq!(client.answer().await.body, "fine");
    }
    let tried = world.metric("portolan_endpoint_failures_total", &["c0"]);
    assert!((1.0..5.0).contains(&tried), "{tried} of 20 requests waited, whose turn it was for 10");
}

/// As when a service is scaled down: those that a client might have been led to are gone all at once.
#[tokio::test]
async fn a_client_is_led_on_where_most_endpoints_leave_while_it_is_connected() {
    let (at, _waiting, _listener) = unreached().await;
    let origin = Origin::answering(|_| ok("fine")).await;
    let mut world = World::of(&[at; 8]);
    let port = world.publish(Protocol::Tcp);
    for to in [port, world.http] {
        let leaving = (0..8).map(|index| place(&format!("c{index}"), at)).collect();
        world.serve(leaving);
        let mut client = Wire::connect(to).await;
        client.send(GET).await;
        world.metric_becomes("portolan_entrypoint_connections_open", &[], 1.0).await;
        world.serve(vec![place("c8", origin.at)]);
        assert_eq!(client.answer().await.body, "fine");
        drop(client);
        world.metric_becomes("portolan_entrypoint_connections_open", &[], 0.0).await;
    }
}

#[tokio::test]
async fn when_every_endpoint_refuses_it_is_a_502_that_says_so() {
    let world = World::of(&[Origin::nobody().await, Origin::nobody().await]);
    let mut client = world.client().await;
    client.send(GET).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (502, "no server accepted a connection\n"));
    world.metric_becomes("portolan_refusals_total", &["connect_refused"], 1.0).await;
}

#[tokio::test]
async fn no_more_than_four_endpoints_are_tried() {
    let mut nobody: Vec<SocketAddr> = Vec::new();
    for _ in 0..10 {
        nobody.push(Origin::nobody().await);
    }
    let world = World::of(&nobody);
    let mut client = world.client().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.status, 502);
    assert!((world.metric("portolan_endpoint_failures_total", &[]) - 4.0).abs() < 0.5);
}

#[tokio::test]
async fn no_more_than_four_endpoints_get_a_request_that_breaks_them() {
    let mut origins = Vec::new();
    for _ in 0..10 {
        origins.push(resetting().await);
    }
    let addresses: Vec<SocketAddr> = origins.iter().map(|origin| origin.at).collect();
    let world = World::of(&addresses);
    let mut client = world.client().await;
    client.send(GET).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (502, "the server broke the connection off\n"));
    let seen: usize = origins.iter_mut().map(|origin| origin.seen_by_now().len()).sum();
    assert_eq!(seen, 4);
}

#[tokio::test]
async fn a_get_that_was_broken_off_goes_to_another_endpoint() {
    for then in [Then::Close, Then::Reset] {
        let mut bad = Origin::answering(move |_| Reply::raw("").then(then)).await;
        let good = Origin::answering(|_| ok("fine")).await;
        let world = World::of(&[bad.at, good.at]);
        for _ in 0..4 {
            let mut client = world.client().await;
            client.send(GET).await;
            assert_eq!(client.answer().await.body, "fine");
        }
        assert!(!bad.seen_by_now().is_empty(), "the bad one was asked");
    }
}

#[tokio::test]
async fn a_put_with_a_body_at_hand_is_sent_again_whole() {
    let bad = resetting().await;
    let mut good = Origin::answering(|_| ok("fine")).await;
    let world = World::of(&[bad.at, good.at]);
    for _ in 0..4 {
        let mut client = world.client().await;
        client.send(POST.replace("POST", "PUT")).await;
        assert_eq!(client.answer().await.body, "fine");
        assert_eq!(good.seen().await.body, b"abc");
    }
}

#[tokio::test]
async fn a_post_that_reached_an_endpoint_is_never_sent_twice() {
    let (mut bad, mut good) = (resetting().await, Origin::answering(|_| ok("fine")).await);
    let world = World::of(&[bad.at, good.at]);
    let mut statuses = Vec::new();
    for _ in 0..10 {
        let mut client = world.client().await;
        client.send(POST).await;
        statuses.push(client.answer().await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 5, "{statuses:?}");
    assert_eq!((bad.seen_by_now().len(), good.seen_by_now().len()), (5, 5));
}

#[tokio::test]
async fn a_body_that_was_streamed_is_not_sent_again() {
    let mut first = Origin::manual().await;
    let mut second = Origin::answering(|_| ok("fine")).await;
    let mut world = World::in_front_of(&first);
    let mut client = world.client().await;
    client.send("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n01234").await;
    let mut wire = first.accept().await;
    wire.head().await;
    wire.expect("01234").await;
    world.serve(vec![crate::support::place("c0", first.at), crate::support::place("c1", second.at)]);
    wire.reset();
    assert_eq!(client.answer().await.status, 502);
    assert_eq!(second.seen_by_now().len(), 0);
}

/// A new endpoint may have come since the request did.
#[tokio::test]
async fn another_try_knows_the_newest_snapshot() {
    let mut first = Origin::manual().await;
    let second = Origin::answering(|_| ok("fine")).await;
    let mut world = World::in_front_of(&first);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut wire = first.accept().await;
    wire.head().await;
    world.serve(vec![crate::support::place("c1", second.at)]);
    wire.reset();
    assert_eq!(client.answer().await.body, "fine");
}

/// A server that falls over under its load must not get several times of it.
#[tokio::test]
async fn only_so_many_requests_are_sent_again() {
    let origins = [resetting().await, resetting().await];
    let world = World::of(&[origins[0].at, origins[1].at]);
    let sent = 150;
    for _ in 0..sent {
        let mut client = world.client().await;
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 502);
    }
    let retries = world.metric("portolan_service_retries_total", &["app@test"]);
    let refused = world.metric("portolan_service_retries_refused_total", &["app@test"]);
    assert!((retries - 100.0).abs() < 0.5, "{retries} sent again");
    assert!((retries + refused - f64::from(sent)).abs() < 0.5, "{retries} sent again, {refused} not");
}

/// It was not given anything to do: passing it over buries nobody.
#[tokio::test]
async fn endpoints_that_refuse_connections_are_passed_over_however_many_requests_meet_them() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::of(&[Origin::nobody().await, origin.at]);
    let mut client = world.client().await;
    for _ in 0..400 {
        client.send(GET).await;
        assert_eq!(client.answer().await.body, "fine");
    }
}
