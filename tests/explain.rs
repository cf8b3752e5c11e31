//! `portolan explain` tells who takes a request, as the proxy then does it; and verbs survive a reader that leaves.

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{ENTRY_POINT, PATIENCE, Portolan, Sandbox, eventually, http};

const ROUTES: &str = "
http:
  routers:
    shop: {rule: Host(`shop.test`), service: shop, middlewares: [strip]}
    cart: {rule: 'Host(`shop.test`) && PathPrefix(`/cart`) && Header(`X-Beta`, `1`)', service: shop}
    down: {rule: Host(`down.test`), service: down}
    lost: {rule: Host(`lost.test`), service: gone}
  services:
    shop: {loadBalancer: {servers: [{url: 'http://127.0.0.1:9080'}]}}
    down: {loadBalancer: {servers: []}}
  middlewares:
    strip: {stripPrefix: {prefixes: [/shop]}}
";

fn explain(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    let mut command = sandbox.command(Portolan::binary());
    command.arg("explain").args(arguments).output().expect("it runs")
}

fn json(sandbox: &Sandbox, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = explain(sandbox, &[arguments, &["-o", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    let found = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| said.as_ref().into());
    (output.status.code(), found)
}

#[test]
fn explain_tells_what_the_proxy_does() {
    let sandbox = Sandbox::enter();
    sandbox.write("/etc/dynamic.yml", ROUTES);
    let _portolan = Portolan::start(None, &["--source", "demo", "--file", "/etc/dynamic.yml"]);
    eventually(PATIENCE, "the file to be served", || match http::get(ENTRY_POINT, "down.test", "/") {
        Ok(answer) if answer.status == 503 => Ok(()),
        other => Err(format!("{other:?}")),
    });

    let (code, found) = json(&sandbox, &["-H", "Host: shop.test", "http://127.0.0.1:8000/cart"]);
    assert_eq!((code, &found["router"]["name"]), (Some(0), &Value::from("shop@file")), "{found:#}");
    assert_eq!(found["middlewares"][0]["name"], "strip@file");
    assert_eq!(found["service"]["endpoints"][0]["given"], true, "{found:#}");
    let cart = found["losers"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "cart@file"));
    assert_eq!(cart.expect("it lost")["why"][0], "Header(`X-Beta`, `1`) does not hold");
    let lost = found["losers"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "lost"));
    assert!(
        lost.expect("it is told")["why"][0].as_str().is_some_and(|why| why.contains("gone")),
        "{found:#}"
    );
    let (code, found) = json(&sandbox, &["-H", "X-Beta: 1", "-H", "Host: shop.test", "http://x:8000/cart"]);
    assert_eq!((code, &found["router"]["name"]), (Some(0), &Value::from("cart@file")));

    // What it says of a request is what becomes of it.
    for (host, path) in
        [("shop.test", "/livez"), ("down.test", "/"), ("other.test", "/"), ("whoami.localhost", "/")]
    {
        let (code, found) = json(&sandbox, &[&format!("http://{host}:8000{path}")]);
        let status = http::get(ENTRY_POINT, host, path).expect("an answer").status;
        let told = found["refusal"].as_str().and_then(|refusal| refusal.split(' ').next()?.parse().ok());
        assert_eq!(
            (code, told.unwrap_or(200)),
            (Some(i32::from(status != 200)), status),
            "{host}: {found:#}"
        );
    }

    // A published port, and questions that make no sense.
    let (code, found) = json(&sandbox, &["http://any:8080/"]);
    assert_eq!((code, &found["address"]), (Some(0), &Value::from(":8080")), "{found:#}");
    assert_eq!(found["service"]["endpoints"][2]["name"], "whoami-3", "{found:#}");
    for (arguments, expected) in [
        (&["http://shop.test:81"][..], "nothing listens on port 81"),
        (&["ftp://shop.test"], "`ftp` is no scheme"),
        (&["--on", "gone", "http://shop.test"], "no entry point `gone`"),
        (&["--admin-address", "127.0.0.1:1", "http://shop.test"], "no Portolan answers at 127.0.0.1:1"),
    ] {
        let output = explain(&sandbox, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn explain_needs_no_running_portolan_for_files() {
    let sandbox = Sandbox::enter();
    sandbox.write("/etc/dynamic.yml", ROUTES);
    let said = explain(&sandbox, &["--offline", "--file", "/etc/none.yml", "http://shop.test"]).stderr;
    assert!(String::from_utf8_lossy(&said).contains("/etc/none.yml"));
    let flags = [
        "--offline",
        "--file",
        "/etc/dynamic.yml",
        "--entryPoints.web.address=:80",
        "--docker-host=unix:///none",
    ];
    let (code, found) = json(&sandbox, &[&flags[..], &["POST", "http://shop.test/x"]].concat());
    assert_eq!((code, &found["router"]["name"]), (Some(0), &Value::from("shop@file")), "{found:#}");
    assert_eq!((&found["request"]["method"], &found["entryPoint"]), (&"POST".into(), &"web".into()));
}

#[test]
fn a_reader_that_leaves_is_no_panic() {
    let sandbox = Sandbox::enter();
    for verb in
        [&["version"][..], &["check", "--docker-host=unix:///none"], &["explain", "--offline", "a.test"]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command: Command = sandbox.command(Portolan::binary());
        let output = command.args(verb).stdout(writer).stderr(std::process::Stdio::piped());
        let output = output.spawn().and_then(std::process::Child::wait_with_output).expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 1)) && said.is_empty(), "{verb:?}: {output:?}");
    }
}
