//! Clients that mean harm, one connection each: what they cost an endpoint, and how they are sent away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portolan_config::settings::EntryPoint;

use crate::support::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Http2, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, frame, get_block,
};
use crate::support::{Origin, Reply, World, ok};

/// `ENHANCE_YOUR_CALM`
const CALM: u32 = 0xb;
const PROTOCOL_ERROR: u32 = 0x1;
const WHOLE: u8 = END_HEADERS | END_STREAM;

/// A proxy in front of an origin that never answers, and how many requests have reached that.
async fn before_silence() -> (World, Origin, Arc<AtomicUsize>) {
    tuned_before_silence(|_| {}).await
}

/// The same, with something said of the entry point.
async fn tuned_before_silence(tune: impl FnOnce(&mut EntryPoint)) -> (World, Origin, Arc<AtomicUsize>) {
    let reached = Arc::new(AtomicUsize::new(0));
    let count = reached.clone();
    let origin = Origin::answering(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Reply::raw("")
    })
    .await;
    (World::tuned(&[origin.at], tune), origin, reached)
}

/// The stream of the nth request.
fn nth(index: u32) -> u32 {
    index * 2 + 1
}

/// Sends these rounds until the connection ends; gives the code it ends with.
async fn flood(world: &World, mut round: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    let mut client = Frames::connect(world.http).await;
    for index in 0..50_000 {
        if !client.try_send(&round(index)).await {
            break;
        }
    }
    client.goodbye().await
}

#[tokio::test]
async fn rapid_resets_end_the_connection_and_cost_one_request_at_most() {
    let (world, _origin, reached) = before_silence().await;
    let code = flood(&world, |index| {
        let head = frame(HEADERS, WHOLE, nth(index), &get_block("/"));
        [head, frame(RST_STREAM, 0, nth(index), &8_u32.to_be_bytes())].concat()
    })
    .await;
    assert_eq!(code, Some(CALM));
    assert!(reached.load(Ordering::Relaxed) <= 1, "{reached:?}");
    world.metric_becomes("portolan_refusals_total", &["reason=\"reset_flood\""], 1.0).await;
    world.metric_becomes("portolan_entrypoint_connections_open", &[], 0.0).await;
}

#[tokio::test]
async fn resets_that_wait_for_the_endpoint_to_be_asked_cost_no_more() {
    let (world, mut origin, reached) = before_silence().await;
    let mut client = Frames::connect(world.http).await;
    client.send(&frame(HEADERS, WHOLE, 1, &get_block("/"))).await;
    origin.seen().await;
    client.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await;
    for index in 1..1000 {
        if !client.try_send(&frame(HEADERS, WHOLE, nth(index), &get_block("/"))).await {
            break;
        }
    }
    assert_eq!(client.goodbye().await, Some(CALM));
    assert_eq!(reached.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn resets_that_we_are_made_to_send_count_as_well() {
    let (world, _origin, reached) = before_silence().await;
    // A window that is moved by nothing, or by too much, is an error of its stream (RFC 9113 §6.9).
    for window in [0_u32, 0x7fff_ffff] {
        let code = flood(&world, |index| {
            let head = frame(HEADERS, WHOLE, nth(index), &get_block("/"));
            [head, frame(WINDOW_UPDATE, 0, nth(index), &window.to_be_bytes())].concat()
        })
        .await;
        assert!(matches!(code, Some(CALM | PROTOCOL_ERROR)), "{window}: {code:?}");
    }
    // So is a body of another length than announced, and data behind its end.
    let code = flood(&world, |index| {
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "a.test"),
            (":path", "/"),
            ("content-length", "1"),
        ];
        let head = frame(HEADERS, END_HEADERS, nth(index), &block(&fields));
        [head, frame(DATA, END_STREAM, nth(index), b"too much")].concat()
    })
    .await;
    assert_eq!(code, Some(CALM));
    assert!(reached.load(Ordering::Relaxed) <= 3, "{reached:?}");
}

#[tokio::test]
async fn frames_that_nobody_asked_for_end_the_connection() {
    let (world, _origin, reached) = before_silence().await;
    let floods: [(&str, Vec<u8>); 5] = [
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown", frame(0xfa, 0, 0, b"x")),
    ];
    for (what, frame) in floods {
        assert_eq!(flood(&world, |_| frame.repeat(10)).await, Some(CALM), "{what}");
    }
    world.metric_becomes("portolan_refusals_total", &["reason=\"frame_flood\""], 5.0).await;
    assert_eq!(reached.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn data_without_data_ends_the_connection() {
    let (world, _origin, reached) = before_silence().await;
    let code = flood(&world, |index| match index {
        0 => {
            let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];
            frame(HEADERS, END_HEADERS, 1, &block(&fields))
        }
        _ => frame(DATA, 0, 1, &[]),
    })
    .await;
    assert_eq!(code, Some(CALM));
    assert!(reached.load(Ordering::Relaxed) <= 1);
}

#[tokio::test]
async fn fields_without_end_end_the_connection() {
    let (world, _origin, reached) = before_silence().await;
    for piece in [&b""[..], &[0x40, 1, b'a', 1, b'b'], &[0x82; 1000]] {
        let code = flood(&world, |index| match index {
            0 => frame(HEADERS, END_STREAM, 1, &get_block("/")),
            _ => frame(CONTINUATION, 0, 1, piece),
        })
        .await;
        assert!(code.is_some(), "{piece:?}");
    }
    assert_eq!(reached.load(Ordering::Relaxed), 0);
}

/// A field that is put into the compression table once, and named over and over.
#[tokio::test]
async fn a_bomb_of_compressed_fields_does_not_go_off() {
    let (world, _origin, reached) = before_silence().await;
    let code = flood(&world, |index| {
        let mut fields = get_block("/");
        if index == 0 {
            fields.extend_from_slice(&[0x40, 1, b'a', 0x7f, 0x81, 0x1e]);
            fields.extend_from_slice(&[b'x'; 4000]);
        }
        // The first of the dynamic table, which is 62.
        fields.resize(fields.len() + 10_000, 0xbe);
        frame(HEADERS, WHOLE, nth(index), &fields)
    })
    .await;
    assert!(code.is_some());
    assert_eq!(reached.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn bodies_that_never_begin_cost_one_request_at_most() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Frames::connect(world.http).await;
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];
    for index in 0..50 {
        client.send(&frame(HEADERS, END_HEADERS, nth(index), &block(&fields))).await;
    }
    let mut first = origin.accept().await;
    first.head().await;
    // One of the others begins: that is the next one at the origin.
    client.send(&frame(DATA, 0, nth(7), b"begun")).await;
    let mut second = origin.accept().await;
    second.head().await;
    second.expect("5\r\nbegun\r\n").await;
    world.metric_becomes("portolan_endpoint_requests_total", &[], 2.0).await;
}

/// What was never whole must not look so once its client is gone.
#[tokio::test]
async fn bodies_that_never_began_reach_nobody_when_their_connection_ends() {
    let (world, mut origin, reached) = before_silence().await;
    let mut client = Frames::connect(world.http).await;
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];
    for index in 0..50 {
        client.send(&frame(HEADERS, END_HEADERS, nth(index), &block(&fields))).await;
    }
    client.send(&frame(PING, 0, 0, &[0; 8])).await;
    client.next_of(PING).await;
    drop(client);
    world.metric_becomes("portolan_entrypoint_connections_open", &[], 0.0).await;
    world.metric_becomes("portolan_refusals_total", &["reason=\"client_gone\""], 50.0).await;
    assert_eq!(
        (reached.load(Ordering::Relaxed), origin.seen_by_now().len()),
        (0, 0),
        "none of them was whole"
    );
}

/// What a client lets be answered earns it the right to change its mind.
#[tokio::test]
async fn a_client_that_takes_something_back_now_and_then_goes_on() {
    let origin =
        Origin::answering(|seen| if seen.target() == "/slow" { Reply::raw("") } else { ok("fine") }).await;
    let world = World::in_front_of(&origin);
    let mut client = Http2::connect(world.http).await;
    for _ in 0..20 {
        assert_eq!(client.get("http://a.test/").await.body, "fine");
        let request = http::Request::get("http://a.test/slow").body(()).unwrap();
        let (answer, mut upload) = client.begin(request, true).await;
        upload.send_reset(h2::Reason::CANCEL);
        drop(answer);
    }
    assert_eq!(client.get("http://a.test/").await.body, "fine");
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_the_others_go_on() {
    let (world, mut origin, reached) = before_silence().await;
    let mut client = Frames::connect(world.http).await;
    for index in 0..102 {
        client.send(&frame(HEADERS, WHOLE, nth(index), &get_block("/"))).await;
    }
    for index in [100, 101] {
        let reset = client.next_of(RST_STREAM).await;
        assert_eq!((reset.stream, reset.payload), (nth(index), 7_u32.to_be_bytes().to_vec()));
    }
    for _ in 0..100 {
        origin.seen().await;
    }
    assert_eq!(reached.load(Ordering::Relaxed), 100);
}

/// With more streams than usual allowed, it is memory that there is no end of.
#[tokio::test]
async fn requests_that_hold_much_are_refused_and_the_others_go_on() {
    let (world, _origin, _) = tuned_before_silence(|entry_point| {
        entry_point.limits.http2_streams_max = Some(1000);
    })
    .await;
    let mut client = Frames::connect(world.http).await;
    let long = "x".repeat(7000);
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", "/"),
        ("x-a", &long),
        ("x-b", &long),
        ("x-c", &long),
        ("x-d", &long),
    ];
    let block = block(&fields);
    let mut refused = 0;
    for index in 0..200_u32 {
        let (first, rest) = block.split_at(16_000);
        let stream = 1 + 2 * index;
        client.send(&frame(HEADERS, END_STREAM, stream, first)).await;
        client.send(&frame(CONTINUATION, END_HEADERS, stream, rest)).await;
    }
    while refused < 50 {
        let reset = client.next_of(RST_STREAM).await;
        assert_eq!(reset.payload, 7_u32.to_be_bytes(), "REFUSED_STREAM");
        assert!(reset.stream > 2 * 50, "{} of 28 kB is not much", reset.stream);
        refused += 1;
    }
    assert!(world.metric("portolan_refusals_total", &["reason=\"connection_memory\""]) > 49.5);
    // Another connection has an account of its own.
    let mut other = Frames::connect(world.http).await;
    other.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_block("/"))).await;
    other.send(&frame(PING, 0, 0, &[0; 8])).await;
    assert_eq!(other.next_of(PING).await.flags, 1);
    world.metric_becomes("portolan_refusals_total", &["client_gone"], 0.0).await;
}
