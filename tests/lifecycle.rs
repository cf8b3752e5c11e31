//! What happens to a container is followed by the registry, by HTTP and by DNS, each time.

use std::time::Duration;

use crate::harness::{Container, Engine, Portolan, await_addresses, await_http, await_no_name, eventually};

/// One container `web`, ready and reachable by HTTP and by name.
fn start(web: &Container) -> (Engine, Portolan) {
    let engine = Engine::start();
    engine.run(web);
    let portolan = Portolan::start(&engine, &[]);
    (engine, portolan)
}

/// Waits until `web` gets work: registry, HTTP and DNS say so. Returns its attachment to the network.
fn await_in_service(portolan: &Portolan) -> String {
    let endpoint = portolan.await_state("web", "ready");
    assert_eq!(await_http("web", 200).text(), "web\n");
    await_addresses("web", &[&endpoint.ipv4]);
    assert!(!endpoint.attachment.is_empty());
    endpoint.attachment
}

/// Waits until `web` gets none, in this state for this reason. It is known all the same.
fn await_out_of_service(portolan: &Portolan, state: &str, reason: &str) {
    assert_eq!(portolan.await_state("web", state).reason, reason);
    let refusal = await_http("web", 503).text();
    assert_eq!(refusal, format!("no available server: 1 endpoint: 1 {state}\n"));
    await_addresses("web", &[]);
}

#[test]
fn a_container_is_followed_from_its_start_to_its_removal() {
    let (engine, portolan) = start(&Container::new("other"));
    await_http("web", 404);
    await_no_name("web");

    engine.docker(&["create", "--name=web", "--hostname=web", crate::harness::NGINX]);
    await_out_of_service(&portolan, "stopped", "created");
    engine.docker(&["start", "web"]);
    let first = await_in_service(&portolan);
    engine.docker(&["stop", "web"]);
    await_out_of_service(&portolan, "stopped", "exited (0)");
    engine.docker(&["start", "web"]);
    let second = await_in_service(&portolan);
    engine.docker(&["restart", "web"]);
    portolan.await_new_attachment("web", &second);
    let third = await_in_service(&portolan);
    assert!(first != second && second != third && first != third, "each life is an endpoint of its own");
    engine.docker(&["rm", "--force", "web"]);
    portolan.await_gone("web");
    await_http("web", 404);
    await_no_name("web");
}

#[test]
fn a_killed_container_is_out_of_service() {
    let (engine, portolan) = start(&Container::new("web"));
    await_in_service(&portolan);
    engine.docker(&["kill", "--signal=KILL", "web"]);
    await_out_of_service(&portolan, "stopped", "exited (137)");
}

/// nginx, until a test makes the file `/crash`.
fn crashing() -> Container {
    Container::new("web").script("nginx & while [ ! -f /crash ]; do usleep 10000; done; rm /crash; exit 3")
}

#[test]
fn a_crash_is_noticed_without_anybody_stopping_it() {
    let (engine, portolan) = start(&crashing());
    await_in_service(&portolan);
    engine.exec("web", &["touch", "/crash"]);
    await_out_of_service(&portolan, "stopped", "exited (3)");
}

#[test]
fn a_container_that_its_restart_policy_brings_back_is_a_new_endpoint() {
    let (engine, portolan) = start(&crashing().option("--restart=always"));
    let first = await_in_service(&portolan);
    engine.exec("web", &["touch", "/crash"]);
    portolan.await_new_attachment("web", &first);
    assert_ne!(await_in_service(&portolan), first);
}

#[test]
fn a_paused_container_gets_no_work_until_it_goes_on() {
    let (engine, portolan) = start(&Container::new("web"));
    let attachment = await_in_service(&portolan);
    engine.docker(&["pause", "web"]);
    await_out_of_service(&portolan, "paused", "paused");
    engine.docker(&["unpause", "web"]);
    assert_eq!(await_in_service(&portolan), attachment, "it is the same life");
}

#[test]
fn health_decides() {
    let (engine, portolan) = start(&Container::new("web").health("test -f /healthy"));
    await_out_of_service(&portolan, "unhealthy", "health check failed");
    engine.exec("web", &["touch", "/healthy"]);
    await_in_service(&portolan);
    engine.exec("web", &["rm", "/healthy"]);
    await_out_of_service(&portolan, "unhealthy", "health check failed");
    engine.exec("web", &["touch", "/healthy"]);
    await_in_service(&portolan);
}

/// The engine calls a paused container unhealthy, and says nothing of that when it goes on: not before the next check.
#[test]
fn a_pause_does_not_make_a_healthy_container_ill() {
    const BETWEEN_CHECKS: Duration = Duration::from_secs(3);
    let interval = format!("--health-interval={}s", BETWEEN_CHECKS.as_secs());
    let (engine, portolan) = start(&Container::new("web").option("--health-cmd=true").option(&interval));
    let attachment = await_in_service(&portolan);
    engine.docker(&["pause", "web"]);
    await_out_of_service(&portolan, "paused", "paused");
    engine.docker(&["unpause", "web"]);
    let state = || portolan.endpoint("web").map(|endpoint| endpoint.state).unwrap_or_default();
    eventually(BETWEEN_CHECKS / 2, "web to be ready before its next check", || match state().as_str() {
        "ready" => Ok(()),
        other => Err(other.to_owned()),
    });
    assert_eq!(await_in_service(&portolan), attachment);
}

#[test]
fn a_container_whose_health_is_not_known_yet_waits() {
    // Its first check runs after an hour.
    let web = Container::new("web").option("--health-cmd=true").option("--health-interval=1h");
    let (_engine, portolan) = start(&web);
    await_out_of_service(&portolan, "starting", "health check has not passed yet");
}

#[test]
fn a_renamed_container_is_found_by_its_new_name_only() {
    let (engine, portolan) = start(&Container::new("old").option("--hostname=web"));
    let before = portolan.await_state("old", "ready");
    await_http("old", 200);
    engine.docker(&["rename", "old", "web"]);
    let attachment = await_in_service(&portolan);
    assert_eq!(attachment, before.attachment, "it is the same life");
    portolan.await_gone("old");
    await_http("old", 404);
    await_no_name("old");
}

#[test]
fn networks_come_and_go_under_a_running_container() {
    let engine = Engine::start();
    engine.network("one");
    engine.network("two");
    engine.run(&Container::new("web").network("one"));
    let portolan = Portolan::start(&engine, &[]);
    let on_one = await_in_service(&portolan);
    engine.docker(&["network", "connect", "two", "web"]);
    engine.docker(&["network", "disconnect", "one", "web"]);
    let endpoint = portolan.await_new_attachment("web", &on_one);
    assert_eq!(endpoint.ipv4, engine.address("web", "two").to_string());
    await_in_service(&portolan);
    engine.docker(&["network", "disconnect", "two", "web"]);
    await_out_of_service(&portolan, "starting", "no address on any network");
    engine.docker(&["network", "connect", "one", "web"]);
    await_in_service(&portolan);
}

/// The engine gives a dead container's address to the next one at once.
#[test]
fn who_gets_a_dead_ones_address_inherits_nothing() {
    let (engine, portolan) = start(&Container::new("web"));
    await_in_service(&portolan);
    let dead = portolan.await_state("web", "ready");
    let requests = "portolan_endpoint_requests_total{endpoint=\"web\"}";
    assert!(portolan.metric(requests) >= 1.0);

    engine.docker(&["rm", "--force", "web"]);
    engine.run(&Container::new("heir"));
    let heir = portolan.await_state("heir", "ready");
    assert_eq!(heir.ipv4, dead.ipv4, "it got the address");
    assert!(heir.attachment != dead.attachment && heir.id != dead.id, "{heir:?}");
    // A connection to the dead one waits in the proxy; a request for the dead one must not reach the heir by it.
    await_http("web", 404);
    await_no_name("web");
    assert_eq!(await_http("heir", 200).text(), "heir\n");
    assert!(portolan.metric(requests) < 1.0, "its counters are gone with it");

    // The same name over again is not the same endpoint either.
    engine.docker(&["rm", "--force", "heir"]);
    engine.run(&Container::new("web"));
    let namesake = portolan.await_state("web", "ready");
    assert_eq!(namesake.ipv4, dead.ipv4);
    assert!(namesake.attachment != dead.attachment && namesake.id != dead.id, "{namesake:?}");
    assert!(portolan.metric(requests) < 1.0, "it begins to count at nothing");
}
