//! Clients that break off while their answer is waited for: the endpoint is told, and does not work for nobody.

use crate::support::{Origin, Wire, World};

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
