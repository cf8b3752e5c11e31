//! What follows from what a manager said: recordings of a real one, and variations of them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use portolan_config::Protocol;
use serde::de::DeserializeOwned;

use super::*;
use crate::instance::{Port, State};
use crate::provider::docker::events::{self, Message};
use crate::provider::docker::swarm::model::{
    Local, Network, Node, Replicated, Service, Task, VirtualAddress,
};
use crate::provider::docker::swarm::world::{Here, ImageFacts};

const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));

fn read<T: DeserializeOwned>(text: &str) -> Vec<T> {
    serde_json::from_str(text).unwrap()
}

fn services() -> Vec<Service> {
    read(include_str!("../../../../../tests/fixtures/swarm/services.json"))
}

fn networks() -> Vec<Network> {
    read(include_str!("../../../../../tests/fixtures/swarm/networks.json"))
}

/// The recorded Swarm, by somebody who is on all its networks.
fn recorded(tasks: &str) -> Seen {
    let networks = networks();
    let attached = networks.iter().map(|network| network.id.clone()).collect();
    let nodes: Vec<Node> = read(include_str!("../../../../../tests/fixtures/swarm/nodes.json"));
    let ports = [Port { number: 80, protocol: Protocol::Tcp }].into();
    let image = ImageFacts { ports, stop_signal: None };
    Seen {
        services: Some(services()),
        nodes: Some(nodes),
        networks: Some(networks),
        here: Some(Here { attached, ..Here::default() }),
        local: None,
        tasks: read(tasks),
        images: Arc::new([("bb:1".to_owned(), Some(image))].into()),
    }
}

fn before() -> Seen {
    recorded(include_str!("../../../../../tests/fixtures/swarm/tasks-update-begins.json"))
}

fn during() -> Seen {
    recorded(include_str!("../../../../../tests/fixtures/swarm/tasks-update-goes-on.json"))
}

fn view(seen: Seen) -> View {
    let mut view = View::default();
    let changes = view.looked(seen, Instant::now());
    assert!(matches!(&changes[..], [(_, Change::Reset(_))]), "{changes:?}");
    view
}

/// Name up to the task's id, state and reason of all instances of a service.
fn shown(view: &View, service: &str) -> Vec<String> {
    let mut shown: Vec<String> = view
        .told
        .values()
        .filter(|instance| instance.service.name() == service)
        .map(|instance| {
            let name = instance.name.trim_end_matches(&*instance.id.0);
            format!("{name} {} {}", instance.state, instance.reason)
        })
        .collect();
    shown.sort();
    shown
}

fn one<'v>(view: &'v View, service: &str) -> &'v Instance {
    view.told.values().find(|instance| instance.service.name() == service).unwrap()
}

fn of<'s>(seen: &'s mut Seen, service: &str) -> &'s mut Service {
    let services = seen.services.as_mut().unwrap();
    services.iter_mut().find(|known| known.spec.name == service).unwrap()
}

fn tasks_of(seen: &mut Seen, service: &str) -> Vec<&'static str> {
    let id = of(seen, service).id.clone();
    seen.tasks.retain(|task| task.service != id);
    Vec::new()
}

#[test]
fn a_recorded_swarm_is_read_whole() {
    let view = view(before());
    let ready = |name: &str| format!("{name} ready running");
    assert_eq!(
        shown(&view, "nginx"),
        // The update has begun: the next first task is there, and has no place yet.
        [ready("nginx.1."), ready("nginx.2."), ready("nginx.3."), "nginx.3. starting pending".to_owned()]
    );
    assert_eq!(shown(&view, "rr"), [ready("rr.1."), ready("rr.2.")]);
    assert_eq!(shown(&view, "ports"), [ready("ports.nsdyka22spvlkopo4ctwksck5.")]);
    assert_eq!(shown(&view, "idle"), ["idle stopped scaled to 0 replicas"]);
    assert_eq!(
        shown(&view, "stuck"),
        ["stuck.1. starting pending: no suitable node (scheduling constraints not satisfied on 1 node)"]
    );
    let rr = one(&view, "rr");
    let address = &rr.networks[0];
    assert_eq!((address.network.as_str(), address.reached, rr.networks.len()), ("front", true, 1));
    assert!(address.ipv4.is_some_and(|ip| ip.octets()[..3] == [10, 0, 1]), "{address:?}");
    assert!(address.aliases.contains(&rr.name[..4].to_owned()), "a name for each number: {address:?}");
    assert_eq!(rr.ports, [Port { number: 80, protocol: Protocol::Tcp }]);
    assert_eq!(one(&view, "nginx").labels["traefik.enable"], "true");
}

#[test]
fn ports_of_the_node_and_its_own_network_lead_to_tasks_as_well() {
    let view = view(before());
    let bound = one(&view, "ports");
    assert!(bound.networks.is_empty());
    let bindings: Vec<_> =
        bound.bindings.iter().map(|bound| (bound.port.number, bound.ip, bound.host_port)).collect();
    assert_eq!(bindings, [(80, Some(NODE), 9000)], "the engine says it twice");
    let on_host = one(&view, "plain");
    assert_eq!(on_host.networks[0].ipv4.map(IpAddr::V4), Some(NODE));
    assert!(on_host.networks[0].reached && on_host.networks[0].network == "host");
}

#[test]
fn who_is_on_no_overlay_network_goes_by_the_host_where_it_can() {
    let mut seen = before();
    seen.here = Some(Here::default());
    let outside = view(seen.clone());
    assert!(one(&outside, "rr").networks.iter().all(|network| !network.reached));
    let id = of(&mut seen, "rr").id.clone();
    let container = seen.tasks.iter().find(|task| task.service == id).unwrap().status.container.id.clone();
    let gateway = Ipv4Addr::new(172, 18, 0, 3);
    seen.here = Some(Here { gateways: [(container, gateway)].into(), ..Here::default() });
    let on_host = view(seen);
    let by_host = on_host
        .told
        .values()
        .find(|task| task.networks.iter().any(|network| network.network == "docker_gwbridge"));
    let networks: Vec<_> =
        by_host.unwrap().networks.iter().map(|network| (&*network.network, network.reached)).collect();
    assert_eq!(networks, [("docker_gwbridge", true), ("front", false)]);
}

#[test]
fn a_task_drains_from_the_moment_it_is_no_longer_to_run() {
    let mut view = view(before());
    let changes = view.looked(during(), Instant::now());
    assert!(!changes.is_empty() && changes.iter().all(|(_, change)| matches!(change, Change::Upsert(_))));
    let draining = |name: &str| format!("{name} draining desired state shutdown");
    let ready = |name: &str| format!("{name} ready running");
    let expected = ["nginx.1.", "nginx.2.", "nginx.3."].map(|name| [draining(name), ready(name)]).concat();
    assert_eq!(shown(&view, "nginx"), expected);
    // The next look does not name those that have ended.
    let mut after = during();
    after.tasks.retain(|task| task.desired == "running");
    let changes = view.looked(after, Instant::now());
    assert_eq!(changes.len(), 3);
    assert!(changes.iter().all(|(_, change)| matches!(change, Change::Remove(_))), "{changes:?}");
}

#[test]
fn a_look_without_news_tells_nothing() {
    let mut view = view(before());
    assert_eq!(view.looked(before(), Instant::now()).len(), 0);
    let partial = Seen { services: None, nodes: None, networks: None, here: None, ..before() };
    assert_eq!(view.looked(partial, Instant::now()).len(), 0);
}

#[test]
fn the_recorded_events_of_this_node_come_before_any_look() {
    let mut view = view(during());
    let (mut lines, mut kills) = (0, 0);
    for line in include_str!("../../../../../tests/fixtures/swarm/events.ndjson").lines() {
        lines += 1;
        let message = serde_json::from_str(line).unwrap();
        if let Message::Container(event) = events::read(message, std::time::SystemTime::UNIX_EPOCH) {
            kills += usize::from(matches!(event.kind, Kind::Kill(15)));
            view.apply(&event, Instant::now());
        }
    }
    assert_eq!((lines, kills), (15, 3));
    // They were leaving already, and that stays the reason.
    assert!(shown(&view, "nginx").iter().filter(|line| line.contains("draining desired")).count() == 3);
}

#[test]
fn signs_of_this_node_s_containers() {
    let seen = before();
    let mut view = view(seen.clone());
    let id = seen.services.iter().flatten().find(|service| service.spec.name == "ports").unwrap().id.clone();
    let container = &seen.tasks.iter().find(|task| task.service == id).unwrap().status.container.id;
    let mut apply = |kind: Kind| {
        let event = Event { id: InstanceId::new(container), at: std::time::SystemTime::UNIX_EPOCH, kind };
        let changes = view.apply(&event, Instant::now());
        let instance = one(&view, "ports");
        (changes.len(), instance.state, instance.reason.clone())
    };
    assert_eq!(apply(Kind::Pause), (1, State::Paused, "paused".into()));
    assert_eq!(apply(Kind::Pause).0, 0);
    assert_eq!(apply(Kind::Unpause), (1, State::Ready, "running".into()));
    assert_eq!(apply(Kind::Health(false)), (1, State::Unhealthy, "health check failed".into()));
    assert_eq!(apply(Kind::Health(true)), (1, State::Ready, "running".into()));
    assert_eq!(apply(Kind::Kill(1)).0, 0, "a signal that ends nothing");
    assert_eq!(apply(Kind::Kill(15)), (1, State::Draining, "kill signal 15".into()));
    assert_eq!(apply(Kind::Die(Some(137))), (1, State::Stopped, "exited (137)".into()));
    let stranger =
        Event { id: InstanceId::new("other"), at: std::time::SystemTime::UNIX_EPOCH, kind: Kind::Pause };
    assert_eq!(view.apply(&stranger, Instant::now()).len(), 0);
}

#[test]
fn an_image_says_which_signal_ends_its_containers() {
    let mut seen = before();
    let image = ImageFacts { stop_signal: Some(3), ..ImageFacts::default() };
    seen.images = Arc::new([("bb:1".to_owned(), Some(image))].into());
    let container = seen.tasks.iter().find(|task| task.slot == 0).unwrap().status.container.id.clone();
    let mut view = view(seen);
    let kill = |signal| Event {
        id: InstanceId::new(&container),
        at: std::time::SystemTime::UNIX_EPOCH,
        kind: Kind::Kill(signal),
    };
    assert_eq!(view.apply(&kill(15), Instant::now()).len(), 0);
    assert_eq!(view.apply(&kill(3), Instant::now()).len(), 1);
    assert_eq!(one(&view, "ports").state, State::Draining);
}

#[test]
fn a_lost_event_does_not_stand_for_ever() {
    let mut view = view(before());
    let container = before().tasks.iter().find(|task| task.slot == 0).unwrap().status.container.id.clone();
    let pause =
        Event { id: InstanceId::new(&container), at: std::time::SystemTime::UNIX_EPOCH, kind: Kind::Pause };
    let asked_before = Instant::now();
    view.apply(&pause, Instant::now());
    let running = Local { id: container, state: "running".into(), status: "Up 2 minutes".into() };
    let seen = || Seen { local: Some(vec![running.clone()]), ..before() };
    assert_eq!(view.looked(seen(), asked_before).len(), 0, "a list from before the event says nothing of it");
    assert_eq!(one(&view, "ports").state, State::Paused);
    view.looked(seen(), Instant::now());
    assert_eq!(one(&view, "ports").state, State::Ready);
}

#[test]
fn tasks_of_a_node_that_is_away_get_nothing_new() {
    let mut seen = before();
    for node in seen.nodes.iter_mut().flatten() {
        node.status.state = "down".into();
    }
    let view = view(seen);
    assert_eq!(shown(&view, "rr"), ["rr.1. draining node vm is down", "rr.2. draining node vm is down"]);
}

#[test]
fn a_service_that_was_removed_keeps_its_labels_until_its_last_task_has_ended() {
    let mut seen = before();
    let gone = of(&mut seen, "nginx").id.clone();
    let mut view = view(before());
    seen.services.as_mut().unwrap().retain(|service| service.id != gone);
    for task in seen.tasks.iter_mut().filter(|task| task.service == gone && task.status.state == "running") {
        task.desired = "remove".into();
    }
    view.looked(seen.clone(), Instant::now());
    let leaving: Vec<_> = view.told.values().filter(|task| task.state == State::Draining).collect();
    assert_eq!(leaving.len(), 3);
    assert!(leaving.iter().all(|task| task.labels["traefik.enable"] == "true"));
    seen.tasks.retain(|task| task.service != gone);
    view.looked(seen, Instant::now());
    assert_eq!(shown(&view, "nginx"), [""; 0]);
}

#[test]
fn where_swarm_is_to_balance_there_is_one_address_as_long_as_a_task_serves() {
    let mut seen = before();
    let service = of(&mut seen, "nginx");
    service.spec.labels.insert("traefik.swarm.lbswarm".into(), "true".into());
    assert_eq!(service.endpoint.addresses.len(), 1);
    let balanced = view(seen.clone());
    assert_eq!(shown(&balanced, "nginx"), ["nginx ready Swarm balances it"]);
    let networks = &one(&balanced, "nginx").networks;
    assert_eq!((networks.len(), networks[0].ipv4), (1, Some(Ipv4Addr::new(10, 0, 1, 2))));
    assert!(networks[0].reached);
    // The routing mesh's address is nobody's to send to.
    let ingress = networks_of("ingress").id;
    of(&mut seen, "nginx")
        .endpoint
        .addresses
        .push(VirtualAddress { network: ingress, address: "10.0.0.9/24".into() });
    assert_eq!(one(&view(seen.clone()), "nginx").networks.len(), 1);
    tasks_of(&mut seen, "nginx");
    assert_eq!(shown(&view(seen), "nginx"), ["nginx stopped no task of it runs"]);
}

fn networks_of(name: &str) -> Network {
    networks().into_iter().find(|network| network.name == name).unwrap()
}

#[test]
fn without_a_virtual_address_tasks_are_balanced_here_whatever_is_asked() {
    let mut seen = before();
    of(&mut seen, "rr").spec.labels.insert("traefik.docker.lbswarm".into(), "true".into());
    assert_eq!(shown(&view(seen), "rr").len(), 2);
}

#[test]
fn an_empty_service_says_how_it_came_to_that() {
    let mut seen = before();
    tasks_of(&mut seen, "rr");
    assert_eq!(shown(&view(seen.clone()), "rr"), ["rr stopped no task of it runs"]);
    of(&mut seen, "rr").spec.mode.replicated = Some(Replicated { replicas: Some(0) });
    assert_eq!(shown(&view(seen), "rr"), ["rr stopped scaled to 0 replicas"]);
}

#[test]
fn an_ended_task_that_is_still_to_run_says_why_it_does_not() {
    let mut seen = before();
    let id = of(&mut seen, "rr").id.clone();
    let task: &mut Task = seen.tasks.iter_mut().find(|task| task.service == id && task.slot == 1).unwrap();
    task.status.state = "failed".into();
    task.status.error = "task: non-zero exit (1)".into();
    assert_eq!(shown(&view(seen), "rr")[1..], ["rr.2. ready running"]);
}
