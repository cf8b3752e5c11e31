//! Endpoints that lie, break off, or talk nonsense.

use http::Request;

use crate::support::http2::{Http2, answered};
use crate::support::{End, Origin, Reply, Then, World, ok, soon};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[tokio::test]
async fn an_answer_that_can_be_read_in_two_ways_is_not_passed_on() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let nonsense = [
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 Short\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ];
    for (count, answer) in nonsense.iter().enumerate() {
        let mut client = world.client().await;
        client.send(GET).await;
        let mut wire = origin.accept().await;
        wire.head().await;
        wire.send(answer).await;
        let refused = client.answer().await;
        assert_eq!(refused.status, 502, "{answer:?}");
        assert_eq!(refused.body, "the server's answer can't be read\n", "{answer:?}");
        assert_eq!(wire.rest().await.0, b"", "the connection is given up after {answer:?}");
        // A client of HTTP/2 gets no more of it.
        let mut client = Http2::connect(world.http).await;
        let (refused, _) = client.begin(Request::get("http://a.test/").body(()).unwrap(), true).await;
        let mut wire = origin.accept().await;
        wire.head().await;
        wire.send(answer).await;
        assert_eq!(soon("an answer", answered(refused)).await.unwrap().status, 502, "{answer:?}");
        assert_eq!(wire.rest().await.0, b"", "the connection is given up after {answer:?}");
        world.metric_becomes("portolan_refusals_total", &["bad_response"], count as f64 * 2.0 + 2.0).await;
    }
}

#[tokio::test]
async fn an_answers_head_has_a_limit() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(40_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X: y\r\n".repeat(101));
    for answer in [long, many] {
        let origin = Origin::answering(move |_| Reply::raw(&answer)).await;
        let world = World::in_front_of(&origin);
        let mut client = world.client().await;
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 502);
    }
}

/// Every way of telling where a body ends, broken off before that.
#[tokio::test]
async fn an_answer_that_was_broken_off_does_not_look_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut origin = Origin::answering(move |_| Reply::raw(answer).then(Then::Close)).await;
        let world = World::in_front_of(&origin);
        let mut client = world.client().await;
        client.send(GET).await;
        let (received, _) = client.rest().await;
        let received = String::from_utf8_lossy(&received).into_owned();
        assert!(!received.contains("502") && !received.ends_with("0\r\n\r\n"), "{received}");
        world.metric_becomes("portolan_refusals_total", &["response_truncated"], 1.0).await;
        origin.seen().await;
        assert_eq!(origin.seen_by_now().len(), 0, "what was begun is not asked for again");
    }
}

/// There the end of the connection is the end of the body, so that it must not end in peace.
#[tokio::test]
async fn a_broken_off_answer_that_ends_with_the_connection_ends_in_a_reset() {
    for (version, answer, then) in [
        ("1.1", "HTTP/1.1 200 OK\r\n\r\nhalf", Then::Reset),
        ("1.0", "HTTP/1.1 200 OK\r\n\r\nhalf", Then::Reset),
        ("1.0", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", Then::Close),
        ("1.0", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", Then::Reset),
    ] {
        let mut origin = Origin::manual().await;
        let world = World::in_front_of(&origin);
        let mut client = world.client().await;
        client.send(format!("GET / HTTP/{version}\r\nHost: a.test\r\n\r\n")).await;
        let mut wire = origin.accept().await;
        wire.head().await;
        wire.send(answer).await;
        client.head().await;
        client.expect("half").await;
        if then == Then::Reset {
            wire.reset();
        } else {
            drop(wire);
        }
        assert_eq!(client.ends().await, End::Reset, "{version} {answer:?} {then:?}");
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_are_no_answer_to_the_next_request() {
    let split =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let mut origin =
        Origin::answering(move |seen| if seen.connection == 0 { Reply::raw(split) } else { ok("fine") })
            .await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    for expected in ["ok", "fine", "fine"] {
        client.send(GET).await;
        assert_eq!(client.answer().await.body, expected);
    }
    let connections: Vec<usize> = origin.seen_by_now().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 1]);
}

#[tokio::test]
async fn bytes_that_come_while_a_connection_waits_are_no_answer_either() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut first = origin.accept().await;
    first.head().await;
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answer().await.body, "ok");
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await;
    client.send(GET).await;
    let mut second = origin.accept().await;
    second.head().await;
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").await;
    assert_eq!(client.answer().await.body, "fine");
}
