//! Everything that is known of a Swarm at one moment, as it was last asked for, and what local events have added.
//!
//! It does no I/O. What follows from it, `task.rs` and `service.rs` say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use portolan_config::Labels;

use super::model::{Image, Local, Network, Node, Service, Task};
use crate::instance::Port;
use crate::provider::docker::observe::read_port;
use crate::provider::docker::signal;

/// What a look at the manager brought; what was not asked for is `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) services: Option<Vec<Service>>,
    pub(super) nodes: Option<Vec<Node>>,
    pub(super) networks: Option<Vec<Network>>,
    pub(super) here: Option<Here>,
    /// The containers of the engine's own node.
    pub(super) local: Option<Vec<Local>>,
    /// Those that are to run, and of those known before the ones that are leaving.
    pub(super) tasks: Vec<Task>,
    pub(super) images: Arc<Images>,
}

/// What is known of images, by name; `None` of those that the engine does not have.
pub(super) type Images = BTreeMap<String, Option<ImageFacts>>;

/// What an image says of its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ImageFacts {
    pub(super) ports: BTreeSet<Port>,
    pub(super) stop_signal: Option<i32>,
}

impl From<Image> for ImageFacts {
    fn from(image: Image) -> Self {
        Self {
            ports: image.config.ports.keys().filter_map(|text| read_port(text)).collect(),
            stop_signal: signal::number(&image.config.stop_signal),
        }
    }
}

/// Where this process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Here {
    /// The node of the Swarm that it is on, by its id, as far as that is known.
    pub(super) node: Option<String>,
    /// The networks that it has an address on, by id.
    pub(super) attached: BTreeSet<String>,
    /// Where the containers of this node are reached from its host, by container; empty unless it is on that.
    pub(super) gateways: BTreeMap<String, Ipv4Addr>,
}

/// A service, and what its labels say of balancing.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) service: Service,
    /// Whether Swarm balances it: it is asked for, and there is an address.
    pub(super) balanced: bool,
    /// Whether it is gone, and only its last tasks remain.
    pub(super) removed: bool,
}

impl Known {
    fn new(service: Service) -> Self {
        let wanted = Labels::decode(&service.spec.labels).swarm_balances;
        let balanced = wanted && !service.endpoint.addresses.is_empty();
        if wanted && !balanced {
            tracing::warn!(
                service = service.spec.name,
                "lbswarm is asked for, but the service has no virtual address (dnsrr); Portolan balances its tasks"
            );
        }
        Self { service, balanced, removed: false }
    }
}

/// What events of this node's engine said of a container, which comes before any list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signs {
    pub(super) signals: BTreeSet<i32>,
    /// How it ended, if it did: `exited (137)`.
    pub(super) died: Option<String>,
    pub(super) paused: bool,
    pub(super) healthy: Option<bool>,
    /// When the last of it was heard.
    pub(super) heard: Option<Instant>,
}

impl Signs {
    /// Takes what the list says, which was asked for at `asked`: a lost event must not stand for ever.
    fn heal(&mut self, local: &Local, asked: Instant) {
        if self.heard.is_some_and(|heard| heard >= asked) {
            return;
        }
        self.paused = local.state == "paused";
        self.healthy = match () {
            () if local.status.contains("(healthy)") => Some(true),
            () if local.status.contains("(unhealthy)") => Some(false),
            () => None,
        };
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) services: BTreeMap<String, Known>,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) networks: BTreeMap<String, Network>,
    pub(super) here: Here,
    pub(super) tasks: Vec<Task>,
    pub(super) images: Arc<Images>,
    pub(super) signs: BTreeMap<String, Signs>,
}

impl World {
    /// Takes what a look brought that began at `asked`.
    pub(super) fn take(&mut self, seen: Seen, asked: Instant) {
        self.tasks = seen.tasks;
        self.images = seen.images;
        if let Some(services) = seen.services {
            self.take_services(services);
        }
        if let Some(nodes) = seen.nodes {
            self.nodes = nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
        }
        if let Some(networks) = seen.networks {
            self.networks = networks.into_iter().map(|network| (network.id.clone(), network)).collect();
        }
        if let Some(here) = seen.here {
            self.here = here;
        }
        let containers: BTreeSet<&str> =
            self.tasks.iter().map(|task| task.status.container.id.as_str()).collect();
        self.signs.retain(|container, _| containers.contains(container.as_str()));
        for local in seen.local.into_iter().flatten().filter(|local| containers.contains(local.id.as_str())) {
            self.signs.entry(local.id.clone()).or_default().heal(&local, asked);
        }
    }

    fn take_services(&mut self, services: Vec<Service>) {
        let mut before = std::mem::take(&mut self.services);
        for service in services {
            let known = match before.remove(&service.id) {
                Some(known) if known.service == service => Known { removed: false, ..known },
                _ => Known::new(service),
            };
            self.services.insert(known.service.id.clone(), known);
        }
        // Of one that was removed, the labels are still those of its last tasks.
        let last: BTreeSet<&str> = self.tasks.iter().map(|task| task.service.as_str()).collect();
        before.retain(|id, _| last.contains(id.as_str()));
        self.services.extend(before.into_iter().map(|(id, known)| (id, Known { removed: true, ..known })));
    }

    /// The address of a node, as its Swarm knows it.
    pub(super) fn address_of(&self, node: &str) -> Option<IpAddr> {
        let node = self.nodes.get(node)?;
        // A manager may not know its own address there; other managers know it with a port.
        let manager = node.manager.address.rsplit_once(':').map_or("", |(host, _)| host);
        let ip = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        [node.status.address.as_str(), manager].into_iter().filter_map(ip).find(|ip| !ip.is_unspecified())
    }

    /// What is known of an image.
    pub(super) fn image(&self, name: &str) -> Option<&ImageFacts> {
        self.images.get(name)?.as_ref()
    }
}
