//! The PROXY protocol: who the client is, as told to us and by us; and who is let in by that.

use std::sync::Arc;

use portolan_config::Protocol;
use portolan_config::dynamic::tcp::{
    InFlightConn, ProxyVersion, TcpIpAllowList, TcpMiddleware, TcpTransport,
};
use portolan_config::dynamic::value::IpRange;
use portolan_config::settings::ProxyProtocol;

use crate::support::layer_four::passthrough;
use crate::support::{End, Origin, Wire, World, ok, place};

const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Version 2, for the client 192.0.2.7:56324, with something besides that nobody knows.
fn binary() -> Vec<u8> {
    let block = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 1, 0xbb, 0xee, 0, 1, 7];
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10"[..], &block].concat()
}

/// A world that takes the word of whoever is here.
fn trusting(origins: &[std::net::SocketAddr]) -> World {
    World::tuned(origins, |web| {
        let trusted = vec!["127.0.0.0/8".parse().expect("a network")];
        web.proxy_protocol = Some(ProxyProtocol { insecure: false, trusted });
        web.limits.connections_per_client_max = Some(2);
    })
}

#[tokio::test]
async fn http_is_told_who_the_client_is_in_either_version_and_in_pieces() {
    let mut origin = Origin::answering(|_| ok("")).await;
    let world = trusting(&[origin.at]);
    for header in [LINE.as_bytes().to_vec(), binary()] {
        for at in [1, header.len() / 2, header.len()] {
            let mut client = world.client().await;
            client.send(&header[..at]).await;
            tokio::task::yield_now().await;
            client.send([&header[at..], GET.as_bytes()].concat()).await;
            assert_eq!(client.answer().await.status, 200);
            let head = origin.seen().await.head;
            assert!(head.contains("X-Forwarded-For: 192.0.2.7\r\n"), "{head}");
            client.finish().await;
            assert_eq!(client.ends().await, End::Clean);
        }
    }
    // Without a header it is whoever connected.
    let mut client = world.client().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.status, 200);
    assert!(origin.seen().await.head.contains("X-Forwarded-For: 127.0.0.1\r\n"));
}

#[tokio::test]
async fn the_word_of_others_is_not_taken() {
    let origin = Origin::answering(|_| ok("")).await;
    let world = World::tuned(&[origin.at], |web| {
        let trusted = vec!["198.51.100.0/24".parse().expect("a network")];
        web.proxy_protocol = Some(ProxyProtocol { insecure: false, trusted });
    });
    let mut client = world.client().await;
    client.send([LINE, GET].concat()).await;
    assert_eq!(client.answer().await.status, 400);
}

#[tokio::test]
async fn a_header_that_means_nothing_is_the_end() {
    let world = trusting(&[]);
    for header in ["PROXY TCP4 here there 1 2\r\n", "\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"] {
        let mut client = world.client().await;
        client.send(header).await;
        client.ends().await;
    }
    world.metric_becomes("portolan_refusals_total", &["web", "bad_proxy_header"], 2.0).await;
}

#[tokio::test]
async fn limits_are_those_of_the_client_and_not_of_who_speaks_for_it() {
    let mut origin = Origin::manual().await;
    let mut world = trusting(&[]);
    world.serve_tcp("db", vec![place("db", origin.at)]);
    world.route_tcp("HostSNI(`*`) && ClientIP(`192.0.2.0/24`)", "db");
    let mut held = Vec::new();
    for client in ["192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.8"] {
        let mut wire = world.client().await;
        wire.send(format!("PROXY TCP4 {client} 198.51.100.1 1 2\r\nhello")).await;
        let mut endpoint = origin.accept().await;
        endpoint.expect("hello").await;
        held.push((wire, endpoint));
    }
    let mut third = world.client().await;
    third.send(LINE).await;
    third.ends().await;
    world.metric_becomes("portolan_refusals_total", &["web", "client_connection_limit"], 1.0).await;
}

#[tokio::test]
async fn endpoints_are_told_first_of_all() {
    let mut origin = Origin::manual().await;
    let mut world = trusting(&[]);
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let transport = TcpTransport { proxy_protocol: Some(version), ..TcpTransport::default() };
        world.serve_tcp_by("db", vec![place("db", origin.at)], transport);
        if version == ProxyVersion::V1 {
            world.route_tcp("HostSNI(`*`)", "db");
            world.route_tcp_by("HostSNI(`db.test`)", "db", passthrough());
        }
        let mut client = world.client().await;
        client.send([LINE, "hello"].concat()).await;
        let mut endpoint = origin.accept().await;
        match version {
            ProxyVersion::V1 => {
                // As it was told, whom the client had connected to as well.
                assert_eq!(endpoint.through("\r\n").await, LINE);
            }
            ProxyVersion::V2 => {
                let header = endpoint.exactly(28).await;
                let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
                let told = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 1, 0xbb];
                assert_eq!(header, [&fixed[..], &told].concat());
            }
        }
        endpoint.expect("hello").await;
    }
}

#[tokio::test]
async fn replicas_behind_a_published_port_are_told_where_their_label_asks() {
    let mut origin = Origin::manual().await;
    let mut world = World::in_front_of(&origin);
    world.proxy_protocol = Some(ProxyVersion::V1);
    let at = world.publish(Protocol::Tcp);
    let mut client = Wire::connect(at).await;
    client.send(GET).await;
    let mut endpoint = origin.accept().await;
    let line = endpoint.through("\r\n").await;
    assert!(line.starts_with("PROXY TCP4 127."), "{line}");
    assert!(line.ends_with(&format!(" {}\r\n", at.port())), "{line}");
    endpoint.expect(GET).await;
}

#[tokio::test]
async fn middlewares_let_in_who_is_listed_and_as_many_as_may() {
    let mut origin = Origin::manual().await;
    let mut world = trusting(&[]);
    world.serve_tcp("db", vec![place("db", origin.at)]);
    world.with_layer_four(|four| {
        let source_range = vec![IpRange::parse("192.0.2.0/24").expect("a range")];
        let listed = TcpMiddleware::IpAllowList(TcpIpAllowList { source_range });
        let one = TcpMiddleware::InFlightConn(InFlightConn { amount: 1 });
        four.tcp_middlewares.insert("listed@test".to_owned(), Arc::new(listed));
        four.tcp_middlewares.insert("one@test".to_owned(), Arc::new(one));
    });
    world.route_tcp("HostSNI(`*`)", "db");
    let mut stranger = world.client().await;
    stranger.send("PROXY TCP4 198.51.100.7 198.51.100.1 1 2\r\nhello").await;
    stranger.ends().await;
    world.metric_becomes("portolan_refusals_total", &["web", "not_allowed"], 1.0).await;
    for _ in 0..2 {
        let mut client = world.client().await;
        client.send([LINE, "hello"].concat()).await;
        let mut endpoint = origin.accept().await;
        endpoint.expect("hello").await;
        // The table is another one; who is there is counted on.
        world.serve_tcp("other", Vec::new());
        let mut second = world.client().await;
        second.send([LINE, "hello"].concat()).await;
        second.ends().await;
        drop((client, endpoint));
        world.metric_becomes("portolan_entrypoint_connections_open", &["web"], 0.0).await;
    }
    world.metric_becomes("portolan_refusals_total", &["web", "client_connection_limit"], 2.0).await;
}
