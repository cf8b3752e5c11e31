//! Clients that speak TLS: who is shown which certificate, and what is taken in the clear beside it.

use portolan_config::settings::EntryPointTls;
use portolan_config::tls::Tls;

use crate::support::papers::Authority;
use crate::support::{Link, Origin, Wire, World, ok};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[tokio::test]
async fn a_request_by_tls_is_answered_and_its_endpoint_knows() {
    let mut origin = Origin::answering(|_| ok("safe")).await;
    let mut world = World::in_front_of(&origin);
    let authority = Authority::new("one");
    world.route_tls("safe", "Host(`a.test`)", None);
    assert_eq!(world.show(authority.sign(&["a.test"]).shown()), []);
    let mut client = Wire::by(Link::connect(world.http, "a.test", authority.client()).await.unwrap());
    for _ in 0..2 {
        client.send(GET).await;
        assert_eq!(client.answer().await.body, "safe");
    }
    let head = origin.seen().await.head;
    assert!(head.contains("X-Forwarded-Proto: https\r\n"), "{head}");
    assert!(head.contains("X-Forwarded-Port: 443\r\n"), "{head}");
    world.metric_becomes("portolan_tls_handshakes_total", &["version=\"1.3\"", "kind=\"full\""], 1.0).await;
}

#[tokio::test]
async fn the_name_asked_for_chooses_the_certificate() {
    let origin = Origin::answering(|_| ok("")).await;
    let mut world = World::in_front_of(&origin);
    let authority = Authority::new("one");
    let own = authority.sign(&["a.test"]);
    let wild = authority.sign(&["*.wild.test"]);
    let default = authority.sign(&["default.example"]);
    let mut tls = Tls::default();
    for papers in [&wild, &own] {
        tls.certificates.push((papers.pair(), Vec::new()));
    }
    tls.default_certificates.insert("default".to_owned(), default.pair());
    assert_eq!(world.show(tls), []);
    for (name, expected) in
        [("a.test", &own), ("b.wild.test", &wild), ("A.TEST", &own), ("default.example", &default)]
    {
        let link = Link::connect(world.http, name, authority.client()).await.unwrap();
        assert_eq!(link.certificate().as_ref(), Some(&expected.der), "{name}");
    }
    // Shown the default, a client that wants another name does not go on.
    let refused = Link::connect(world.http, "c.b.wild.test", authority.client()).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn one_port_takes_both_each_for_its_own_routers() {
    let origin = Origin::answering(|_| ok("here")).await;
    let mut world = World::in_front_of(&origin);
    let authority = Authority::new("one");
    world.route_tls("safe", "Host(`safe.test`)", None);
    world.show(authority.sign(&["a.test", "safe.test"]).shown());
    let mut plain = world.client().await;
    let mut safe = Wire::by(Link::connect(world.http, "safe.test", authority.client()).await.unwrap());
    for (host, in_the_clear, by_tls) in [("a.test", 200, 404), ("safe.test", 404, 200)] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        plain.send(&request).await;
        assert_eq!(plain.answer().await.status, in_the_clear, "{host} in the clear");
        safe.send(&request).await;
        assert_eq!(safe.answer().await.status, by_tls, "{host} by TLS");
    }
}

#[tokio::test]
async fn http_in_the_clear_is_told_where_only_tls_is_taken() {
    let origin = Origin::answering(|_| ok("safe")).await;
    let mut world = World::tuned(&[origin.at], |web| web.tls = Some(EntryPointTls::default()));
    let authority = Authority::new("one");
    world.show(authority.sign(&["a.test"]).shown());
    let mut plain = world.client().await;
    plain.send(GET).await;
    let answer = plain.answer().await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.starts_with("client sent an HTTP request to an HTTPS server"), "{}", answer.body);
    let mut safe = Wire::by(Link::connect(world.http, "a.test", authority.client()).await.unwrap());
    safe.send(GET).await;
    assert_eq!(safe.answer().await.body, "safe");
    world.metric_becomes("portolan_refusals_total", &["reason=\"needs_tls\""], 1.0).await;
}
