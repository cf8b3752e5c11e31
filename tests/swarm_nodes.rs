//! A Swarm of three nodes, each an engine in a network of its own: tasks of all of them are served over the overlay
//! network, and a node may be drained, crash or be cut off.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::harness::{
    Container, Endpoint, Engine, Loads, MANAGER, NGINX, Nodes, OVERLAY, PATIENCE, Portolan, eventually, http,
    longer, while_loaded,
};

/// A manager gives a node up after three heartbeats of five seconds, and then its tasks are started elsewhere.
const NODE_PATIENCE: Duration = Duration::from_secs(60);
const REPLICAS: usize = 6;

/// Three nodes with a service on all of them, and Portolan in a container on its network: where it is reached.
fn start() -> (Nodes, Portolan, Ipv4Addr) {
    let nodes = Nodes::start(3);
    let manager = nodes.manager();
    manager.service("web", NGINX, &["--replicas", &REPLICAS.to_string()]);
    manager.run(&Container::new("inside").network(OVERLAY));
    let (portolan, at) = nodes.portolan(1, "inside", &[]);
    await_ready(&portolan, REPLICAS);
    for number in 1..=3 {
        assert!(!tasks_on(nodes.engine(number)).is_empty(), "node {number} has tasks");
    }
    (nodes, portolan, at)
}

/// The names of the service's containers on a node.
fn tasks_on(engine: &Engine) -> Vec<String> {
    let names = engine.docker(&["ps", "--filter", "name=web.", "--format", "{{.Names}}"]);
    names.lines().map(str::to_owned).collect()
}

#[track_caller]
fn await_ready(portolan: &Portolan, expected: usize) {
    await_tasks(portolan, &format!("{expected} tasks to be ready"), |tasks| {
        tasks.iter().filter(|task| task.state == "ready").count() == expected
    });
}

#[track_caller]
fn await_tasks(portolan: &Portolan, what: &str, are: impl Fn(&[Endpoint]) -> bool) {
    eventually(NODE_PATIENCE, what, || {
        let tasks = portolan.endpoints("web@swarm");
        if are(&tasks) { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
}

fn load(at: Ipv4Addr) -> Loads {
    Loads::by(&[&format!("{at}:8000")], "web")
}

/// Three engines leave little time for requests on a small machine.
#[track_caller]
fn assert_nothing_lost(loads: Loads) {
    let lost = loads.stop();
    println!("{} failed of {}", lost.failures, lost.requests);
    assert_eq!(lost.failures, 0, "{lost:?}");
    assert!(lost.requests > 1000 * longer() as u64, "{lost:?}");
}

#[test]
fn draining_a_node_and_the_crash_of_an_engine_lose_no_request() {
    let (mut nodes, portolan, at) = start();
    let loads = load(at);
    let crashed = nodes.id(2);
    let set = |number: usize, availability: &str| {
        nodes.manager().docker(&["node", "update", "--availability", availability, &nodes.id(number)]);
    };
    while_loaded(&portolan, |round| {
        let (drained, other) = [(3, 2), (2, 3)][round % 2];
        set(other, "active");
        set(drained, "drain");
        await_tasks(&portolan, "tasks to leave the drained node", |tasks| {
            tasks.len() == REPLICAS && tasks_on(nodes.engine(drained)).is_empty()
        });
        await_ready(&portolan, REPLICAS);
    });
    assert_nothing_lost(loads);
    // The node that is to crash has tasks, however many rounds there were.
    if tasks_on(nodes.engine(2)).is_empty() {
        set(2, "active");
        for replicas in [1, REPLICAS] {
            nodes.manager().docker(&["service", "scale", "--detach", &format!("web={replicas}")]);
            await_ready(&portolan, replicas);
        }
    }
    assert!(!tasks_on(nodes.engine(2)).is_empty(), "node 2 has tasks");

    let loads = load(at);
    // Its containers run on, until nobody sends to them.
    nodes.kill(2);
    let reason = "is down";
    await_tasks(&portolan, "the node to be given up", |tasks| {
        tasks.iter().any(|task| {
            task.state == "draining" && (task.reason.contains(reason) || task.reason.contains("desired"))
        })
    });
    await_ready(&portolan, REPLICAS);
    assert_nothing_lost(loads);
    let ls = nodes.manager().docker(&["node", "inspect", "--format", "{{.Status.State}}", &crashed]);
    assert_eq!(ls.trim(), "down");
}

/// Nobody says so for a quarter of a minute: what is asked of its tasks is not acknowledged.
#[test]
fn what_a_node_had_that_is_cut_off_is_given_to_the_others() {
    let (nodes, portolan, at) = start();
    let loads = load(at);
    nodes.cut(3);
    await_tasks(&portolan, "the node to be given up", |tasks| {
        tasks.iter().any(|task| task.state == "draining")
    });
    while_loaded(&portolan, |_| await_ready(&portolan, REPLICAS));
    assert_nothing_lost(loads);
}

/// A worker's engine knows of no services; its Portolan asks a manager, and opens the ports that they publish.
#[test]
fn a_port_is_published_on_a_worker_for_tasks_of_other_nodes() {
    let nodes = Nodes::start(2);
    let placed = format!("node.id=={}", nodes.id(1));
    let flags = ["--label", "portolan.publish=8080:80", "--constraint", &placed];
    nodes.manager().service("web", NGINX, &flags);
    nodes.engine(2).run(&Container::new("inside").network(OVERLAY));
    let endpoint = format!("--providers.swarm.endpoint={MANAGER}");
    let (portolan, _) = nodes.portolan(2, "inside", &[&endpoint, "--entryPoints.web.address=:8000"]);
    drop(portolan.logs());
    nodes.engine(2).in_network_of("inside", || {
        let answer =
            eventually(PATIENCE, "the published port", || match http::get("127.0.0.1:8080", "any", "/") {
                Ok(answer) if answer.status == 200 => Ok(answer),
                other => Err(format!("{other:?}")),
            });
        let inside = tasks_on(nodes.engine(1));
        assert_eq!((inside.len(), answer.status), (1, 200));
    });
    assert!(tasks_on(nodes.engine(2)).is_empty());
}

/// What has its place on this node goes there, for as long as anybody there may serve.
#[test]
fn tasks_on_this_node_are_preferred_and_others_serve_where_there_is_none() {
    let nodes = Nodes::start(2);
    let label = "portolan.http.services.web.loadbalancer.preferlocal=true";
    nodes.manager().service("web", NGINX, &["--replicas", "4", "--label", label]);
    nodes.manager().run(&Container::new("inside").network(OVERLAY));
    let (portolan, at) = nodes.portolan(1, "inside", &[]);
    await_ready(&portolan, 4);
    let (here, there) = (tasks_on(nodes.engine(1)), tasks_on(nodes.engine(2)));
    assert!(!here.is_empty() && !there.is_empty(), "{here:?} {there:?}");
    let requests = |tasks: &[String]| -> f64 {
        let of = |task: &String| {
            portolan.metric(&format!("portolan_endpoint_requests_total{{endpoint=\"{task}\"}}"))
        };
        tasks.iter().map(of).sum()
    };
    let ask = || {
        for _ in 0..20 {
            let answer = http::get(&format!("{at}:8000")[..], "web", "/").expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    ask();
    assert!(requests(&here) > 19.5 && requests(&there) < 0.5, "{}", portolan.metrics());
    nodes.manager().docker(&["node", "update", "--availability", "drain", &nodes.id(1)]);
    await_tasks(&portolan, "tasks to leave this node", |_| {
        here.iter().all(|task| portolan.endpoint(task).is_none_or(|task| task.state != "ready"))
    });
    ask();
    assert!(requests(&here) < 20.5, "nobody here may serve");
}
