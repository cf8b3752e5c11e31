//! Bodies pass through unchanged, each byte of them, in both directions.

use crate::support::{End, Origin, Reply, Then, World, ok};

#[tokio::test]
async fn a_chunked_upload_reaches_the_endpoint_as_it_was_written() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    let body = "3;x=\"y\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 7\r\n\r\n";
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    client.send(format!("{head}{body}GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
    let mut wire = origin.accept().await;
    let received = wire.head().await;
    assert!(received.contains("\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n"), "{received}");
    wire.expect(body).await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert!(wire.head().await.starts_with("GET /next "), "what follows the body is the next request");
}

#[tokio::test]
async fn a_chunked_answer_reaches_the_client_as_it_was_written_with_its_trailers() {
    let answer = "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
        3;x=y\r\nabc\r\n0A\r\n0123456789\r\n000\r\nX-Sum: 7\r\n\r\n";
    let origin = Origin::answering(move |_| Reply::raw(answer)).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        client.expect(answer).await;
    }
}

#[tokio::test]
async fn uploads_and_answers_larger_than_any_buffer_arrive_whole() {
    let origin = Origin::answering(|seen| {
        let body = &seen.body;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        Reply::raw([head.as_bytes(), body].concat())
    })
    .await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    let lines: Vec<String> = (0..300_000).map(|number: u32| format!("{number:09}\n")).collect();
    let body = lines.concat();
    for length in [1, 16_000, 16_384, 16_385, 65_536, body.len()] {
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n")).await;
        client.send(&body[..length]).await;
        assert!(client.answer().await.body == body[..length], "{length} bytes");
    }
}

#[tokio::test]
async fn an_upload_in_single_bytes_arrives_whole() {
    let origin = Origin::answering(|seen| ok(&String::from_utf8_lossy(&seen.body))).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for request in [
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ] {
        for byte in request.as_bytes() {
            client.send([*byte]).await;
        }
        assert_eq!(client.answer().await.body, "hello");
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_ends_the_clients_too() {
    let reply = || Reply::raw("HTTP/1.1 200 OK\r\nContent-Type: x\r\n\r\nall of it").then(Then::Close);
    let origin = Origin::answering(move |_| reply()).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(client.rest().await, (b"all of it".to_vec(), End::Clean));
}

#[tokio::test]
async fn answers_without_a_body_are_not_waited_for() {
    let origin = Origin::answering(|seen| {
        Reply::raw(match seen.target() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        })
    })
    .await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for _ in 0..2 {
        client.send("GET /204 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 204);
        client.send("GET /304 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.field("Content-Length")), (304, Some("5")));
        client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let answer = client.answer_to_head().await;
        assert_eq!((answer.status, answer.field("Content-Length")), (200, Some("5")));
    }
}

#[tokio::test]
async fn a_204_does_not_claim_to_have_a_body() {
    let answer = "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nDate: y\r\n\r\n";
    let origin = Origin::answering(move |_| Reply::raw(answer)).await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.expect("HTTP/1.1 204 No Content\r\nDate: y\r\n\r\n").await;
}

#[tokio::test]
async fn events_of_a_stream_are_delivered_at_once() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("GET /events HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n").await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n")
        .await;
    assert!(client.head().await.contains("text/event-stream"), "the head does not wait for a body");
    for number in 0..5 {
        // The next one is only sent when this one was received.
        let event = format!("9\r\ndata: {number}\n\n\r\n");
        wire.send(&event).await;
        client.expect(&event).await;
    }
}

#[tokio::test]
async fn a_malformed_chunk_in_an_upload_is_refused_and_reaches_nobody() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.expect("3\r\nabc\r\n").await;
    client.send("3\nabc\r\n0\r\n\r\n").await;
    let refused = client.answer().await;
    assert_eq!((refused.status, refused.field("Connection")), (400, Some("close")));
    assert_eq!(client.ends().await, End::Clean);
    let (rest, _) = wire.rest().await;
    assert_eq!(rest, b"");
    world.metric_becomes("portolan_refusals_total", &["bad_request"], 1.0).await;
    assert!(world.metric("portolan_endpoint_failures_total", &[]) < 0.5, "it is no fault of the endpoint");
}
