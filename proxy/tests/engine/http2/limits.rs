//! Limits and deadlines of an entry point, as they hold for HTTP/2.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;

use crate::support::http2::{
    END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, Http2, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    answered, frame, get_block,
};
use crate::support::{Origin, World, ok, soon};

const CALM: u32 = 0xb;
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_slow_block_of_fields_is_cut_off_though_it_makes_progress() {
    let origin = Origin::answering(|_| ok("")).await;
    let world = World::tuned(&[origin.at], |entry_point| entry_point.limits.read_timeout = Some(SHORT));
    let mut client = Frames::connect(world.http).await;
    let begun = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for byte in frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_block("/")) {
        pace.tick().await;
        if !client.try_send(&[byte]).await {
            break;
        }
    }
    assert_eq!(client.goodbye().await, Some(CALM));
    let took = begun.elapsed();
    assert!(took >= SHORT && took < SHORT * 8, "{took:?}");
    world.metric_becomes("portolan_refusals_total", &["reason=\"head_timeout\""], 1.0).await;
    world.metric_becomes("portolan_endpoint_requests_total", &[], 0.0).await;
}

#[tokio::test]
async fn a_connection_with_nothing_to_ask_is_closed_in_peace() {
    let origin = Origin::answering(|_| ok("")).await;
    let world = World::tuned(&[origin.at], |entry_point| entry_point.limits.idle_timeout = Some(SHORT));
    let mut client = Frames::connect(world.http).await;
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_block("/"))).await;
    client.next_of(HEADERS).await;
    let begun = Instant::now();
    client.next_of(GOAWAY).await;
    // It is told that there is more to come only when it says that it has heard (RFC 9113 §6.8).
    client.send(&frame(PING, 1, 0, &[0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54])).await;
    assert_eq!(client.goodbye().await.unwrap_or_default(), 0);
    assert!(begun.elapsed() >= SHORT / 2, "{:?}", begun.elapsed());
    world.metric_becomes("portolan_refusals_total", &["reason=\"client_idle\""], 1.0).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_its_length_is_said_or_not() {
    let mut origin = Origin::manual().await;
    let world = World::tuned(&[origin.at], |entry_point| entry_point.limits.body_bytes_max = Some(1000));
    let mut client = Http2::connect(world.http).await;
    let put = || Request::put("http://a.test/");
    let answer = client.ask(put().header("content-length", "1001").body(&[b'x'; 1001][..]).unwrap()).await;
    assert_eq!(answer.unwrap().status, 413);
    let (answer, mut upload) = client.begin(put().body(()).unwrap(), false).await;
    upload.send_data(Bytes::from_static(&[b'x'; 600]), false).unwrap();
    let mut wire = origin.accept().await;
    wire.head().await;
    upload.send_data(Bytes::from_static(&[b'x'; 600]), false).unwrap();
    assert_eq!(soon("an answer", answered(answer)).await.unwrap().status, 413);
    // What reached the endpoint has no end that could be taken for one.
    assert!(!wire.rest().await.0.ends_with(b"0\r\n\r\n"));
    world.metric_becomes("portolan_refusals_total", &["reason=\"body_too_large\""], 2.0).await;
    let answering = async {
        let mut wire = origin.accept().await;
        let head = wire.head().await;
        wire.body(&head).await;
        wire.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        wire
    };
    let (answer, _wire) = tokio::join!(client.ask(put().body(&[b'x'; 1000][..]).unwrap()), answering);
    assert_eq!(answer.unwrap().status, 204);
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_go_on_is_told() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Frames::connect(world.http).await;
    let fields = [
        (":method", "PUT"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", "/"),
        ("expect", "100-continue"),
        ("content-length", "4"),
    ];
    client.send(&frame(HEADERS, END_HEADERS, 1, &crate::support::http2::block(&fields))).await;
    let mut wire = origin.accept().await;
    let head = wire.head().await;
    assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
    wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    let interim = client.next_of(HEADERS).await;
    assert_eq!(interim.flags & END_STREAM, 0);
    client.send(&frame(0, END_STREAM, 1, b"body")).await;
    wire.expect("body").await;
    wire.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.next_of(HEADERS).await.flags & END_STREAM, END_STREAM);
}

#[tokio::test]
async fn as_many_requests_are_taken_at_a_time_as_was_said() {
    let mut origin = Origin::manual().await;
    let world = World::tuned(&[origin.at], |entry_point| {
        entry_point.limits.http2_streams_max = Some(2);
        entry_point.limits.http2_header_table_max = Some(512);
    });
    let mut client = Frames::connect(world.http).await;
    let settings = client.next_of(SETTINGS).await.payload;
    let said = |id: u16| {
        let found = settings.chunks(6).find(|setting| setting[..2] == id.to_be_bytes());
        found.map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    assert_eq!((said(3), said(1)), (Some(2), Some(512)), "MAX_CONCURRENT_STREAMS and HEADER_TABLE_SIZE");
    for stream in [1, 3, 5] {
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &get_block("/"))).await;
    }
    assert_eq!(client.next_of(RST_STREAM).await.stream, 5);
    for _ in 0..2 {
        let mut wire = origin.accept().await;
        wire.head().await;
        wire.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        client.next_of(HEADERS).await;
    }
}

#[tokio::test]
async fn a_request_that_has_to_be_done_by_then_is_cut_off_though_it_makes_progress() {
    let mut origin = Origin::manual().await;
    let world = World::tuned(&[origin.at], |entry_point| entry_point.limits.read_timeout = Some(SHORT));
    let mut client = Http2::connect(world.http).await;
    let (answer, mut upload) = client.begin(Request::put("http://a.test/").body(()).unwrap(), false).await;
    let trickle = async {
        let mut pace = tokio::time::interval(SHORT / 10);
        while upload.send_data(Bytes::from_static(b"x"), false).is_ok() {
            pace.tick().await;
        }
        // It was told to stop, and was answered.
        std::future::pending::<()>().await;
    };
    let answering = async { soon("an answer", answered(answer)).await.unwrap() };
    let mut wire = None;
    let accepting = async {
        wire = Some(origin.accept().await);
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! {
        () = trickle => panic!("it never ends"),
        () = accepting => panic!("it never ends"),
        answer = answering => answer,
    };
    assert_eq!((answer.status, answer.body.as_str()), (408, "the request took too long\n"));
    let received = wire.expect("a connection").rest().await.0;
    assert!(!received.ends_with(b"0\r\n\r\n"), "it has no end that could be taken for one");
    world.metric_becomes("portolan_refusals_total", &["reason=\"request_timeout\""], 1.0).await;
}

#[tokio::test]
async fn an_answer_that_has_to_be_done_by_then_is_broken_off() {
    let mut origin = Origin::manual().await;
    let world = World::tuned(&[origin.at], |entry_point| entry_point.limits.write_timeout = Some(SHORT));
    let mut client = Http2::connect(world.http).await;
    for begun in [false, true] {
        let (answer, _) = client.begin(Request::get("http://a.test/").body(()).unwrap(), true).await;
        let mut wire = origin.accept().await;
        wire.head().await;
        if begun {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
            let error = soon("the rest", answered(answer)).await.unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
        } else {
            assert_eq!(soon("an answer", answered(answer)).await.unwrap().status, 504);
        }
        assert_eq!(wire.rest().await.0, b"");
    }
    world.metric_becomes("portolan_refusals_total", &["reason=\"answer_timeout\""], 2.0).await;
}

/// Its client may wait for the endpoint to speak first.
#[tokio::test]
async fn a_request_whose_body_never_begins_is_sent_on_without_after_a_while() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    let mut begun = Vec::new();
    for _ in 0..2 {
        begun.push(client.begin(Request::post("http://a.test/").body(()).unwrap(), false).await);
    }
    let mut first = origin.accept().await;
    first.head().await;
    // The second was not earned by the first.
    let waited = Instant::now();
    let mut second = origin.accept().await;
    second.head().await;
    assert!(waited.elapsed() > Duration::from_secs(2), "{:?}", waited.elapsed());
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let (answer, _upload) = begun.pop().unwrap();
    let other = begun.pop().unwrap();
    let first_is_second = soon("an answer", async {
        tokio::select! {
            answer = answered(answer) => answer.unwrap(),
            answer = answered(other.0) => answer.unwrap(),
        }
    })
    .await;
    assert_eq!(first_is_second.body, "ok");
}

/// What a client may send ahead is said at the beginning, and given back no faster than it is passed on.
#[tokio::test]
async fn a_client_sends_ahead_no_more_than_it_may() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Frames::connect(world.http).await;
    let settings = client.next_of(SETTINGS).await.payload;
    let window = settings.chunks(6).find(|setting| setting[..2] == 4_u16.to_be_bytes()).expect("a window");
    assert_eq!(u32::from_be_bytes(window[2..].try_into().unwrap()), 64 * 1024);
    let connection = client.next_of(WINDOW_UPDATE).await;
    assert_eq!(connection.stream, 0);
    // The connection's own begins with 65,535 (RFC 9113 §6.9.2).
    assert_eq!(connection.payload, (1024 * 1024 - 65_535_u32).to_be_bytes());
    // An endpoint that does not read: beyond what the kernel takes on the way, nothing is given back.
    let mut http2 = Http2::connect(world.http).await;
    let (_answer, mut upload) = http2.begin(Request::put("http://a.test/").body(()).unwrap(), false).await;
    let mut wire = origin.accept().await;
    wire.head().await;
    let mut sent = 0_usize;
    loop {
        upload.reserve_capacity(16 * 1024);
        let room = std::future::poll_fn(|context| upload.poll_capacity(context));
        let Ok(Some(Ok(room))) = tokio::time::timeout(SHORT * 3, room).await else { break };
        upload.send_data(vec![b'x'; room].into(), false).unwrap();
        sent += room;
        assert!(sent < 64 * 1024 * 1024, "{sent} bytes and no end");
    }
    assert!(sent >= 64 * 1024, "{sent}");
    // And it goes on when the endpoint does.
    upload.send_data(Bytes::new(), true).unwrap();
    let whole = async { wire.body("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").await };
    assert_eq!(soon("the body", whole).await.len(), sent);
}
