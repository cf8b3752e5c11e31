//! A deploy that nobody notices: what operators do to what runs, under load, and not one request lost.
//!
//! Each is short, and still tens of thousands of requests: `portolan`'s own loss would be a handful of them.

use std::time::{Duration, Instant};

use crate::harness::{
    Container, Engine, Loads, NGINX, NGINX_SIGTERM, PATIENCE, Portolan, await_http, eventually, longer,
    while_loaded,
};

/// For a share of the load that is to have come, on a machine that does much else.
const LOAD_PATIENCE: Duration = Duration::from_secs(60);
fn swarm() -> (Engine, Portolan) {
    let engine = Engine::start();
    engine.init_swarm();
    let portolan = Portolan::start(&engine, &[]);
    (engine, portolan)
}

#[track_caller]
fn await_ready(portolan: &Portolan, service: &str, ready: usize) {
    eventually(PATIENCE * 3, &format!("{ready} endpoints of {service} to be ready"), || {
        let all = portolan.endpoints(service);
        let found = all.iter().filter(|endpoint| endpoint.state == "ready").count();
        if found == ready { Ok(()) } else { Err(format!("{found} of {}", all.len())) }
    });
}

#[test]
fn an_update_of_ten_replicas_loses_no_request() {
    let (engine, portolan) = swarm();
    engine.service("web", NGINX, &["--replicas", "10", "--label", "portolan.publish=8080:80"]);
    await_ready(&portolan, "web@swarm", 10);
    let loads = Loads::start("web");
    while_loaded(&portolan, |round| {
        engine.docker(&[
            "service",
            "update",
            "--detach",
            "--quiet",
            "--no-resolve-image",
            "--update-parallelism",
            "4",
            "--update-monitor",
            "1s",
            "--image",
            [NGINX_SIGTERM, NGINX][round % 2],
            "web",
        ]);
        engine.await_updated("web");
        await_ready(&portolan, "web@swarm", 10);
    });
    loads.assert_nothing_lost();
}

#[test]
fn scaling_up_and_down_loses_no_request() {
    let (engine, portolan) = swarm();
    engine.service("web", NGINX_SIGTERM, &["--replicas", "2", "--label", "portolan.publish=8080:80"]);
    await_ready(&portolan, "web@swarm", 2);
    let loads = Loads::start("web");
    while_loaded(&portolan, |_| {
        for replicas in [20, 2] {
            engine.docker(&["service", "scale", "--detach", &format!("web={replicas}")]);
            await_ready(&portolan, "web@swarm", replicas);
        }
    });
    // Those that were too many are gone, too.
    eventually(PATIENCE * 12, "the last of them to be gone", || {
        match portolan.endpoints("web@swarm").len() {
            2 => Ok(()),
            other => Err(other),
        }
    });
    loads.assert_nothing_lost();
}

/// Nobody is told anything before it happens, and Swarm replaces it later.
#[test]
fn a_replica_killed_every_second_loses_no_request_that_may_be_made_twice() {
    let engine = Engine::start();
    let names: Vec<String> = (1..=4).map(|number| format!("web-{number}")).collect();
    for name in &names {
        let replica =
            Container::new(name).label("portolan.service", "web").label("portolan.publish", "8080:80");
        engine.run(&replica);
        engine.serving(name, "bridge");
    }
    let portolan = Portolan::start(&engine, &[]);
    await_ready(&portolan, "web@docker", 4);
    let loads = Loads::start("web");
    while_loaded(&portolan, |_| {
        for name in names.iter().chain(&names) {
            let began = Instant::now();
            engine.docker(&["kill", "--signal=KILL", name]);
            portolan.await_state(name, "stopped");
            engine.docker(&["start", name]);
            engine.serving(name, "bridge");
            portolan.await_state(name, "ready");
            eventually(PATIENCE, "the second to be over", || match began.elapsed() {
                over if over >= Duration::from_secs(1) => Ok(()),
                not_yet => Err(format!("{not_yet:?}")),
            });
        }
    });
    loads.assert_nothing_lost();
}

#[test]
fn an_engine_that_is_killed_and_started_again_and_again_loses_no_request() {
    let mut engine = Engine::start_with(&["--live-restore"]);
    for name in ["web-1", "web-2"] {
        let replica =
            Container::new(name).label("portolan.service", "web").label("portolan.publish", "8080:80");
        engine.run(&replica);
        engine.serving(name, "bridge");
    }
    let portolan = Portolan::start(&engine, &[]);
    await_ready(&portolan, "web@docker", 2);
    let loads = Loads::start("web");
    let rounds = if longer() > 1 { 10 } else { 4 };
    for round in 1..=rounds {
        engine.kill();
        eventually(PATIENCE, "the loss to be noticed", || portolan.lost().ok_or("not yet"));
        engine.restart();
        eventually(PATIENCE, "the engine to be followed again", || match portolan.lost() {
            None => Ok(()),
            Some(reason) => Err(reason),
        });
        await_ready(&portolan, "web@docker", 2);
        await_http("web", 200);
        eventually(LOAD_PATIENCE, "requests", || {
            match portolan.metric("portolan_entrypoint_requests_total") {
                enough if enough >= (1000 * round * longer()) as f64 => Ok(()),
                few => Err(few.to_string()),
            }
        });
    }
    loads.assert_nothing_lost();
}
