//! Names as an operator meets them: asked for by `dig` and `curl` over TLS and HTTPS, written by hand, explained, and logged.

use std::process::Output;

use crate::harness::dns::{RecordType, ResponseCode, answers, query};
use crate::harness::{Container, Engine, NAME_SERVER, PATIENCE, Portolan, eventually, require, resolve};

const RECORDS: &str =
    "printer A 192.0.2.10\n*.apps A 192.0.2.11\nshop CNAME web\nprinter TXT \"second floor\"\n";
const TLS: &str = "127.0.0.1:8853";
const HTTPS: &str = "127.0.0.1:8443";

/// `web` and a client on the network `front`, `db` on `back`, and `safe` on both `front` and the hidden `vault`.
fn start() -> (Engine, Portolan) {
    let engine = Engine::start();
    for network in ["front", "back", "vault"] {
        engine.network(network);
    }
    engine.run(
        &Container::new("web-1")
            .label("portolan.service", "web")
            .label("portolan.http.routers.web.rule", "Host(`app.example.com`)")
            .network("front"),
    );
    engine.run(&Container::new("client").network("front"));
    engine.run(&Container::new("db").network("back"));
    engine.run(&Container::new("safe").network("vault"));
    engine.docker(&["network", "connect", "front", "safe"]);
    engine.sandbox().write("/run/records", RECORDS);
    engine.sandbox().shell(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=dns.test \
         -addext subjectAltName=IP:127.0.0.1 -keyout /run/dns-key.pem -out /run/dns-cert.pem 2>/dev/null",
    );
    let portolan = Portolan::start(
        &engine,
        &[
            "--dns-forward=off",
            "--dns-records=/run/records",
            "--dns-router-hosts=192.0.2.7",
            "--dns-hidden-networks=vault",
            "--dns-tls-certificate=/run/dns-cert.pem",
            "--dns-tls-key=/run/dns-key.pem",
            &format!("--dns-tls-address={TLS}"),
            &format!("--dns-https-address={HTTPS}"),
            "--dns-log=/run/queries",
            "--dns-log-sample=2",
            "--dns-log-class=denial,error",
        ],
    );
    for name in ["web-1", "client", "db", "safe"] {
        portolan.await_state(name, "ready");
    }
    (engine, portolan)
}

fn run(engine: &Engine, program: &str, arguments: &[&str]) -> String {
    let output = engine.sandbox().command(require(program)).args(arguments).output().expect("it runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn explained(engine: &Engine, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = engine.sandbox().command(Portolan::binary());
    let Output { status, stdout, stderr } = command.arg("resolve").args(arguments).output().expect("it runs");
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn names_are_what_an_operator_asks_for_and_wrote() {
    let (engine, portolan) = start();
    let web = portolan.endpoint("web-1").expect("it is known").ipv4;
    let port = |address: &str| address.rsplit(':').next().map(str::to_owned).expect("a port");
    let name = "web.portolan.internal";

    // Over TLS and HTTPS, as the tools at hand ask.
    for (how, address) in [("+tls", TLS), ("+https", HTTPS), ("+https-get", HTTPS)] {
        let shown = run(&engine, "dig", &["@127.0.0.1", "-p", &port(address), how, "+tries=1", name]);
        assert!(shown.contains("status: NOERROR") && shown.contains(&web), "{how}: {shown}");
    }
    engine.serving("web-1", "front");
    let url = format!("https://{HTTPS}/dns-query");
    let page = format!("http://{name}/");
    let got = run(&engine, "curl", &["-sS", "-4", "--doh-url", &url, "--cacert", "/run/dns-cert.pem", &page]);
    assert!(got.contains("web-1"), "curl finds it by our answer: {got}");

    // What is written by hand, and the hosts of routers.
    for (name, kind, expected) in [
        ("printer", RecordType::A, "192.0.2.10"),
        ("printer", RecordType::TXT, "second floor"),
        ("any.apps", RecordType::A, "192.0.2.11"),
        ("shop", RecordType::A, &*web),
        ("shop", RecordType::CNAME, "web.portolan.internal."),
    ] {
        let (code, found) = resolve(name, kind);
        assert_eq!(code, ResponseCode::NoError, "{name} {kind}");
        assert!(found.iter().any(|data| data.contains(expected)), "{name} {kind}: {found:?}");
    }
    let host = query(NAME_SERVER, "app.example.com.", RecordType::A).expect("an answer");
    assert_eq!(answers(&host), ["192.0.2.7"]);
    let [on_front, hidden] = ["front", "vault"].map(|network| engine.address("safe", network).to_string());
    let found = eventually(PATIENCE, "its second network", || match resolve("safe", RecordType::A).1 {
        found if found.is_empty() => Err("no address yet".to_owned()),
        found => Ok(found),
    });
    assert_eq!(found, [on_front], "{hidden} is in no answer");
}

#[test]
fn an_answer_is_explained_as_the_one_who_asks_has_it() {
    let (engine, portolan) = start();
    let web = portolan.endpoint("web-1").expect("it is known").ipv4;
    let (code, said) = explained(&engine, &["web", "--from", "client"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("web.portolan.internal. A: NOERROR") && said.contains(&web), "{said}");
    let (code, said) = explained(&engine, &["db"]);
    assert_eq!(code, Some(0), "this host sees it: {said}");
    let (code, said) = explained(&engine, &["db", "--from", "client"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("db.portolan.internal. A: NXDOMAIN") && said.contains("network"), "{said}");
    let id = portolan.endpoint("client").expect("it is known").id;
    assert_eq!(explained(&engine, &["db", "--from", &id]).0, Some(1), "by its short id, too");
    let (code, said) = explained(&engine, &["_http._tcp.web", "srv", "--from", "client", "-o", "json"]);
    assert_eq!(code, Some(0), "{said}");
    let json: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&json["type"], &json["rcode"]), (&"SRV".into(), &"NOERROR".into()), "{said}");
    for arguments in [&["web", "--from", "nobody"][..], &["web", "NOTYPE"], &["we..b"]] {
        let (code, said) = explained(&engine, arguments);
        assert!(code.is_some_and(|code| code != 0), "{arguments:?}: {said}");
        let wrong = arguments.last().expect("there is one");
        assert!(said.contains(wrong), "{arguments:?}: {said}");
    }
    engine.docker(&["pause", "web-1"]);
    portolan.await_state("web-1", "paused");
    let (code, said) = explained(&engine, &["web"]);
    assert_eq!(code, Some(1), "there is nobody to give: {said}");
    assert!(said.contains("NOERROR") && said.contains("paused"), "{said}");
}

#[test]
fn the_query_log_has_every_second_answer_of_its_classes() {
    let (engine, portolan) = start();
    for n in 0..10 {
        assert_eq!(resolve(&format!("nobody-{n}"), RecordType::A).0, ResponseCode::NXDomain);
        assert_eq!(resolve("web", RecordType::A).0, ResponseCode::NoError);
    }
    let lines = eventually(PATIENCE, "the log", || {
        let text = std::fs::read_to_string(engine.sandbox().path("/run/queries")).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() >= 5 { Ok(lines) } else { Err(text) }
    });
    assert_eq!(lines.len(), 5, "{lines:?}");
    for (n, line) in lines.iter().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let told =
            ["name", "type", "rcode", "proto"].map(|key| line[key].as_str().unwrap_or_default().to_owned());
        assert_eq!(
            told,
            [&*format!("nobody-{}.portolan.internal.", 2 * n), "A", "nxdomain", "udp"],
            "{line}"
        );
        assert_eq!(
            line["client"].as_str().map(|client| client.starts_with("127.0.0.1")),
            Some(true),
            "{line}"
        );
    }
    assert!(portolan.metrics().contains("portolan_dns_log_dropped_total 0"));
}
