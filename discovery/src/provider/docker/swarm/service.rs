//! What stands for a service as a whole: its one virtual address, where Swarm is to balance it; or, where it has no task,
//! that it exists and can't serve.
//!
//! It does no I/O and reads no clock.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::task::{families, ports, without_prefix};
use super::world::{Known, World};
use crate::instance::{Instance, InstanceId, NetworkAddress, ServiceKey, State};
use crate::provider::docker::time;

/// The service at its virtual addresses. It serves while one of its `tasks` does.
pub(super) fn balanced(world: &World, known: &Known, tasks: &[Instance]) -> Instance {
    let service = &known.service;
    let mut networks: Vec<NetworkAddress> = service
        .endpoint
        .addresses
        .iter()
        .filter_map(|address| {
            let network = world.networks.get(&address.network).filter(|network| !network.ingress)?;
            let (ipv4, ipv6) = families(&[without_prefix(&address.address)?]);
            Some(NetworkAddress {
                network: network.name.clone(),
                endpoint_id: format!("{}-{}", service.id, network.id),
                ipv4,
                ipv6,
                aliases: Vec::new(),
                reached: world.here.attached.contains(&network.id),
            })
        })
        .collect();
    networks.sort_by(|a, b| (!a.reached, &a.network).cmp(&(!b.reached, &b.network)));
    let best = tasks.iter().min_by_key(|task| task.state);
    let (state, reason) = match best {
        Some(task) if task.state == State::Ready => (State::Ready, "Swarm balances it".to_owned()),
        Some(task) => (task.state, task.reason.clone()),
        None => (State::Stopped, nobody(known)),
    };
    Instance { networks, state, reason, ..base(world, known) }
}

/// The service without a task.
pub(super) fn empty(world: &World, known: &Known) -> Instance {
    Instance { reason: nobody(known), ..base(world, known) }
}

fn nobody(known: &Known) -> String {
    match known.service.spec.mode.replicated.as_ref().and_then(|replicated| replicated.replicas) {
        Some(0) => "scaled to 0 replicas".to_owned(),
        _ => "no task of it runs".to_owned(),
    }
}

fn base(world: &World, known: &Known) -> Instance {
    let service = &known.service;
    let created = time::rfc3339(&service.created_at).unwrap_or(SystemTime::UNIX_EPOCH);
    Instance {
        id: InstanceId::new(&service.id),
        name: service.spec.name.clone(),
        service: ServiceKey::Swarm(service.spec.name.clone()),
        labels: service.spec.labels.clone(),
        networks: Vec::new(),
        ports: ports(world, service, None),
        bindings: Vec::new(),
        node: None,
        virtual_host: BTreeMap::new(),
        state: State::Stopped,
        reason: String::new(),
        since: created,
        created,
    }
}
