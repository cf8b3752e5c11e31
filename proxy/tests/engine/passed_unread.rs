//! Connections that are passed on unread: by a published TCP port, and by a TCP router that takes what is in the clear.

use portolan_config::Protocol;

use crate::support::layer_four::Front;
use crate::support::{End, Origin, Wire, World};

#[tokio::test]
async fn a_server_may_speak_first() {
    let mut origin = Origin::manual().await;
    for front in Front::all(&[origin.at]) {
        let mut client = front.client().await;
        let mut wire = origin.accept().await;
        wire.send("220 ready\r\n").await;
        client.expect("220 ready\r\n").await;
        client.send("HELO x\r\n").await;
        wire.expect("HELO x\r\n").await;
    }
}

#[tokio::test]
async fn a_client_may_speak_first_in_whatever_it_speaks() {
    let mut origin = Origin::manual().await;
    for front in Front::all(&[origin.at]) {
        for words in [
            "GET key\r\n",
            "*1\r\n$4\r\nPING\r\n",
            "\x16\x03\x01\0",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\0",
        ] {
            let mut client = front.client().await;
            client.send(words).await;
            let mut wire = origin.accept().await;
            wire.expect(words).await;
            wire.send("+PONG\r\n").await;
            client.expect("+PONG\r\n").await;
            client.finish().await;
            assert_eq!(wire.ends().await, End::Clean);
            wire.send("after you").await;
            drop(wire);
            client.expect("after you").await;
            assert_eq!(client.ends().await, End::Clean);
        }
    }
}

/// Its next words depend on the answer: waiting for them would be waiting forever.
#[tokio::test]
async fn words_that_only_begin_like_http_are_passed_on_too() {
    let mut origin = Origin::manual().await;
    for front in Front::all(&[origin.at]) {
        for words in ["G", "PUT job"] {
            let mut client = front.client().await;
            client.send(words).await;
            let mut wire = origin.accept().await;
            wire.expect(words).await;
            wire.send("go on").await;
            client.expect("go on").await;
        }
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_at_all_may_still_be_told_something() {
    let mut origin = Origin::manual().await;
    for front in Front::all(&[origin.at]) {
        let mut client = front.client().await;
        let mut wire = origin.accept().await;
        client.finish().await;
        assert_eq!(wire.ends().await, End::Clean);
        wire.send("12:00").await;
        drop(wire);
        client.expect("12:00").await;
        assert_eq!(client.ends().await, End::Clean);
    }
}

#[tokio::test]
async fn a_break_is_a_break_on_the_other_side_too() {
    let mut origin = Origin::manual().await;
    for front in Front::all(&[origin.at]) {
        let mut client = front.client().await;
        let mut wire = origin.accept().await;
        wire.send("half of").await;
        client.expect("half of").await;
        wire.reset();
        assert_eq!(client.ends().await, End::Reset);
        let mut client = front.client().await;
        let mut wire = origin.accept().await;
        client.send("*1 half of").await;
        wire.expect("*1 half of").await;
        client.reset();
        assert_eq!(wire.ends().await, End::Reset);
    }
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over() {
    let mut origin = Origin::manual().await;
    for front in Front::all(&[Origin::nobody().await, origin.at, Origin::nobody().await]) {
        for _ in 0..6 {
            let mut client = front.client().await;
            origin.accept().await.send("hello").await;
            client.expect("hello").await;
        }
        front.world.metric_becomes("portolan_endpoint_connections_total", &[&front.service], 6.0).await;
    }
}

#[tokio::test]
async fn who_accepts_and_leaves_before_a_word_costs_the_client_nothing_either() {
    let mut leaving = Origin::manual().await;
    let mut staying = Origin::manual().await;
    for front in Front::all(&[leaving.at, staying.at]) {
        let mut client = front.client().await;
        drop(leaving.accept().await);
        let mut wire = staying.accept().await;
        client.send("hello").await;
        wire.expect("hello").await;
    }
}

#[tokio::test]
async fn without_an_endpoint_the_connection_is_closed_and_counted() {
    for (addresses, reason) in
        [(Vec::new(), "no_endpoint"), (vec![Origin::nobody().await], "connect_refused")]
    {
        for front in Front::all(&addresses) {
            front.client().await.ends().await;
            front.world.metric_becomes("portolan_refusals_total", &[reason, &front.name], 1.0).await;
        }
    }
}

#[tokio::test]
async fn connections_and_bytes_are_counted() {
    let mut origin = Origin::manual().await;
    for front in Front::all(&[origin.at]) {
        let Front { world, name, service, .. } = &front;
        let mut client = front.client().await;
        let mut wire = origin.accept().await;
        client.send("\0\x01\x02").await;
        wire.exactly(3).await;
        wire.send("hello").await;
        client.expect("hello").await;
        world.metric_becomes("portolan_entrypoint_connections_open", &[name], 1.0).await;
        world.metric_becomes("portolan_service_connections_open", &[service], 1.0).await;
        drop(client);
        drop(wire);
        world.metric_becomes("portolan_entrypoint_connections_open", &[name], 0.0).await;
        for (direction, value) in [("received", 3.0), ("sent", 5.0)] {
            let counter = |whose: &str| format!("portolan_{whose}_{direction}_bytes_total");
            world.metric_becomes(&counter("entrypoint"), &[name], value).await;
            world.metric_becomes(&counter("service"), &[service], value).await;
        }
    }
}

/// The kernel took it, so that its client believes it is connected; closing it unanswered would lose a request.
#[tokio::test]
async fn who_was_accepted_when_a_port_is_withdrawn_is_still_served() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    let at = world.publish(Protocol::Tcp);
    world.withdraw_from_table();
    let mut client = Wire::connect(at).await;
    client.send("hello").await;
    let mut wire = origin.accept().await;
    wire.expect("hello").await;
    wire.send("you too").await;
    client.expect("you too").await;
}
