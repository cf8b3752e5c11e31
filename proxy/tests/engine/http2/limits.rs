//! Limits and deadlines of an entry point, as they hold for HTTP/2.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;

use crate::support::http2::{
    END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, Http2, PING, RST_STREAM, SETTINGS, answered, frame,
    get_block,
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
