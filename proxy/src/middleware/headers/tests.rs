//! What the `headers` middleware makes of requests and answers, option by option.

use std::collections::BTreeSet;

use portolan_config::dynamic::middleware::Middleware;

use super::*;
use crate::middleware::draft::tests::asked;
use crate::middleware::tests::written;

fn step(yaml: &str) -> Result<HeadersStep, String> {
    let Middleware::Headers(written) = written(&format!("headers: {yaml}")) else { panic!("{yaml}") };
    HeadersStep::compile(&written)
}

fn shown(fields: &crate::middleware::FieldList) -> BTreeSet<String> {
    fields.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect()
}

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn request(lines: &str) -> Draft {
    asked(&format!("GET / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n"))
}

/// The fields of an answer with these fields, to a request with those.
fn answered(yaml: &str, asked: &str, fields: &[(&str, &str)]) -> BTreeSet<String> {
    let step = step(yaml).unwrap();
    let mut draft = request(asked);
    step.request(&mut draft).expect("it goes on");
    let mut head = AnswerHead::new(200);
    for (name, value) in fields {
        head.fields.add(name, value.as_bytes());
    }
    step.answer(&mut head, &draft);
    shown(&head.fields)
}

#[test]
fn request_fields_are_set_and_taken_away() {
    let yaml = "{customRequestHeaders: {X-User: joe, x-empty: '', Host: b.test, X-Forwarded-For: ''}}";
    let mut draft = request("x_user: evil\r\nX-Empty: 1\r\nX-USER: evil\r\nAccept: a\r\n");
    let before = shown(&draft.fields);
    step(yaml).unwrap().request(&mut draft).unwrap();
    let after = shown(&draft.fields);
    assert!(before.contains("X-USER: evil") && before.contains("X-Empty: 1"));
    assert!(after.contains("X-User: joe") && after.contains("Accept: a"), "{after:?}");
    assert!(!after.iter().any(|line| line.contains("evil") || line.starts_with("X-Empty")), "{after:?}");
    assert_eq!((draft.host.as_str(), draft.tells_client), ("b.test", false));
}

#[test]
fn answer_fields_are_set_and_taken_away() {
    let yaml = "{customResponseHeaders: {Server: '', X-New: 'a, b', content-length: ''}}";
    let fields = [("server", "nginx"), ("X-Old", "1"), ("x-new", "0"), ("Content-Length", "3")];
    assert_eq!(answered(yaml, "", &fields), set(&["X-Old: 1", "X-New: a, b", "Content-Length: 3"]));
}

#[test]
fn what_can_not_be_a_field_is_a_fault() {
    for yaml in [
        "{customRequestHeaders: {'a b': x}}",
        "{customResponseHeaders: {a: \"x\\ny\"}}",
        "{customRequestHeaders: {Transfer-Encoding: gzip}}",
        "{customRequestHeaders: {Host: a/b}}",
        "{contentSecurityPolicy: \"a\\rb\"}",
        "{accessControlAllowOriginList: [\"a\\nb\"]}",
        "{stsSeconds: 0}",
    ] {
        assert!(step(yaml).is_err(), "{yaml}");
    }
}

#[test]
fn browsers_are_told_what_to_heed() {
    let yaml = "{frameDeny: true, contentTypeNosniff: true, browserXssFilter: true, referrerPolicy: same-origin, \
        contentSecurityPolicy: \"default-src 'self'\", permissionsPolicy: p, stsSeconds: 60, publicKey: k, \
        stsIncludeSubdomains: true, stsPreload: true, sslProxyHeaders: {X-Tls: 'on'}}";
    let always = [
        "X-Frame-Options: DENY",
        "X-Content-Type-Options: nosniff",
        "X-XSS-Protection: 1; mode=block",
        "Referrer-Policy: same-origin",
        "Content-Security-Policy: default-src 'self'",
        "Permissions-Policy: p",
    ];
    assert_eq!(answered(yaml, "", &[("X-Frame-Options", "SAMEORIGIN")]), set(&always));
    let sts = "Strict-Transport-Security: max-age=60; includeSubDomains; preload";
    let secured = [&always[..], &[sts, "Public-Key-Pins: k"]].concat();
    assert_eq!(answered(yaml, "X-Tls: on\r\n", &[]), set(&secured));
    let forced =
        "{stsSeconds: 60, forceSTSHeader: true, customFrameOptionsValue: SAMEORIGIN, frameDeny: true}";
    let expected = ["Strict-Transport-Security: max-age=60", "X-Frame-Options: SAMEORIGIN"];
    assert_eq!(answered(forced, "", &[]), set(&expected));
    assert_eq!(answered("{stsSeconds: 60, forceSTSHeader: true, isDevelopment: true}", "", &[]), set(&[]));
}

#[test]
fn hosts_that_may_not_be_asked_for_are_refused() {
    let yaml = "{allowedHosts: [A.test, b.test], hostsProxyHeaders: [X-Host]}";
    for (lines, fine) in [("", true), ("X-Host: B.test\r\n", true), ("X-Host: c.test\r\n", false)] {
        let refused = step(yaml).unwrap().request(&mut request(lines)).err();
        assert_eq!(refused.map(|answer| answer.head.status), (!fine).then_some(500), "{lines}");
    }
    let development = step("{allowedHosts: [b.test], isDevelopment: true}").unwrap();
    assert!(development.request(&mut request("")).is_ok());
}

const CORS: &str =
    "accessControlAllowMethods: [GET, PUT], accessControlAllowHeaders: ['*'], accessControlMaxAge: 100";

/// The fields of the answer to a preflight request from `https://a.b`.
fn preflight(yaml: &str) -> BTreeSet<String> {
    let head = "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://a.b\r\nAccess-Control-Request-Method: PUT\r\n\
        Access-Control-Request-Headers: x-a\r\n\r\n";
    let answer = step(yaml).unwrap().request(&mut asked(head)).expect_err("it is answered");
    assert_eq!((answer.head.status, answer.body.len(), answer.reason), (200, 0, None));
    shown(&answer.head.fields)
}

#[test]
fn who_asks_beforehand_is_answered_here() {
    let base = ["Access-Control-Allow-Methods: GET,PUT", "Access-Control-Max-Age: 100"];
    for (yaml, more) in [
        (
            format!("{{{CORS}, accessControlAllowOriginList: ['*']}}"),
            &["Access-Control-Allow-Headers: *", "Access-Control-Allow-Origin: *"][..],
        ),
        (
            format!("{{{CORS}, accessControlAllowOriginList: ['*'], accessControlAllowCredentials: true}}"),
            &[
                "Access-Control-Allow-Headers: x-a",
                "Access-Control-Allow-Origin: https://a.b",
                "Access-Control-Allow-Credentials: true",
            ],
        ),
        (
            format!("{{{CORS}, accessControlAllowOriginListRegex: ['^https://a\\.']}}"),
            &["Access-Control-Allow-Headers: *", "Access-Control-Allow-Origin: https://a.b"],
        ),
        (
            format!("{{{CORS}, accessControlAllowOriginList: [https://other]}}"),
            &["Access-Control-Allow-Headers: *"],
        ),
    ] {
        assert_eq!(preflight(&yaml), set(&[&base[..], more].concat()), "{yaml}");
    }
    // Without CORS, and where nothing is asked beforehand, OPTIONS is a request like others.
    let plain = step("{frameDeny: true}").unwrap();
    let head = "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://a.b\r\n";
    assert!(plain.request(&mut asked(&format!("{head}Access-Control-Request-Method: PUT\r\n\r\n"))).is_ok());
    assert!(step(&format!("{{{CORS}}}")).unwrap().request(&mut asked(&format!("{head}\r\n"))).is_ok());
}

#[test]
fn answers_say_who_may_read_them() {
    let yaml = "{accessControlAllowOriginList: [https://a.b], accessControlExposeHeaders: [X-A, X-B], addVaryHeader: true}";
    let expected = [
        "Access-Control-Allow-Origin: https://a.b",
        "Access-Control-Expose-Headers: X-A,X-B",
        "Vary: Accept,Origin",
    ];
    assert_eq!(answered(yaml, "Origin: https://a.b\r\n", &[("Vary", "Accept")]), set(&expected));
    let expected = ["Access-Control-Expose-Headers: X-A,X-B", "Vary: Origin"];
    assert_eq!(answered(yaml, "Origin: https://c\r\n", &[]), set(&expected));
    assert_eq!(
        answered(yaml, "", &[("vary", "Origin")]),
        set(&["Access-Control-Expose-Headers: X-A,X-B", "vary: Origin"])
    );
}
