//! Replicas that hang, fail, break off or are slow, under load: once that is found out, no request sees it.

use crate::harness::{
    Container, ENTRY_POINT, Engine, Loads, PATIENCE, Portolan, eventually, longer, while_loaded,
};

const REPLICAS: [&str; 3] = ["web-1", "web-2", "web-3"];
/// The one that goes wrong.
const FAULTY: &str = "web-2";
const BALANCER: &str = "portolan.http.services.web.loadbalancer";

/// nginx that goes wrong for as long as a file says so: hangs with its connections open, runs a fifth of the time only,
/// answers 500, or breaks connections off without an answer.
fn replica(name: &str, labels: &[(&str, &str)]) -> Container {
    let script = "sed 's|location / {|location / { if (-f /failing) { return 500; } if (-f /breaking) { return 444; }|' \
        /etc/nginx/nginx.conf > /tmp/nginx.conf; nginx -c /tmp/nginx.conf & while :; do \
        if [ -f /hanging ]; then killall -STOP nginx; while [ -f /hanging ]; do usleep 10000; done; killall -CONT nginx; \
        elif [ -f /slow ]; then killall -STOP nginx; usleep 80000; killall -CONT nginx; usleep 20000; \
        else usleep 10000; fi; done";
    let container = Container::new(name).script(script).label("portolan.service", "web");
    labels
        .iter()
        .fold(container, |container, (key, value)| container.label(&format!("{BALANCER}.{key}"), value))
}

/// Replicas of a service with these options, and Portolan before them.
fn start(labels: &[(&str, &str)]) -> (Engine, Portolan) {
    let engine = Engine::start();
    for name in REPLICAS {
        engine.run(&replica(name, labels));
        engine.serving(name, "bridge");
    }
    let portolan = Portolan::start(&engine, &[]);
    for name in REPLICAS {
        portolan.await_state(name, "ready");
    }
    (engine, portolan)
}

fn go_wrong(engine: &Engine, how: &str) {
    engine.exec(FAULTY, &["touch", &format!("/{how}")]);
}

fn load() -> Loads {
    Loads::by(&[ENTRY_POINT], "web")
}

/// Requests that this replica was given.
fn given(portolan: &Portolan, name: &str) -> f64 {
    portolan.metric(&format!("portolan_endpoint_requests_total{{endpoint=\"{name}\"}}"))
}

/// Waits until so many more requests were answered.
#[track_caller]
fn await_requests(portolan: &Portolan, more: f64) {
    let answered = || portolan.metric("portolan_entrypoint_requests_total{entrypoint=\"web\"}");
    let before = answered();
    eventually(PATIENCE * 12, "requests", || match answered() - before {
        enough if enough >= more => Ok(()),
        few => Err(few.to_string()),
    });
}

/// So many, that chance has no say in it.
fn many() -> f64 {
    12_000.0 * longer() as f64
}

#[test]
fn a_replica_that_hangs_is_not_waited_for_once_its_check_has_found_out() {
    let check = [("healthcheck.path", "/"), ("healthcheck.interval", "200ms"), ("healthcheck.timeout", "3s")];
    let (engine, portolan) = start(&check);
    let loads = load();
    await_requests(&portolan, 1000.0);
    go_wrong(&engine, "hanging");
    portolan.await_state(FAULTY, "unhealthy");
    // Only what it had then may wait for it: a connection each.
    let lost = loads.stop();
    println!("before it was found out: {} failed of {}", lost.failures, lost.requests);
    assert!(lost.failures <= 16, "{lost:?}");
    let (loads, before) = (load(), given(&portolan, FAULTY));
    await_requests(&portolan, many());
    loads.assert_nothing_lost();
    assert!(given(&portolan, FAULTY) - before < 0.5, "it is given nothing");
}

#[test]
fn a_replica_that_fails_is_out_after_a_few_answers() {
    let labels =
        [("passivehealthcheck.maxfailedattempts", "3"), ("passivehealthcheck.failurewindow", "100s")];
    let (engine, portolan) = start(&labels);
    let loads = load();
    await_requests(&portolan, 1000.0);
    go_wrong(&engine, "failing");
    let out = portolan.await_state(FAULTY, "unhealthy");
    assert!(out.reason.contains("at last 500"), "{}", out.reason);
    let lost = loads.stop();
    println!("before it was out: {} failed of {}", lost.failures, lost.requests);
    assert!((3..1000).contains(&lost.failures), "{lost:?}");
    let loads = load();
    await_requests(&portolan, many());
    loads.assert_nothing_lost();
}

#[test]
fn a_replica_that_breaks_connections_off_costs_no_request_that_may_be_made_twice() {
    let (engine, portolan) = start(&[("passivehealthcheck.failurewindow", "100s")]);
    let loads = load();
    await_requests(&portolan, 1000.0);
    go_wrong(&engine, "breaking");
    portolan.await_state(FAULTY, "unhealthy");
    while_loaded(&portolan, |_| await_requests(&portolan, many()));
    loads.assert_nothing_lost();
}

#[test]
fn a_replica_that_is_slow_is_given_less_where_answers_are_timed() {
    let (engine, portolan) = start(&[("strategy", "ewma")]);
    let loads = load();
    await_requests(&portolan, 1000.0);
    go_wrong(&engine, "slow");
    await_requests(&portolan, 1000.0);
    let before = REPLICAS.map(|name| given(&portolan, name));
    await_requests(&portolan, many());
    let after = REPLICAS.map(|name| given(&portolan, name));
    let shares: Vec<f64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    println!("{shares:?}");
    assert!(shares[1] * 5.0 < shares[0].min(shares[2]), "{shares:?}");
    loads.assert_nothing_lost();
}
