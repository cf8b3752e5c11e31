//! From one instance to one endpoint: which of its addresses traffic goes to, and which ports it offers.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_config::dynamic::Item;
use portolan_config::dynamic::service::{Service, ServiceKind};
use portolan_config::{Labels, Protocol};

use super::Policy;
use crate::instance::{Binding, Instance, NetworkAddress, State};
use crate::provider::ProviderName;
use crate::snapshot::{Endpoint, EndpointKey, NamedPort, Target};

/// The attachment of an endpoint that only ports of its host lead to.
const BOUND: &str = "bound";

pub(super) fn draw(
    provider: &ProviderName,
    instance: &Arc<Instance>,
    labels: &Labels,
    policy: &Policy,
    faults: &mut Vec<(String, String)>,
) -> Endpoint {
    let network = network(instance, labels, policy, faults);
    let (attachment, ipv4, ipv6) = match (network, bindings(instance).next()) {
        (Some(network), _) => (network.endpoint_id.as_str(), network.ipv4, network.ipv6),
        (None, Some((_, IpAddr::V4(ip)))) => (BOUND, Some(ip), None),
        (None, Some((_, IpAddr::V6(ip)))) => (BOUND, None, Some(ip)),
        (None, None) => ("", None, None),
    };
    let (state, reason) = match instance.state {
        // It runs, but nobody could reach it: that is told apart from having stopped.
        State::Ready if ipv4.is_none() && ipv6.is_none() => (State::Starting, unreached(instance)),
        state => (state, instance.reason.clone()),
    };
    let mut ports = ports(instance, labels);
    if network.is_none() && instance.bindings.iter().any(|binding| binding.ip.is_some()) {
        ports.retain_mut(|port| {
            let host_port =
                binding(instance, port.number, port.protocol).map(|(binding, _)| binding.host_port);
            host_port.is_some_and(|host_port| {
                port.number = host_port;
                true
            })
        });
    }
    Endpoint {
        key: EndpointKey {
            provider: provider.clone(),
            instance: instance.id.clone(),
            attachment: attachment.into(),
        },
        instance: instance.clone(),
        ports,
        ipv4,
        ipv6,
        state,
        reason,
    }
}

/// The endpoint at this port of the instance: behind a port of its host, where only those lead to it.
pub(super) fn target(endpoint: &Arc<Endpoint>, port: u16, protocol: Protocol) -> Target {
    if &*endpoint.key.attachment != BOUND {
        return Target::new(endpoint.clone(), port);
    }
    if let Some((binding, ip)) = binding(&endpoint.instance, port, protocol) {
        return Target::new(Arc::new(moved(endpoint, ip)), binding.host_port);
    }
    let mut unreached = Endpoint { ipv4: None, ipv6: None, ..Endpoint::clone(endpoint) };
    if unreached.state == State::Ready {
        unreached.state = State::Starting;
        unreached.reason =
            format!("on no network that Portolan is on, and its port {port} is not its host's");
    }
    Target::new(Arc::new(unreached), port)
}

/// The endpoint as if it were at this address.
pub(super) fn moved(endpoint: &Endpoint, ip: IpAddr) -> Endpoint {
    let mut endpoint = endpoint.clone();
    endpoint.key.attachment = format!("{}-{ip}", endpoint.key.attachment).into();
    (endpoint.ipv4, endpoint.ipv6) = match ip {
        IpAddr::V4(ip) => (Some(ip), None),
        IpAddr::V6(ip) => (None, Some(ip)),
    };
    endpoint
}

/// The port of the host that leads to this port: one bound to no address in particular says nothing of how to reach it.
pub(super) fn binding(instance: &Instance, port: u16, protocol: Protocol) -> Option<(&Binding, IpAddr)> {
    bindings(instance).find(|(binding, _)| binding.port.number == port && binding.port.protocol == protocol)
}

fn bindings(instance: &Instance) -> impl Iterator<Item = (&Binding, IpAddr)> {
    let bindings = instance.bindings.iter().filter_map(|binding| Some((binding, binding.ip?)));
    bindings.filter(|(_, ip)| !ip.is_unspecified())
}

fn unreached(instance: &Instance) -> String {
    let names: Vec<&str> = instance.networks.iter().map(|network| network.network.as_str()).collect();
    if names.is_empty() {
        return "no address on any network".to_owned();
    }
    format!("on no network that Portolan is on, only on {}", names.join(", "))
}

/// The network to use: the one that a label names, else the operator's, else the one the provider prefers.
fn network<'a>(
    instance: &'a Instance,
    labels: &Labels,
    policy: &Policy,
    faults: &mut Vec<(String, String)>,
) -> Option<&'a NetworkAddress> {
    let networks = &instance.networks;
    let reached =
        |network: &NetworkAddress| network.reached && (network.ipv4.is_some() || network.ipv6.is_some());
    let named = |name: &str| networks.iter().find(|network| network.network == name);
    if let Some(wanted) = &labels.network {
        match named(wanted) {
            Some(found) if reached(found) => return Some(found),
            // From where Portolan is, another way leads there.
            Some(_) => {}
            None if networks.is_empty() => {}
            None => {
                faults.push(("docker.network".to_owned(), not_attached(wanted, networks)));
            }
        }
    }
    let preferred = policy.network.as_deref().and_then(named).filter(|network| reached(network));
    preferred.or_else(|| networks.iter().find(|network| reached(network)))
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
