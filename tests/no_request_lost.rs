//! The promise that the rest is for: replicas stop, are killed and come back, and no request fails.
//!
//! Clients keep their connections, or open one for each request; they come by the published port, or by the entry point.

use crate::harness::{
    Container, ENTRY_POINT, Engine, Load, NGINX, NGINX_SIGTERM, PATIENCE, Portolan, eventually, http,
};

const REPLICAS: [&str; 3] = ["web-1", "web-2", "web-3"];
const PUBLISHED: &str = "127.0.0.1:8080";
const ROUNDS: usize = 4;

/// nginx takes its time to stop: it answers what it has begun.
#[test]
fn no_request_fails_while_replicas_stop_gracefully() {
    let requests = under_load(NGINX, |engine, replica| {
        engine.docker(&["stop", replica]);
    });
    assert!(requests > 10_000, "only {requests} requests: no load to speak of");
}

/// nginx drops its connections, also those that a request is just on its way on.
#[test]
fn no_request_fails_while_replicas_stop_at_once() {
    let requests = under_load(NGINX_SIGTERM, |engine, replica| {
        engine.docker(&["stop", replica]);
    });
    assert!(requests > 10_000, "only {requests} requests: no load to speak of");
}

/// Nobody is told anything before it happens. Requests that may be made twice are, on another replica.
#[test]
fn no_request_fails_while_replicas_are_killed() {
    let requests = under_load(NGINX, |engine, replica| {
        engine.docker(&["kill", "--signal=KILL", replica]);
    });
    assert!(requests > 10_000, "only {requests} requests: no load to speak of");
}

/// Ends replica after replica by `end` and starts it again, under load by every way in. Returns the requests answered.
fn under_load(image: &str, end: impl Fn(&Engine, &str)) -> u64 {
    let engine = Engine::start();
    for replica in REPLICAS {
        engine.run(&replica_of_web(replica, image));
    }
    let portolan = Portolan::start(&engine, &[]);
    for replica in REPLICAS {
        engine.serving(replica, "bridge");
        portolan.await_state(replica, "ready");
    }
    for address in [PUBLISHED, ENTRY_POINT] {
        eventually(PATIENCE, "an answer", || http::get(address, "web", "/"));
    }

    let loads: Vec<(String, Load)> = [PUBLISHED, ENTRY_POINT]
        .into_iter()
        .flat_map(|address| ["keep-alive", "close"].map(|connection| (address, connection)))
        .map(|(address, connection)| {
            let header = format!("Connection: {connection}");
            let options = ["--connections", "4", "--header", "Host: web", "--header", &header];
            let load = Load::start_with(&format!("http://{address}/"), &options);
            (format!("{address}, {connection}"), load)
        })
        .collect();
    for _ in 0..ROUNDS {
        for replica in REPLICAS {
            end(&engine, replica);
            portolan.await_state(replica, "stopped");
            engine.docker(&["start", replica]);
            engine.serving(replica, "bridge");
            portolan.await_state(replica, "ready");
        }
    }
    let mut requests = 0;
    for (name, load) in loads {
        let report = load.stop();
        assert_eq!(report.failures(), 0, "{name}: {}", report.text);
        println!("{name}: {} requests, {:.0} a second", report.requests, report.per_second);
        requests += report.requests;
    }
    requests
}

/// Browsers connect ahead of their first request, and every client for a moment: the replica may leave in that moment.
#[test]
fn a_connection_without_a_request_yet_survives_its_replica() {
    let engine = Engine::start();
    for replica in REPLICAS {
        engine.run(&replica_of_web(replica, NGINX));
        engine.serving(replica, "bridge");
    }
    let portolan = Portolan::start(&engine, &[]);
    for replica in REPLICAS {
        portolan.await_state(replica, "ready");
    }
    let mut connections: Vec<http::Connection> = eventually(PATIENCE, "the port", || {
        REPLICAS.map(|_| http::Connection::open(PUBLISHED)).into_iter().collect::<Result<_, _>>()
    });
    for replica in REPLICAS {
        let given = format!("portolan_endpoint_connections_total{{endpoint=\"{replica}\"}}");
        eventually(PATIENCE, "each replica to be given a connection", || match portolan.metric(&given) {
            1.0.. => Ok(()),
            other => Err(format!("{replica} has {other}")),
        });
    }
    engine.docker(&["kill", "--signal=KILL", "web-2"]);
    portolan.await_state("web-2", "stopped");
    for connection in &mut connections {
        let answer = connection.get("any", "/").expect("an answer");
        assert!(["web-1\n", "web-3\n"].contains(&answer.text().as_str()), "{answer:?}");
    }
}

fn replica_of_web(name: &str, image: &str) -> Container {
    Container::new(name).image(image).label("portolan.service", "web").label("portolan.publish", "8080:80")
}
