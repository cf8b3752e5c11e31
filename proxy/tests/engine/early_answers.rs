//! Answers that come before the request is whole.

use crate::support::{End, Origin, World};

#[tokio::test]
async fn an_answer_begun_while_the_upload_goes_on_reaches_the_client_meanwhile() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n01234").await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.expect("01234").await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc").await;
    client.head().await;
    client.expect("abc").await;
    client.send("56789").await;
    wire.expect("56789").await;
    wire.send("def").await;
    client.expect("def").await;
}

/// A client that is not told writes its next request to a connection that is about to be closed.
#[tokio::test]
async fn a_client_that_is_still_sending_is_told_that_the_connection_ends() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n01234").await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.field("Connection")), (413, Some("close")));
    assert_eq!(client.ends().await, End::Clean);
}

#[tokio::test]
async fn the_rest_of_an_upload_does_not_destroy_an_answer_on_its_way() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    for _ in 0..5 {
        let mut client = world.client().await;
        let body = vec![b'x'; 3_000_000];
        client
            .send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len()))
            .await;
        let mut wire = origin.accept().await;
        wire.head().await;
        wire.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
        wire.finish().await;
        // One that does not look before it has sent everything.
        client.try_send(&body).await.expect("the upload is read to its end, and dropped");
        assert_eq!(client.answer().await.body, "big");
    }
}

#[tokio::test]
async fn what_is_left_of_an_upload_is_never_taken_for_the_next_request() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    for read in (0..16).map(|step| step * 300_000) {
        let mut client = world.client().await;
        let body = smuggled.repeat(5_000_000 / smuggled.len());
        let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len());
        let (mut client, mut wire) = {
            let sending = async {
                client.send(head).await;
                // Refused or not, it sends nothing behind it.
                let _ = client.try_send(&body).await;
                client.finish().await;
                client
            };
            let answering = async {
                let mut wire = origin.accept().await;
                wire.head().await;
                wire.exactly(read).await;
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                wire
            };
            tokio::join!(sending, answering)
        };
        let (received, _) = client.rest().await;
        let received = String::from_utf8_lossy(&received).into_owned();
        assert!(received.matches("HTTP/1.1").count() <= 1, "after {read} bytes: {received}");
        let rest = wire.up_to(body.len() - read).await;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(!rest.contains("X-Forwarded"), "after {read} bytes the endpoint got a request that was none");
    }
}

/// A refusal in the midst of another answer would be read as part of it.
#[tokio::test]
async fn an_upload_that_turns_bad_does_not_put_a_refusal_into_an_answer() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun").await;
    client.head().await;
    client.expect("begun").await;
    client.send("nonsense").await;
    let (rest, _) = client.rest().await;
    assert_eq!(String::from_utf8_lossy(&rest), "");
    world.metric_becomes("portolan_entrypoint_requests_total", &["code=\"200\""], 1.0).await;
}

#[tokio::test]
async fn an_endpoint_that_answers_before_it_is_asked_is_heard() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\n").await;
    let mut wire = origin.accept().await;
    wire.send("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "busy"));
}

#[tokio::test]
async fn a_client_that_vanishes_within_its_upload_is_no_fault_of_the_endpoint() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut wires = Vec::new();
    for reset in [true, false] {
        let mut client = world.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n01234").await;
        let mut wire = origin.accept().await;
        wire.head().await;
        wire.expect("01234").await;
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        wires.push(wire);
    }
    for mut wire in wires {
        // The endpoint learns that the rest never comes.
        assert_eq!(wire.rest().await.0, b"");
    }
    world.metric_becomes("portolan_refusals_total", &["client_gone"], 2.0).await;
    world.metric_becomes("portolan_entrypoint_connections_open", &[], 0.0).await;
    assert!(world.metric("portolan_endpoint_failures_total", &[]) < 0.5);
}
