//! A deploy that nobody notices: what operators do to what runs, under load, and not one request lost.
//!
//! Each is short, and still tens of thousands of requests: `portolan`'s own loss would be a handful of them.

use std::time::{Duration, Instant};

use crate::harness::{
    Container, ENTRY_POINT, Engine, Load, NGINX, NGINX_SIGTERM, PATIENCE, Portolan, Report, await_http,
    eventually, http, longer,
};

/// For a share of the load that is to have come, on a machine that does much else.
const LOAD_PATIENCE: Duration = Duration::from_secs(60);
const PUBLISHED: &str = "127.0.0.1:8080";

/// Keep-alive and not, by the entry point and by the published port.
struct Loads(Vec<(String, Load)>);

impl Loads {
    fn start(host: &str) -> Self {
        for address in [PUBLISHED, ENTRY_POINT] {
            eventually(PATIENCE, "an answer", || match http::get(address, host, "/") {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            });
        }
        let ways =
            [PUBLISHED, ENTRY_POINT].into_iter().flat_map(|to| ["keep-alive", "close"].map(|how| (to, how)));
        let start = |(to, how): (&str, &str)| {
            let (host, connection) = (format!("Host: {host}"), format!("Connection: {how}"));
            let options = ["--connections", "4", "--header", &host, "--header", &connection];
            (format!("{to}, {how}"), Load::start_with(&format!("http://{to}/"), &options))
        };
        Self(ways.map(start).collect())
    }

    /// Stops them all, and holds that every request had a good answer.
    #[track_caller]
    fn assert_nothing_lost(self) {
        let reports: Vec<(String, Report)> =
            self.0.into_iter().map(|(name, load)| (name, load.stop())).collect();
        let requests: u64 = reports.iter().map(|(_, report)| report.requests).sum();
        println!("{requests} requests");
        for (name, report) in reports {
            assert_eq!(report.failures(), 0, "of {requests}; {name}: {}", report.text);
        }
        assert!(requests > 10_000, "only {requests} requests: no load to speak of");
    }
}

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
        NGINX_SIGTERM,
        "web",
    ]);
    engine.await_updated("web");
    await_ready(&portolan, "web@swarm", 10);
    loads.assert_nothing_lost();
}

#[test]
fn scaling_up_and_down_loses_no_request() {
    let (engine, portolan) = swarm();
    engine.service("web", NGINX_SIGTERM, &["--replicas", "2", "--label", "portolan.publish=8080:80"]);
    await_ready(&portolan, "web@swarm", 2);
    let loads = Loads::start("web");
    for replicas in [20, 2] {
        engine.docker(&["service", "scale", "--detach", &format!("web={replicas}")]);
        await_ready(&portolan, "web@swarm", replicas);
    }
    // Those that were too many are gone, too.
    eventually(PATIENCE * 3, "the last of them to be gone", || match portolan.endpoints("web@swarm").len() {
        2 => Ok(()),
        other => Err(other),
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
    for round in 0..8 {
        let began = Instant::now();
        let name = &names[round % names.len()];
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
