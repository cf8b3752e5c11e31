//! From one instance to one endpoint: which of its addresses traffic goes to, and which ports it offers.

use std::sync::Arc;

use portolan_config::dynamic::Item;
use portolan_config::dynamic::service::{Service, ServiceKind};
use portolan_config::{Labels, Protocol};

use super::Policy;
use crate::instance::{Instance, NetworkAddress, State};
use crate::provider::ProviderName;
use crate::snapshot::{Endpoint, EndpointKey, NamedPort};

pub(super) fn draw(
    provider: &ProviderName,
    instance: &Arc<Instance>,
    labels: &Labels,
    policy: &Policy,
    faults: &mut Vec<(String, String)>,
) -> Endpoint {
    let network = network(instance, labels, policy, faults);
    let reachable = network.is_some_and(|network| network.ipv4.is_some() || network.ipv6.is_some());
    let (state, reason) = match instance.state {
        // It runs, but nobody could reach it: that is told apart from having stopped.
        State::Ready if !reachable => (State::Starting, "no address on any network".to_owned()),
        state => (state, instance.reason.clone()),
    };
    Endpoint {
        key: EndpointKey {
            provider: provider.clone(),
            instance: instance.id.clone(),
            attachment: network.map_or_else(|| Arc::from(""), |network| network.endpoint_id.as_str().into()),
        },
        instance: instance.clone(),
        ports: ports(instance, labels),
        ipv4: network.and_then(|network| network.ipv4),
        ipv6: network.and_then(|network| network.ipv6),
        state,
        reason,
    }
}

/// The network to use: the one that a label names, else the operator's, else the one the provider prefers.
fn network<'a>(
    instance: &'a Instance,
    labels: &Labels,
    policy: &Policy,
    faults: &mut Vec<(String, String)>,
) -> Option<&'a NetworkAddress> {
    let networks = &instance.networks;
    let named = |name: &str| networks.iter().find(|network| network.network == name);
    if let Some(wanted) = &labels.network {
        if let Some(found) = named(wanted) {
            return Some(found);
        }
        if !networks.is_empty() {
            faults.push(("docker.network".to_owned(), not_attached(wanted, networks)));
        }
    }
    policy
        .network
        .as_deref()
        .and_then(named)
        .or_else(|| networks.iter().find(|network| network.ipv4.is_some() || network.ipv6.is_some()))
}

fn not_attached(wanted: &str, networks: &[NetworkAddress]) -> String {
    let names: Vec<&str> = networks.iter().map(|network| network.network.as_str()).collect();
    let hint = names
        .iter()
        .find(|name| name.ends_with(&format!("_{wanted}")))
        .map_or_else(String::new, |name| format!(" (Compose names it with the project: write `{name}`)"));
    format!("not attached to a network `{wanted}`, only to {}; {} is used{hint}", names.join(", "), names[0])
}

/// The port that HTTP goes to when no label says: the lowest exposed TCP port.
pub(super) fn default_http_port(instance: &Instance) -> Option<u16> {
    instance.ports.iter().filter(|port| port.protocol == Protocol::Tcp).map(|port| port.number).min()
}

fn ports(instance: &Instance, labels: &Labels) -> Vec<NamedPort> {
    let mut ports: Vec<NamedPort> = labels
        .ports
        .iter()
        .map(|(name, (number, protocol))| named(Some(name.as_str()), *number, *protocol))
        .collect();
    let http = labels.dynamic.services.values().find_map(http_port).or(default_http_port(instance));
    if let Some(number) = http
        && !labels.ports.contains_key("http")
    {
        ports.push(named(Some("http"), number, Protocol::Tcp));
    }
    for port in &instance.ports {
        ports.push(named(None, port.number, port.protocol));
    }
    for publish in &labels.publish {
        ports.push(named(None, publish.target_port, publish.protocol));
    }
    ports.sort();
    ports.dedup();
    // A port that has a name is not listed a second time without one.
    let has_name: Vec<(u16, Protocol)> =
        ports.iter().filter(|port| port.name.is_some()).map(|port| (port.number, port.protocol)).collect();
    ports.retain(|port| port.name.is_some() || !has_name.contains(&(port.number, port.protocol)));
    ports
}

/// The port that a label names for an HTTP service.
fn http_port(service: &Item<Service>) -> Option<u16> {
    match &service.value.as_ref()?.kind {
        ServiceKind::LoadBalancer(balancer) => balancer.servers.first()?.port.map(std::num::NonZeroU16::get),
        _ => None,
    }
}

fn named(name: Option<&str>, number: u16, protocol: Protocol) -> NamedPort {
    NamedPort { number, protocol, name: name.map(str::to_owned) }
}
