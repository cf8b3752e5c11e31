//! From what runs to what is answered: `compile(snapshot) -> (zone, faults)`, pure.
//!
//! Who gets a name, most entitled first:
//!
//! 1. services, by their own names; of two that claim one, the one with the elder instance, and a fault tells;
//! 2. `tasks.<service>`;
//! 3. containers, by name, then by short id;
//! 4. aliases, which many containers may share;
//! 5. `ns`, ours.
//!
//! SRV records stand below a service's names, and clash with nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use portolan_config::Fault;
use portolan_config::settings::Dns;
use portolan_discovery::{Endpoint, NamedPort, Service, ServiceKey, Snapshot, State};

use super::draft::Draft;
use super::{NAME_SERVER, Zone};
use crate::key::Key;
use crate::names;
use crate::records::{Addresses, Host, RrSet, Srv};

/// Compiles the zone of a snapshot, and says what could not be named as it was written.
///
/// Before the snapshot is complete the zone is [`Zone::not_synced`]: it would deny names that may well exist.
pub fn compile(snapshot: &Snapshot, settings: &Dns) -> (Zone, Vec<Fault>) {
    let mut zone = Zone::not_synced(settings);
    if !snapshot.is_complete() {
        return (zone, Vec::new());
    }
    zone.synced = true;
    zone.serial = snapshot.generation as u32;
    let mut compiler = Compiler {
        zone: &settings.zone,
        turn: zone.serial,
        draft: Draft::new(zone.origin.len(), snapshot.services.len() * NAMES_PER_SERVICE),
        reverse: HashMap::new(),
    };
    compiler.draw(snapshot, settings);
    zone.names = compiler.draft.nodes;
    zone.reverse = compiler.reverse;
    (zone, compiler.draft.faults)
}

/// What to make room for. A Compose service with one container has twelve: two of its own, each also under `tasks`, with
/// two ports and the `_tcp` between, and its container's name and id.
const NAMES_PER_SERVICE: usize = 13;

struct Compiler<'s> {
    zone: &'s str,
    /// Where rotations start. It moves with every zone, or the first replica would get the first query after each change.
    turn: u32,
    draft: Draft,
    reverse: HashMap<IpAddr, Vec<Arc<Host>>>,
}

/// A service, and what it got.
struct Holder<'s> {
    service: &'s Service,
    addresses: Arc<Addresses>,
    names: Vec<Key>,
    /// For each endpoint, the container by the name it got.
    hosts: Vec<Option<Arc<Host>>>,
}

impl<'s> Compiler<'s> {
    fn draw(&mut self, snapshot: &'s Snapshot, settings: &Dns) {
        let mut holders = self.name_services(snapshot);
        self.name_tasks(&holders);
        self.name_containers(&mut holders);
        self.name_aliases(&holders);
        for holder in &holders {
            self.name_ports(holder);
        }
        self.name_server(settings);
        self.draft.add_empty_non_terminals();
    }

    fn name_services(&mut self, snapshot: &'s Snapshot) -> Vec<Holder<'s>> {
        let mut services: Vec<&Service> = snapshot.services.iter().map(AsRef::as_ref).collect();
        services.sort_by_cached_key(|service| (eldest(service), &service.name));
        let mut owners: HashMap<Key, &Service> = HashMap::with_capacity(services.len() * 2);
        services.into_iter().map(|service| self.name_service(service, &mut owners)).collect()
    }

    fn name_service(&mut self, service: &'s Service, owners: &mut HashMap<Key, &'s Service>) -> Holder<'s> {
        let addresses = self.rotated(
            available(service).filter_map(|endpoint| endpoint.ipv4),
            available(service).filter_map(|endpoint| endpoint.ipv6),
        );
        let mut keys = Vec::with_capacity(2);
        let mut held = Vec::with_capacity(2);
        let mut lost = Vec::new();
        for name in service.key.dns_names() {
            match self.draft.key(&name) {
                Err(error) => {
                    let message = format!("`{name}` can't be a name in DNS: {error}");
                    self.draft.fault(format!("service {}", service.name), name_source(&service.key), message);
                }
                Ok(key) => {
                    if let Some(owner) = owners.get(&key) {
                        lost.push((name, *owner));
                        continue;
                    }
                    owners.insert(key.clone(), service);
                    self.draft.claim(key.clone(), &addresses);
                    keys.push(key);
                    held.push(name);
                }
            }
        }
        for (name, owner) in lost {
            self.report_clash(service, owner, &name, &held);
        }
        Holder { service, addresses, names: keys, hosts: Vec::new() }
    }

    fn report_clash(&mut self, service: &Service, owner: &Service, name: &str, held: &[String]) {
        let zone = self.zone;
        let instead = match held.first() {
            Some(other) => format!("ask for `{other}.{zone}` to reach this one"),
            None => "rename one of them to reach this one".to_owned(),
        };
        let message = format!(
            "both `{}` and `{}` are called `{name}`; `{}` has the elder instance and keeps `{name}.{zone}`, {instead}",
            owner.name, service.name, owner.name
        );
        self.draft.fault(format!("service {}", service.name), name_source(&service.key), message);
    }

    fn name_tasks(&mut self, holders: &[Holder<'_>]) {
        for holder in holders {
            for name in &holder.names {
                let key = self.draft.below(b"\x05tasks", name);
                let reason = match key.map(|key| self.draft.claim(key, &holder.addresses)) {
                    Ok(true) => continue,
                    Ok(false) => "a service is called so".to_owned(),
                    Err(error) => error.to_string(),
                };
                let (service, key) = (holder.service, name_source(&holder.service.key));
                let message = format!("it gets no name under `tasks`: {reason}");
                self.draft.fault(format!("service {}", service.name), key, message);
            }
        }
    }

    fn name_containers(&mut self, holders: &mut [Holder<'_>]) {
        let mut containers: Vec<(usize, usize)> = Vec::new();
        for (at, holder) in holders.iter_mut().enumerate() {
            holder.hosts.resize(holder.service.endpoints.len(), None);
            containers.extend((0..holder.hosts.len()).map(|endpoint| (at, endpoint)));
        }
        // Of two containers of one name (from two providers) the elder keeps it. Names before ids, each in one pass, so
        // that nobody's id takes another's name.
        containers.sort_by_key(|(at, endpoint)| {
            let instance = &holders[*at].service.endpoints[*endpoint].instance;
            (instance.created, &*instance.name)
        });
        let addresses: Vec<Arc<Addresses>> = containers
            .iter()
            .map(|(at, endpoint)| own_addresses(&holders[*at].service.endpoints[*endpoint]))
            .collect();
        for ((at, endpoint), addresses) in containers.iter().zip(&addresses) {
            let host =
                self.name_container(&holders[*at], &holders[*at].service.endpoints[*endpoint], addresses);
            holders[*at].hosts[*endpoint] = host;
        }
        for ((at, index), addresses) in containers.iter().zip(&addresses) {
            let endpoint = &holders[*at].service.endpoints[*index];
            let by_id = self.name_by_id(endpoint, addresses);
            let host = &mut holders[*at].hosts[*index];
            *host = host.take().or(by_id);
            if let Some(host) = host {
                self.name_addresses(endpoint, host);
            }
        }
    }

    /// The container by its own name, if it gets it.
    fn name_container(
        &mut self,
        holder: &Holder<'_>,
        endpoint: &Endpoint,
        addresses: &Arc<Addresses>,
    ) -> Option<Arc<Host>> {
        let instance = &endpoint.instance;
        let key = match self.draft.key(&instance.name) {
            Ok(key) => key,
            Err(error) => {
                // A container alone is its own service, whose fault said the same.
                if instance.service != ServiceKey::Container(instance.name.clone()) {
                    let message = format!("`{}` can't be a name in DNS: {error}", instance.name);
                    self.draft.fault(format!("container {}", instance.name), "name", message);
                }
                return None;
            }
        };
        if self.draft.claim(key.clone(), addresses) {
            return Some(Arc::new(Host { name: key, addresses: Arc::clone(addresses) }));
        }
        // Taken. By its own service, with no other replica: then that name means this container just as well.
        let alone = holder.service.endpoints.len() == 1 && holder.names.contains(&key);
        alone.then(|| Arc::new(Host { name: key, addresses: Arc::clone(&holder.addresses) }))
    }

    /// The container by its short id. Nobody wrote it, so nobody is told when it can't be a name.
    fn name_by_id(&mut self, endpoint: &Endpoint, addresses: &Arc<Addresses>) -> Option<Arc<Host>> {
        let key = self.draft.key(endpoint.instance.id.short()).ok()?;
        let claimed = self.draft.claim(key.clone(), addresses);
        claimed.then(|| Arc::new(Host { name: key, addresses: Arc::clone(addresses) }))
    }

    /// Its addresses lead back to its name, as long as it has them: also while it can't be given new work.
    fn name_addresses(&mut self, endpoint: &Endpoint, host: &Arc<Host>) {
        if endpoint.state == State::Stopped {
            return;
        }
        let (v4, v6) = every_address(endpoint);
        for ip in v4.into_iter().map(IpAddr::V4).chain(v6.into_iter().map(IpAddr::V6)) {
            self.reverse.entry(ip).or_default().push(Arc::clone(host));
        }
    }

    /// Containers may share an alias, as in Docker: then it stands for all of them, each with one address.
    fn name_aliases(&mut self, holders: &[Holder<'_>]) {
        let mut shared: BTreeMap<Key, (Vec<Ipv4Addr>, Vec<Ipv6Addr>)> = BTreeMap::new();
        for endpoint in holders.iter().flat_map(|holder| &holder.service.endpoints) {
            for (alias, v4, v6) in aliases(endpoint) {
                let key = match self.draft.key(alias) {
                    Ok(key) => key,
                    Err(error) => {
                        let message = format!("`{alias}` can't be a name in DNS: {error}");
                        self.draft.fault(format!("container {}", endpoint.instance.name), "alias", message);
                        continue;
                    }
                };
                if self.draft.nodes.contains_key(&key) {
                    continue;
                }
                let (all_v4, all_v6) = shared.entry(key).or_default();
                if endpoint.is_available() {
                    all_v4.extend(v4);
                    all_v6.extend(v6);
                }
            }
        }
        for (key, (v4, v6)) in shared {
            let addresses = self.rotated(v4, v6);
            self.draft.claim(key, &addresses);
        }
    }

    /// `_NAME._proto` and `_NUMBER._proto` below every name of the service.
    fn name_ports(&mut self, holder: &Holder<'_>) {
        let mut offered: BTreeMap<Vec<u8>, Vec<Srv>> = BTreeMap::new();
        let mut faulty: BTreeSet<String> = BTreeSet::new();
        for (endpoint, host) in holder.service.endpoints.iter().zip(&holder.hosts) {
            for port in &endpoint.ports {
                for name in port_names(port) {
                    let Ok(labels) = port_labels(&name, port) else {
                        faulty.insert(name);
                        continue;
                    };
                    let places = offered.entry(labels).or_default();
                    if let Some(host) = host.as_ref().filter(|_| endpoint.is_available()) {
                        offer(places, host, port.number);
                    }
                }
            }
        }
        for (labels, places) in offered {
            let services = Arc::new(RrSet::rotated(places, self.turn));
            for name in &holder.names {
                match self.draft.below(&labels, name) {
                    Ok(key) => {
                        self.draft.nodes.entry(key).or_default().services = Some(Arc::clone(&services));
                    }
                    Err(error) => {
                        let message = format!("a port gets no SRV record: {error}");
                        self.draft.fault(format!("service {}", holder.service.name), "port", message);
                    }
                }
            }
        }
        for name in faulty {
            let message =
                format!("`{name}` can't be a port's name in DNS: use 1 to 62 letters, digits, `-` and `_`");
            self.draft.fault(format!("service {}", holder.service.name), "port", message);
        }
    }

    /// We are `ns`, at the address we listen on, where that is one.
    fn name_server(&mut self, settings: &Dns) {
        let ip = settings.address.ip.filter(|ip| !ip.is_unspecified());
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        match ip {
            Some(IpAddr::V4(ip)) => v4.push(ip),
            Some(IpAddr::V6(ip)) => v6.push(ip),
            None => {}
        }
        self.draft.claim(NAME_SERVER.into(), &ordered(v4, v6));
    }

    fn rotated(
        &self,
        v4: impl IntoIterator<Item = Ipv4Addr>,
        v6: impl IntoIterator<Item = Ipv6Addr>,
    ) -> Arc<Addresses> {
        Arc::new(Addresses {
            v4: RrSet::rotated(distinct(v4), self.turn),
            v6: RrSet::rotated(distinct(v6), self.turn),
        })
    }
}

fn ordered(v4: Vec<Ipv4Addr>, v6: Vec<Ipv6Addr>) -> Arc<Addresses> {
    Arc::new(Addresses { v4: RrSet::ordered(v4), v6: RrSet::ordered(v6) })
}

fn available(service: &Service) -> impl Iterator<Item = &Arc<Endpoint>> {
    service.endpoints.iter().filter(|endpoint| endpoint.is_available())
}

/// The service's age, by its oldest instance; without any, it is the youngest.
fn eldest(service: &Service) -> (bool, Option<(SystemTime, &str)>) {
    let eldest = service.endpoints.iter().map(|e| (e.instance.created, &*e.instance.name)).min();
    (eldest.is_none(), eldest)
}

/// Where the operator wrote the service's name.
fn name_source(key: &ServiceKey) -> &'static str {
    match key {
        ServiceKey::Swarm(_) => "swarm service",
        ServiceKey::Compose { .. } => "compose service",
        ServiceKey::Label(_) => "portolan.service",
        ServiceKey::Container(_) => "name",
    }
}

/// What the container's own names give: nothing while it can't be given work.
fn own_addresses(endpoint: &Endpoint) -> Arc<Addresses> {
    if endpoint.is_available() {
        let (v4, v6) = every_address(endpoint);
        ordered(v4, v6)
    } else {
        ordered(Vec::new(), Vec::new())
    }
}

/// Every address of the instance, the one it is reached at first.
fn every_address(endpoint: &Endpoint) -> (Vec<Ipv4Addr>, Vec<Ipv6Addr>) {
    let networks = &endpoint.instance.networks;
    (
        distinct(endpoint.ipv4.into_iter().chain(networks.iter().filter_map(|network| network.ipv4))),
        distinct(endpoint.ipv6.into_iter().chain(networks.iter().filter_map(|network| network.ipv6))),
    )
}

/// Each alias of the instance once, with its address: where it is reached if the alias is on that network, else on the
/// first network that has it.
fn aliases(endpoint: &Endpoint) -> Vec<(&str, Option<Ipv4Addr>, Option<Ipv6Addr>)> {
    let is_chosen = |id: &str| id == &*endpoint.key.attachment;
    let (chosen, others): (Vec<_>, Vec<_>) =
        endpoint.instance.networks.iter().partition(|network| is_chosen(&network.endpoint_id));
    let mut found: Vec<(&str, Option<Ipv4Addr>, Option<Ipv6Addr>)> = Vec::new();
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
fn offer(places: &mut Vec<Srv>, host: &Arc<Host>, port: u16) {
    let mut same_host = places.iter().rev().take_while(|place| Arc::ptr_eq(&place.host, host));
    if !same_host.any(|place| place.port == port) {
        places.push(Srv { host: Arc::clone(host), port });
    }
}

/// The addresses, each once, in their order.
fn distinct<T: Copy + Eq + std::hash::Hash>(addresses: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut found: Vec<T> = Vec::new();
    let mut seen = HashSet::new();
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

#[cfg(test)]
mod tests;
