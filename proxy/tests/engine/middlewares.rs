//! What requests and answers go through on the way, in both versions of HTTP.

use http::Request;

use crate::support::http2::Http2;
use crate::support::{Origin, World, ok};

/// An origin that answers with the request line it got.
async fn echo() -> Origin {
    Origin::answering(|seen| ok(seen.head.lines().next().unwrap_or_default())).await
}

/// The status and body of a GET, by HTTP/1 and by HTTP/2, which must be alike.
async fn get(world: &World, host: &str, path: &str) -> (u16, String) {
    let mut client = world.client().await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    let first = client.answer().await;
    let second = Http2::connect(world.http).await.get(&format!("http://{host}{path}")).await;
    assert_eq!((first.status, &first.body), (second.status, &second.body), "{host}{path}");
    (first.status, first.body)
}

fn got(body: &str) -> (u16, String) {
    (200, format!("GET {body} HTTP/1.1"))
}

#[tokio::test]
async fn middlewares_of_the_router_come_before_those_of_the_service() {
    let origin = echo().await;
    let mut world = World::in_front_of(&origin);
    world.define("first", "addPrefix: {prefix: /first}");
    world.define("second", "addPrefix: {prefix: /second}");
    world.define("strip", "stripPrefix: {prefixes: [/api]}");
    assert!(world.route_through("b.test", &["strip", "first"]).is_empty());
    assert_eq!(get(&world, "b.test", "/api/x?y=z").await, got("/first/x?y=z"));
    assert_eq!(get(&world, "a.test", "/api/x").await, got("/api/x"));
    world.serve_through(&["second"]);
    assert_eq!(get(&world, "b.test", "/api/x").await, got("/second/first/x"));
    assert_eq!(get(&world, "a.test", "/x").await, got("/second/x"));
}

#[tokio::test]
async fn a_router_without_its_middleware_does_not_answer() {
    let origin = echo().await;
    let mut world = World::in_front_of(&origin);
    world.define("broken", "replacePath: {path: '/%zz'}");
    for missing in ["nowhere", "broken"] {
        let faults = world.route_through("b.test", &[missing]);
        assert!(
            faults.iter().any(
                |fault| fault.key == "http.routers.b.test.middlewares" && fault.message.contains(missing)
            ),
            "{faults:?}"
        );
    }
    assert_eq!(get(&world, "b.test", "/").await.0, 404);
    assert_eq!(get(&world, "a.test", "/").await.0, 200);
}

#[tokio::test]
async fn what_a_middleware_answers_leaves_the_connection_open() {
    let origin = echo().await;
    let mut world = World::in_front_of(&origin);
    world.define("strip", "stripPrefix: {prefixes: [/api]}");
    assert!(world.route_through("b.test", &["strip"]).is_empty());
    let mut client = world.client().await;
    for body in ["", "Content-Length: 3\r\n\r\nabc"] {
        let end = if body.is_empty() { "\r\n" } else { body };
        client.send(format!("POST /api../x HTTP/1.1\r\nHost: b.test\r\n{end}")).await;
        let refused = client.answer().await;
        assert_eq!((refused.status, refused.body.as_str()), (400, "Bad Request\n"));
    }
    client.send("GET /api/y HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "GET /y HTTP/1.1");
    let mut http2 = Http2::connect(world.http).await;
    let post = Request::post("http://b.test/api../x").body(&b"abc"[..]).expect("a request");
    assert_eq!(http2.ask(post).await.expect("an answer").status, 400);
    world.metric_becomes("portolan_refusals_total", &["bad_request"], 3.0).await;
}
