//! The promise that the rest is for: replicas stop, are killed and come back, and no request fails.
//!
//! Clients keep their connections, or open one for each request; they come by the published port, or by the entry point.

use crate::harness::{
    Container, Engine, Loads, NGINX, NGINX_SIGTERM, PATIENCE, PUBLISHED, Portolan, eventually, http,
    while_loaded,
};

const REPLICAS: [&str; 3] = ["web-1", "web-2", "web-3"];
const ROUNDS: usize = 4;

/// nginx takes its time to stop: it answers what it has begun.
#[test]
fn no_request_fails_while_replicas_stop_gracefully() {
    under_load(NGINX, |engine, replica| {
        engine.docker(&["stop", replica]);
    });
}

/// nginx drops its connections, also those that a request is just on its way on.
#[test]
fn no_request_fails_while_replicas_stop_at_once() {
    under_load(NGINX_SIGTERM, |engine, replica| {
        engine.docker(&["stop", replica]);
    });
}

/// Nobody is told anything before it happens. Requests that may be made twice are, on another replica.
#[test]
fn no_request_fails_while_replicas_are_killed() {
    under_load(NGINX, |engine, replica| {
        engine.docker(&["kill", "--signal=KILL", replica]);
    });
}

/// Ends replica after replica by `end` and starts it again, under load by every way in.
fn under_load(image: &str, end: impl Fn(&Engine, &str)) {
    let engine = Engine::start();
    for replica in REPLICAS {
        engine.run(&replica_of_web(replica, image));
    }
    let portolan = Portolan::start(&engine, &[]);
    for replica in REPLICAS {
        engine.serving(replica, "bridge");
        portolan.await_state(replica, "ready");
    }
    let loads = Loads::start("web");
    while_loaded(&portolan, |_| {
        for replica in REPLICAS.into_iter().cycle().take(REPLICAS.len() * ROUNDS) {
            end(&engine, replica);
            portolan.await_state(replica, "stopped");
            engine.docker(&["start", replica]);
            engine.serving(replica, "bridge");
            portolan.await_state(replica, "ready");
        }
    });
    loads.assert_nothing_lost();
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
