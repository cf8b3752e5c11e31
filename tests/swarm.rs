//! Services of a Swarm, over a real manager: found by themselves, followed task by task, and updated without a lost
//! request.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::dns::{RecordType, ResponseCode};
use crate::harness::{
    Container, Engine, Loads, NGINX, NGINX_SIGTERM, OVERLAY, PATIENCE, PUBLISHED, Portolan, await_http,
    eventually, http, require, resolve,
};

fn start() -> (Engine, Portolan) {
    let engine = Engine::start();
    engine.init_swarm();
    let portolan = Portolan::start(&engine, &[]);
    (engine, portolan)
}

/// The tasks of a service in a state.
fn tasks(portolan: &Portolan, service: &str, state: &str) -> usize {
    portolan.endpoints(&format!("{service}@swarm")).iter().filter(|endpoint| endpoint.state == state).count()
}

#[track_caller]
fn await_tasks(portolan: &Portolan, service: &str, ready: usize) {
    eventually(PATIENCE, &format!("{ready} tasks of {service} to be ready"), || {
        let all = portolan.endpoints(&format!("{service}@swarm"));
        let found = all.iter().filter(|endpoint| endpoint.state == "ready").count();
        if found == ready { Ok(()) } else { Err(format!("{all:?}")) }
    });
}

/// Who answers: every host name that a few requests find.
fn who_answers(service: &str, expected: usize) -> BTreeSet<String> {
    let found: BTreeSet<String> =
        (0..expected * 4).map(|_| await_http(service, 200).text().trim().to_owned()).collect();
    assert_eq!(found.len(), expected, "{found:?}");
    found
}

#[test]
fn a_service_is_served_and_named_and_followed_as_it_is_scaled() {
    let (engine, portolan) = start();
    // The one command of the introductions, without a label.
    engine.service("nginx", NGINX, &["--replicas", "3"]);
    await_tasks(&portolan, "nginx", 3);
    who_answers("nginx", 3);
    for (name, expected) in [("nginx", 3), ("tasks.nginx", 3), ("nginx.1", 1), ("nginx.3", 1)] {
        let (code, found) = resolve(name, RecordType::A);
        assert_eq!((code, found.len()), (ResponseCode::NoError, expected), "{name}: {found:?}");
    }
    // What the Swarm provider tells of, the other is silent about.
    assert!(portolan.endpoints("nginx@docker").is_empty());

    engine.docker(&["service", "scale", "--detach", "nginx=1"]);
    await_tasks(&portolan, "nginx", 1);
    who_answers("nginx", 1);
    engine.docker(&["service", "scale", "--detach", "nginx=5"]);
    await_tasks(&portolan, "nginx", 5);
    who_answers("nginx", 5);
    engine.docker(&["service", "scale", "--detach", "nginx=0"]);
    let answer = await_http("nginx", 503);
    assert!(answer.text().contains("no available server"), "{}", answer.text());
    eventually(PATIENCE, "the last task to be gone", || match &portolan.endpoints("nginx@swarm")[..] {
        [only] if only.reason == "scaled to 0 replicas" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    engine.docker(&["service", "rm", "nginx"]);
    await_http("nginx", 404);
}

#[test]
fn a_task_drains_before_its_signal_and_within_moments_of_the_decision() {
    let (engine, portolan) = start();
    engine.service("web", NGINX, &["--replicas", "2"]);
    await_tasks(&portolan, "web", 2);
    engine.docker(&["service", "scale", "--detach", "web=1"]);
    let asked = Instant::now();
    eventually(PATIENCE, "a task to drain", || match tasks(&portolan, "web", "draining") {
        1 => Ok(()),
        other => Err(other),
    });
    let took = asked.elapsed();
    // Swarm waits two seconds before it sends the signal.
    assert!(took < Duration::from_millis(1500), "{took:?}");
    println!("draining after {took:?}");
    let reasons: Vec<_> =
        portolan.endpoints("web@swarm").into_iter().map(|endpoint| endpoint.reason).collect();
    assert!(reasons.iter().any(|reason| reason.starts_with("desired state")), "{reasons:?}");
}

#[test]
fn labels_of_a_service_route_and_publish() {
    let (engine, portolan) = start();
    let labels = [
        "--label",
        "traefik.http.routers.shop.rule=Host(`shop.example`)",
        "--label",
        "traefik.http.services.shop.loadbalancer.server.port=80",
        "--label",
        "portolan.publish=8080:80",
        "--label",
        "portolan.http.routers.bad.rule=Hst(`x`)",
    ];
    engine.service("shop", NGINX, &labels);
    await_tasks(&portolan, "shop", 1);
    await_http("shop.example", 200);
    eventually(PATIENCE, "the published port", || http::get(PUBLISHED, "any", "/"));
    let faults = portolan.faults();
    assert!(faults.iter().any(|fault| fault.origin == "service shop"), "{faults:?}");
}

#[test]
fn tasks_are_reached_by_ports_of_their_node_and_by_its_own_network() {
    let (engine, portolan) = start();
    let publish = ["--publish", "mode=host,published=9001,target=80"];
    engine.service_on("bridge", "bound", NGINX, &publish);
    engine.service_on("host", "plain", NGINX, &[]);
    for service in ["bound", "plain"] {
        await_tasks(&portolan, service, 1);
        await_http(service, 200);
    }
}

/// As users run it: in a container on the overlay network, with the engine's socket.
#[test]
fn from_within_the_overlay_network_tasks_are_reached_there() {
    let engine = Engine::start();
    engine.init_swarm();
    engine.service("web", NGINX, &["--replicas", "2"]);
    engine.run(&Container::new("inside").network(OVERLAY));
    engine.in_network_of("inside", || {
        let portolan = Portolan::start(&engine, &[]);
        await_tasks(&portolan, "web", 2);
        for endpoint in portolan.endpoints("web@swarm") {
            assert!(endpoint.ipv4.starts_with("10.0."), "an address on the overlay network: {endpoint:?}");
        }
        who_answers("web", 2);
    });
}

/// Kernels without IPVS lead a virtual address nowhere. So somebody else has it here, and answers.
#[test]
fn a_service_that_swarm_balances_is_sent_to_by_its_virtual_address() {
    let engine = Engine::start();
    engine.init_swarm();
    let label = ["--label", "traefik.docker.lbswarm=true"];
    engine.service("web", NGINX, &[&["--replicas", "2"][..], &label].concat());
    engine.run(&Container::new("inside").network(OVERLAY));
    let format = "{{range .Endpoint.VirtualIPs}}{{.Addr}}{{end}}";
    let address = engine.docker(&["service", "inspect", "--format", format, "web"]).trim().to_owned();
    let (ip, _) = address.split_once('/').expect("it has one virtual address");
    engine.in_network_of("inside", || {
        let mut give = Command::new(require("ip"));
        let given = give.args(["address", "add", &format!("{ip}/32"), "dev", "lo"]).status();
        assert!(given.expect("ip runs").success());
        let portolan = Portolan::start(&engine, &[]);
        eventually(PATIENCE, "one endpoint for all tasks", || match &portolan.endpoints("web@swarm")[..] {
            [only] if only.state == "ready" && only.ipv4 == ip => Ok(()),
            other => Err(format!("{other:?}, not {ip}")),
        });
        for _ in 0..4 {
            assert_eq!(await_http("web", 200).text().trim(), "inside");
        }
        assert_eq!(resolve("web", RecordType::A), (ResponseCode::NoError, vec![ip.to_owned()]));
        // What is scaled to nothing has its virtual address still.
        engine.docker(&["service", "scale", "--detach", "web=0"]);
        await_http("web", 503);
    });
}

#[test]
fn a_service_without_a_virtual_address_is_sent_to_by_its_tasks_whatever_is_asked_for() {
    let (engine, portolan) = start();
    let flags = ["--replicas", "3", "--endpoint-mode", "dnsrr", "--label", "traefik.swarm.lbswarm=true"];
    engine.service("web", NGINX, &flags);
    await_tasks(&portolan, "web", 3);
    who_answers("web", 3);
    assert_eq!(resolve("web", RecordType::A).1.len(), 3);
    assert!(portolan.logs().contains("no virtual address (dnsrr)"), "{}", portolan.logs());
    engine.docker(&["service", "scale", "--detach", "web=1"]);
    await_tasks(&portolan, "web", 1);
    who_answers("web", 1);
}

#[test]
fn an_engine_that_becomes_a_manager_is_noticed() {
    let engine = Engine::start();
    let portolan = Portolan::start(&engine, &[]);
    assert_eq!(portolan.snapshot()["sources"].as_array().map(Vec::len), Some(1), "nobody asked for a Swarm");
    engine.init_swarm();
    engine.service("web", NGINX, &[]);
    await_tasks(&portolan, "web", 1);
    await_http("web", 200);
}

/// The updates that users know 502s from: one task after the other is replaced, under load by every way in.
#[test]
fn a_rolling_update_loses_no_request() {
    let (engine, portolan) = start();
    let flags = ["--replicas", "4", "--label", "portolan.publish=8080:80", "--update-delay", "0s"];
    engine.service("web", NGINX, &flags);
    await_tasks(&portolan, "web", 4);
    await_http("web", 200);
    let loads = Loads::start("web");
    for (order, image) in [("start-first", NGINX_SIGTERM), ("stop-first", NGINX)] {
        engine.docker(&[
            "service",
            "update",
            "--detach",
            "--quiet",
            "--no-resolve-image",
            "--update-order",
            order,
            "--update-parallelism",
            "2",
            "--update-monitor",
            "1s",
            "--image",
            image,
            "web",
        ]);
        engine.await_updated("web");
    }
    await_tasks(&portolan, "web", 4);
    loads.assert_nothing_lost();
}
