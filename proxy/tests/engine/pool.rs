//! Connections to endpoints that wait for the next request.

use crate::support::{Origin, Reply, Then, World, ok, place};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc";

#[tokio::test]
async fn requests_share_a_connection_to_the_endpoint() {
    let mut origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for _ in 0..5 {
        client.send(POST).await;
        assert_eq!(client.answer().await.body, "fine");
        assert_eq!(origin.seen().await.connection, 0);
    }
}

#[tokio::test]
async fn a_connection_that_the_endpoint_announced_to_close_is_not_used_again() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let mut origin = Origin::answering(move |_| Reply::raw(answer)).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for connection in 0..3 {
        client.send(POST).await;
        assert_eq!(client.answer().await.status, 200, "the client's own connection goes on");
        assert_eq!(origin.seen().await.connection, connection);
    }
}

/// No request may be lost to it, not even one that can't be sent twice.
#[tokio::test]
async fn a_connection_that_was_closed_while_it_waited_is_replaced() {
    let origin = Origin::answering(|_| ok("fine").then(Then::Close)).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for round in 0..20 {
        for request in [GET, POST] {
            client.send(request).await;
            assert_eq!(client.answer().await.body, "fine", "round {round}");
            // A second client of the same kind lets the worker hear of the close before the next request.
            let mut other = world.client().await;
            other.send("GET / HTTP/1.1\r\nHost: nowhere\r\n\r\n").await;
            other.answer().await;
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_left_gets_nothing_any_more_even_over_waiting_connections() {
    let (mut old, mut new) = (Origin::answering(|_| ok("old")).await, Origin::answering(|_| ok("new")).await);
    let mut world = World::in_front_of(&old);
    let mut client = world.client().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.body, "old");
    assert_eq!(old.seen_by_now().len(), 1);
    world.serve(vec![place("c1", new.at)]);
    for _ in 0..4 {
        client.send(GET).await;
        assert_eq!(client.answer().await.body, "new");
    }
    assert_eq!((old.seen_by_now().len(), new.seen_by_now().len()), (0, 4));
}

/// Engines give an address out again right after its owner died.
#[tokio::test]
async fn a_new_container_at_an_old_address_does_not_inherit_connections() {
    let mut origin = Origin::answering(|_| ok("fine")).await;
    let mut world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for (life, name) in ["first", "first", "second", "second"].into_iter().enumerate() {
        world.serve(vec![place(name, origin.at)]);
        client.send(GET).await;
        assert_eq!(client.answer().await.body, "fine");
        assert_eq!(origin.seen().await.connection, life / 2, "{name}");
    }
}

#[tokio::test]
async fn waiting_connections_to_an_endpoint_that_left_are_closed() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    client.answer().await;
    world.serve(Vec::new());
    assert_eq!(wire.rest().await.0, b"");
}
