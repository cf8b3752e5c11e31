//! Traefik's API: tools made for Traefik find routers, services, middlewares and entry points in the shapes they know.

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Portolan, Sandbox, eventually, http};

const ROUTES: &str = "
http:
  routers:
    web: {rule: Host(`a.test`), service: web, middlewares: [strip], entryPoints: [web]}
    plain: {rule: Host(`c.test`), service: web}
    lost: {rule: Host(`b.test`), service: gone}
  services:
    web: {loadBalancer: {servers: [{url: 'http://127.0.0.1:9080'}, {url: 'http://127.0.0.1:9081', weight: 2}]}}
  middlewares:
    strip: {stripPrefix: {prefixes: [/x]}}
    who: {basicAuth: {users: ['joe:$2y$05$secret']}}
tcp:
  routers:
    db: {rule: HostSNI(`*`), service: db, entryPoints: [db]}
  services:
    db: {loadBalancer: {servers: [{address: '127.0.0.1:9'}]}}
udp:
  routers:
    dns: {service: dns, entryPoints: [dns]}
  services:
    dns: {loadBalancer: {servers: [{address: '127.0.0.1:9'}]}}
";

/// Routers as Traefik's users write them to have the API behind a password.
const OWN_ROUTES: &str = "
http:
  routers:
    api: {rule: Host(`own.test`) && PathPrefix(`/api`), service: api@internal, middlewares: [who]}
    up: {rule: Host(`own.test`) && Path(`/up`), service: ping@internal}
    numbers: {rule: Host(`own.test`) && Path(`/numbers`), service: prometheus@internal}
    board: {rule: Host(`own.test`) && PathPrefix(`/dashboard`), service: dashboard@internal}
  middlewares:
    who: {basicAuth: {users: ['joe:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=']}}
";

#[test]
fn what_portolan_shows_of_itself_is_a_service_for_routers_of_ones_own() {
    let sandbox = Sandbox::enter();
    sandbox.write("/etc/dynamic.yml", OWN_ROUTES);
    let _portolan = Portolan::start(
        None,
        &[
            "--source",
            "demo",
            "--file",
            "/etc/dynamic.yml",
            "--api=true",
            "--ping=true",
            "--ping.manualRouting=true",
            "--metrics.prometheus=true",
            "--metrics.prometheus.manualRouting=true",
            "--entryPoints.web.address=:8000",
        ],
    );
    let ask = |path: &str| http::get("127.0.0.1:8000", "own.test", path).expect("an answer");
    eventually(PATIENCE, "the file to be there", || {
        let status = ask("/up").status;
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    });
    assert_eq!(ask("/up").text(), "OK");
    assert!(ask("/numbers").text().contains("portolan_build_info"));
    assert_eq!(ask("/api/rawdata").status, 401, "as the middleware says");
    assert_eq!(ask("/dashboard/").status, 404, "there is none");
    let joe = |method: &str, path: &str| {
        let mut client = http::Connection::open("127.0.0.1:8000").expect("the entry point answers");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: own.test\r\n");
        let rest = "Authorization: Basic am9lOnRlc3Q=\r\nConnection: close\r\n\r\n";
        client.send(format!("{head}{rest}").as_bytes()).expect("the entry point reads");
        client.read().expect("an answer")
    };
    let raw = joe("GET", "/api/rawdata");
    let raw: Value = serde_json::from_str(&raw.text()).expect("JSON");
    assert_eq!(raw["services"]["api@internal"]["usedBy"], json!(["api@file"]), "{raw:#}");
    assert_eq!(raw["routers"]["up@file"]["service"], "ping@internal", "{raw:#}");
    // Who is let in sees, and changes nothing.
    for (method, path) in
        [("POST", "/api/drain?target=x"), ("GET", "/api/drain?target=x"), ("GET", "/api/../metrics")]
    {
        let status = joe(method, path).status;
        assert!(matches!(status, 404 | 405), "{method} {path}: {status}");
    }
}

fn get(path: &str) -> (u16, Option<String>, Value) {
    let answer = http::get("127.0.0.1:8080", "any", path).expect("an answer");
    let body = serde_json::from_str(&answer.text()).unwrap_or_default();
    (answer.status, answer.header("x-next-page").map(str::to_owned), body)
}

#[test]
fn tools_made_for_traefik_find_what_they_know() {
    let sandbox = Sandbox::enter();
    sandbox.write("/etc/dynamic.yml", ROUTES);
    let _portolan = Portolan::start(
        None,
        &[
            "--source",
            "demo",
            "--file",
            "/etc/dynamic.yml",
            "--api.insecure=true",
            "--entryPoints.web.address=:8000",
            "--entryPoints.db.address=:8001",
            "--entryPoints.dns.address=:8002/udp",
        ],
    );
    eventually(PATIENCE, "the file to be in the API", || {
        let raw = get("/api/rawdata").2;
        if raw["routers"]["web@file"].is_object() { Ok(()) } else { Err(raw.to_string()) }
    });

    let (status, _, router) = get("/api/http/routers/web%40file");
    assert_eq!(status, 200);
    assert_eq!(
        router,
        json!({
            "entryPoints": ["web"],
            "middlewares": ["strip@file"],
            "service": "web",
            "rule": "Host(`a.test`)",
            "priority": 14,
            "priorityStr": "14",
            "observability": { "accessLogs": true, "metrics": true, "tracing": true, "traceVerbosity": "minimal" },
            "status": "enabled",
            "using": ["web"],
            "name": "web@file",
            "provider": "file",
        })
    );
    let lost = get("/api/http/routers?status=disabled").2;
    assert_eq!(lost[0]["name"], "lost@file", "{lost:#}");
    assert!(lost[0]["error"][0].as_str().is_some_and(|error| error.contains("gone")), "{lost:#}");

    let service = get("/api/http/services/web@file").2;
    assert_eq!(
        service["loadBalancer"]["servers"],
        json!([{ "url": "http://127.0.0.1:9080" }, { "url": "http://127.0.0.1:9081", "weight": 2 }])
    );
    assert_eq!(
        service["serverStatus"],
        json!({ "http://127.0.0.1:9080": "UP", "http://127.0.0.1:9081": "UP" })
    );
    assert_eq!(service["usedBy"], json!(["plain@file", "web@file"]));
    assert_eq!((&service["type"], &service["status"]), (&json!("loadbalancer"), &json!("enabled")));

    let strip = get("/api/http/middlewares/strip@file").2;
    assert_eq!(strip["stripPrefix"]["prefixes"], json!(["/x"]));
    assert_eq!((&strip["type"], &strip["usedBy"]), (&json!("stripprefix"), &json!(["web@file"])));
    let who = get("/api/http/middlewares/who@file").2;
    assert_eq!(who["basicAuth"]["users"], json!(["joe:xxxx"]), "nobody's password is told");

    let raw = get("/api/rawdata").2;
    assert_eq!(raw["tcpRouters"]["db@file"]["using"], json!(["db"]), "{raw:#}");
    assert_eq!(raw["tcpServices"]["db@file"]["serverStatus"], json!({ "127.0.0.1:9": "UP" }), "{raw:#}");
    assert_eq!(raw["udpRouters"]["dns@file"]["service"], "dns", "{raw:#}");
    assert_eq!(raw["routers"]["api@internal"]["entryPoints"], json!(["traefik"]), "{raw:#}");
    assert_eq!(raw["routers"]["api@internal"]["rule"], "PathPrefix(`/api`)", "{raw:#}");
    assert_eq!(raw["services"]["api@internal"]["usedBy"], json!(["api@internal"]), "{raw:#}");
    assert_eq!(raw["udpServices"]["dns@file"]["usedBy"], json!(["dns@file"]), "{raw:#}");

    let overview = get("/api/overview").2;
    assert_eq!(overview["http"]["routers"]["errors"], 1, "{overview:#}");
    assert_eq!(overview["udp"]["services"]["total"], 1, "{overview:#}");
    assert_eq!(get("/api/entrypoints/dns").2["address"], ":8002/udp");
    let own = get("/api/entrypoints/traefik").2;
    assert_eq!((&own["address"], &own["http"]["sanitizePath"]), (&json!(":8080"), &json!(true)), "{own:#}");
    assert_eq!(own["transport"]["respondingTimeouts"]["idleTimeout"], "1m15s", "{own:#}");
    assert_eq!(own["forwardedHeaders"], json!({}), "{own:#}");
    assert!(get("/api/version").2["Version"].is_string());

    let (_, next, page) = get("/api/http/routers?per_page=1&search=FILE");
    assert_eq!((next.as_deref(), page.as_array().map(Vec::len)), (Some("2"), Some(1)));
    assert_eq!(get("/api/http/routers").1.as_deref(), Some("1"));
    let nobody = (404, None, json!({ "message": "router not found: nobody@file" }));
    assert_eq!(get("/api/http/routers/nobody@file"), nobody);
    let too_far = (400, None, json!({ "message": "invalid request: page: 99, per_page: 100" }));
    assert_eq!(get("/api/http/routers?page=99"), too_far);
}
