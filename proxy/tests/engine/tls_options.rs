//! Options of TLS: versions, suites, certificates of clients, names; and that no way leads around them.

use std::sync::Arc;

use portolan_config::tls::{ClientAuth, ClientAuthKind, Tls, TlsOptions, TlsVersion};
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};

use crate::support::papers::Authority;
use crate::support::{End, Link, Origin, Wire, World, ok};

/// A proxy with these options for `a.test`, and whoever signed its certificate. `b.test` has the default ones.
async fn world(options: TlsOptions) -> (World, Authority, Origin) {
    let origin = Origin::answering(|_| ok("in")).await;
    let mut world = World::in_front_of(&origin);
    let authority = Authority::new("one");
    world.route_tls("a", "Host(`a.test`)", Some("own@file"));
    world.route_tls("b", "Host(`b.test`)", None);
    let mut tls = authority.sign(&["a.test", "b.test"]).shown();
    tls.options.insert("own@file".to_owned(), options);
    assert_eq!(world.show(tls), []);
    (world, authority, origin)
}

/// What a client is answered that goes through a handshake as `name` and asks for `host`; nothing, where it is not let
/// in. With TLS 1.3, a client hears only after the handshake that it was not good enough.
async fn ask(world: &World, name: &str, host: &str, config: Arc<ClientConfig>) -> Option<u16> {
    let link = Link::connect(world.http, name, config).await.ok()?;
    let mut client = Wire::by(link);
    client.try_send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await.ok()?;
    let (bytes, end) = client.rest().await;
    let text = String::from_utf8(bytes).unwrap();
    if text.is_empty() {
        return None;
    }
    // The goodbye came: nothing was cut off.
    assert_eq!(end, End::Clean, "{text}");
    Some(text[9..12].parse().unwrap())
}

#[tokio::test]
async fn versions_that_are_not_allowed_are_not_spoken() {
    let newer = TlsOptions { min_version: TlsVersion::V13, ..TlsOptions::default() };
    let older = TlsOptions { max_version: TlsVersion::V12, ..TlsOptions::default() };
    for (options, by_12, by_13) in
        [(newer, None, Some(200)), (older, Some(200), None), (TlsOptions::default(), Some(200), Some(200))]
    {
        let (world, authority, _origin) = world(options).await;
        for (version, expected) in [(&TLS12, by_12), (&TLS13, by_13)] {
            let client = Arc::new(authority.client_of(&[version]).with_no_client_auth());
            assert_eq!(ask(&world, "a.test", "a.test", client).await, expected, "{version:?}");
        }
        let failed = if by_12 == by_13 { 0.0 } else { 1.0 };
        let labels = ["reason=\"incompatible\""];
        world.metric_becomes("portolan_tls_handshake_failures_total", &labels, failed).await;
    }
}

#[tokio::test]
async fn suites_are_those_that_were_chosen() {
    let suite = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    let options = TlsOptions { cipher_suites: vec![suite.to_owned()], ..TlsOptions::default() };
    let (world, authority, _origin) = world(options).await;
    for (name, expected) in [("a.test", true), ("b.test", false)] {
        let client = Arc::new(authority.client_of(&[&TLS12]).with_no_client_auth());
        let link = Link::connect(world.http, name, client).await.unwrap();
        let chosen = link.session().get_ref().1.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(chosen.as_str() == Some(suite), expected, "{name}: {chosen:?}");
    }
}

#[tokio::test]
async fn clients_show_certificates_as_they_are_asked_to() {
    use ClientAuthKind::{None as Nobody, Request, RequireAndVerify, RequireAny, VerifyIfGiven};
    let signer = Authority::new("signer of clients");
    let known = signer.sign(&["client.test"]);
    let stranger = Authority::new("somebody").sign(&["client.test"]);
    for (kind, without, by_stranger, by_known) in [
        (Nobody, true, true, true),
        (Request, true, true, true),
        (RequireAny, false, true, true),
        (VerifyIfGiven, true, false, true),
        (RequireAndVerify, false, false, true),
    ] {
        let authorities = if kind == Nobody { Vec::new() } else { vec![signer.pem()] };
        let options = TlsOptions { client_auth: ClientAuth { authorities, kind }, ..TlsOptions::default() };
        let (world, authority, _origin) = world(options).await;
        for version in [&TLS12, &TLS13] {
            let config = || authority.client_of(&[version]);
            let none = config().with_no_client_auth();
            let strange = config().with_client_auth_cert(stranger.chain(), stranger.private_key()).unwrap();
            let good = config().with_client_auth_cert(known.chain(), known.private_key()).unwrap();
            for (client, let_in) in [(none, without), (strange, by_stranger), (good, by_known)] {
                let status = ask(&world, "a.test", "a.test", Arc::new(client)).await;
                assert_eq!(status.is_some(), let_in, "{kind:?} by {version:?}");
            }
        }
    }
}

#[tokio::test]
async fn servers_are_told_of_the_certificate_that_a_client_showed() {
    let signer = Authority::new("signer of clients");
    let client_auth = ClientAuth { authorities: vec![signer.pem()], kind: ClientAuthKind::VerifyIfGiven };
    let options = TlsOptions { client_auth, ..TlsOptions::default() };
    let (mut world, authority, mut origin) = world(options).await;
    world.define("told", "passTLSClientCert: {pem: true, info: {sans: true, issuer: {commonName: true}}}");
    assert_eq!(world.put_before("a", &["told"]), []);
    let papers = signer.sign(&["client.test", "www.client.test"]);
    let body: String = papers.certificate.lines().filter(|line| !line.starts_with('-')).collect();
    let whole = format!("\r\nX-Forwarded-Tls-Client-Cert: {body}\r\n");
    let parts = "\r\nX-Forwarded-Tls-Client-Cert-Info: Issuer%3D%22CN%3Dsigner+of+clients%22%3B\
                 SAN%3D%22client.test%2Cwww.client.test%22\r\n";
    for protocol in ["http/1.1", "h2"] {
        let config = authority.client_of(rustls::DEFAULT_VERSIONS);
        let mut client = config.with_client_auth_cert(papers.chain(), papers.private_key()).unwrap();
        client.alpn_protocols = vec![protocol.into()];
        let link = Link::connect(world.http, "a.test", Arc::new(client)).await.unwrap();
        if protocol == "h2" {
            let mut client = crate::support::http2::Http2::over(link).await;
            assert_eq!(client.get("https://a.test/").await.status, 200);
        } else {
            let mut client = Wire::by(link);
            client.send("GET / HTTP/1.1\r\nHost: a.test\r\nX_Forwarded_Tls_Client_Cert: mine\r\n\r\n").await;
            assert_eq!(client.answer().await.status, 200);
        }
        let seen = origin.seen().await.head;
        assert!(seen.contains(&whole) && seen.contains(parts), "{seen}");
        assert!(!seen.contains("mine"), "{seen}");
    }
    // Who shows none is told of by nothing, whatever it says of itself.
    let mut client = Wire::by(Link::connect(world.http, "a.test", authority.client()).await.unwrap());
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Tls-Client-Cert: mine\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    let seen = origin.seen().await.head;
    assert!(!seen.to_lowercase().contains("client-cert"), "{seen}");
}

#[tokio::test]
async fn another_name_is_no_way_around_a_client_certificate() {
    let signer = Authority::new("signer of clients");
    let client_auth = ClientAuth { authorities: vec![signer.pem()], kind: ClientAuthKind::RequireAndVerify };
    let options = TlsOptions { client_auth, ..TlsOptions::default() };
    let (mut world, authority, mut origin) = world(options).await;
    assert_eq!(ask(&world, "b.test", "b.test", authority.client()).await, Some(200));
    assert_eq!(ask(&world, "b.test", "a.test", authority.client()).await, Some(421));
    assert_eq!(ask(&world, "a.test", "a.test", authority.client()).await, None);
    let known = authority.client_with(&signer.sign(&["client.test"]));
    assert_eq!(ask(&world, "a.test", "a.test", known).await, Some(200));
    assert_eq!(origin.seen_by_now().len(), 2);
    // Nor are options that can't be met.
    let mut tls = authority.sign(&["a.test", "b.test"]).shown();
    let kind = ClientAuthKind::RequireAndVerify;
    let client_auth = ClientAuth { authorities: Vec::new(), kind };
    tls.options.insert("own@file".to_owned(), TlsOptions { client_auth, ..TlsOptions::default() });
    let faults = world.show(tls);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].key, "tls.options.own@file.clientAuth");
    assert_eq!(ask(&world, "a.test", "a.test", authority.client()).await, None);
    assert_eq!(ask(&world, "b.test", "b.test", authority.client()).await, Some(200));
    world.metric_becomes("portolan_tls_handshake_failures_total", &["reason=\"options\""], 1.0).await;
}

#[tokio::test]
async fn a_ticket_is_no_way_around_a_client_certificate() {
    let signer = Authority::new("signer of clients");
    let (mut world, authority, _origin) = world(TlsOptions::default()).await;
    let client = authority.client();
    for resumed in [false, true] {
        let mut client = Wire::by(Link::connect(world.http, "a.test", client.clone()).await.unwrap());
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        assert_eq!(client.link().is_resumed(), resumed);
    }
    let client_auth = ClientAuth { authorities: vec![signer.pem()], kind: ClientAuthKind::RequireAndVerify };
    let mut tls = authority.sign(&["a.test", "b.test"]).shown();
    tls.options.insert("own@file".to_owned(), TlsOptions { client_auth, ..TlsOptions::default() });
    assert_eq!(world.show(tls), []);
    assert_eq!(ask(&world, "a.test", "a.test", client).await, None);
}

#[tokio::test]
async fn a_name_without_a_certificate_is_turned_away_where_names_are_strict() {
    let origin = Origin::answering(|_| ok("")).await;
    let mut world = World::in_front_of(&origin);
    let authority = Authority::new("one");
    let mut tls = authority.sign(&["a.test"]).shown();
    tls.options.insert("default".to_owned(), TlsOptions { sni_strict: true, ..TlsOptions::default() });
    assert_eq!(world.show(tls), []);
    assert!(Link::connect(world.http, "a.test", authority.client()).await.is_ok());
    assert!(Link::connect(world.http, "b.test", authority.client()).await.is_err());
    world.metric_becomes("portolan_tls_handshake_failures_total", &["reason=\"unknown_name\""], 1.0).await;
}

#[tokio::test]
async fn http2_is_agreed_on_and_spoken_where_the_client_can() {
    let (world, authority, _origin) = world(TlsOptions::default()).await;
    let mut client = authority.client_of(rustls::DEFAULT_VERSIONS).with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let link = Link::connect(world.http, "a.test", Arc::new(client)).await.unwrap();
    assert_eq!(link.session().get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = crate::support::http2::Http2::over(link).await;
    assert_eq!(client.get("https://a.test/").await.status, 200);
    // The handshake was for another name, with other options.
    assert_eq!(client.get("https://b.test/").await.status, 421);
    world
        .metric_becomes("portolan_entrypoint_requests_total", &["protocol=\"h2\"", "code=\"200\""], 1.0)
        .await;
}

#[tokio::test]
async fn a_protocol_that_is_not_spoken_is_not_agreed_on() {
    let (world, authority, _origin) = world(TlsOptions::default()).await;
    let mut client = authority.client_of(rustls::DEFAULT_VERSIONS).with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let link = Link::connect(world.http, "a.test", Arc::new(client.clone())).await.unwrap();
    assert_eq!(link.session().get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    client.alpn_protocols = vec![b"imap".to_vec()];
    assert!(Link::connect(world.http, "a.test", Arc::new(client)).await.is_err());
    world.metric_becomes("portolan_tls_handshake_failures_total", &["reason=\"protocol\""], 1.0).await;
}

/// What these options of `a.test` are told, and who is let in there by TLS 1.2 and by 1.3.
async fn told(options: TlsOptions) -> (Vec<(String, String)>, [Option<u16>; 2]) {
    let origin = Origin::answering(|_| ok("in")).await;
    let mut world = World::in_front_of(&origin);
    let authority = Authority::new("one");
    world.route_tls("a", "Host(`a.test`)", Some("own@file"));
    world.route_tls("b", "Host(`b.test`)", None);
    let mut tls = authority.sign(&["a.test", "b.test"]).shown();
    tls.options.insert("own@file".to_owned(), options);
    let faults = world.show(tls).into_iter().map(|fault| (fault.key, fault.message)).collect();
    let mut let_in = [None; 2];
    for (at, version) in [&TLS12, &TLS13].into_iter().enumerate() {
        let client = Arc::new(authority.client_of(&[version]).with_no_client_auth());
        let_in[at] = ask(&world, "a.test", "a.test", client.clone()).await;
        assert_eq!(ask(&world, "b.test", "b.test", client).await, Some(200), "the others are served");
    }
    (faults, let_in)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test]
async fn names_that_are_not_known_cost_themselves_and_are_told_one_by_one() {
    let suites =
        ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA265", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "NONSENSE"];
    let options = TlsOptions {
        cipher_suites: names(&suites),
        curves: names(&["CurveP265", "CurveP384", "brainpool"]),
        ..TlsOptions::default()
    };
    let (faults, let_in) = told(options).await;
    let begins = [
        (
            "cipherSuites",
            "`TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA265` is not offered: the nearest is `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`; known are",
        ),
        ("cipherSuites", "`NONSENSE` is not offered: known are"),
        ("curvePreferences", "`CurveP265` is not offered: the nearest is `CurveP256`; known are"),
        ("curvePreferences", "`brainpool` is not offered: known are"),
    ];
    assert_eq!(faults.len(), begins.len(), "{faults:?}");
    for ((key, message), (option, begin)) in faults.iter().zip(begins) {
        assert_eq!(key, &format!("tls.options.own@file.{option}"));
        assert!(message.starts_with(begin), "{message}");
    }
    assert_eq!(let_in, [Some(200), Some(200)], "by what is left");
}

#[tokio::test]
async fn options_of_which_nothing_is_left_take_no_connection() {
    let (older, newer) = (TlsVersion::V12, TlsVersion::V13);
    for (options, option) in [
        (TlsOptions { curves: names(&["brainpool"]), ..TlsOptions::default() }, "curvePreferences"),
        (
            TlsOptions { cipher_suites: names(&["NONSENSE"]), max_version: older, ..TlsOptions::default() },
            "cipherSuites",
        ),
        (TlsOptions { min_version: newer, max_version: older, ..TlsOptions::default() }, "minVersion"),
    ] {
        let (faults, let_in) = told(options).await;
        let last = faults.last().expect("a fault");
        assert_eq!(last.0, format!("tls.options.own@file.{option}"), "{faults:?}");
        assert!(last.1.ends_with("no connection is taken by these options"), "{faults:?}");
        assert_eq!(let_in, [None, None], "{option}");
    }
}

#[tokio::test]
async fn a_router_that_can_not_have_its_options_is_left_out() {
    let origin = Origin::answering(|_| ok("")).await;
    let mut world = World::in_front_of(&origin);
    let authority = Authority::new("one");
    world.route_tls("lost", "Host(`lost.test`)", Some("nowhere@file"));
    world.route_tls("any", "PathPrefix(`/`)", Some("strict@file"));
    world.route_tls("one", "Host(`two.test`)", Some("strict@file"));
    world.route_tls("two", "Host(`two.test`) && PathPrefix(`/x`)", None);
    let mut tls: Tls = authority.sign(&["lost.test", "two.test"]).shown();
    let strict = TlsOptions { min_version: TlsVersion::V13, ..TlsOptions::default() };
    tls.options.insert("strict@file".to_owned(), strict);
    let faults = world.show(tls);
    let mut said: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    said.sort_unstable();
    assert_eq!(
        said,
        [
            "`strict@file` is chosen by the host that a client asks for, and the rule takes any: write Host(`…`)",
            "there are no TLS options `nowhere@file`: known are default, strict@file",
            "two@test wants `default` for Host(`two.test`) on web, and one@test wants `strict@file`: `default` counts for both",
        ]
    );
    assert_eq!(ask(&world, "lost.test", "lost.test", authority.client()).await, Some(404));
    let older = Arc::new(authority.client_of(&[&TLS12]).with_no_client_auth());
    assert_eq!(ask(&world, "two.test", "two.test", older).await, Some(200));
}
