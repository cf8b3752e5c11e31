//! A replica that does not answer its service's health check is out of service, for traffic and names alike, and comes
//! back when it answers again; whoever stays with a replica finds it again after a restart.

use std::time::Duration;

use crate::harness::{Container, ENTRY_POINT, Engine, Portolan, await_addresses, eventually, http};

const PATIENCE: Duration = Duration::from_secs(20);

/// nginx that hangs, connections open, for as long as the file `/hang` is there.
fn replica(number: usize) -> Container {
    let script = "nginx & while :; do \
        if [ -f /hang ]; then killall -STOP nginx; while [ -f /hang ]; do usleep 10000; done; killall -CONT nginx; fi; \
        usleep 10000; done";
    Container::new(&format!("web-{number}")).script(script).label("portolan.service", "web")
}

/// Who answers for `web`, in so many requests of their own connections.
fn who(times: usize) -> Vec<String> {
    (0..times)
        .map(|_| http::get(ENTRY_POINT, "web", "/").expect("an answer").text().trim_end().to_owned())
        .collect()
}

#[test]
fn a_hanging_replica_is_taken_out_by_its_check_and_comes_back() {
    let engine = Engine::start();
    for number in 1..=2 {
        let balancer = "portolan.http.services.web.loadbalancer";
        let container = replica(number)
            .label(&format!("{balancer}.healthcheck.path"), "/")
            .label(&format!("{balancer}.healthcheck.interval"), "200ms")
            .label(&format!("{balancer}.healthcheck.timeout"), "500ms");
        engine.run(&container);
        engine.serving(container.name(), "bridge");
    }
    let portolan = Portolan::start(&engine, &[]);
    let first = portolan.await_state("web-1", "ready");
    let second = portolan.await_state("web-2", "ready");
    let up = |number: usize| {
        portolan.metric(&format!(
            "portolan_endpoint_check_up{{endpoint=\"web-{number}\",service=\"web@docker\"}}"
        ))
    };
    eventually(PATIENCE, "both to be checked", || {
        let both = (up(1), up(2));
        if both.0 + both.1 > 1.5 { Ok(()) } else { Err(format!("{both:?}")) }
    });
    engine.exec("web-2", &["touch", "/hang"]);
    let hanging = portolan.await_state("web-2", "unhealthy");
    assert!(hanging.reason.contains("no answer within 500ms"), "{}", hanging.reason);
    await_addresses("web", &[&first.ipv4]);
    assert_eq!(who(20), vec!["web-1"; 20]);
    assert!(up(2) < 0.5);
    engine.exec("web-2", &["rm", "/hang"]);
    portolan.await_state("web-2", "ready");
    await_addresses("web", &[&first.ipv4, &second.ipv4]);
    eventually(PATIENCE, "both to serve", || {
        let who = who(4);
        if who.contains(&"web-2".to_owned()) { Ok(()) } else { Err(format!("{who:?}")) }
    });
}

#[test]
fn who_stays_with_a_replica_finds_it_again_after_a_restart() {
    let engine = Engine::start();
    for number in 1..=3 {
        let container =
            replica(number).label("traefik.http.services.web.loadbalancer.sticky.cookie.name", "stay");
        engine.run(&container);
        engine.serving(container.name(), "bridge");
    }
    let portolan = Portolan::start(&engine, &[]);
    for number in 1..=3 {
        portolan.await_state(&format!("web-{number}"), "ready");
    }
    let first = http::get(ENTRY_POINT, "web", "/").expect("an answer");
    let replica = first.text().trim_end().to_owned();
    let cookie = first.header("set-cookie").expect("a cookie").split(';').next().expect("a value").to_owned();
    assert!(cookie.starts_with("stay="), "{cookie}");
    let ask = || {
        let mut connection = http::Connection::open(ENTRY_POINT).expect("a connection");
        connection
            .send(format!("GET / HTTP/1.1\r\nHost: web\r\nCookie: {cookie}\r\n\r\n"))
            .expect("it is sent");
        let answer = connection.read().expect("an answer");
        (answer.text().trim_end().to_owned(), answer.header("set-cookie").map(str::to_owned))
    };
    for _ in 0..5 {
        assert_eq!(ask(), (replica.clone(), None));
    }
    let life = portolan.await_state(&replica, "ready").attachment;
    engine.docker(&["restart", "--time=0", &replica]);
    portolan.await_new_attachment(&replica, &life);
    portolan.await_state(&replica, "ready");
    engine.serving(&replica, "bridge");
    for _ in 0..5 {
        assert_eq!(ask(), (replica.clone(), None));
    }
    engine.docker(&["kill", &replica]);
    portolan.await_state(&replica, "stopped");
    let (other, set) = ask();
    assert_ne!(other, replica);
    assert!(set.is_some_and(|set| set.starts_with("stay=")), "it is told whom it stays with now");
}
