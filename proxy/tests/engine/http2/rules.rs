//! What RFC 9113 asks of a server: malformed requests are not passed on, and a stream's fault stays with the stream.

use crate::support::http2::{
    DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    block, frame, get_block,
};
use crate::support::{Origin, World, ok};

const WHOLE: u8 = END_HEADERS | END_STREAM;
const PROTOCOL_ERROR: u32 = 1;

fn code(frame: &Frame) -> u32 {
    let at = if frame.kind == GOAWAY { 4 } else { 0 };
    u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap())
}

/// What is said on the stream first: its reset's code, or its answer. The end of the connection is its end, too.
async fn outcome(client: &mut Frames, stream: u32) -> Result<(), u32> {
    loop {
        let frame = client.next().await.expect("the connection goes on");
        match frame.kind {
            GOAWAY => return Err(code(&frame)),
            RST_STREAM if frame.stream == stream => return Err(code(&frame)),
            HEADERS if frame.stream == stream => return Ok(()),
            _ => {}
        }
    }
}

/// RFC 9113 §8.2 and §8.3: each is malformed, and must not be passed on.
#[tokio::test]
async fn a_malformed_request_reaches_no_endpoint() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let method = (":method", "GET");
    let scheme = (":scheme", "http");
    let path = (":path", "/");
    let authority = (":authority", "a.test");
    let usual = [method, scheme, path, authority];
    let with = |more: (&'static str, &'static str)| [&usual[..], &[more]].concat();
    let malformed: Vec<Vec<(&str, &str)>> = vec![
        with(("Upper", "case")),
        with(("connection", "close")),
        with(("keep-alive", "5")),
        with(("proxy-connection", "close")),
        with(("transfer-encoding", "chunked")),
        with(("upgrade", "websocket")),
        with(("te", "gzip")),
        with(("a", "b\r\nc: d")),
        with(("a", "b\nc")),
        with(("a", "b\0c")),
        with(("a b", "c")),
        with(("a:b", "c")),
        with(("", "c")),
        with((":status", "200")),
        with((":unknown", "x")),
        with((":path", "/twice")),
        with((":method", "POST")),
        with((":protocol", "websocket")),
        vec![method, scheme, authority],
        vec![method, path, authority],
        vec![scheme, path, authority],
        vec![method, scheme, authority, (":path", "")],
        vec![method, scheme, authority, (":path", "/a b")],
        vec![method, scheme, authority, (":path", "/a\r\nX: y")],
        vec![method, scheme, authority, ("a", "b"), path],
        vec![(":method", "G ET"), scheme, path, authority],
        vec![method, scheme, path, (":authority", "a test")],
    ];
    for fields in malformed {
        let mut client = Frames::connect(world.http).await;
        client.send(&frame(HEADERS, WHOLE, 1, &block(&fields))).await;
        assert_eq!(outcome(&mut client, 1).await, Err(PROTOCOL_ERROR), "{fields:?}");
    }
    world.metric_becomes("portolan_endpoint_requests_total", &[], 0.0).await;
}

/// What HTTP/2 allows and HTTP/1.1 would read in another way is answered 400.
#[tokio::test]
async fn what_can_not_be_said_in_http1_is_refused() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let (method, scheme, path) = ((":method", "GET"), (":scheme", "http"), (":path", "/"));
    let authority = (":authority", "a.test");
    for fields in [
        vec![method, scheme, path, authority, ("host", "b.test")],
        vec![method, scheme, path, authority, ("host", "a.test"), ("host", "a.test")],
        vec![method, scheme, path],
        vec![method, scheme, path, (":authority", "u@a.test")],
        vec![method, scheme, authority, (":path", "*")],
    ] {
        let mut client = Frames::connect(world.http).await;
        client.send(&frame(HEADERS, WHOLE, 1, &block(&fields))).await;
        assert_eq!(outcome(&mut client, 1).await, Ok(()), "{fields:?}");
    }
    world.metric_becomes("portolan_refusals_total", &["reason=\"bad_request\""], 5.0).await;
    world.metric_becomes("portolan_endpoint_requests_total", &[], 0.0).await;
}

/// RFC 9113 §4 to §6: each ends the connection, and is named.
#[tokio::test]
async fn a_broken_connection_is_ended_with_its_reason() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let head = |stream| frame(HEADERS, WHOLE, stream, &get_block("/"));
    let cases: Vec<(&str, Vec<u8>, &[u32])> = vec![
        ("DATA on stream 0", frame(DATA, 0, 0, b"x"), &[1]),
        ("DATA on an idle stream", frame(DATA, 0, 9, b"x"), &[1]),
        ("HEADERS on stream 0", frame(HEADERS, WHOLE, 0, &get_block("/")), &[1]),
        ("an even stream", head(2), &[1]),
        ("a stream behind", [head(5), head(3)].concat(), &[1, 5]),
        ("RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0; 4]), &[1]),
        ("RST_STREAM on an idle stream", frame(RST_STREAM, 0, 9, &[0; 4]), &[1]),
        ("RST_STREAM of 3 bytes", [head(1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(), &[1, 6]),
        ("PING of 6 bytes", frame(PING, 0, 0, &[0; 6]), &[1, 6]),
        ("PING on a stream", frame(PING, 0, 1, &[0; 8]), &[1]),
        ("SETTINGS of 3 bytes", frame(SETTINGS, 0, 0, &[0; 3]), &[1, 6]),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), &[1]),
        ("a window that is too large", frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]), &[1, 3]),
        ("a window of the connection moved by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), &[1]),
        (
            "a window of the connection that overflows",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]),
            &[3],
        ),
        // COMPRESSION_ERROR is the word for it (RFC 9113 §4.3); the library calls it a PROTOCOL_ERROR.
        ("fields that can't be unpacked", frame(HEADERS, WHOLE, 1, &[0xff; 8]), &[1, 9]),
        ("CONTINUATION out of nowhere", frame(9, END_HEADERS, 1, &get_block("/")), &[1]),
        ("another frame within fields", [frame(HEADERS, 0, 1, &get_block("/")), head(3)].concat(), &[1]),
        ("a frame that is too large", frame(DATA, 0, 1, &vec![0; 16_385]), &[1, 6]),
        ("PUSH_PROMISE from a client", frame(5, END_HEADERS, 1, &[0, 0, 0, 2]), &[1]),
    ];
    for (what, bytes, codes) in cases {
        let mut client = Frames::connect(world.http).await;
        client.send(&bytes).await;
        let found = client.goodbye().await;
        assert!(found.is_some_and(|found| codes.contains(&found)), "{what}: {found:?}");
    }
}

#[tokio::test]
async fn frames_of_unknown_kinds_are_passed_over() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let mut client = Frames::connect(world.http).await;
    client.send(&frame(0xee, 0xff, 0, b"who knows")).await;
    client.send(&frame(HEADERS, WHOLE, 1, &get_block("/"))).await;
    assert_eq!(outcome(&mut client, 1).await, Ok(()));
}

#[tokio::test]
async fn fields_that_are_too_many_are_answered_431() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let world = World::in_front_of(&origin);
    let mut client = crate::support::http2::Http2::connect(world.http).await;
    let mut many = http::Request::get("http://a.test/");
    for index in 0..101 {
        many = many.header(format!("x-{index}"), "y");
    }
    assert_eq!(client.ask(many.body(&b""[..]).unwrap()).await.unwrap().status, 431);
    let large = http::Request::get("http://a.test/").header("x", "y".repeat(33_000)).body(&b""[..]).unwrap();
    assert!(client.ask(large).await.map_or(true, |answer| answer.status == 431));
}
