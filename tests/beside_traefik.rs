//! A deploy under load, through Portolan and through Traefik at the same time: what each of them loses. It needs Traefik's
//! binary, and takes minutes: `benches/deploy/run` has it and runs this. What must hold of Portolan alone,
//! `no_request_lost.rs` says.

use crate::harness::{
    Container, ENTRY_POINT, Engine, Load, NGINX, NGINX_SIGTERM, PATIENCE, Portolan, Process, eventually, http,
};

/// Where Traefik takes HTTP.
const TRAEFIK: &str = "127.0.0.1:8001";
const REPLICAS: [&str; 3] = ["web-1", "web-2", "web-3"];
const ROUNDS: usize = 5;

/// What is done to each replica in turn, before it is started again.
const EVENTS: [(&str, &str, &[&str]); 4] = [
    ("`docker stop`, and it answers what it has begun", NGINX, &["stop"]),
    ("`docker stop`, and it ends at once", NGINX_SIGTERM, &["stop"]),
    ("killed", NGINX, &["kill", "--signal=KILL"]),
    ("removed, and another made in its place", NGINX, &["rm", "--force"]),
];

fn traefik(engine: &Engine) -> Process {
    let binary = std::env::var("TRAEFIK").expect("TRAEFIK names the binary: run benches/deploy/run");
    let sandbox = engine.sandbox();
    let mut command = sandbox.command(binary);
    command.args([
        "--entrypoints.web.address=:8001",
        "--providers.docker.endpoint=unix:///run/docker.sock",
        "--global.sendanonymoususage=false",
        "--global.checknewversion=false",
    ]);
    sandbox.spawn("traefik", command)
}

fn replica(name: &str, image: &str) -> Container {
    Container::new(name)
        .image(image)
        .label("portolan.service", "web")
        .label("traefik.http.routers.web.rule", "Host(`web`)")
        .label("traefik.http.services.web.loadbalancer.server.port", "80")
}

#[test]
#[ignore = "it compares with another program, which benches/deploy/run installs"]
fn a_deploy_beside_traefik() {
    println!("| event, {ROUNDS} times for each of 3 replicas | connections | Portolan lost | Traefik lost |");
    println!("|---|---|---|---|");
    for (event, image, end) in EVENTS {
        let engine = Engine::start();
        for name in REPLICAS {
            engine.run(&replica(name, image));
        }
        let portolan = Portolan::start(&engine, &[]);
        let _traefik = traefik(&engine);
        for name in REPLICAS {
            engine.serving(name, "bridge");
            portolan.await_state(name, "ready");
        }
        for address in [ENTRY_POINT, TRAEFIK] {
            eventually(PATIENCE, "an answer", || match http::get(address, "web", "/") {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(format!("{address} answers {}", answer.status)),
                Err(error) => Err(format!("{address}: {error}")),
            });
        }
        let start = |address: &str, connection: &str| {
            let header = format!("Connection: {connection}");
            let options = ["--connections", "4", "--header", "Host: web", "--header", &header];
            Load::start_with(&format!("http://{address}/"), &options)
        };
        let loads = ["keep-alive", "close"]
            .map(|connection| (connection, start(ENTRY_POINT, connection), start(TRAEFIK, connection)));
        for name in REPLICAS.into_iter().cycle().take(REPLICAS.len() * ROUNDS) {
            engine.docker(&[end, &[name]].concat());
            if end[0] == "rm" {
                engine.run(&replica(name, image));
            } else {
                portolan.await_state(name, "stopped");
                engine.docker(&["start", name]);
            }
            engine.serving(name, "bridge");
            portolan.await_state(name, "ready");
        }
        for (connection, ours, theirs) in loads {
            let lost = |load: Load| {
                let report = load.stop();
                format!("{} of {}", report.failures(), report.requests)
            };
            println!("| {event} | {connection} | {} | {} |", lost(ours), lost(theirs));
        }
    }
}
