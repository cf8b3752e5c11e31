//! `forwardAuth` with `forwardBody`: who decides sees the body first, and the endpoint gets it all the same.

use http::Request;
use portolan_config::dynamic::service::{Mirror, Mirroring, ServiceKind};

use crate::support::http2::Http2;
use crate::support::{Origin, Reply, World, ok, place};

/// Lets in whose body is `let me in`, and tells everybody else what it was.
async fn porter() -> Origin {
    Origin::answering(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        if body == "let me in" { ok("") } else { refused(&body) }
    })
    .await
}

fn refused(body: &str) -> Reply {
    Reply::raw(format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// A world with a router `b.test` through these middlewares, whose last asks with the body.
fn world(origin: &Origin, porter: &Origin, options: &str, before: &[&str], after: &[&str]) -> World {
    let mut world = World::in_front_of(origin);
    world.define("gather", "buffering: {maxRequestBodyBytes: 20}");
    world.define("again", "retry: {attempts: 2, status: ['503'], retryNonIdempotentMethod: true}");
    world.define("web", "grpcWeb: {allowOrigins: ['*']}");
    world.define(
        "auth",
        &format!("forwardAuth: {{address: 'http://{}/', forwardBody: true{options}}}", porter.at),
    );
    let through = [before, &["auth"], after].concat();
    assert!(world.route_through("b.test", &through).is_empty());
    world
}

fn post(body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: b.test\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn chunked(body: &str) -> String {
    format!(
        "POST /x HTTP/1.1\r\nHost: b.test\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    )
}

#[tokio::test]
async fn who_decides_sees_the_body_and_the_endpoint_gets_it_too() {
    let mut origin = Origin::answering(|_| ok("in")).await;
    let mut porter = porter().await;
    let world = world(&origin, &porter, "", &[], &[]);
    let (mut client, mut http2) = (world.client().await, Http2::connect(world.http).await);
    for request in [post("let me in"), chunked("let me in")] {
        client.send(request).await;
        assert_eq!(client.answer().await.body, "in");
        let asked = porter.seen().await;
        assert!(asked.head.starts_with("GET / HTTP/1.1\r\n"), "{}", asked.head);
        assert!(asked.head.contains("Content-Length: 9\r\n"), "{}", asked.head);
        let seen = origin.seen().await;
        assert_eq!((seen.body.as_slice(), seen.target()), (&b"let me in"[..], "/x"));
    }
    for request in [post("please"), chunked("please"), post("")] {
        client.send(request).await;
        assert_eq!(client.answer().await.status, 403, "the connection goes on");
    }
    let ask = |body: &'static str| Request::post("http://b.test/y").body(body.as_bytes()).expect("a request");
    assert_eq!(http2.ask(ask("let me in")).await.expect("an answer").body, "in");
    assert_eq!(origin.seen().await.body, b"let me in");
    let refused = http2.ask(ask("no")).await.expect("an answer");
    assert_eq!((refused.status, refused.body.as_str()), (403, "no"));
    assert!(origin.seen_by_now().is_empty(), "the others did not get there");
}

#[tokio::test]
async fn a_body_that_is_longer_than_max_body_size_is_not_asked_with() {
    let mut origin = Origin::answering(|_| ok("in")).await;
    let mut porter = porter().await;
    let world = world(&origin, &porter, ", maxBodySize: 9", &[], &[]);
    for (request, status) in [
        (post("let me in"), 200),
        (chunked("let me in"), 200),
        (post("let me in!"), 401),
        (chunked("let me in!"), 401),
    ] {
        let mut client = world.client().await;
        client.send(&request).await;
        assert_eq!(client.answer().await.status, status, "{request}");
    }
    let mut http2 = Http2::connect(world.http).await;
    let request = Request::post("http://b.test/").body(&b"let me in!"[..]).expect("a request");
    assert_eq!(http2.ask(request).await.expect("an answer").status, 401);
    assert_eq!((porter.seen_by_now().len(), origin.seen_by_now().len()), (2, 2));
    world.metric_becomes("portolan_refusals_total", &["auth_refused"], 3.0).await;
}

/// `GATHERED_BYTES_MAX`: what nobody can be asked with goes nowhere.
#[tokio::test]
async fn a_body_that_is_longer_than_can_be_gathered_is_refused() {
    let mut origin = Origin::answering(|_| ok("in")).await;
    let porter = porter().await;
    let world = world(&origin, &porter, "", &[], &[]);
    let mut client = world.client().await;
    let length = portolan_proxy::limits::GATHERED_BYTES_MAX + 1;
    client.send(format!("POST / HTTP/1.1\r\nHost: b.test\r\nContent-Length: {length}\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 413);
    assert!(origin.seen_by_now().is_empty());
    world.metric_becomes("portolan_refusals_total", &["body_too_large"], 1.0).await;
}

#[tokio::test]
async fn a_client_is_told_to_go_on_before_anybody_is_asked() {
    let mut origin = Origin::answering(|_| ok("in")).await;
    let porter = porter().await;
    let world = world(&origin, &porter, "", &[], &[]);
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: b.test\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n").await;
    client.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("let me in").await;
    assert_eq!(client.answer().await.body, "in");
    assert_eq!(origin.seen().await.body, b"let me in");
}

#[tokio::test]
async fn others_that_gather_bodies_are_content_with_the_one_that_is_here() {
    let mut origin = Origin::answering(|seen| {
        if seen.connection == 0 && seen.target() == "/again" {
            Reply::raw("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        } else {
            ok(&String::from_utf8_lossy(&seen.body))
        }
    })
    .await;
    let porter = porter().await;
    for (before, after) in
        [(&["gather", "again"][..], &[][..]), (&[], &["gather", "again"]), (&["again"], &["gather"])]
    {
        let world = world(&origin, &porter, "", before, after);
        let mut client = world.client().await;
        client.send(chunked("let me in")).await;
        assert_eq!(client.answer().await.body, "let me in", "{before:?} {after:?}");
        client.send(post("let me in").replace("/x", "/again")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "let me in"), "{before:?} {after:?}");
        client.send(chunked("more than twenty bytes")).await;
        let status = client.answer().await.status;
        let expected = if before.contains(&"gather") { 413 } else { 403 };
        assert_eq!(status, expected, "{before:?} {after:?}");
    }
    origin.seen_by_now();
}

#[tokio::test]
async fn a_call_of_a_browser_is_decoded_on_either_side_of_it() {
    let mut origin = Origin::answering(|_| ok("")).await;
    let coded = "bGV0IG1lIGlu";
    for (before, after) in [(&["web"][..], &[][..]), (&[], &["web"])] {
        let shown = if before.is_empty() { coded } else { "let me in" };
        let porter =
            Origin::answering(move |seen| if seen.body == shown.as_bytes() { ok("") } else { refused("") })
                .await;
        let world = world(&origin, &porter, "", before, after);
        let mut client = world.client().await;
        let head = "POST / HTTP/1.1\r\nHost: b.test\r\nContent-Type: application/grpc-web-text\r\n";
        client.send(format!("{head}Content-Length: {}\r\n\r\n{coded}", coded.len())).await;
        assert_eq!(client.answer().await.status, 200, "{before:?}");
        assert_eq!(origin.seen().await.body, b"let me in", "{before:?}");
    }
}

#[tokio::test]
async fn a_mirror_gets_the_body_as_well() {
    let mut origin = Origin::answering(|_| ok("in")).await;
    let mut copied = Origin::answering(|_| ok("")).await;
    let porter = porter().await;
    let mut world = world(&origin, &porter, "", &[], &[]);
    world.serve_as("copied@test", vec![place("c1", copied.at)]);
    world.serve_as("first@test", vec![place("c0", origin.at)]);
    let mirroring = Mirroring {
        service: "first@test".to_owned(),
        mirrors: vec![Mirror { name: "copied@test".to_owned(), percent: 100 }],
        ..Mirroring::default()
    };
    world.compose("app@test", ServiceKind::Mirroring(mirroring));
    let mut client = world.client().await;
    client.send(chunked("let me in")).await;
    assert_eq!(client.answer().await.body, "in");
    assert_eq!(origin.seen().await.body, b"let me in");
    assert_eq!(copied.seen().await.body, b"let me in");
}

/// A long question: it may be answered before all of it was heard.
#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_the_question_counts() {
    let mut origin = Origin::answering(|_| ok("in")).await;
    let mut porter = Origin::manual().await;
    let world = world(&origin, &porter, "", &[], &[]);
    let mut client = world.client().await;
    let body = "x".repeat(4 * 1024 * 1024);
    client.send(post(&body)).await;
    let mut asked = porter.accept().await;
    asked.head().await;
    asked.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let refused = client.answer().await;
    assert_eq!((refused.status, refused.body.as_str()), (403, "no"));
    assert!(origin.seen_by_now().is_empty());
    // What was not asked to its end is not asked over again.
    client.send(post("let me in")).await;
    let mut again = porter.accept().await;
    again.head().await;
    again.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "in");
}
