//! Health endpoints, and what a signal to stop does: nothing that was begun is cut off before the deadline.

use std::time::{Duration, Instant};

use crate::harness::{Container, ENTRY_POINT, Engine, PATIENCE, Portolan, Signal, eventually, http};

/// A request in progress: half of one.
fn begin() -> http::Connection {
    let mut connection = eventually(PATIENCE, "the entry point", || http::Connection::open(ENTRY_POINT));
    connection
        .send("POST /body HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nab")
        .expect("half a request is sent");
    connection
}

fn start(flags: &[&str]) -> (Engine, Portolan) {
    let engine = Engine::start();
    engine.run(&Container::new("web"));
    engine.serving("web", "bridge");
    let portolan = Portolan::start(&engine, flags);
    portolan.await_state("web", "ready");
    (engine, portolan)
}

fn await_begun(portolan: &Portolan) {
    eventually(PATIENCE, "the request to reach its endpoint", || {
        match portolan.metric("portolan_endpoint_requests_total{endpoint=\"web\"}") {
            1.0.. => Ok(()),
            other => Err(other.to_string()),
        }
    });
}

fn status(portolan: &Portolan, path: &str) -> u16 {
    portolan.admin(path).expect("an answer of the admin server").status
}

#[test]
fn it_lives_but_is_not_ready_before_the_first_list() {
    let portolan = Portolan::spawn(None, &[]);
    let not_ready = eventually(PATIENCE, "the admin server", || portolan.admin("/readyz"));
    assert_eq!(not_ready.status, 503);
    assert!(not_ready.text().starts_with("not ready\ndocker: "), "{}", not_ready.text());
    assert_eq!((status(&portolan, "/livez"), status(&portolan, "/ping")), (200, 200));
    let reason = eventually(PATIENCE, "the reason", || portolan.lost().ok_or("none yet"));
    assert!(portolan.admin("/readyz").expect("an answer").text().contains(&reason));
    assert!(portolan.metric("portolan_provider_connected") < 0.5);
}

#[test]
fn a_request_in_progress_is_finished_after_the_signal() {
    let (_engine, mut portolan) = start(&["--drain-timeout=60s"]);
    let mut idle = http::Connection::open(ENTRY_POINT).expect("a connection");
    assert_eq!(idle.get("web", "/").expect("an answer").status, 200);
    let mut begun = begin();
    eventually(PATIENCE, "both requests to reach the endpoint", || {
        match portolan.metric("portolan_endpoint_requests_total{endpoint=\"web\"}") {
            2.0.. => Ok(()),
            other => Err(other.to_string()),
        }
    });
    assert_eq!(status(&portolan, "/readyz"), 200);
    portolan.terminate();
    eventually(PATIENCE, "not to be ready any more", || match status(&portolan, "/readyz") {
        503 => Ok(()),
        other => Err(other),
    });
    assert!(portolan.admin("/readyz").expect("an answer").text().contains("draining"));
    assert_eq!((status(&portolan, "/ping"), status(&portolan, "/livez")), (503, 200));
    assert!(idle.is_closed_by_peer().expect("its end"), "who asks nothing is not waited for");

    begun.send("cd").expect("the other half is sent");
    let answer = begun.read().expect("an answer");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(portolan.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn the_deadline_ends_what_does_not_end_by_itself() {
    let (_engine, mut portolan) = start(&["--drain-timeout=300ms"]);
    let mut begun = begin();
    await_begun(&portolan);
    let told = Instant::now();
    portolan.terminate();
    assert_eq!(portolan.wait_exit(PATIENCE).code(), Some(0));
    assert!(told.elapsed() >= Duration::from_millis(300), "{:?}", told.elapsed());
    begun.read().expect_err("it was cut off");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let (_engine, mut portolan) = start(&["--drain-timeout=60s"]);
        let _begun = begin();
        await_begun(&portolan);
        portolan.terminate();
        eventually(PATIENCE, "it to drain", || match status(&portolan, "/ping") {
            503 => Ok(()),
            other => Err(other),
        });
        portolan.signal(second);
        assert_eq!(portolan.wait_exit(PATIENCE).code(), Some(2));
    }
}
