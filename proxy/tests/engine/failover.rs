//! Services within services that have middlewares of their own, and failovers that do not accept every answer.

use http::Request;
use portolan_config::dynamic::service::{
    Failover, FailoverErrors, Mirror, Mirroring, ServiceKind, Weighted, WeightedChild,
};
use portolan_config::dynamic::value::StatusRange;

use crate::support::http2::Http2;
use crate::support::{Answer, Origin, Reply, Wire, World, ok, place};

/// A failover from `a` to `b`, where `a` answers like these.
fn failover(status: &str, max_request_body_bytes: i64) -> Failover {
    let status = StatusRange::parse(status).expect("a range");
    Failover {
        service: "a@test".to_owned(),
        fallback: "b@test".to_owned(),
        errors: Some(FailoverErrors { status: vec![status], max_request_body_bytes }),
        ..Failover::default()
    }
}

/// One that answers by the path, `/503` with 503, and one that says what it was asked.
async fn both() -> (World, Origin, Origin) {
    let first = Origin::answering(|seen| match seen.target().trim_matches('/') {
        "reset" => Reply::reset(),
        status => {
            Reply::raw(format!("HTTP/1.1 {status} As Asked\r\nX-From: a\r\nContent-Length: 1\r\n\r\na"))
        }
    })
    .await;
    let other = Origin::answering(|seen| {
        let line = seen.head.lines().next().unwrap_or_default().to_owned();
        ok(&format!("{line} {}", String::from_utf8_lossy(&seen.body)))
    })
    .await;
    let mut world = World::of(&[]);
    world.serve_as("a@test", vec![place("a", first.at)]);
    world.serve_as("b@test", vec![place("b", other.at)]);
    (world, first, other)
}

async fn ask(client: &mut Wire, request: &str) -> Answer {
    client.send(request).await;
    client.answer().await
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")
}

#[tokio::test]
async fn the_fallback_answers_where_the_first_says_no() {
    let (mut world, mut first, mut other) = both().await;
    world.compose("app@test", ServiceKind::Failover(failover("500-504", -1)));
    let mut client = world.client().await;
    for path in ["/200", "/404", "/505"] {
        let answer = ask(&mut client, &get(path)).await;
        assert_eq!((answer.body.as_str(), answer.field("x-from")), ("a", Some("a")), "{path}");
    }
    for path in ["/500", "/503", "/504"] {
        let answer = ask(&mut client, &get(path)).await;
        assert_eq!((answer.status, &answer.body), (200, &format!("GET {path} HTTP/1.1 ")));
        assert_eq!(answer.field("x-from"), None, "nothing is left of the other's answer");
    }
    // A body goes to both, also where it comes in chunks, and whatever the method.
    let head = "POST /503 HTTP/1.1\r\nHost: a.test\r\n";
    for body in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
        assert_eq!(ask(&mut client, &format!("{head}{body}")).await.body, "POST /503 HTTP/1.1 abc");
    }
    let mut http2 = Http2::connect(world.http).await;
    let request = Request::put("http://a.test/500").body(&b"abc"[..]).expect("a request");
    assert_eq!(http2.ask(request).await.expect("an answer").body, "PUT /500 HTTP/1.1 abc");
    assert_eq!(http2.get("http://a.test/200").await.body, "a");
    first.seen_by_now();
    other.seen_by_now();
    // Both are there to be asked, and the first one breaks off: that is 502.
    assert_eq!(ask(&mut client, &get("/reset")).await.body, "GET /reset HTTP/1.1 ");
    world.serve_as("b@test", Vec::new());
    let answer = ask(&mut client, &get("/503")).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "a"), "nobody has a better answer");
}

#[tokio::test]
async fn a_body_that_is_longer_than_max_request_body_bytes_is_refused() {
    let (mut world, mut first, mut other) = both().await;
    world.compose("app@test", ServiceKind::Failover(failover("503", 3)));
    for (body, status) in [("abc", 200), ("abcd", 413)] {
        for framed in [
            format!("Content-Length: {}\r\n\r\n{body}", body.len()),
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        ] {
            let mut client = world.client().await;
            let request = format!("POST /503 HTTP/1.1\r\nHost: a.test\r\n{framed}");
            assert_eq!(ask(&mut client, &request).await.status, status, "{request}");
        }
        let request = Request::post("http://a.test/503").body(body.as_bytes()).expect("a request");
        let answer = Http2::connect(world.http).await.ask(request).await.expect("an answer");
        assert_eq!(answer.status, status);
    }
    assert_eq!((first.seen_by_now().len(), other.seen_by_now().len()), (3, 3));
}

/// `GATHERED_BYTES_MAX`: what can't be kept goes to the first service, whose answer counts.
#[tokio::test]
async fn a_body_that_can_not_be_kept_goes_to_the_first_alone() {
    let (mut world, mut first, mut other) = both().await;
    world.compose("app@test", ServiceKind::Failover(failover("503", -1)));
    let body = "x".repeat(usize::try_from(portolan_proxy::limits::GATHERED_BYTES_MAX).expect("it fits") + 1);
    let mut client = world.client().await;
    let head = format!("POST /503 HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = ask(&mut client, &format!("{head}{body}")).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "a"));
    assert_eq!(first.seen().await.body.len(), body.len());
    assert!(other.seen_by_now().is_empty());
}

#[tokio::test]
async fn a_failover_in_a_failover_is_asked_from_within() {
    let (mut world, first, _other) = both().await;
    let last = Origin::answering(|_| ok("c")).await;
    world.serve_as("c@test", vec![place("c", last.at)]);
    world.compose("inner@test", ServiceKind::Failover(failover("503", -1)));
    let outer =
        Failover { service: "inner@test".to_owned(), fallback: "c@test".to_owned(), ..failover("404", -1) };
    world.compose("app@test", ServiceKind::Failover(outer));
    let mut client = world.client().await;
    assert_eq!(ask(&mut client, &get("/503")).await.body, "GET /503 HTTP/1.1 ");
    assert_eq!(ask(&mut client, &get("/404")).await.body, "c");
    assert_eq!(ask(&mut client, &get("/200")).await.body, "a");
    // An answer of the inner fallback is the inner failover's.
    world.serve_as("b@test", vec![place("b", first.at)]);
    let inner = failover("500", -1);
    world.compose("inner@test", ServiceKind::Failover(Failover { fallback: "b@test".to_owned(), ..inner }));
    assert_eq!(ask(&mut client, &get("/500")).await.status, 500);
    assert_eq!(ask(&mut client, &get("/404")).await.body, "c");
}

#[tokio::test]
async fn a_request_that_falls_back_is_as_it_came_to_the_first() {
    let (mut world, mut first, _other) = both().await;
    world.define("first", "addPrefix: {prefix: /503}");
    world.define("all", "headers: {customResponseHeaders: {X-Shown: 'yes'}}");
    world.define("own", "headers: {customResponseHeaders: {X-First: 'yes'}}");
    world.define("second", "addPrefix: {prefix: /second}");
    world.give("a@test", &["first", "own"]);
    world.give("b@test", &["second"]);
    world.compose("app@test", ServiceKind::Failover(failover("503", -1)));
    assert!(world.route_through("b.test", &["all"]).is_empty());
    let mut client = world.client().await;
    // The first one is asked for `/503`, by its own middleware.
    let answer = ask(&mut client, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
    assert_eq!(answer.body, "GET /second/ HTTP/1.1 ");
    assert_eq!((answer.field("x-shown"), answer.field("x-first")), (Some("yes"), None));
    assert_eq!(first.seen().await.target(), "/503/");
    let answer = Http2::connect(world.http).await.get("http://b.test/").await;
    assert_eq!((answer.body.as_str(), answer.fields.get("x-first")), ("GET /second/ HTTP/1.1 ", None));
}

#[tokio::test]
async fn who_is_turned_away_by_the_first_may_be_let_in_by_the_other_and_the_other_way_round() {
    let (mut world, _first, _other) = both().await;
    world.define("nobody", "ipAllowList: {sourceRange: [192.0.2.0/24]}");
    world.give("a@test", &["nobody"]);
    world.compose("app@test", ServiceKind::Failover(failover("403", -1)));
    let mut client = world.client().await;
    assert_eq!(ask(&mut client, &get("/x")).await.body, "GET /x HTTP/1.1 ");
    world.give("a@test", &[]);
    world.give("b@test", &["nobody"]);
    assert_eq!(ask(&mut client, &get("/200")).await.body, "a");
    assert_eq!(ask(&mut client, &get("/403")).await.status, 403);
    assert_eq!(Http2::connect(world.http).await.get("http://a.test/403").await.body, "Forbidden");
    assert_eq!(ask(&mut client, &get("/200")).await.body, "a", "the connection goes on");
}

#[tokio::test]
async fn a_service_within_another_is_not_reached_around_its_middlewares() {
    let (mut world, mut first, _other) = both().await;
    world.define("nobody", "ipAllowList: {sourceRange: [192.0.2.0/24]}");
    world.give("a@test", &["nobody"]);
    let child = |name: &str| WeightedChild { name: name.to_owned(), weight: 1 };
    let weighted =
        |name: &str| ServiceKind::Weighted(Weighted { services: vec![child(name)], ..Weighted::default() });
    world.compose("inner@test", weighted("a@test"));
    world.compose("app@test", weighted("inner@test"));
    let mut client = world.client().await;
    assert_eq!(ask(&mut client, &get("/200")).await.status, 403);
    assert_eq!(Http2::connect(world.http).await.get("http://a.test/200").await.status, 403);
    // One that can't be made: nobody gets there either.
    world.define("broken", "replacePath: {path: '/%zz'}");
    let faults = world.give("a@test", &["broken"]);
    assert_eq!(ask(&mut client, &get("/200")).await.status, 404);
    assert!(
        faults
            .iter()
            .any(|fault| fault.key == "http.routers.a.test.service" && fault.message.contains("broken")),
        "{faults:?}"
    );
    assert!(first.seen_by_now().is_empty());
}

#[tokio::test]
async fn copies_do_not_go_around_middlewares() {
    let (mut world, _first, mut other) = both().await;
    world.define("nobody", "ipAllowList: {sourceRange: [192.0.2.0/24]}");
    let mirrors = vec![Mirror { name: "b@test".to_owned(), percent: 100 }];
    let mirroring = Mirroring { service: "a@test".to_owned(), mirrors, ..Mirroring::default() };
    world.compose("app@test", ServiceKind::Mirroring(mirroring));
    let faults = world.give("b@test", &["nobody"]);
    assert!(
        faults.iter().any(|fault| fault.message.contains("copies of requests go through no")),
        "{faults:?}"
    );
    let mut client = world.client().await;
    assert_eq!(ask(&mut client, &get("/200")).await.status, 404);
    assert!(other.seen_by_now().is_empty());
}
