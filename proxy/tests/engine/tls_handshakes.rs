//! Handshakes that go wrong, sessions that are taken up again, certificates that change while they are shown.

use std::fs;
use std::sync::Arc;

use portolan_config::tls::{KeyPair, Pem, Tls};
use rustls::version::{TLS12, TLS13};

use crate::support::papers::{Authority, Papers};
use crate::support::{End, Link, Origin, Wire, World, ok};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[tokio::test]
async fn without_any_certificate_a_self_made_one_is_shown() {
    let origin = Origin::answering(|_| ok("")).await;
    let world = World::in_front_of(&origin);
    let refused = Link::connect(world.http, "localhost", Authority::new("one").client()).await;
    // It is shown, and trusted by nobody.
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("UnknownIssuer") || error.contains("certificate"), "{error}");
    world.metric_becomes("portolan_tls_handshake_failures_total", &["reason=\"alert\""], 1.0).await;
    let not_after = "portolan_tls_certificate_not_after_timestamp_seconds";
    assert!(world.metric(not_after, &["cn=\"PORTOLAN DEFAULT CERT\""]) > 1.7e9);
}

#[tokio::test]
async fn garbage_is_closed_and_nobody_else_notices() {
    let origin = Origin::answering(|_| ok("")).await;
    let mut world = World::in_front_of(&origin);
    let authority = Authority::new("one");
    world.show(authority.sign(&["a.test"]).shown());
    let long = vec![0x16; 100_000];
    let lengths = [
        &b"\x16"[..],
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff\x01",
        b"\x16\x03\x01\x00\x00",
        &long,
    ];
    for garbage in lengths {
        let mut client = world.client().await;
        // It may be closed before all of it is read.
        let _ = client.try_send(garbage).await;
        client.finish().await;
        let (bytes, _) = client.rest().await;
        // An alert, or nothing.
        assert!(bytes.is_empty() || bytes[0] == 0x15, "{bytes:?}");
    }
    world
        .metric_becomes("portolan_refusals_total", &["reason=\"tls_handshake\""], lengths.len() as f64)
        .await;
    assert!(Link::connect(world.http, "a.test", authority.client()).await.is_ok());
    world.metric_becomes("portolan_entrypoint_connections_open", &["web"], 0.0).await;
}

#[tokio::test]
async fn a_session_is_taken_up_again_by_whichever_worker() {
    let origin = Origin::answering(|_| ok("again")).await;
    let mut world = World::in_front_of(&origin);
    let authority = Authority::new("one");
    world.route_tls("safe", "Host(`a.test`)", None);
    world.show(authority.sign(&["a.test"]).shown());
    for version in [&TLS12, &TLS13] {
        let client = Arc::new(authority.client_of(&[version]).with_no_client_auth());
        // The kernel spreads them over two workers, by port: all of sixteen on one is a chance in 32 768.
        for attempt in 0..16 {
            let mut client = Wire::by(Link::connect(world.http, "a.test", client.clone()).await.unwrap());
            client.send(GET).await;
            assert_eq!(client.answer().await.body, "again");
            assert_eq!(client.link().is_resumed(), attempt > 0, "{version:?}, connection {attempt}");
        }
    }
    world.metric_becomes("portolan_tls_handshakes_total", &["kind=\"resumed\""], 30.0).await;
    world.metric_becomes("portolan_tls_handshakes_total", &["kind=\"full\"", "version=\"1.2\""], 1.0).await;
}

#[tokio::test]
async fn a_certificate_that_changes_is_shown_without_a_restart() {
    let origin = Origin::answering(|_| ok("on")).await;
    let mut world = World::in_front_of(&origin);
    let authority = Authority::new("one");
    world.route_tls("safe", "Host(`a.test`)", None);
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let write = |papers: &Papers| {
        fs::write(&certificate, &papers.certificate).unwrap();
        fs::write(&key, &papers.key).unwrap();
    };
    let (first, second) = (authority.sign(&["a.test"]), authority.sign(&["a.test"]));
    write(&first);
    let pair = KeyPair { certificate: Pem::File(certificate.clone()), key: Pem::File(key.clone()) };
    let tls = Tls { certificates: vec![(pair, Vec::new())], ..Tls::default() };
    assert_eq!(world.show(tls), []);
    let mut lasting = Wire::by(Link::connect(world.http, "a.test", authority.client()).await.unwrap());
    let shown = async |world: &World| {
        let link = Link::connect(world.http, "a.test", authority.client()).await.unwrap();
        link.certificate().unwrap()
    };
    assert_eq!(shown(&world).await, first.der);
    // Half of a change is none: it is said, and what was there is shown on.
    fs::write(&certificate, &second.certificate).unwrap();
    let faults = world.look();
    assert_eq!(faults.len(), 1, "{faults:?}");
    let expected = format!(
        "{}: it is not the key to the certificate; what was there before is still shown",
        key.display()
    );
    assert_eq!(faults[0].message, expected);
    assert_eq!(shown(&world).await, first.der);
    write(&second);
    assert_eq!(world.look(), []);
    assert_eq!(shown(&world).await, second.der);
    // So is one that is lost, and whoever is connected goes on.
    fs::remove_file(&certificate).unwrap();
    let faults = world.look();
    assert!(faults[0].message.starts_with(&certificate.display().to_string()), "{faults:?}");
    assert_eq!(shown(&world).await, second.der);
    lasting.send(GET).await;
    assert_eq!(lasting.answer().await.body, "on");
}

#[tokio::test]
async fn a_bad_certificate_costs_itself() {
    let origin = Origin::answering(|_| ok("")).await;
    let mut world = World::in_front_of(&origin);
    let authority = Authority::new("one");
    let mut tls = authority.sign(&["a.test"]).shown();
    let nowhere = KeyPair {
        certificate: Pem::File("/nowhere/cert.pem".into()),
        key: Pem::File("/nowhere/key.pem".into()),
    };
    let mixed = KeyPair {
        certificate: Pem::Inline(authority.sign(&["b.test"]).certificate),
        key: Pem::Inline("not a key".to_owned()),
    };
    tls.certificates.extend([(nowhere, Vec::new()), (mixed, Vec::new())]);
    let faults = world.show(tls);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].message.starts_with("/nowhere/cert.pem: "), "{faults:?}");
    assert!(faults[1].message.starts_with("the text: no private key can be read from it"), "{faults:?}");
    assert!(Link::connect(world.http, "a.test", authority.client()).await.is_ok());
}

#[tokio::test]
async fn the_end_of_an_answer_is_told_from_a_break() {
    let mut origin = Origin::manual().await;
    let mut world = World::of(&[origin.at]);
    let authority = Authority::new("one");
    world.route_tls("safe", "Host(`a.test`)", None);
    world.show(authority.sign(&["a.test"]).shown());
    for (breaks, expected) in [(false, End::Clean), (true, End::Reset)] {
        let mut client = Wire::by(Link::connect(world.http, "a.test", authority.client()).await.unwrap());
        client.send(GET).await;
        let mut endpoint = origin.accept().await;
        endpoint.head().await;
        endpoint.send("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
        client.through("until the end").await;
        if breaks {
            endpoint.reset();
        } else {
            drop(endpoint);
        }
        assert_eq!(client.ends().await, expected);
    }
}
