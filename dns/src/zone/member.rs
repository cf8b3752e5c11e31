//! What one service has for names to give: its addresses, its containers' and its ports, whatever names it gets.
//!
//! It knows one service. It must not know of others, nor who gets a name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::rr::RecordType;
use portolan_config::Labels;
use portolan_config::dynamic::service::ServiceKind;
use portolan_discovery::{Endpoint, Instance, NamedPort, NetworkAddress, Service, State};

use crate::names;
use crate::records::{About, Builder, Host, Node, RrSet, addresses};

/// The labels that are about DNS begin so.
const PREFIX: &str = "portolan.dns.";

/// How records are made: how long they may be kept, and where rotations start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) ttl: u32,
    /// It moves with every zone, or the first replica would get the first query after each change.
    pub(super) turn: u32,
}

impl Manner {
    fn node(self, ips: &[IpAddr], turn: Option<u32>, about: About) -> Arc<Node> {
        let set = |kind| addresses(kind, ips.iter().copied(), self.ttl, turn);
        Arc::new(Node::new([set(RecordType::A), set(RecordType::AAAA)], about))
    }

    /// The replicas that may be given work, in rotation.
    pub(super) fn service(self, service: &Arc<Service>) -> Arc<Node> {
        let ips = reached(service.endpoints.iter().filter(|endpoint| endpoint.is_available()));
        self.node(&ips, Some(self.turn), About::Service(Arc::clone(service)))
    }

    /// All replicas that have an address, ready or not: those of a cluster must find each other before they are.
    pub(super) fn all(self, service: &Arc<Service>) -> Arc<Node> {
        let ips = reached(service.endpoints.iter().filter(|endpoint| endpoint.state != State::Stopped));
        self.node(&ips, Some(self.turn), About::All(Arc::clone(service)))
    }

    /// Every address of a container, the one it is reached at first: nothing while it can't be given work.
    pub(super) fn container(self, endpoint: &Arc<Endpoint>) -> Arc<Node> {
        let ips = if endpoint.is_available() { every_address(endpoint) } else { Vec::new() };
        self.node(&ips, None, About::Container(Arc::clone(endpoint)))
    }

    /// One address of a container, which an alias gives.
    pub(super) fn alias(
        self,
        endpoint: &Arc<Endpoint>,
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
    ) -> Arc<Node> {
        let ips: Vec<IpAddr> = v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6)).collect();
        let ips = if endpoint.is_available() { ips } else { Vec::new() };
        self.node(&ips, Some(self.turn), About::Alias(Arc::new(vec![Arc::clone(endpoint)])))
    }

    /// What the reverse name of a container's address has.
    pub(super) fn reverse(self, endpoint: &Arc<Endpoint>, name: &[u8], origin: &[u8]) -> Arc<Node> {
        let mut builder = Builder::new(RecordType::PTR, self.ttl);
        builder.push(&[name, origin]);
        Arc::new(Node::new([builder.build()], About::Container(Arc::clone(endpoint))))
    }

    /// The SRV records of a service: for each `_NAME._proto` and `_NUMBER._proto` the places, and the names that can't
    /// be asked for.
    pub(super) fn ports(
        self,
        service: &Service,
        hosts: &[Option<Arc<Host>>],
        origin: &[u8],
    ) -> (Vec<Offer>, BTreeSet<String>) {
        let mut offered: BTreeMap<Vec<u8>, Vec<Place<'_>>> = BTreeMap::new();
        let mut faulty = BTreeSet::new();
        for (endpoint, host) in service.endpoints.iter().zip(hosts) {
            let preference = preference(endpoint);
            for port in &endpoint.ports {
                for name in port_names(port) {
                    let Ok(labels) = port_labels(&name, port) else {
                        faulty.insert(name);
                        continue;
                    };
                    let places = offered.entry(labels).or_default();
                    if let Some(host) = host.as_ref().filter(|_| endpoint.is_available()) {
                        offer(places, host, port.number, preference);
                    }
                }
            }
        }
        let sets = offered.into_iter().map(|(labels, places)| {
            let mut builder = Builder::new(RecordType::SRV, self.ttl).rotated(self.turn);
            for (host, port, preference) in places {
                builder.host(host);
                // The target is never compressed (RFC 2782).
                builder.push(&[&preference, &port.to_be_bytes(), &host.name, origin]);
            }
            (labels, builder.build())
        });
        (sets.collect(), faulty)
    }
}

/// A host, its port, and what is preferred.
type Place<'h> = (&'h Arc<Host>, u16, [u8; 4]);

/// The labels of a port below a name, and the records; none where nobody can take work there.
pub(super) type Offer = (Vec<u8>, Option<RrSet>);

/// The service without the addresses that its containers have on hidden networks.
pub(super) fn without(service: &Arc<Service>, hidden: &[String]) -> Arc<Service> {
    let is_hidden = |network: &NetworkAddress| hidden.contains(&network.network);
    let sees = |endpoint: &Arc<Endpoint>| endpoint.instance.networks.iter().any(is_hidden);
    if hidden.is_empty() || !service.endpoints.iter().any(sees) {
        return Arc::clone(service);
    }
    let endpoint = |endpoint: &Arc<Endpoint>| {
        let mut shown = Endpoint::clone(endpoint);
        let mut instance = Instance::clone(&endpoint.instance);
        instance.networks.retain(|network| !is_hidden(network));
        let chosen =
            instance.networks.iter().find(|network| *network.endpoint_id == *endpoint.key.attachment);
        // Where it is reached is hidden: then where else it is.
        let reached = chosen.or(instance.networks.first());
        let is_elsewhere = chosen.is_none()
            && endpoint
                .instance
                .networks
                .iter()
                .any(|network| *network.endpoint_id == *endpoint.key.attachment);
        if is_elsewhere {
            shown.ipv4 = reached.and_then(|network| network.ipv4);
            shown.ipv6 = reached.and_then(|network| network.ipv6);
            shown.key.attachment = reached.map_or("", |network| &network.endpoint_id).into();
        }
        shown.instance = Arc::new(instance);
        Arc::new(shown)
    };
    let endpoints = service.endpoints.iter().map(endpoint).collect();
    Arc::new(Service { endpoints, ..Service::clone(service) })
}

/// Priority and weight of the places of a container (RFC 2782): what its labels say, or else the weight that it has among
/// the servers of a balanced service; 0 and 1 where nothing is said, for with weight 0 the first would always be chosen.
fn preference(endpoint: &Endpoint) -> [u8; 4] {
    let labels = &endpoint.instance.labels;
    let is_about_weight = |label: &str| {
        let label = label.to_ascii_lowercase();
        label.ends_with(".loadbalancer.server.weight") || label.starts_with(PREFIX)
    };
    if !labels.keys().any(|label| is_about_weight(label)) {
        return [0, 0, 0, 1];
    }
    let decoded = Labels::decode(labels);
    let as_server = || {
        let mut services = decoded.dynamic.services.values().filter_map(|service| service.value.as_ref());
        services.find_map(|service| match &service.kind {
            ServiceKind::LoadBalancer(balancer) => {
                balancer.servers.first().map(|server| u16::try_from(server.weight).unwrap_or(u16::MAX))
            }
            _ => None,
        })
    };
    let priority = decoded.dns.priority.unwrap_or(0);
    let weight = decoded.dns.weight.or_else(as_server).unwrap_or(1);
    let ([a, b], [c, d]) = (priority.to_be_bytes(), weight.to_be_bytes());
    [a, b, c, d]
}

/// What the containers' labels say of names: those that are not to be in DNS are left out of the service, and what further
/// names it is to have. `None` where none of its containers is left.
pub(super) fn labelled(service: &Arc<Service>) -> Option<(Arc<Service>, Vec<String>)> {
    let is_ours =
        |label: &String| label.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
    if !service.endpoints.iter().any(|endpoint| endpoint.instance.labels.keys().any(is_ours)) {
        return Some((Arc::clone(service), Vec::new()));
    }
    let mut names: Vec<String> = Vec::new();
    let mut endpoints = Vec::with_capacity(service.endpoints.len());
    for endpoint in &service.endpoints {
        let labels = Labels::decode(&endpoint.instance.labels).dns;
        if labels.enable != Some(false) {
            endpoints.push(Arc::clone(endpoint));
            names.extend(labels.names.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
        }
    }
    if endpoints.is_empty() {
        return None;
    }
    Some((Arc::new(Service { endpoints, ..Service::clone(service) }), names))
}

/// Which of the service's instances is the oldest: the service's age is that one's.
pub(super) fn eldest(service: &Service) -> u32 {
    let ages = service.endpoints.iter().zip(0..);
    let eldest = ages.min_by_key(|(endpoint, _)| (endpoint.instance.created, &*endpoint.instance.name));
    eldest.map_or(0, |(_, at)| at)
}

/// Where these are reached, each address once.
fn reached<'e>(endpoints: impl Iterator<Item = &'e Arc<Endpoint>> + Clone) -> Vec<IpAddr> {
    let v4 = endpoints.clone().filter_map(|endpoint| endpoint.ipv4.map(IpAddr::V4));
    distinct(v4.chain(endpoints.filter_map(|endpoint| endpoint.ipv6.map(IpAddr::V6))))
}

/// Every address of the instance, the one it is reached at first.
pub(crate) fn every_address(endpoint: &Endpoint) -> Vec<IpAddr> {
    let networks = &endpoint.instance.networks;
    let v4 = endpoint.ipv4.into_iter().chain(networks.iter().filter_map(|network| network.ipv4));
    let v6 = endpoint.ipv6.into_iter().chain(networks.iter().filter_map(|network| network.ipv6));
    distinct(v4.map(IpAddr::V4).chain(v6.map(IpAddr::V6)))
}

/// An alias, and the address it gives of either family.
pub(super) type Alias<'e> = (&'e str, Option<Ipv4Addr>, Option<Ipv6Addr>);

/// Each alias of the instance once, with its address: where it is reached if the alias is on that network, else on the
/// first network that has it.
pub(super) fn aliases(endpoint: &Endpoint) -> Vec<Alias<'_>> {
    let is_chosen = |id: &str| id == &*endpoint.key.attachment;
    let (chosen, others): (Vec<_>, Vec<_>) =
        endpoint.instance.networks.iter().partition(|network| is_chosen(&network.endpoint_id));
    let mut found: Vec<Alias<'_>> = Vec::new();
    for network in chosen.into_iter().chain(others) {
        let (v4, v6) = if is_chosen(&network.endpoint_id) {
            (endpoint.ipv4, endpoint.ipv6)
        } else {
            (network.ipv4, network.ipv6)
        };
        for alias in &network.aliases {
            if !found.iter().any(|(known, ..)| known.eq_ignore_ascii_case(alias)) {
                found.push((alias, v4, v6));
            }
        }
    }
    found
}

fn port_names(port: &NamedPort) -> impl Iterator<Item = String> {
    [Some(port.number.to_string()), port.name.clone()].into_iter().flatten()
}

/// `_http._tcp` (RFC 2782).
fn port_labels(name: &str, port: &NamedPort) -> Result<Vec<u8>, names::NameError> {
    if name.is_empty() {
        return Err(names::NameError::EmptyLabel);
    }
    let mut labels = Vec::with_capacity(name.len() + 7);
    names::push_label(&mut labels, &format!("_{name}"))?;
    names::push_label(&mut labels, &format!("_{}", port.protocol))?;
    Ok(labels)
}

/// Adds a place unless it is there: a port may be listed both with and without its name.
fn offer<'h>(places: &mut Vec<Place<'h>>, host: &'h Arc<Host>, port: u16, preference: [u8; 4]) {
    let mut same_host = places.iter().rev().take_while(|(place, ..)| Arc::ptr_eq(place, host));
    if !same_host.any(|(_, number, _)| *number == port) {
        places.push((host, port, preference));
    }
}

/// The addresses, each once, in their order.
fn distinct(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut seen = foldhash::HashSet::default();
    for address in addresses {
        // A handful, which most names have, is searched faster than a table is made.
        let known = if found.len() < 8 {
            found.contains(&address)
        } else {
            if seen.is_empty() {
                seen.extend(found.iter().copied());
            }
            !seen.insert(address)
        };
        if !known {
            found.push(address);
        }
    }
    found
}
