//! Clients that break off while their answer is waited for: the endpoint is told, and does not work for nobody.

use std::future::poll_fn;

use crate::support::http2::{END_HEADERS, END_STREAM, Frames, HEADERS, frame, get_block};
use crate::support::http2_origin::{Http2Origin, head};
use crate::support::{Origin, Wire, World, soon};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// The origin's end of the connection must be closed, though the answer was never whole.
async fn is_cancelled(world: &World, mut wire: Wire) {
    assert_eq!(wire.rest().await.0, b"");
    world.metric_becomes("portolan_refusals_total", &["reason=\"client_gone\""], 1.0).await;
    assert!(world.metric("portolan_endpoint_failures_total", &[]) < 0.5, "it is no fault of the endpoint");
}

#[tokio::test]
async fn a_client_that_breaks_off_before_the_head_cancels_its_request() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut wire = origin.accept().await;
    wire.head().await;
    client.reset();
    is_cancelled(&world, wire).await;
}

#[tokio::test]
async fn a_client_that_breaks_off_within_a_silent_stream_cancels_its_request() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = world.client().await;
    client.send(GET).await;
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n").await;
    client.through("event\r\n").await;
    client.reset();
    is_cancelled(&world, wire).await;
}

/// A connection by HTTP/2 that is gone takes all of its requests with it, wherever each of them is.
#[tokio::test]
async fn a_client_of_http2_that_vanishes_cancels_all_of_its_requests() {
    let mut origin = Origin::manual().await;
    let world = World::in_front_of(&origin);
    let mut client = Frames::connect(world.http).await;
    let mut wires = Vec::new();
    for (index, answer) in
        ["", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n"]
            .into_iter()
            .enumerate()
    {
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, index as u32 * 2 + 1, &get_block("/"))).await;
        let mut wire = origin.accept().await;
        wire.head().await;
        wire.send(answer).await;
        wires.push(wire);
    }
    client.next_of(HEADERS).await;
    drop(client);
    for mut wire in wires {
        assert_eq!(wire.rest().await.0, b"");
    }
    world.metric_becomes("portolan_refusals_total", &["reason=\"client_gone\""], 3.0).await;
    world.metric_becomes("portolan_entrypoint_connections_open", &[], 0.0).await;
    assert!(world.metric("portolan_endpoint_failures_total", &[]) < 0.5, "it is no fault of the endpoint");
}

/// The same where the endpoint speaks HTTP/2: its streams are reset, and its connection is left to others.
#[tokio::test]
async fn streams_at_an_endpoint_are_reset_when_their_client_vanishes() {
    let mut origin = Http2Origin::start().await;
    let world = World::speaking_h2c(&[origin.at]);
    for by_http2 in [false, true] {
        for is_begun in [false, true] {
            let mut older = world.client().await;
            let mut newer = Frames::connect(world.http).await;
            if by_http2 {
                newer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_block("/"))).await;
            } else {
                older.send(GET).await;
            }
            let mut asked = origin.asked().await;
            let mut stream = None;
            if is_begun {
                stream = asked.respond.send_response(head(200, &[]), false).ok();
                if by_http2 {
                    newer.next_of(HEADERS).await;
                } else {
                    older.head().await;
                }
            }
            older.reset();
            drop(newer);
            let told = poll_fn(|context| match &mut stream {
                Some(stream) => stream.poll_reset(context),
                None => asked.respond.poll_reset(context),
            });
            let told = soon("a reset", told).await.unwrap();
            assert_eq!(told, h2::Reason::CANCEL, "HTTP/2 {by_http2}, begun {is_begun}");
            assert!(asked.connection < 2, "one for each worker");
        }
    }
    assert!(world.metric("portolan_endpoint_failures_total", &[]) < 0.5, "it is no fault of the endpoint");
}
