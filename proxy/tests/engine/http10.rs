//! Clients that speak HTTP/1.0.

use crate::support::{End, Origin, Reply, World, ok};

const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 1\r\n\r\n";

#[tokio::test]
async fn the_connection_ends_unless_asked_to_stay() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.body.as_str(), answer.field("Connection")), ("fine", Some("close")));
    assert_eq!(client.ends().await, End::Clean);
    let mut client = world.client().await;
    for _ in 0..3 {
        client.send("GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.body.as_str(), answer.field("Connection")), ("fine", Some("keep-alive")));
    }
}

#[tokio::test]
async fn chunks_are_taken_off_and_the_end_is_the_connections() {
    let origin = Origin::answering(|_| Reply::raw(CHUNKED)).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n").await;
    let head = client.head().await;
    assert!(!head.contains("Transfer-Encoding") && head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(client.rest().await, (b"abcdef".to_vec(), End::Clean));
}

#[tokio::test]
async fn an_answer_without_a_body_does_not_speak_of_chunks_either() {
    let origin =
        Origin::answering(|_| Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("HEAD / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    let answer = client.answer_to_head().await;
    assert_eq!((answer.status, answer.field("Transfer-Encoding")), (200, None), "{}", answer.head);
}

#[tokio::test]
async fn the_endpoint_is_asked_in_http11_and_by_name() {
    let mut origin = Origin::answering(|_| ok("")).await;
    let mut world = World::in_front_of(&origin);
    world.route("any", "PathPrefix(`/`)", "app@test");
    world.serve(vec![crate::support::place("c0", origin.at)]);
    let mut client = world.client().await;
    client.send("GET /x HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert!(origin.seen().await.head.starts_with("GET /x HTTP/1.1\r\nHost: \r\n"));
}
