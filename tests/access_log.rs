//! One line of the access log says what was asked, who answered, and whose fault it was when nobody did.

use std::fs;

use serde_json::Value;

use crate::harness::{ADMIN, ENTRY_POINT, PATIENCE, Portolan, Sandbox, eventually, http};

fn lines(sandbox: &Sandbox) -> Vec<Value> {
    let text = fs::read_to_string(sandbox.path("/run/access.log")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("every line is an object")).collect()
}

#[test]
fn a_line_tells_what_was_asked_and_who_answered_or_why_nobody_did() {
    let sandbox = Sandbox::enter();
    let portolan = Portolan::start(
        None,
        &["--source", "demo", "--access-log", "/run/access.log", "--access-log-format", "json"],
    );
    http::get(ENTRY_POINT, "whoami.localhost", "/a?b=c").expect("the demo answers");
    http::get(ENTRY_POINT, "nobody.test", "/").expect("a refusal is an answer");
    for replica in 1..=3 {
        let stop = format!(
            "POST /api/demo/replicas/{replica}/stop HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        let mut admin = http::Connection::open(ADMIN).expect("the admin server answers");
        admin.send(stop.as_bytes()).expect("the admin server reads");
        assert_eq!(admin.read().expect("the admin server answers").status, 200);
    }
    eventually(PATIENCE, "a refusal for want of replicas", || {
        let status =
            http::get(ENTRY_POINT, "whoami.localhost", "/").map_err(|error| error.to_string())?.status;
        if status == 503 { Ok(()) } else { Err(format!("{status}")) }
    });
    let (answered, unrouted, refused) = eventually(PATIENCE, "the lines", || {
        let lines = lines(&sandbox);
        let of = |status: u64| lines.iter().find(|line| line["DownstreamStatus"] == status).cloned();
        of(200).zip(of(404)).zip(of(503)).map(|((a, b), c)| (a, b, c)).ok_or_else(|| format!("{lines:#?}"))
    });
    assert_eq!(answered["RequestPath"], "/a?b=c");
    assert_eq!(answered["RequestAddr"], "whoami.localhost");
    assert_eq!(answered["RouterName"], "whoami@demo");
    assert_eq!(answered["Reason"], Value::Null);
    assert!(answered["EndpointName"].as_str().is_some_and(|name| name.starts_with("whoami-")), "{answered}");
    assert_eq!((&unrouted["Reason"], &unrouted["RouterName"]), (&"no_route".into(), &Value::Null));
    assert_eq!((&refused["Reason"], &refused["ServiceName"]), (&"no_endpoint".into(), &"whoami@demo".into()));
    drop(portolan);
}

#[test]
fn a_line_has_the_fields_that_were_chosen() {
    let sandbox = Sandbox::enter();
    let portolan = Portolan::start(
        None,
        &[
            "--source",
            "demo",
            "--accesslog.filepath=/run/access.log",
            "--accesslog.format=json",
            "--accesslog.fields.names.clientaddr=drop",
            "--accesslog.fields.headers.defaultmode=keep",
            "--accesslog.fields.headers.names.authorization=redact",
            "--accesslog.fields.headers.names.User-Agent=drop",
            "--accesslog.fields.queryparameters.defaultmode=drop",
        ],
    );
    let mut client = http::Connection::open(ENTRY_POINT).expect("the entry point answers");
    let head = "GET /a?b=c HTTP/1.1\r\nHost: whoami.localhost\r\nuser-agent: ua\r\nauthorization: Basic eDp5\r\n\
                x-request-id: 1\r\nConnection: close\r\n\r\n";
    client.send(head.as_bytes()).expect("the entry point reads");
    assert_eq!(client.read().expect("the demo answers").status, 200);
    let line = eventually(PATIENCE, "the line", || lines(&sandbox).pop().ok_or("none yet"));
    assert_eq!(line["request_X-Request-Id"], "1", "{line}");
    assert_eq!(line["request_Authorization"], "REDACTED", "{line}");
    assert_eq!(line["request_User-Agent"], "", "{line}");
    assert_eq!(line["RequestPath"], "/a", "{line}");
    assert!(line.get("ClientAddr").is_none() && line.get("ClientHost").is_some(), "{line}");
    assert!(line["origin_Content-Type"].is_string(), "{line}");
    assert_eq!(line["downstream_Content-Type"], line["origin_Content-Type"], "{line}");
    assert!(http::get(ENTRY_POINT, "nobody.test", "/").is_ok());
    let line = eventually(PATIENCE, "the line of a refusal", || {
        lines(&sandbox).pop().filter(|line| line["DownstreamStatus"] == 404).ok_or("none yet")
    });
    assert_eq!(line["downstream_Content-Type"], "text/plain; charset=utf-8", "{line}");
    assert!(line.get("origin_Content-Type").is_none(), "{line}");
    drop(portolan);
}

#[test]
fn the_last_lines_are_written_before_the_process_ends() {
    let sandbox = Sandbox::enter();
    let mut portolan = Portolan::start(
        None,
        &["--source", "demo", "--access-log", "/run/access.log", "--access-log-format", "json"],
    );
    for _ in 0..50 {
        http::get(ENTRY_POINT, "whoami.localhost", "/").expect("the demo answers");
    }
    portolan.terminate();
    assert!(portolan.wait_exit(PATIENCE).success());
    assert_eq!(lines(&sandbox).len(), 50);
}
