//! Requests that are sent again, answers that pages stand in for, and breakers, in both versions of HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;

use crate::altered::{Raw, by_http1, by_http2};
use portolan_config::dynamic::service::{Mirror, Mirroring, ServiceKind};

use crate::support::{Origin, Reply, World, ok, place};

fn status(code: u16, body: &str) -> Reply {
    Reply::raw(format!("HTTP/1.1 {code} X\r\nContent-Length: {}\r\nX-From: origin\r\n\r\n{body}", body.len()))
}

/// What a request with a body is answered, by HTTP/1 (once with a length, once in chunks) and by HTTP/2.
async fn ask(world: &World, method: &str, path: &str, body: &'static str) -> [Raw; 3] {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: b.test\r\n");
    let with_length = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let chunk = if body.is_empty() { String::new() } else { format!("{:x}\r\n{body}\r\n", body.len()) };
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
    let request = Request::builder().method(method).uri(format!("http://b.test{path}"));
    let request = request.body(body.as_bytes()).expect("a request");
    [by_http1(world, &with_length).await, by_http1(world, &chunked).await, by_http2(world, request).await]
}

#[tokio::test]
async fn a_page_stands_in_for_a_faulty_answer() {
    let origin = Origin::answering(|seen| match seen.target() {
        "/fine" => ok("fine"),
        "/gone?x" => status(404, "not there"),
        _ => status(503, "broken"),
    })
    .await;
    let mut pages = Origin::answering(|seen| ok(&format!("page {}", seen.target()))).await;
    let mut world = World::in_front_of(&origin);
    world.serve_as("pages@test", vec![place("p0", pages.at)]);
    world.define(
        "errors",
        "errors: {status: ['404', '500-599'], statusRewrites: {'503': 418}, service: pages@test, \
         query: '/{status}?was={originalStatus}&url={url}'}",
    );
    assert!(world.route_through("b.test", &["errors"]).is_empty());
    for raw in ask(&world, "PUT", "/fine", "body").await {
        assert_eq!((raw.status, raw.text().as_str()), (200, "fine"));
    }
    for raw in ask(&world, "PUT", "/gone?x", "body").await {
        let url = "http%3A%2F%2Fb.test%2Fgone%3Fx";
        assert_eq!((raw.status, raw.text()), (404, format!("page /404?was=404&url={url}")));
        assert_eq!(raw.field("x-from"), None);
        assert!(pages.seen().await.head.starts_with("GET /404?"));
    }
    for raw in ask(&world, "GET", "/broken", "").await {
        assert_eq!(raw.status, 418);
        assert!(raw.text().starts_with("page /418?was=503"));
    }
    // Nobody is there: that is a 502 of Portolan's own.
    world.serve(vec![place("c0", Origin::nobody().await)]);
    for raw in ask(&world, "POST", "/", "body").await {
        assert_eq!(raw.status, 502);
        assert!(raw.text().starts_with("page /502?was=502"), "{raw:?}");
    }
    // Nor has anybody the page.
    world.serve_as("pages@test", vec![place("p0", Origin::nobody().await)]);
    for raw in ask(&world, "GET", "/", "").await {
        assert_eq!((raw.status, raw.text().as_str()), (502, "no server accepted a connection\n"));
    }
}

#[tokio::test]
async fn a_page_stands_in_for_what_a_middleware_inside_answers() {
    let origin = Origin::answering(|_| ok("fine")).await;
    let pages = Origin::answering(|seen| ok(&format!("page {}", seen.target()))).await;
    let mut world = World::in_front_of(&origin);
    world.serve_as("pages@test", vec![place("p0", pages.at)]);
    world.define("errors", "errors: {status: ['400'], service: pages@test, query: '{status}'}");
    world.define("strip", "stripPrefix: {prefixes: [/api]}");
    assert!(world.route_through("b.test", &["errors", "strip"]).is_empty());
    for raw in ask(&world, "POST", "/api../x", "body").await {
        assert_eq!((raw.status, raw.text().as_str()), (400, "page /400"));
    }
    // The connection goes on behind a body that nobody had.
    let mut client = world.client().await;
    for _ in 0..2 {
        client.send("POST /api../x HTTP/1.1\r\nHost: b.test\r\nContent-Length: 4\r\n\r\nbody").await;
        assert_eq!(client.answer().await.body, "page /400");
    }
}

#[tokio::test]
async fn a_request_is_sent_again_where_the_answer_is_not_good_enough() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counter = tries.clone();
    let mut origin = Origin::answering(move |seen| {
        let before = counter.fetch_add(1, Ordering::Relaxed);
        match seen.target() {
            "/third" if before % 3 == 2 => ok(&format!("got {}", String::from_utf8_lossy(&seen.body))),
            _ => status(503, "not yet"),
        }
    })
    .await;
    let mut world = World::in_front_of(&origin);
    world.define("retry", "retry: {attempts: 3, initialInterval: 1ms, status: ['500-599']}");
    assert!(world.route_through("b.test", &["retry"]).is_empty());
    for raw in ask(&world, "PUT", "/third", "body").await {
        assert_eq!((raw.status, raw.text().as_str()), (200, "got body"));
    }
    for _ in 0..9 {
        assert_eq!(origin.seen().await.body, b"body", "all of it each time");
    }
    for raw in ask(&world, "PUT", "/never", "body").await {
        assert_eq!((raw.status, raw.text().as_str()), (503, "not yet"), "the last answer is passed on");
    }
    assert_eq!(tries.load(Ordering::Relaxed), 18);
    for raw in ask(&world, "POST", "/never", "body").await {
        assert_eq!(raw.status, 503);
    }
    assert_eq!(tries.load(Ordering::Relaxed), 21, "a POST does something each time");
}

#[tokio::test]
async fn a_server_that_refuses_is_asked_again() {
    let mut world = World::of(&[Origin::nobody().await]);
    world.define("retry", "retry: {attempts: 3}");
    assert!(world.route_through("b.test", &["retry"]).is_empty());
    for raw in ask(&world, "POST", "/", "body").await {
        assert_eq!(raw.status, 502);
    }
    world.metric_becomes("portolan_service_retries_total", &[], 6.0).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_to_be_kept_is_sent_once() {
    let mut origin = Origin::answering(|_| status(503, "")).await;
    let mut world = World::in_front_of(&origin);
    world.define("retry", "retry: {attempts: 3, status: ['503'], maxRequestBodyBytes: 10}");
    assert!(world.route_through("b.test", &["retry"]).is_empty());
    let body = "0123456789 and more";
    for raw in ask(&world, "PUT", "/", body).await {
        assert_eq!(raw.status, 503);
        assert_eq!(origin.seen().await.body, body.as_bytes());
    }
    assert!(origin.seen_by_now().is_empty());
}

#[tokio::test]
async fn request_bodies_are_gathered_and_those_that_are_too_large_are_refused() {
    let mut origin = Origin::answering(|seen| {
        if seen.target() == "/again" { status(502, "") } else { ok(&String::from_utf8_lossy(&seen.body)) }
    })
    .await;
    let mut world = World::in_front_of(&origin);
    world.define(
        "buffer",
        "buffering: {maxRequestBodyBytes: 10, retryExpression: 'IsNetworkError() && Attempts() < 3'}",
    );
    assert!(world.route_through("b.test", &["buffer"]).is_empty());
    for raw in ask(&world, "POST", "/", "0123456789").await {
        assert_eq!((raw.status, raw.text().as_str()), (200, "0123456789"));
        let head = origin.seen().await.head.to_ascii_lowercase();
        assert!(head.contains("content-length: 10") && !head.contains("chunked"), "{head}");
    }
    for raw in ask(&world, "POST", "/", "01234567890").await {
        assert_eq!(raw.status, 413, "{raw:?}");
    }
    assert!(origin.seen_by_now().is_empty());
    for raw in ask(&world, "POST", "/again", "body").await {
        assert_eq!(raw.status, 502);
        for _ in 0..3 {
            assert_eq!(origin.seen().await.body, b"body");
        }
    }
    // Who waits to be asked for the body is asked.
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: b.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 100 "));
    client.send("body").await;
    assert_eq!(client.answer().await.body, "body");
}

#[tokio::test]
async fn a_breaker_opens_for_who_fails() {
    let mut origin = Origin::answering(|_| status(500, "broken")).await;
    let mut world = World::in_front_of(&origin);
    world.define(
        "breaker",
        "circuitBreaker: {expression: 'ResponseCodeRatio(500, 600, 0, 600) > 0.5', responseCode: 418}",
    );
    assert!(world.route_through("b.test", &["breaker"]).is_empty());
    let ask = "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n";
    assert_eq!(by_http1(&world, ask).await.status, 500);
    origin.seen().await;
    for _ in 0..3 {
        let raw = by_http1(&world, ask).await;
        assert_eq!((raw.status, raw.text().as_str()), (418, "I'm a teapot"));
    }
    let request = Request::get("http://b.test/").body(&b""[..]).expect("a request");
    assert_eq!(by_http2(&world, request).await.status, 418);
    assert!(origin.seen_by_now().is_empty());
    world.metric_becomes("portolan_refusals_total", &["circuit_open"], 4.0).await;
    // A new table does not close it.
    world.serve(vec![place("c0", origin.at)]);
    assert_eq!(by_http1(&world, ask).await.status, 418);
}

#[tokio::test]
async fn copies_go_to_services_that_nobody_hears() {
    let mut main = Origin::answering(|_| ok("main")).await;
    let mut aside = Origin::answering(|_| status(500, "nobody hears this")).await;
    let mut world = World::in_front_of(&main);
    world.serve_as("aside@test", vec![place("p0", aside.at)]);
    let mirrors = vec![Mirror { name: "aside@test".to_owned(), percent: 100 }];
    let mirroring = Mirroring { service: "app@test".to_owned(), mirrors, ..Mirroring::default() };
    world.compose("both@test", ServiceKind::Mirroring(mirroring.clone()));
    world.route("b.test", "Host(`b.test`)", "both@test");
    world.serve(vec![place("c0", main.at)]);
    for raw in ask(&world, "POST", "/x", "content").await {
        assert_eq!(raw.text(), "main");
        let (first, copy) = (main.seen().await, aside.seen().await);
        assert_eq!((&first.body, &first.head), (&copy.body, &copy.head));
        assert_eq!(first.body, b"content");
    }
    // Without bodies.
    let without = Mirroring { mirror_body: false, ..mirroring.clone() };
    world.compose("both@test", ServiceKind::Mirroring(without));
    for raw in ask(&world, "POST", "/x", "content").await {
        assert_eq!(raw.text(), "main");
        assert_eq!(main.seen().await.body, b"content");
        assert_eq!(aside.seen().await.body, b"");
    }
    // A longer body than is copied goes to the one service only.
    world.compose("both@test", ServiceKind::Mirroring(Mirroring { max_body_size: 3, ..mirroring }));
    for raw in ask(&world, "POST", "/x", "content").await {
        assert_eq!(raw.text(), "main");
        assert_eq!(main.seen().await.body, b"content");
    }
    for _ in ask(&world, "POST", "/x", "abc").await {
        assert_eq!(aside.seen().await.body, b"abc");
    }
}
