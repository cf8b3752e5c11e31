//! TCP routers on an entry point, beside HTTP: who gets which connection, and what becomes of its TLS.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portolan_config::dynamic::tcp::{TcpRouterTls, TcpTransport};
use portolan_config::tls::ServersTransport;
use rustls::ServerConfig;

use crate::support::layer_four::{by_tls, passthrough};
use crate::support::papers::{Authority, Papers};
use crate::support::{End, Link, Origin, Wire, World, ok, place};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// What PostgreSQL's clients ask first.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

/// What a server goes by.
fn server(papers: &Papers) -> Arc<ServerConfig> {
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(papers.chain(), papers.private_key());
    Arc::new(config.expect("a certificate and its key"))
}

#[tokio::test]
async fn one_port_takes_http_and_tls_of_several_kinds_each_for_its_own() {
    let mut raw = Origin::manual().await;
    let web = Origin::answering(|_| ok("http")).await;
    let mut world = World::in_front_of(&web);
    let authority = Authority::new("one");
    let own = authority.sign(&["raw.test"]);
    world.route_tls("web", "Host(`web.test`)", None);
    world.serve_tcp("raw", vec![place("raw", raw.at)]);
    world.route_tcp_by("HostSNI(`raw.test`)", "raw", passthrough());
    world.route_tcp_by("HostSNI(`ended.test`)", "raw", TcpRouterTls::default());
    world.show(authority.sign(&["web.test", "ended.test"]).shown());
    // In the clear.
    let mut client = world.client().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.body, "http");
    // HTTP by TLS.
    let mut client = Wire::by(Link::connect(world.http, "web.test", authority.client()).await.unwrap());
    client.send("GET / HTTP/1.1\r\nHost: web.test\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "http");
    // Passed through: the certificate is the endpoint's own.
    let connecting = Link::connect(world.http, "raw.test", authority.client());
    let accepting = async { raw.accept_tls(server(&own)).await };
    let (link, mut wire) = tokio::join!(connecting, accepting);
    let link = link.unwrap();
    assert_eq!(link.certificate(), Some(own.der.clone()));
    let mut client = Wire::by(link);
    client.send("hello").await;
    wire.expect("hello").await;
    // Ended here: the endpoint is spoken to in the clear.
    let mut client = Wire::by(Link::connect(world.http, "ended.test", authority.client()).await.unwrap());
    let mut wire = raw.accept().await;
    wire.send("me first").await;
    client.expect("me first").await;
    client.send("hello").await;
    wire.expect("hello").await;
    client.finish().await;
    assert_eq!(wire.ends().await, End::Clean);
    wire.send("bye").await;
    drop(wire);
    client.expect("bye").await;
    assert_eq!(client.ends().await, End::Clean);
}

#[tokio::test]
async fn a_protocol_that_the_client_likes_is_agreed_to_where_it_is_not_ours_to_know() {
    let mut origin = Origin::manual().await;
    let mut world = World::of(&[]);
    let authority = Authority::new("one");
    world.serve_tcp("db", vec![place("db", origin.at)]);
    world.route_tcp_by("HostSNI(`db.test`)", "db", TcpRouterTls::default());
    world.show(authority.sign(&["db.test"]).shown());
    for (offered, agreed) in [(&["postgresql"][..], "postgresql"), (&["x", "http/1.1"], "http/1.1")] {
        let mut config = rustls::ClientConfig::clone(&authority.client());
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let link = Link::connect(world.http, "db.test", config.into()).await.unwrap();
        let _wire = origin.accept().await;
        assert_eq!(link.session().get_ref().1.alpn_protocol(), Some(agreed.as_bytes()));
    }
}

#[tokio::test]
async fn postgresql_is_told_that_it_may_speak_tls_and_then_goes_by_name() {
    let mut passed = Origin::manual().await;
    let mut ended = Origin::manual().await;
    let mut world = World::of(&[]);
    let authority = Authority::new("one");
    let own = authority.sign(&["passed.test"]);
    world.serve_tcp("passed", vec![place("passed", passed.at)]);
    world.serve_tcp("ended", vec![place("ended", ended.at)]);
    world.route_tcp_by("HostSNI(`passed.test`)", "passed", passthrough());
    world.route_tcp_by("HostSNI(`ended.test`)", "ended", TcpRouterTls::default());
    world.show(authority.sign(&["ended.test"]).shown());
    // With a Kerberos ticket, the client asks for that first.
    let mut client = world.client().await;
    client.send(GSS_REQUEST).await;
    client.expect("N").await;
    client.send(&SSL_REQUEST[..3]).await;
    client.send(&SSL_REQUEST[3..]).await;
    client.expect("S").await;
    let mut client = Wire::by(client.into_tls("ended.test", authority.client()).await.unwrap());
    let mut wire = ended.accept().await;
    client.send("startup").await;
    wire.expect("startup").await;
    // Where the endpoint ends it, the endpoint is asked first.
    let mut client = world.client().await;
    client.send(SSL_REQUEST).await;
    client.expect("S").await;
    let serving = async {
        let mut wire = passed.accept().await;
        assert_eq!(wire.exactly(8).await, SSL_REQUEST);
        wire.send("S").await;
        Wire::by(wire.into_server_tls(server(&own)).await.unwrap())
    };
    let (link, mut wire) = tokio::join!(client.into_tls("passed.test", authority.client()), serving);
    let mut client = Wire::by(link.unwrap());
    client.send("startup").await;
    wire.expect("startup").await;
    // Nobody goes by this name.
    let mut client = world.client().await;
    client.send(SSL_REQUEST).await;
    client.expect("S").await;
    assert!(client.into_tls("other.test", authority.client()).await.is_err());
    world.metric_becomes("portolan_refusals_total", &["web", "no_route"], 1.0).await;
}

#[tokio::test]
async fn an_endpoint_that_takes_no_tls_of_postgresql_is_not_sent_what_is_meant_to_be_safe() {
    let mut origin = Origin::manual().await;
    let mut world = World::of(&[]);
    let authority = Authority::new("one");
    world.serve_tcp("db", vec![place("db", origin.at)]);
    world.route_tcp_by("HostSNI(`db.test`)", "db", passthrough());
    let mut client = world.client().await;
    client.send(SSL_REQUEST).await;
    client.expect("S").await;
    let serving = async {
        let mut wire = origin.accept().await;
        assert_eq!(wire.exactly(8).await, SSL_REQUEST);
        wire.send("N").await;
        wire.ends().await
    };
    let (link, end) = tokio::join!(client.into_tls("db.test", authority.client()), serving);
    assert!(link.is_err());
    assert_eq!(end, End::Clean, "not a byte more");
    world.metric_becomes("portolan_refusals_total", &["web", "endpoint_tls"], 1.0).await;
}

#[tokio::test]
async fn endpoints_are_spoken_to_by_tls_where_that_is_asked_for() {
    let mut origin = Origin::manual().await;
    let mut world = World::of(&[]);
    let authority = Authority::new("inside");
    let own = authority.sign(&["inside.test"]);
    let transport = TcpTransport {
        connections: ServersTransport {
            server_name: Some("inside.test".to_owned()),
            root_cas: vec![authority.pem()],
            ..ServersTransport::default()
        },
        ..TcpTransport::default()
    };
    world.serve_tcp_by("db", vec![by_tls(place("db", origin.at))], transport);
    world.route_tcp("HostSNI(`*`)", "db");
    let mut client = world.client().await;
    let mut wire = origin.accept_tls(server(&own)).await;
    assert_eq!(wire.link().session().get_ref().1.alpn_protocol(), None);
    client.send("hello").await;
    wire.expect("hello").await;
    wire.send("hello").await;
    client.expect("hello").await;
    // One that is not who it should be.
    let stranger = Authority::new("stranger").sign(&["inside.test"]);
    let client = world.client().await;
    let raw = origin.accept().await;
    let refused = raw.into_server_tls(server(&stranger)).await;
    drop(refused);
    drop(client);
    world.metric_becomes("portolan_refusals_total", &["web", "endpoint_tls"], 1.0).await;
}

#[tokio::test]
async fn services_share_connections_by_weight_and_pass_over_who_has_nobody() {
    let mut origins = [Origin::manual().await, Origin::manual().await];
    let mut world = World::of(&[]);
    for (index, origin) in origins.iter().enumerate() {
        world.serve_tcp(&format!("v{index}"), vec![place(&format!("v{index}"), origin.at)]);
    }
    world.serve_tcp("empty", Vec::new());
    world.weigh_tcp("inner", &[("v1", 1), ("empty", 1)]);
    world.weigh_tcp("all", &[("v0", 3), ("inner", 1)]);
    world.route_tcp("HostSNI(`*`)", "all");
    let mut counts = BTreeMap::new();
    for _ in 0..16 {
        let _client = world.client().await;
        let [first, second] = &mut origins;
        let who = tokio::select! { _ = first.accept() => "v0", _ = second.accept() => "v1" };
        *counts.entry(who).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([("v0", 12), ("v1", 4)]));
}

#[tokio::test]
async fn a_hello_in_many_pieces_is_waited_for_and_a_reset_is_passed_on() {
    let mut origin = Origin::manual().await;
    let mut world = World::of(&[]);
    world.serve_tcp("db", vec![place("db", origin.at)]);
    world.route_tcp_by("HostSNI(`db.test`)", "db", passthrough());
    let hello = hello_for("db.test");
    let mut client = world.client().await;
    // A byte a record, and in three pieces.
    let records: Vec<u8> = hello[5..].iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    let third = records.len() / 3;
    for piece in [&records[..third], &records[third..2 * third], &records[2 * third..]] {
        client.send(piece).await;
        tokio::task::yield_now().await;
    }
    let mut wire = origin.accept().await;
    assert_eq!(wire.exactly(records.len()).await, records, "as it came");
    client.reset();
    assert_eq!(wire.ends().await, End::Reset);
}

#[tokio::test]
async fn after_one_side_ended_the_other_has_the_time_that_is_written() {
    let mut origin = Origin::manual().await;
    let mut world = World::of(&[]);
    let transport =
        TcpTransport { termination_delay: Some(Duration::from_millis(300)), ..TcpTransport::default() };
    world.serve_tcp_by("db", vec![place("db", origin.at)], transport);
    world.route_tcp("HostSNI(`*`)", "db");
    let mut client = world.client().await;
    let mut wire = origin.accept().await;
    client.send("x").await;
    client.finish().await;
    wire.expect("x").await;
    assert_eq!(wire.ends().await, End::Clean);
    let begun = std::time::Instant::now();
    // What moves is not cut off.
    for _ in 0..5 {
        wire.send("y").await;
        client.expect("y").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.ends().await, End::Clean);
    let took = begun.elapsed();
    assert!((Duration::from_millis(600)..Duration::from_secs(5)).contains(&took), "{took:?}");
    drop(wire);
}

/// What a client says first that asks for this name.
fn hello_for(name: &'static str) -> Vec<u8> {
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client =
        rustls::ClientConnection::new(config.into(), name.try_into().expect("a name")).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("memory takes it");
    bytes
}
