//! Endpoints are asked whether they serve, and what they answer is told as it changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portolan_config::dynamic::service::{
    HealthCheck, HealthCheckMode, Initial, LoadBalancer, PassiveHealthCheck,
};
use portolan_config::dynamic::value::Span;
use portolan_discovery::{Target, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Checks, Origin, Reply, Seen, World, ok, place};

/// A check that asks often.
fn often() -> HealthCheck {
    HealthCheck {
        path: "/health?x=y".to_owned(),
        interval: Span::millis(50),
        timeout: Span::secs(5),
        ..HealthCheck::default()
    }
}

fn checked(check: HealthCheck) -> LoadBalancer {
    LoadBalancer { health_check: Some(check), ..LoadBalancer::default() }
}

/// A world whose one service is at these places and is checked like this.
fn world(targets: Vec<Target>, check: HealthCheck) -> (World, Checks) {
    let mut world = World::of(&[]);
    world.spread(targets, checked(check));
    let checks = world.checks();
    (world, checks)
}

fn status(status: &str) -> Reply {
    Reply::raw(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
}

#[allow(clippy::unnecessary_wraps)] // it is compared with what may be none
fn down(reason: &str) -> Option<Verdict> {
    Some(Verdict::Down(reason.to_owned()))
}

/// One that serves for as long as the flag says so.
async fn switchable() -> (Origin, Arc<AtomicBool>) {
    let up = Arc::new(AtomicBool::new(true));
    let flag = up.clone();
    let script = move |_: &Seen| if flag.load(Ordering::Relaxed) { ok("") } else { status("503 No") };
    (Origin::answering(script).await, up)
}

#[tokio::test]
async fn what_changes_is_told_once_with_the_reason() {
    let (mut origin, up) = switchable().await;
    let headers = BTreeMap::from([("X-Check".to_owned(), "1".to_owned())]);
    let check = HealthCheck { method: "HEAD".into(), hostname: "app.example".into(), headers, ..often() };
    let (_world, mut checks) = world(vec![place("c0", origin.at)], check);
    assert_eq!(checks.next().await.verdict, Some(Verdict::Up));
    let seen = origin.seen().await;
    assert!(seen.head.starts_with("HEAD /health?x=y HTTP/1.1\r\nHost: app.example\r\n"), "{}", seen.head);
    assert!(seen.head.contains("\r\nx-check: 1\r\n"), "{}", seen.head);
    up.store(false, Ordering::Relaxed);
    let judged = checks.next().await;
    assert_eq!(judged.verdict, down("HEAD /health?x=y: 503 (expected 200 to 399)"));
    assert_eq!(judged.endpoint.instance.short(), "c0");
    up.store(true, Ordering::Relaxed);
    assert_eq!(checks.next().await.verdict, Some(Verdict::Up));
}

#[tokio::test]
async fn so_many_answers_in_a_row_decide() {
    let (mut origin, up) = switchable().await;
    let check = HealthCheck { rise: 2, fall: 3, ..often() };
    let (_world, mut checks) = world(vec![place("c0", origin.at)], check);
    assert_eq!(checks.next().await.verdict, Some(Verdict::Up));
    up.store(false, Ordering::Relaxed);
    origin.seen_by_now();
    assert!(matches!(checks.next().await.verdict, Some(Verdict::Down(_))));
    let asked = origin.seen_by_now().len();
    assert!(asked >= 3, "{asked} answers");
}

#[tokio::test]
async fn a_new_table_and_another_check_leave_the_verdict_as_it_was() {
    let (mut origin, up) = switchable().await;
    up.store(false, Ordering::Relaxed);
    let (mut world, mut checks) = world(vec![place("c0", origin.at)], often());
    assert!(matches!(checks.next().await.verdict, Some(Verdict::Down(_))));
    let check = HealthCheck { path: "/other".to_owned(), rise: 2, ..often() };
    world.spread(vec![place("c0", origin.at)], checked(check));
    checks.follow(&world);
    while origin.seen().await.target() != "/other" {}
    up.store(true, Ordering::Relaxed);
    let news = checks.next().await.verdict;
    assert!(matches!(&news, Some(Verdict::Down(reason)) if reason.contains("/other")), "{news:?}");
    assert_eq!(checks.next().await.verdict, Some(Verdict::Up));
    // Who is checked no longer has no verdict.
    world.spread(vec![place("c0", origin.at)], LoadBalancer::default());
    checks.follow(&world);
    assert_eq!(checks.next().await.verdict, None);
    world.metric_becomes("portolan_endpoint_check_up", &[], 0.0).await;
}

#[tokio::test]
async fn who_has_to_answer_first_is_unknown_until_then() {
    let mut origin = Origin::manual().await;
    let check = HealthCheck { initial: Initial::Unknown, ..often() };
    let (_world, mut checks) = world(vec![place("c0", origin.at)], check);
    assert_eq!(checks.next().await.verdict, Some(Verdict::Unknown));
    let mut wire = origin.accept().await;
    wire.head().await;
    wire.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(checks.next().await.verdict, Some(Verdict::Up));
}

#[tokio::test]
async fn who_does_not_answer_in_time_or_at_all_is_down() {
    let silent = Origin::manual().await;
    let nobody = Origin::nobody().await;
    let check = HealthCheck { timeout: Span::millis(100), ..often() };
    let (_world, mut checks) = world(vec![place("c0", silent.at), place("c1", nobody)], check);
    for _ in 0..2 {
        let judged = checks.next().await;
        let Some(Verdict::Down(reason)) = judged.verdict else { panic!("{judged:?}") };
        let expected = if judged.endpoint.instance.short() == "c0" { "no answer within" } else { "refused" };
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn redirections_are_followed_where_asked_and_a_status_may_be_expected() {
    let script = |seen: &Seen| match seen.target() {
        "/health?x=y" => Reply::raw("HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"),
        "/there" => {
            Reply::raw("HTTP/1.1 307 x\r\nLocation: http://elsewhere.test/\r\nContent-Length: 0\r\n\r\n")
        }
        _ => status("404 Not Found"),
    };
    let origin = Origin::answering(script).await;
    for (check, expected) in [
        (often(), down("GET /there: it leads to http://elsewhere.test/, which is somebody else")),
        (HealthCheck { follow_redirects: false, ..often() }, Some(Verdict::Up)),
        (HealthCheck { path: "none".to_owned(), status: 404, ..often() }, Some(Verdict::Up)),
        (
            HealthCheck { follow_redirects: false, status: 200, ..often() },
            down("GET /health?x=y: 302 (expected 200)"),
        ),
    ] {
        let (_world, mut checks) = world(vec![place("c0", origin.at)], check);
        assert_eq!(checks.next().await.verdict, expected);
    }
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp() {
    let up = Origin::manual().await;
    let check = HealthCheck { mode: HealthCheckMode::Tcp, ..often() };
    let (_world, mut checks) = world(vec![place("c0", up.at)], check.clone());
    assert_eq!(checks.next().await.verdict, Some(Verdict::Up));
    let (_world, mut checks) = world(vec![place("c0", Origin::nobody().await)], check);
    assert!(matches!(checks.next().await.verdict, Some(Verdict::Down(_))));
}

#[tokio::test]
async fn a_server_of_grpc_is_asked_by_its_health_protocol() {
    for (fields, body, expected) in [
        ("0", &[0, 0, 0, 0, 2, 8, 1][..], Some(Verdict::Up)),
        ("0", &[0, 0, 0, 0, 2, 8, 2], down("grpc: it says that it does not serve")),
        ("12", &[], down("grpc: it does not know the health protocol")),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let response = http::Response::builder().header("content-type", "application/grpc");
                let mut send = respond.send_response(response.body(()).unwrap(), false).unwrap();
                send.send_data(bytes::Bytes::copy_from_slice(body), false).unwrap();
                let trailers = http::HeaderMap::from_iter([(
                    http::HeaderName::from_static("grpc-status"),
                    http::HeaderValue::from_static(fields),
                )]);
                send.send_trailers(trailers).unwrap();
            }
        });
        let check = HealthCheck { mode: HealthCheckMode::Grpc, interval: Span::secs(60), ..often() };
        let mut target = place("c0", at);
        target.scheme = portolan_config::tls::Scheme::H2c;
        let (_world, mut checks) = world(vec![target], check);
        assert_eq!(checks.next().await.verdict, expected);
        served.abort();
    }
}

#[tokio::test]
async fn a_tcp_service_says_what_is_sent_and_expected() {
    use portolan_config::dynamic::tcp::{TcpHealthCheck, TcpLoadBalancer};
    use portolan_discovery::{LayerFour, TcpUpstream};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut asked = [0; 4];
            let answer: &[u8] = if socket.read_exact(&mut asked).await.is_ok() && &asked == b"PING" {
                b"PONG!"
            } else {
                b"what"
            };
            let _ = socket.write_all(answer).await;
        }
    });
    for (send, expected) in
        [("PING", Some(Verdict::Up)), ("HELO", down(&format!("{at}: not the answer that is expected")))]
    {
        let check = TcpHealthCheck { send: send.into(), expect: "PONG".into(), ..TcpHealthCheck::default() };
        let balancing = Arc::new(TcpLoadBalancer { health_check: Some(check), ..TcpLoadBalancer::default() });
        let upstream = TcpUpstream::Targets {
            upstream: Arc::new(portolan_discovery::Upstream::new(
                "db@test/tcp".into(),
                vec![place("db", at)],
            )),
            balancing,
            transport: Arc::default(),
        };
        let mut world = World::of(&[]);
        let tcp_upstreams = BTreeMap::from([("db@test".to_owned(), Arc::new(upstream))]);
        world.layer_four(LayerFour { tcp_upstreams, ..LayerFour::default() });
        let mut checks = world.checks();
        assert_eq!(checks.next().await.verdict, expected);
    }
}

#[tokio::test]
async fn a_replica_that_answers_500_is_out_for_a_while_and_one_always_stays() {
    let faulty = Origin::answering(|_| status("500 Oh no")).await;
    let good = Origin::answering(|_| ok("good")).await;
    let mut world = World::of(&[]);
    let passive = PassiveHealthCheck {
        failure_window: Span::millis(300),
        max_failed_attempts: 2,
        max_ejected_percent: 50,
        ..PassiveHealthCheck::default()
    };
    let balancing = LoadBalancer { passive_health_check: Some(passive), ..LoadBalancer::default() };
    world.spread(vec![place("c0", faulty.at), place("c1", good.at)], balancing);
    let mut checks = world.checks();
    let mut client = world.client().await;
    for _ in 0..4 {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        client.answer().await;
    }
    let judged = checks.next().await;
    assert_eq!(judged.endpoint.instance.short(), "c0");
    let Some(Verdict::Down(reason)) = judged.verdict else { panic!("{judged:?}") };
    assert_eq!(reason, "2 failures in a row within 300ms, at last 500");
    let back = checks.next().await;
    assert_eq!((back.endpoint, back.check, back.verdict), (judged.endpoint, judged.check, None));
}
