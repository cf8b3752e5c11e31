//! 100 Continue, 103 Early Hints.

use crate::support::{Origin, World};

const ASKS: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

#[tokio::test]
async fn an_upload_waits_for_the_endpoints_word() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send(ASKS).await;
    let mut wire = origin.accept().await;
    let head = wire.head().await;
    assert!(head.contains("\r\nExpect: 100-continue\r\n"), "{head}");
    wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("hello").await;
    wire.expect("hello").await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answer().await.body, "ok");
    client.send("GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(wire.head().await.starts_with("GET /next "), "both connections go on");
}

#[tokio::test]
async fn an_upload_that_the_endpoint_refuses_is_not_sent() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send(ASKS).await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.field("Connection")), (417, Some("close")));
    client.ends().await;
    assert_eq!(wire.rest().await.0, b"", "its connection is not used for anything else");
}

#[tokio::test]
async fn early_hints_are_passed_on_before_the_answer() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let mut wire = origin.accept().await;
    wire.head().await;
    for number in 0..2 {
        let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: </{number}.css>\r\n\r\n");
        wire.send(&hint).await;
        client.expect(&hint).await;
    }
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answer().await.body, "ok");
}

#[tokio::test]
async fn http10_is_spared_interim_answers() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answer().await.status, 200);
}

/// Interim answers are not the answer: without one, the client is told so.
#[tokio::test]
async fn a_break_after_an_interim_answer_is_a_502() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 103 Early Hints\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 103);
    wire.reset();
    assert_eq!(client.answer().await.status, 502);
}
