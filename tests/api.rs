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
