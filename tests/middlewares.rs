//! Middlewares of a file, over the built binary: who gets in, where clients are sent, what they are shown.

use crate::harness::{ENTRY_POINT, Portolan, Sandbox, await_http, http};

const FILE: &str = "
http:
  routers:
    open: {rule: Host(`open.test`), service: whoami@demo, middlewares: [seen]}
    shut: {rule: Host(`shut.test`), service: whoami@demo, middlewares: [seen, password]}
    far: {rule: Host(`far.test`), service: whoami@demo, middlewares: [elsewhere]}
    few: {rule: Host(`few.test`), service: whoami@demo, middlewares: [few]}
    lost: {rule: Host(`lost.test`), service: whoami@demo, middlewares: [nowhere]}
  middlewares:
    seen: {headers: {customResponseHeaders: {X-Seen: 'yes'}, frameDeny: true}}
    password: {basicAuth: {users: ['test:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/']}}
    elsewhere: {redirectScheme: {scheme: https, permanent: true}}
    few: {rateLimit: {average: 1, period: 1h, burst: 2}}
";

fn get(host: &str, fields: &str) -> http::Response {
    let mut connection = http::Connection::open(ENTRY_POINT).expect("a connection");
    connection.send(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).expect("it is read");
    connection.read().expect("an answer")
}

#[test]
fn what_a_file_puts_before_a_service_is_done() {
    let sandbox = Sandbox::enter();
    sandbox.write("/etc/dynamic.yml", FILE);
    let _portolan = Portolan::start(None, &["--source", "demo", "--file", "/etc/dynamic.yml"]);
    let open = await_http("open.test", 200);
    assert_eq!((open.header("x-seen"), open.header("x-frame-options")), (Some("yes"), Some("DENY")));
    let shut = get("shut.test", "");
    assert_eq!((shut.status, shut.header("www-authenticate")), (401, Some("Basic realm=\"traefik\"")));
    assert_eq!(shut.header("x-seen"), Some("yes"));
    // test:test, test:other
    assert_eq!(get("shut.test", "Authorization: Basic dGVzdDp0ZXN0\r\n").status, 200);
    assert_eq!(get("shut.test", "Authorization: Basic dGVzdDpvdGhlcg==\r\n").status, 401);
    let far = get("far.test", "");
    assert_eq!((far.status, far.header("location")), (301, Some("https://far.test/x")));
    let few: Vec<u16> = (0..3).map(|_| get("few.test", "").status).collect();
    assert_eq!(few, [200, 200, 429]);
    // Without what was to keep strangers away, nobody gets in.
    assert_eq!(get("lost.test", "").status, 404);
}
