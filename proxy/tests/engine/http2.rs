//! Clients that speak HTTP/2, in front of endpoints that speak HTTP/1.1.

use bytes::Bytes;
use http::Request;

use crate::support::http2::{Http2, answered, rest};
use crate::support::{Origin, World, ok, soon};

#[path = "http2/attacks.rs"]
mod attacks;
#[path = "http2/limits.rs"]
mod limits;
#[path = "http2/rules.rs"]
mod rules;
#[path = "http2/websocket.rs"]
mod websocket;

#[tokio::test]
async fn requests_are_answered_side_by_side_over_one_connection() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    let mut answers = Vec::new();
    let mut wires = Vec::new();
    for index in 0..10 {
        let request = Request::get(format!("http://a.test/{index}")).body(()).unwrap();
        answers.push(client.begin(request, true).await.0);
        let mut wire = origin.accept().await;
        assert!(wire.head().await.starts_with(&format!("GET /{index} HTTP/1.1\r\nHost: a.test\r\n")));
        wires.push(wire);
    }
    // The last one first.
    for (index, wire) in wires.iter_mut().enumerate().rev() {
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\nX-A: b\r\n\r\n{index}"
        ))
        .await;
        let answer = soon("an answer", answered(answers.pop().unwrap())).await.unwrap();
        assert_eq!((answer.status, answer.body), (200, index.to_string()));
        assert_eq!(answer.fields["x-a"], "b");
        assert!(!answer.fields.contains_key("connection"));
    }
    world
        .metric_becomes("portolan_entrypoint_requests_total", &["protocol=\"h2\"", "code=\"200\""], 10.0)
        .await;
    world.metric_becomes("portolan_service_requests_total", &["protocol=\"h2\""], 10.0).await;
}

#[tokio::test]
async fn the_endpoint_sees_an_ordinary_request() {
    let mut origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    let request = Request::post("http://a.test/x/../y?z")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-forwarded-for", "1.2.3.4")
        .body(&b"hello"[..])
        .unwrap();
    assert_eq!(client.ask(request).await.unwrap().body, "fine");
    let seen = origin.seen().await;
    assert!(
        seen.head.starts_with("POST /y?z HTTP/1.1\r\nHost: a.test\r\ncookie: a=1; b=2\r\n"),
        "{}",
        seen.head
    );
    assert!(seen.head.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{}", seen.head);
    assert!(!seen.head.contains("1.2.3.4") && !seen.head.contains("te:"), "{}", seen.head);
    assert_eq!(seen.body, b"hello");
}

#[tokio::test]
async fn a_body_streams_to_the_endpoint_as_it_comes() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    let request = Request::post("http://a.test/").body(()).unwrap();
    let (answer, mut upload) = client.begin(request, false).await;
    upload.send_data(Bytes::from_static(b"one"), false).unwrap();
    let mut wire = origin.accept().await;
    let head = wire.head().await;
    assert!(head.contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
    wire.expect("3\r\none\r\n").await;
    upload.send_data(Bytes::from_static(b"two!"), false).unwrap();
    wire.expect("4\r\ntwo!\r\n").await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    upload.send_trailers(trailers).unwrap();
    wire.expect("0\r\nx-sum: 7\r\n\r\n").await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").await;
    assert_eq!(soon("an answer", answered(answer)).await.unwrap().body, "fine");
}

#[tokio::test]
async fn an_answer_streams_to_the_client_as_it_comes_with_its_trailers() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    let request = Request::get("http://a.test/").body(()).unwrap();
    let (answer, _) = client.begin(request, true).await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\none\r\n").await;
    let mut answer = soon("a head", answer).await.unwrap();
    assert!(!answer.headers().contains_key("transfer-encoding"));
    let piece = soon("a piece", answer.body_mut().data()).await.unwrap().unwrap();
    assert_eq!(piece, "one");
    wire.send("4\r\ntwo!\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n").await;
    let answer = soon("the rest", rest(answer)).await.unwrap();
    assert_eq!(answer.body, "two!");
    let trailers = answer.trailers.unwrap();
    assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &"7".parse().unwrap()));
}

#[tokio::test]
async fn much_passes_both_ways() {
    let origin = Origin::answering(|seen| ok(&String::from_utf8_lossy(&seen.body))).await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|index| b'a' + (index % 26) as u8).collect();
    let (answer, mut upload) = client.begin(Request::put("http://a.test/").body(()).unwrap(), false).await;
    upload.send_data(Bytes::from(body.clone()), true).unwrap();
    let answer = soon("an answer", answered(answer)).await.unwrap();
    assert!(answer.body.as_bytes() == body, "{} bytes came back", answer.body.len());
}

#[tokio::test]
async fn answers_without_a_body_end_with_their_head() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    for (method, head, status) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", 200),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
    ] {
        let request = Request::builder().method(method).uri("http://a.test/").body(()).unwrap();
        let (answer, _) = client.begin(request, true).await;
        let mut wire = origin.accept().await;
        wire.head().await;
        wire.send(head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
        let answer = soon("an answer", answered(answer)).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{method} {head}");
        assert_eq!(answer.fields.get("content-length").is_some(), head.contains("Length"), "{method} {head}");
    }
}

#[tokio::test]
async fn a_request_that_is_taken_back_is_broken_off_at_the_endpoint() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    let (answer, mut upload) = client.begin(Request::get("http://a.test/").body(()).unwrap(), true).await;
    let mut wire = origin.accept().await;
    wire.head().await;
    upload.send_reset(h2::Reason::CANCEL);
    drop(answer);
    wire.ends().await;
    world.metric_becomes("portolan_refusals_total", &["reason=\"client_gone\""], 1.0).await;
}

#[tokio::test]
async fn refusals_are_told_in_the_clients_language() {
    let world = World::of(&[]);
    let mut client = Http2::connect(world.http).await;
    let answer = client.get("http://b.test/").await;
    assert_eq!((answer.status, answer.body.as_str()), (404, "404 page not found\n"));
    let answer = client.get("http://a.test/").await;
    assert_eq!(answer.status, 503);
    let call = || {
        let request = Request::post("http://a.test/x.Y/Z").header("content-type", "application/grpc+proto");
        request.body(&b"\0\0\0\0\0"[..]).unwrap()
    };
    let answer = client.ask(call()).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(
        (&answer.fields["grpc-status"], &answer.fields["content-type"]),
        (&"14".parse().unwrap(), &"application/grpc".parse().unwrap())
    );
    world.metric_becomes("portolan_refusals_total", &["reason=\"no_endpoint\""], 2.0).await;
}

/// The endpoint is told as well, and the client need not wait for it.
#[tokio::test]
async fn a_call_ends_when_its_time_is_up() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    let call = Request::post("http://a.test/x.Y/Z")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "50m")
        .body(())
        .unwrap();
    let (answer, _upload) = client.begin(call, true).await;
    let mut wire = origin.accept().await;
    assert!(wire.head().await.contains("\r\ngrpc-timeout: 50m\r\n"));
    let answer = soon("an answer", answered(answer)).await.unwrap();
    assert_eq!((answer.status, &answer.fields["grpc-status"]), (200, &"4".parse().unwrap()));
    wire.ends().await;
    world.metric_becomes("portolan_refusals_total", &["reason=\"answer_timeout\""], 1.0).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    for head in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let (answer, _) = client.begin(Request::get("http://a.test/").body(()).unwrap(), true).await;
        let mut wire = origin.accept().await;
        wire.head().await;
        wire.send(format!("HTTP/1.1 200 OK\r\n{head}")).await;
        let answer = soon("a head", answer).await.unwrap();
        drop(wire);
        let error = soon("the end", rest(answer)).await.unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    }
    assert_eq!(client.get("http://b.test/").await.status, 404);
}

#[tokio::test]
async fn draining_finishes_what_is_in_progress() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    let (answer, _) = client.begin(Request::get("http://a.test/").body(()).unwrap(), true).await;
    let mut wire = origin.accept().await;
    wire.head().await;
    let drained = tokio::spawn(world.drain());
    soon("no further requests", async {
        while client.is_open().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!drained.is_finished());
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").await;
    assert_eq!(soon("an answer", answered(answer)).await.unwrap().body, "fine");
    soon("draining ends", drained).await.unwrap();
}
