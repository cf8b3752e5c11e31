//! Endpoints that are spoken to by TLS: whose certificate is taken, what they are shown, and what they are called.

use std::sync::Arc;

use portolan_config::dynamic::tcp::TcpTransport;
use portolan_config::tls::{Pem, ServersTransport, TlsVersion};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ConfigBuilder, ServerConfig, server::WantsServerCert};

use crate::support::layer_four::by_tls;
use crate::support::papers::{Authority, Papers};
use crate::support::{End, Origin, Then, World, ok, place};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn config() -> ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
}

fn showing(builder: ConfigBuilder<ServerConfig, WantsServerCert>, papers: &Papers) -> ServerConfig {
    builder.with_single_cert(papers.chain(), papers.private_key()).unwrap()
}

fn server(papers: &Papers) -> ServerConfig {
    showing(config().with_no_client_auth(), papers)
}

fn trusting(authority: &Authority) -> ServersTransport {
    ServersTransport { root_cas: vec![authority.pem()], ..ServersTransport::default() }
}

#[tokio::test]
async fn an_endpoint_is_taken_for_whom_its_certificate_says() {
    let (known, other) = (Authority::new("known"), Authority::new("other"));
    let by_address = known.sign(&["127.0.0.1"]);
    let by_name = known.sign(&["origin.test"]);
    let named = |name: &str| ServersTransport { server_name: Some(name.to_owned()), ..trusting(&known) };
    let careless = ServersTransport { insecure_skip_verify: true, ..ServersTransport::default() };
    for (papers, host, transport, expected) in [
        (&by_address, "", trusting(&known), 200),
        (&by_address, "", trusting(&other), 502),
        (&by_address, "", ServersTransport::default(), 502),
        (&by_name, "", trusting(&known), 502),
        (&by_name, "", named("origin.test"), 200),
        (&by_name, "", named("else.test"), 502),
        (&by_name, "origin.test:8443", trusting(&known), 200),
        (&by_name, "else.test", trusting(&known), 502),
        (&by_name, "", careless, 200),
    ] {
        let origin = Origin::secured(server(papers), |_| ok("safe")).await;
        let mut world = World::in_front_of(&origin);
        let mut target = place("c0", origin.at);
        target.host = host.into();
        assert_eq!(world.serve_tls(vec![target], transport.clone(), |_| {}), []);
        let mut client = world.client().await;
        client.send(GET).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, expected, "host {host:?}, {transport:?}");
        if expected == 502 {
            assert!(answer.body.starts_with("the TLS handshake with the server failed"), "{}", answer.body);
            world.metric_becomes("portolan_refusals_total", &["reason=\"endpoint_tls\""], 1.0).await;
            world.metric_becomes("portolan_endpoint_failures_total", &["c0"], 1.0).await;
        }
    }
}

#[tokio::test]
async fn one_that_fails_the_handshake_is_passed_over() {
    let (known, other) = (Authority::new("known"), Authority::new("other"));
    let good = Origin::secured(server(&known.sign(&["127.0.0.1"])), |_| ok("good")).await;
    let bad = Origin::secured(server(&other.sign(&["127.0.0.1"])), |_| ok("bad")).await;
    let mut world = World::in_front_of(&good);
    let places = vec![place("c0", bad.at), place("c1", good.at)];
    assert_eq!(world.serve_tls(places, trusting(&known), |_| {}), []);
    for _ in 0..3 {
        let mut client = world.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(client.answer().await.body, "good");
    }
}

#[tokio::test]
async fn connections_wait_in_the_pool_and_sessions_are_taken_up_again() {
    let known = Authority::new("known");
    let config = server(&known.sign(&["127.0.0.1"]));
    let mut origin = Origin::secured(config, |seen| {
        let answer = ok("safe");
        if seen.target() == "/close" { answer.then(Then::Close) } else { answer }
    })
    .await;
    let mut world = World::in_front_of(&origin);
    assert_eq!(world.serve_tls(vec![place("c0", origin.at)], trusting(&known), |_| {}), []);
    let mut client = world.client().await;
    for path in ["/", "/", "/close", "/"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        assert_eq!(client.answer().await.body, "safe");
    }
    let connections: Vec<usize> = origin.seen_by_now().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1]);
    // What was connected to before is not used once it would not be connected to any more.
    let other = Authority::new("other");
    assert_eq!(world.serve_tls(vec![place("c0", origin.at)], trusting(&other), |_| {}), []);
    client.send(GET).await;
    assert_eq!(client.answer().await.status, 502);
}

#[tokio::test]
async fn a_certificate_is_shown_to_endpoints_that_ask() {
    let (known, clients) = (Authority::new("known"), Authority::new("of clients"));
    let papers = known.sign(&["127.0.0.1"]);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let asking = || {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots()), provider.clone());
        showing(config().with_client_cert_verifier(verifier.build().unwrap()), &papers)
    };
    for (shown, expected) in [(true, 200), (false, 502)] {
        let origin = Origin::secured(asking(), |_| ok("known")).await;
        let mut world = World::in_front_of(&origin);
        let mut transport = trusting(&known);
        if shown {
            transport.certificates.push(clients.sign(&["portolan.test"]).pair());
        }
        assert_eq!(world.serve_tls(vec![place("c0", origin.at)], transport, |_| {}), []);
        let mut client = world.client().await;
        client.send(GET).await;
        assert_eq!(client.answer().await.status, expected);
    }
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_its_own_root() {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let key_der = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = || {
        config()
            .with_no_client_auth()
            .with_single_cert(vec![made.der().clone()], key_der.clone_key().into())
            .unwrap()
    };
    let named = |name: &str| ServersTransport {
        root_cas: vec![Pem::Inline(made.pem())],
        server_name: Some(name.to_owned()),
        ..ServersTransport::default()
    };
    for (name, expected) in [("127.0.0.1", 200), ("else.test", 502)] {
        let origin = Origin::secured(config(), |_| ok("mine")).await;
        let mut world = World::in_front_of(&origin);
        assert_eq!(world.serve_tls(vec![place("c0", origin.at)], named(name), |_| {}), []);
        let mut client = world.client().await;
        client.send(GET).await;
        assert_eq!(client.answer().await.status, expected, "{name}");
    }
}

#[tokio::test]
async fn a_transport_that_can_not_be_had_costs_its_service() {
    let origin = Origin::answering(|_| ok("")).await;
    let mut world = World::in_front_of(&origin);
    let transport = ServersTransport {
        root_cas: vec![Pem::File("/nowhere/ca.pem".into())],
        ..ServersTransport::default()
    };
    let faults = world.serve_tls(vec![place("c0", origin.at)], transport, |_| {});
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].origin, "service app@test");
    assert!(faults[0].message.starts_with("/nowhere/ca.pem: "), "{faults:?}");
    let mut client = world.client().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.status, 502);
}

#[tokio::test]
async fn the_server_sees_its_own_host_where_it_is_not_to_see_the_clients() {
    let known = Authority::new("known");
    let mut origin = Origin::secured(server(&known.sign(&["127.0.0.1", "own.test"])), |_| ok("")).await;
    let at = origin.at;
    let mut world = World::in_front_of(&origin);
    for (host, expected) in [("", at.to_string()), ("own.test", "own.test".to_owned())] {
        let mut target = place("c0", at);
        target.host = host.into();
        assert_eq!(
            world.serve_tls(vec![target], trusting(&known), |upstream| upstream.pass_host_header = false),
            []
        );
        let mut client = world.client().await;
        client.send("POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(client.answer().await.status, 200);
        let seen = origin.seen().await;
        assert!(seen.head.starts_with(&format!("POST /x HTTP/1.1\r\nHost: {expected}\r\n")), "{}", seen.head);
        assert!(seen.head.contains("X-Forwarded-Host: a.test\r\n"), "{}", seen.head);
        assert_eq!(seen.body, b"hi");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_not_taken_for_whole() {
    let known = Authority::new("known");
    let papers = known.sign(&["127.0.0.1"]);
    let mut origin = Origin::manual().await;
    let mut world = World::of(&[origin.at]);
    assert_eq!(world.serve_tls(vec![place("c0", origin.at)], trusting(&known), |_| {}), []);
    for (says_goodbye, expected) in [(true, End::Clean), (false, End::Reset)] {
        let mut client = world.client().await;
        client.send(GET).await;
        let mut endpoint = origin.accept_tls(Arc::new(server(&papers))).await;
        endpoint.head().await;
        endpoint.send("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
        client.through("until the end").await;
        if says_goodbye {
            endpoint.finish().await;
        }
        drop(endpoint);
        assert_eq!(client.ends().await, expected, "goodbye: {says_goodbye}");
    }
}

#[tokio::test]
async fn versions_and_suites_are_those_that_were_said() {
    let known = Authority::new("known");
    let papers = known.sign(&["127.0.0.1"]);
    let older = showing(
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_no_client_auth(),
        &papers,
    );
    let suites = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    // The key is an elliptic one.
    let fitting = suites(&["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]);
    let unfit = suites(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
    let (v12, v13) = (Some(TlsVersion::V12), Some(TlsVersion::V13));
    for (config, min_version, max_version, cipher_suites, expected) in [
        (older.clone(), None, None, Vec::new(), 200),
        (older.clone(), v13, None, Vec::new(), 502),
        (older.clone(), None, v12, Vec::new(), 200),
        (server(&papers), None, v12, Vec::new(), 200),
        (server(&papers), v13, v13, Vec::new(), 200),
        (older.clone(), None, None, fitting, 200),
        (older, None, None, unfit.clone(), 502),
        // Those of TLS 1.3 are not chosen among.
        (server(&papers), None, None, unfit, 200),
    ] {
        let origin = Origin::secured(config, |_| ok("safe")).await;
        let mut world = World::in_front_of(&origin);
        let transport = ServersTransport { min_version, max_version, cipher_suites, ..trusting(&known) };
        assert_eq!(world.serve_tls(vec![place("c0", origin.at)], transport.clone(), |_| {}), []);
        let mut client = world.client().await;
        client.send(GET).await;
        assert_eq!(client.answer().await.status, expected, "{transport:?}");
    }
}

#[tokio::test]
async fn a_server_has_the_uri_that_was_said() {
    let (known, other) = (Authority::new("known"), Authority::new("other"));
    let uri = "spiffe://a.test/api";
    let skip = |authority: &Authority, insecure_skip_verify, uri: &str| ServersTransport {
        insecure_skip_verify,
        peer_cert_uri: Some(uri.to_owned()),
        ..trusting(authority)
    };
    for (names, transport, expected) in [
        (&["127.0.0.1", uri][..], skip(&known, false, uri), 200),
        (&["127.0.0.1", uri], skip(&known, false, "spiffe://a.test/ap"), 502),
        (&["127.0.0.1"], skip(&known, false, uri), 502),
        (&["else.test", uri], skip(&known, false, uri), 502),
        (&["else.test", uri], skip(&known, true, uri), 200),
        (&["else.test", uri], skip(&other, true, uri), 502),
        (&["else.test"], skip(&known, true, uri), 502),
    ] {
        let origin = Origin::secured(server(&known.sign(names)), |_| ok("safe")).await;
        let mut world = World::in_front_of(&origin);
        assert_eq!(world.serve_tls(vec![place("c0", origin.at)], transport.clone(), |_| {}), []);
        let mut client = world.client().await;
        client.send(GET).await;
        assert_eq!(client.answer().await.status, expected, "{names:?} {transport:?}");
    }
}

#[tokio::test]
async fn a_server_by_tls_has_the_uri_that_was_said() {
    let authority = Authority::new("inside");
    let uri = "spiffe://a.test/db";
    for (names, is_taken) in
        [(&["inside.test", uri][..], true), (&["inside.test", "spiffe://a.test/d"], false)]
    {
        let mut origin = Origin::manual().await;
        let mut world = World::of(&[]);
        let transport = TcpTransport {
            connections: ServersTransport {
                server_name: Some("inside.test".to_owned()),
                root_cas: vec![authority.pem()],
                peer_cert_uri: Some(uri.to_owned()),
                ..ServersTransport::default()
            },
            ..TcpTransport::default()
        };
        world.serve_tcp_by("db", vec![by_tls(place("db", origin.at))], transport);
        world.route_tcp("HostSNI(`*`)", "db");
        let mut client = world.client().await;
        if is_taken {
            let mut wire = origin.accept_tls(Arc::new(server(&authority.sign(names)))).await;
            client.send("hello").await;
            wire.expect("hello").await;
        } else {
            let raw = origin.accept().await;
            drop(raw.into_server_tls(Arc::new(server(&authority.sign(names)))).await);
            world.metric_becomes("portolan_refusals_total", &["web", "endpoint_tls"], 1.0).await;
        }
    }
}
