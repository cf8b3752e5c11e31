//! From a task to an instance: its state, why, where it is reached and by which names.
//!
//! It does no I/O and reads no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::SystemTime;

use portolan_config::Protocol;

use super::model::{Service, Task, TaskAttachment};
use super::world::{Known, World};
use crate::instance::{Binding, Instance, InstanceId, NetworkAddress, Node, Port, ServiceKey, State};
use crate::provider::docker::{signal, time};

/// The network by which the engine's host reaches containers that are on overlay networks.
pub(super) const GATEWAY: &str = "docker_gwbridge";

/// Whether a task is to run. `ready` and the like lead there (an update that stops first prepares the next task so).
pub(super) fn is_wanted(desired: &str) -> bool {
    !matches!(desired, "shutdown" | "remove" | "complete" | "failed" | "rejected" | "orphaned")
}

/// Whether there is nothing of it any more.
pub(super) fn is_over(state: &str) -> bool {
    matches!(state, "complete" | "shutdown" | "failed" | "rejected" | "remove" | "orphaned")
}

/// The instance that a task is; `None` when it has been told to stop, and has stopped.
pub(super) fn instance(world: &World, known: &Known, task: &Task) -> Option<Instance> {
    if !is_wanted(&task.desired) && is_over(&task.status.state) {
        return None;
    }
    let service = &known.service;
    let (state, reason) = standing(world, task);
    let mut networks = if state == State::Stopped { Vec::new() } else { networks(world, service, task) };
    // Of two ways that lead there the direct one is taken, then the one by the host.
    networks.sort_by_key(|network| (!network.reached, network.network == GATEWAY));
    let changed = if state == State::Draining { &task.updated_at } else { &task.status.at };
    let read = |text: &str| time::rfc3339(text).unwrap_or(SystemTime::UNIX_EPOCH);
    Some(Instance {
        id: InstanceId::new(&task.id),
        name: name(service, task),
        service: ServiceKey::Swarm(service.spec.name.clone()),
        labels: service.spec.labels.clone(),
        networks,
        ports: ports(world, service, Some(task)),
        bindings: bindings(world, task),
        node: node(world, task),
        virtual_host: BTreeMap::new(),
        state,
        reason,
        since: read(changed),
        // Its service's, as that is who asks for names and ports: a new task is not younger than another service.
        created: read(&service.created_at),
    })
}

/// The container's name: `web.2.q24eaaogmgpmwarke550sra25`, with the node's id instead of the number where there is one on
/// every node.
fn name(service: &Service, task: &Task) -> String {
    let name = &service.spec.name;
    match task.slot {
        0 => format!("{name}.{}.{}", task.node, task.id),
        slot => format!("{name}.{slot}.{}", task.id),
    }
}

/// The machine it is on, by its host name, or by its id where that is not known.
fn node(world: &World, task: &Task) -> Option<Node> {
    let known = world.nodes.get(&task.node).map(|node| node.description.hostname.clone());
    let name = known.filter(|name| !name.is_empty()).unwrap_or_else(|| task.node.clone());
    let here = world.here.node.as_ref() == Some(&task.node);
    (!name.is_empty()).then_some(Node { name, here })
}

fn standing(world: &World, task: &Task) -> (State, String) {
    let word = &task.status.state;
    if is_over(word) {
        return (State::Stopped, with_error(word, &task.status.error));
    }
    if word != "running" {
        return (State::Starting, with_error(word, &task.status.error));
    }
    let signs = world.signs.get(&task.status.container.id);
    if let Some(reason) = signs.and_then(|signs| signs.died.clone()) {
        return (State::Stopped, reason);
    }
    if !is_wanted(&task.desired) {
        return (State::Draining, format!("desired state {}", task.desired));
    }
    let stop = stop_signal(world, task);
    let ended =
        signs.and_then(|signs| signs.signals.iter().find(|sent| **sent == stop || **sent == signal::KILL));
    if let Some(signal) = ended {
        return (State::Draining, format!("kill signal {signal}"));
    }
    if let Some(node) = world.nodes.get(&task.node).filter(|node| node.status.state != "ready") {
        return (State::Draining, format!("node {} is {}", node.description.hostname, node.status.state));
    }
    match signs {
        Some(signs) if signs.paused => (State::Paused, "paused".to_owned()),
        // Swarm will replace it; until then it gets nothing.
        Some(signs) if signs.healthy == Some(false) => (State::Unhealthy, "health check failed".to_owned()),
        // With a health check it runs only once that has passed.
        _ => (State::Ready, "running".to_owned()),
    }
}

fn stop_signal(world: &World, task: &Task) -> i32 {
    let container = &task.spec.container;
    signal::number(&container.stop_signal)
        .or_else(|| world.image(&container.image)?.stop_signal)
        .unwrap_or(signal::TERM)
}

fn with_error(word: &str, error: &str) -> String {
    if error.is_empty() { word.to_owned() } else { format!("{word}: {error}") }
}

fn networks(world: &World, service: &Service, task: &Task) -> Vec<NetworkAddress> {
    let mut networks: Vec<NetworkAddress> = task
        .attachments
        .iter()
        .filter(|attachment| !attachment.network.spec.ingress && attachment.network.spec.name != "ingress")
        .filter_map(|attachment| network(world, service, task, attachment))
        .collect();
    networks.sort_by(|a, b| a.network.cmp(&b.network));
    if let Some(ip) = world.here.gateways.get(&task.status.container.id) {
        // Who asks from the host for one of its names is given the address that leads there.
        let names: BTreeSet<String> = networks.iter().flat_map(|network| network.aliases.clone()).collect();
        networks.push(NetworkAddress {
            network: GATEWAY.to_owned(),
            endpoint_id: format!("{}-{GATEWAY}", task.id),
            ipv4: Some(*ip),
            ipv6: None,
            aliases: names.into_iter().collect(),
            reached: true,
        });
    }
    networks
}

fn network(
    world: &World,
    service: &Service,
    task: &Task,
    attachment: &TaskAttachment,
) -> Option<NetworkAddress> {
    let network = &attachment.network;
    let on_host = network.driver.name == "host";
    let ips: Vec<IpAddr> = if on_host {
        world.address_of(&task.node).into_iter().collect()
    } else {
        attachment.addresses.iter().filter_map(|text| without_prefix(text)).collect()
    };
    let (ipv4, ipv6) = families(&ips);
    if ipv4.is_none() && ipv6.is_none() {
        return None;
    }
    let mut aliases = Vec::new();
    if !on_host {
        let joined = [&service.spec.task.networks, &task.spec.networks].into_iter().flatten();
        let named = joined.filter(|joined| joined.target == network.id || joined.target == network.spec.name);
        for alias in named.flat_map(|joined| &joined.aliases) {
            if !aliases.contains(alias) && *alias != service.spec.name {
                aliases.push(alias.clone());
            }
        }
        if task.slot > 0 {
            aliases.push(format!("{}.{}", service.spec.name, task.slot));
        }
    }
    Some(NetworkAddress {
        network: network.spec.name.clone(),
        // A task lives once: a container that ends is replaced by another task's.
        endpoint_id: format!("{}-{}", task.id, network.id),
        ipv4,
        ipv6,
        aliases,
        // Only who is on an overlay network reaches what is there; others lead to the machine's own network.
        reached: network.driver.name != "overlay" || world.here.attached.contains(&network.id),
    })
}

/// `10.0.1.3/24` without its end.
pub(super) fn without_prefix(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

pub(super) fn families(ips: &[IpAddr]) -> (Option<std::net::Ipv4Addr>, Option<std::net::Ipv6Addr>) {
    let v4 = ips.iter().find_map(|ip| match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    });
    let v6 = ips.iter().find_map(|ip| match ip {
        IpAddr::V6(ip) => Some(*ip),
        IpAddr::V4(_) => None,
    });
    (v4, v6)
}

/// The ports that a service's tasks listen on, as far as anybody says: its image, where the engine has that, and what it
/// publishes.
pub(super) fn ports(world: &World, service: &Service, task: Option<&Task>) -> Vec<Port> {
    let spec = task.map_or(&service.spec.task, |task| &task.spec);
    let mut ports: BTreeSet<Port> =
        world.image(&spec.container.image).map(|image| image.ports.clone()).unwrap_or_default();
    let published = service.endpoint.ports.iter().map(|port| (port.protocol.as_str(), port.target));
    let bound = task.into_iter().flat_map(|task| &task.status.ports.ports);
    let bound = bound.map(|port| (port.protocol.as_str(), port.target));
    ports.extend(published.chain(bound).filter_map(|(protocol, number)| port(protocol, number)));
    ports.into_iter().collect()
}

fn port(protocol: &str, number: u16) -> Option<Port> {
    let protocol = match protocol {
        "tcp" | "" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    (number != 0).then_some(Port { number, protocol })
}

/// Ports of its node that lead to it and nobody else.
fn bindings(world: &World, task: &Task) -> Vec<Binding> {
    let Some(ip) = world.address_of(&task.node) else { return Vec::new() };
    let host = task.status.ports.ports.iter().filter(|port| port.mode != "ingress" && port.published != 0);
    let bindings: BTreeSet<Binding> = host
        .filter_map(|bound| {
            let port = port(&bound.protocol, bound.target)?;
            Some(Binding { port, ip: Some(ip), host_port: bound.published })
        })
        .collect();
    bindings.into_iter().collect()
}
