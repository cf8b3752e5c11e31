//! Endpoints that speak HTTP/2, behind clients of either version.

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request};

use crate::support::http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, Http2, RST_STREAM, SETTINGS, answered, block, frame, rest,
};
use crate::support::http2_origin::{Http2Origin, head};
use crate::support::{End, Origin, World, ok, soon, until};

#[path = "http2_endpoints/breaks.rs"]
mod breaks;
#[path = "http2_endpoints/connections.rs"]
mod connections;
#[path = "http2_endpoints/lies.rs"]
mod lies;
#[path = "http2_endpoints/trailers.rs"]
mod trailers;
#[path = "http2_endpoints/websocket.rs"]
mod websocket;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

#[tokio::test]
async fn a_client_of_http1_sees_an_ordinary_answer() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    client
        .send(
            "POST /x/../y?z HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\nTE: trailers\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
    let mut asked = origin.asked().await;
    assert_eq!(asked.request.uri().to_string(), "http://a.test/y?z");
    assert_eq!(asked.field("x-one"), Some("1"));
    assert_eq!(asked.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(asked.field("content-length"), Some("5"));
    for name in ["host", "te", "connection", "transfer-encoding"] {
        assert_eq!(asked.field(name), None, "{name}");
    }
    assert_eq!(asked.body().await, ("hello".to_owned(), None));
    asked.answer(201, &[("content-length", "4"), ("x-two", "2")], |_| "fine".to_owned());
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (201, "fine"));
    assert_eq!(answer.field("x-two"), Some("2"));
    assert!(answer.head.starts_with("HTTP/1.1 201 Created\r\n"), "{}", answer.head);
    // And the connection goes on.
    client.send(GET).await;
    origin.asked().await.say("again");
    assert_eq!(client.answer().await.body, "again");
    world.metric_becomes("portolan_endpoint_requests_total", &["c0"], 2.0).await;
}

#[tokio::test]
async fn answers_without_a_body_end_with_their_head() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    let mut newer = Http2::connect(world.http).await;
    for (method, status, length, told) in [
        ("HEAD", 200, Some("500"), Some("500")),
        ("HEAD", 200, None, None),
        ("GET", 204, None, None),
        ("GET", 304, None, None),
        ("GET", 200, None, Some("0")),
        ("GET", 404, Some("0"), Some("0")),
    ] {
        let said: Vec<_> = length.iter().map(|length| ("content-length", *length)).collect();
        client.send(format!("{method} / HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        origin.asked().await.answer(status, &said, |_| String::new());
        let answer = client.answer_to_head().await;
        assert_eq!((answer.status, answer.field("Content-Length")), (status, told), "{method} {status}");
        let request = Request::builder().method(method).uri("http://a.test/").body(()).unwrap();
        let (answer, _) = newer.begin(request, true).await;
        origin.asked().await.answer(status, &said, |_| String::new());
        let answer = soon("an answer", answered(answer)).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{method} {status}");
    }
}

#[tokio::test]
async fn bodies_and_trailers_pass_as_they_come_from_and_to_http1() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    let mut asked = origin.asked().await;
    let piece = soon("a piece", asked.request.body_mut().data()).await.unwrap().unwrap();
    assert_eq!(piece, "one");
    asked.respond.send_informational(head(103, &[("link", "</a>")])).unwrap();
    let hint = client.head().await;
    assert!(hint.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n"), "{hint}");
    client.send("4\r\ntwo!\r\n0\r\nX-Sum: 7\r\nContent-Length: 5\r\n\r\n").await;
    assert_eq!(asked.body().await, ("two!".to_owned(), Some(fields(&[("x-sum", "7")]))));
    let mut stream = asked.respond.send_response(head(200, &[]), false).unwrap();
    assert!(client.head().await.contains("\r\ntransfer-encoding: chunked\r\n"));
    stream.send_data(Bytes::from_static(b"three"), false).unwrap();
    client.expect("5\r\nthree\r\n").await;
    stream.send_trailers(fields(&[("x-sum", "8")])).unwrap();
    client.expect("0\r\nx-sum: 8\r\n\r\n").await;
}

#[tokio::test]
async fn an_answer_without_a_length_reaches_a_client_of_http10_whole() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    origin.asked().await.say("fine");
    let head = client.head().await;
    assert!(!head.contains("chunked"), "{head}");
    assert_eq!(client.rest().await, (b"fine".to_vec(), End::Clean));
}

#[tokio::test]
async fn both_sides_of_a_call_stream_with_trailers() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = Http2::connect(world.http).await;
    let request = Request::post("http://a.test/x.Y/Z")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "10S")
        .body(())
        .unwrap();
    let (answer, mut upload) = client.begin(request, false).await;
    upload.send_data(Bytes::from_static(b"ping 0"), false).unwrap();
    let mut asked = origin.asked().await;
    assert_eq!((asked.field("te"), asked.field("grpc-timeout")), (Some("trailers"), Some("10S")));
    let mut stream = asked.respond.send_response(head(200, &[("content-type", "application/grpc")]), false);
    let stream = stream.as_mut().unwrap();
    let mut answer = soon("a head", answer).await.unwrap();
    for round in 0..3 {
        let piece = soon("a ping", asked.request.body_mut().data()).await.unwrap().unwrap();
        assert_eq!(piece, format!("ping {round}"));
        stream.send_data(format!("pong {round}").into(), false).unwrap();
        let piece = soon("a pong", answer.body_mut().data()).await.unwrap().unwrap();
        assert_eq!(piece, format!("pong {round}"));
        upload.send_data(format!("ping {}", round + 1).into(), round == 2).unwrap();
    }
    assert_eq!(asked.body().await, ("ping 3".to_owned(), None));
    stream.send_trailers(fields(&[("grpc-status", "7"), ("grpc-message", "no")])).unwrap();
    let answer = soon("the rest", rest(answer)).await.unwrap();
    assert_eq!(answer.trailers, Some(fields(&[("grpc-status", "7"), ("grpc-message", "no")])));
}

#[tokio::test]
async fn an_outcome_told_in_the_head_alone_stays_there() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = Http2::connect(world.http).await;
    let request = Request::post("http://a.test/x.Y/Z").header("content-type", "application/grpc");
    let (answer, _upload) = client.begin(request.body(()).unwrap(), false).await;
    let said = [("content-type", "application/grpc"), ("grpc-status", "12")];
    origin.asked().await.answer(200, &said, |_| String::new());
    let answer = soon("an answer", answered(answer)).await.unwrap();
    assert_eq!((answer.status, &answer.fields["grpc-status"]), (200, &"12".parse().unwrap()));
    assert_eq!((answer.body.as_str(), answer.trailers), ("", None));
}

#[tokio::test]
async fn much_passes_both_ways() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let body: String = (0..3_000_000_u32).map(|index| char::from(b'a' + (index % 26) as u8)).collect();
    let echo = async {
        for _ in 0..3 {
            let mut asked = origin.asked().await;
            let (body, _) = asked.body().await;
            asked.say(&body);
        }
    };
    let clients = async {
        let mut client = Http2::connect(world.http).await;
        let (answer, mut upload) =
            client.begin(Request::put("http://a.test/").body(()).unwrap(), false).await;
        upload.send_data(Bytes::from(body.clone()), true).unwrap();
        assert!(soon("an answer", answered(answer)).await.unwrap().body == body);
        let mut client = world.client().await;
        client
            .send(format!("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
            .await;
        assert!(client.answer().await.body == body);
        let chunks: String = body.as_bytes().chunks(70_000).fold(String::new(), |text, chunk| {
            text + &format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk))
        });
        client
            .send(format!(
                "PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
            ))
            .await;
        assert!(client.answer().await.body == body);
    };
    tokio::join!(echo, clients);
}

/// An endpoint is not read from faster than the client takes it.
#[tokio::test]
async fn a_client_that_does_not_read_holds_the_endpoint_up() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = Http2::connect(world.http).await;
    let (answer, _) = client.begin(Request::get("http://a.test/").body(()).unwrap(), true).await;
    let mut asked = origin.asked().await;
    let mut stream = asked.respond.send_response(head(200, &[]), false).unwrap();
    let answer = soon("a head", answer).await.unwrap();
    let mut sent = 0;
    // Until there was no room for a while.
    while let Ok(Some(Ok(room))) = tokio::time::timeout(std::time::Duration::from_millis(500), async {
        stream.reserve_capacity(16_384);
        if stream.capacity() > 0 {
            return Some(Ok(stream.capacity()));
        }
        std::future::poll_fn(|context| stream.poll_capacity(context)).await
    })
    .await
    {
        stream.send_data(vec![b'x'; room].into(), false).unwrap();
        sent += room;
        assert!(sent < 1_000_000, "{sent} bytes and no end");
    }
    assert!(sent >= 64 * 1024, "{sent}");
    stream.send_data(Bytes::new(), true).unwrap();
    let answer = soon("the rest", rest(answer)).await.unwrap();
    assert_eq!(answer.body.len(), sent);
}

#[tokio::test]
async fn a_client_that_leaves_is_told_of_at_the_endpoint() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = Http2::connect(world.http).await;
    let (answer, mut upload) = client.begin(Request::get("http://a.test/").body(()).unwrap(), true).await;
    let mut asked = origin.asked().await;
    upload.send_reset(Reason::CANCEL);
    drop(answer);
    let reset = std::future::poll_fn(|context| asked.respond.poll_reset(context));
    assert_eq!(soon("a reset", reset).await.unwrap(), Reason::CANCEL);
    world.metric_becomes("portolan_refusals_total", &["reason=\"client_gone\""], 1.0).await;
    // Within an answer, too.
    let mut client = world.client().await;
    client.send(GET).await;
    let mut asked = origin.asked().await;
    let mut stream = asked.respond.send_response(head(200, &[]), false).unwrap();
    client.head().await;
    client.reset();
    let mut pieces = tokio::time::interval(std::time::Duration::from_millis(5));
    soon("a reset", async {
        while stream.send_data(Bytes::from_static(b"more"), false).is_ok() {
            pieces.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_rest_of_the_request() {
    let mut origin = Origin::manual().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nbegun").await;
    let mut wire = origin.accept().await;
    wire.expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    wire.send(frame(SETTINGS, 0, 0, &[])).await;
    wire.through("begun").await;
    // It needs no more of the request, and says so (RFC 9113 §8.1).
    wire.send(frame(HEADERS, END_HEADERS, 1, &block(&[(":status", "413")]))).await;
    wire.send(frame(DATA, END_STREAM, 1, b"no")).await;
    wire.send(frame(RST_STREAM, 0, 1, &[0; 4])).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str(), answer.field("Connection")), (413, "no", Some("close")));
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_go_on_is_told() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    client.send("PUT / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    let mut asked = origin.asked().await;
    assert_eq!(asked.field("expect"), Some("100-continue"));
    asked.respond.send_informational(head(100, &[])).unwrap();
    client.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("body").await;
    assert_eq!(asked.body().await.0, "body");
    asked.say("fine");
    assert_eq!(client.answer().await.body, "fine");
}

#[tokio::test]
async fn an_answer_that_is_broken_off_is_not_taken_for_a_whole_one() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut asked = origin.asked().await;
    let mut stream = asked.respond.send_response(head(200, &[]), false).unwrap();
    stream.send_data(Bytes::from_static(b"half"), false).unwrap();
    client.head().await;
    client.expect("4\r\nhalf\r\n").await;
    stream.send_reset(Reason::INTERNAL_ERROR);
    client.ends().await;
    let mut client = Http2::connect(world.http).await;
    let (answer, _) = client.begin(Request::get("http://a.test/").body(()).unwrap(), true).await;
    let mut asked = origin.asked().await;
    let mut stream = asked.respond.send_response(head(200, &[]), false).unwrap();
    stream.send_data(Bytes::from_static(b"half"), false).unwrap();
    let answer = soon("a head", answer).await.unwrap();
    stream.send_reset(Reason::INTERNAL_ERROR);
    assert!(soon("the rest", rest(answer)).await.is_err());
    world.metric_becomes("portolan_refusals_total", &["reason=\"response_truncated\""], 2.0).await;
    // The connection is the others' as well: one for each worker is all there is.
    assert!(asked.connection < 2);
}

#[tokio::test]
async fn an_endpoint_that_speaks_no_http2_is_found_out() {
    let origin = Origin::answering(|_| ok("in HTTP/1.1")).await;
    let world = World::speaking_h2c(&[origin.at]);
    let mut client = world.client().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.status, 502);
    world.metric_becomes("portolan_refusals_total", &["reason=\"bad_response\""], 1.0).await;
    until("counted", || world.metric("portolan_endpoint_failures_total", &["c0"]) > 0.5).await;
}
