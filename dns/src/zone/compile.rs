//! From what runs to what is answered: snapshots in, zones and faults out; no sockets, no clock.
//!
//! Who gets a name, most entitled first:
//!
//! 1. services, by their own names; of two that claim one, the one with the elder instance, and a fault tells;
//! 2. `tasks.<service>` and `all.<service>`;
//! 3. containers, by name, then by short id;
//! 4. aliases, which many containers may share;
//! 5. `ns`, ours;
//! 6. the hosts of routers, where they are asked for.
//!
//! SRV records stand below a service's names, and clash with nothing.
//!
//! Only the services that are not as they were in the snapshot before are looked at, and those whose names another one
//! got or gave up: a change among a hundred thousand names costs what it changes.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use foldhash::HashSet;
use hickory_proto::rr::RecordType;
use portolan_config::Fault;
use portolan_config::settings::Dns;
use portolan_discovery::{Service, ServiceKey, Snapshot, State};

use super::book::{Book, Claim, Rank, Seniority, What};
use super::member::{self, Manner};
use super::router_hosts::RouterHosts;
use super::{Apex, Zone};
use crate::fixed::Fixed;
use crate::key::Key;
use crate::names::{self, MAX_NAME};
use crate::records::{About, Host, Node, addresses};

/// Who claims our own names.
const OURS: u32 = u32::MAX;
/// The least rank: ports take nothing from anybody.
const PORTS: Rank = Rank::Ours;
/// A service's own names.
const OWN: RangeInclusive<Rank> = Rank::Service..=Rank::Service;
/// Shared, as networks that do not know of each other may give an address out twice: then it leads to both.
const REVERSE: RangeInclusive<Rank> = Rank::Alias..=Rank::Alias;

/// Compiles the zone of a snapshot by itself, and says what could not be named as it was written.
pub fn compile(snapshot: &Snapshot, settings: &Dns) -> (Zone, Vec<Fault>) {
    Compiler::new(settings).compile(snapshot)
}

/// Compiles one snapshot after the other.
#[derive(Debug)]
pub struct Compiler {
    apex: Arc<Apex>,
    /// The bytes a key may have, so that with the zone it is still a name.
    room: usize,
    /// The services of the last snapshot, by name, with their numbers.
    services: Vec<(Arc<Service>, u32)>,
    members: Vec<Member>,
    /// Numbers to be given out again.
    free: Vec<u32>,
    names: Book,
    elsewhere: Book,
    /// What our own name has.
    name_server: Arc<Node>,
    /// The names that the operator's own records have: below the zone, or elsewhere.
    written: Vec<(Key, bool)>,
    /// Whether there is a wildcard below the zone, and elsewhere.
    wildcards: [bool; 2],
    faulty: BTreeSet<u32>,
    /// What is added to a generation to make a serial.
    serial_base: u32,
    /// The serial of the last snapshot that changed a name.
    serial: u32,
    hosts: RouterHosts,
    /// Networks whose addresses are in no answer.
    hidden: Vec<String>,
}

/// A service, what it asked for, and what it got.
#[derive(Debug, Default)]
struct Member {
    service: Option<Arc<Service>>,
    node: Arc<Node>,
    containers: Vec<Arc<Node>>,
    /// The names it asked for as its own, as they were written, and where.
    asked: Vec<(Key, String, &'static str)>,
    /// The same outside the zone.
    asked_elsewhere: Vec<Key>,
    held: Vec<Key>,
    /// What it asked for below its names, and for its containers.
    asked_below: Vec<Key>,
    /// SRV records.
    asked_ports: Vec<Key>,
    asked_reverse: Vec<Key>,
    /// What is wrong: with its own names; with who got what; with the rest.
    faults: [Vec<Fault>; 3],
}

impl Compiler {
    /// A compiler that has seen no snapshot yet, without records of the operator's own.
    pub fn new(settings: &Dns) -> Self {
        Self::with_records(settings, &Fixed::default())
    }

    /// A compiler that has seen no snapshot yet.
    pub fn with_records(settings: &Dns, fixed: &Fixed) -> Self {
        let apex = Arc::new(Apex::new(settings));
        // We are `ns`, at the address we listen on, where that is one.
        let ip = settings.address.ip.filter(|ip| !ip.is_unspecified());
        let set = |kind| addresses(kind, ip, apex.ttl, None);
        let node = Node::new([set(RecordType::A), set(RecordType::AAAA)], About::Nothing);
        let mut this = Self {
            room: MAX_NAME.saturating_sub(apex.origin().len()),
            apex,
            services: Vec::new(),
            members: Vec::new(),
            free: Vec::new(),
            names: Book::tree(),
            elsewhere: Book::default(),
            name_server: Arc::new(node),
            written: Vec::new(),
            wildcards: [false; 2],
            faulty: BTreeSet::new(),
            serial_base: 0,
            serial: 0,
            hosts: RouterHosts::new(settings),
            hidden: settings.options.hidden_networks.clone(),
        };
        this.take_records(fixed);
        this
    }

    /// Serials begin here: with the seconds since the epoch they go on growing when the process starts anew, as long as
    /// there were fewer changes than seconds.
    #[must_use]
    pub fn serials_from(mut self, base: u32) -> Self {
        self.serial_base = base;
        self
    }

    /// Compiles the zone of a snapshot, and says what could not be named as it was written.
    ///
    /// Before the snapshot is complete the zone is [`Zone::not_synced`]: it would deny names that may well exist.
    pub fn compile(&mut self, snapshot: &Snapshot) -> (Zone, Vec<Fault>) {
        if !snapshot.is_complete() {
            return (Zone::empty(Arc::clone(&self.apex)), Vec::new());
        }
        let generation = snapshot.generation as u32;
        let manner = Manner { ttl: self.apex.ttl, turn: generation };
        let mut changed = self.take_services(snapshot, manner);
        let origin = Arc::clone(&self.apex);
        self.hosts.follow(&snapshot.routers, origin.origin(), &mut self.names, &mut self.elsewhere);
        changed.extend(self.names.changed_hands());
        for &by in &changed {
            self.ask_below(by, manner);
        }
        changed.extend(self.names.changed_hands());
        changed.extend(self.elsewhere.changed_hands());
        for &by in &changed {
            self.ask_last(by, manner);
            let faulty = self.members[by as usize].faults.iter().any(|faults| !faults.is_empty());
            if faulty {
                self.faulty.insert(by)
            } else {
                self.faulty.remove(&by)
            };
        }
        let settled = [self.names.settle(generation), self.elsewhere.settle(generation)];
        if settled.contains(&true) || self.serial == 0 {
            self.serial = self.serial_base.wrapping_add(generation);
        }
        let faults = self.faulty.iter().flat_map(|by| self.members[*by as usize].faults.iter().flatten());
        let zone = Zone {
            apex: Arc::clone(&self.apex),
            serial: self.serial,
            synced: true,
            names: self.names.table.clone(),
            elsewhere: self.elsewhere.table.clone(),
            wildcards: [0, 1].map(|at| self.wildcards[at] || self.hosts.wildcards[at]),
        };
        (zone, faults.cloned().collect())
    }

    /// Finds out which services are other than before, and lets each ask for its own names. Gives those that still are.
    fn take_services(&mut self, snapshot: &Snapshot, manner: Manner) -> HashSet<u32> {
        let mut now: Vec<&Arc<Service>> = snapshot.services.iter().collect();
        if !now.is_sorted_by(|a, b| a.name <= b.name) {
            now.sort_by(|a, b| a.name.cmp(&b.name));
        }
        let before = std::mem::take(&mut self.services);
        let mut after = Vec::with_capacity(now.len());
        let mut changed = HashSet::default();
        let mut gone = Vec::new();
        let (mut old, mut new) = (before.iter().peekable(), now.into_iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some(new)) => {
                    if Arc::ptr_eq(old, new) {
                        Ordering::Equal
                    } else {
                        old.name.cmp(&new.name)
                    }
                }
            };
            let before = if order.is_le() { old.next() } else { None };
            let service = if order.is_ge() { new.next() } else { None };
            match (before, service) {
                (Some((before, by)), Some(service)) => {
                    if !Arc::ptr_eq(before, service) {
                        self.ask_names(*by, service, manner);
                        changed.insert(*by);
                    }
                    after.push((Arc::clone(service), *by));
                }
                (Some((_, by)), None) => {
                    self.withdraw(*by);
                    gone.push(*by);
                }
                (None, Some(service)) => {
                    let by = self.free.pop().unwrap_or_else(|| {
                        self.members.push(Member::default());
                        (self.members.len() - 1) as u32
                    });
                    self.ask_names(by, service, manner);
                    changed.insert(by);
                    after.push((Arc::clone(service), by));
                }
                (None, None) => {}
            }
        }
        self.services = after;
        // Given out again only from the next snapshot on: within one, a number must not mean two services.
        self.free.extend(gone);
        changed
    }

    /// A service is gone.
    fn withdraw(&mut self, by: u32) {
        let member = std::mem::take(&mut self.members[by as usize]);
        for key in
            member.asked.iter().map(|(key, ..)| key).chain(&member.asked_below).chain(&member.asked_ports)
        {
            self.names.withdraw(key, by, Rank::Service..=Rank::Ours);
        }
        for key in &member.asked_reverse {
            self.elsewhere.withdraw(key, by, REVERSE);
        }
        for key in &member.asked_elsewhere {
            self.elsewhere.withdraw(key, by, OWN);
        }
        self.faulty.remove(&by);
    }

    fn ask_names(&mut self, by: u32, service: &Arc<Service>, manner: Manner) {
        let member = &mut self.members[by as usize];
        for (key, ..) in std::mem::take(&mut member.asked) {
            self.names.withdraw(&key, by, OWN);
        }
        for key in std::mem::take(&mut member.asked_elsewhere) {
            self.elsewhere.withdraw(&key, by, OWN);
        }
        member.faults[0].clear();
        let Some((service, further)) = member::labelled(&member::without(service, &self.hidden)) else {
            member.service = None;
            return;
        };
        member.node = manner.service(&service);
        member.containers = service.endpoints.iter().map(|endpoint| manner.container(endpoint)).collect();
        let own = service.key.dns_names().into_iter().map(|name| (name, name_source(&service.key)));
        let further = further.into_iter().map(|name| (name, "portolan.dns.names"));
        for (name, source) in own.chain(further) {
            // With a final dot it is whole, and no name of the zone.
            let whole = name.strip_suffix('.').filter(|_| source == "portolan.dns.names");
            let room = if whole.is_some() { MAX_NAME - 1 } else { self.room };
            let what = What::Node(Arc::clone(&member.node));
            let claim = Claim { rank: Rank::Service, seniority: member::eldest(&service), by, what };
            match (names::key(whole.unwrap_or(&name), room), whole) {
                (Err(error), _) => member.faults[0].push(Fault::new(
                    format!("service {}", service.name),
                    source,
                    format!("`{name}` can't be a name in DNS: {error}"),
                )),
                (Ok(key), Some(_)) => {
                    self.elsewhere.claim(&key, claim);
                    member.asked_elsewhere.push(key);
                }
                // Its own name written once more.
                (Ok(key), None) if member.asked.iter().any(|(asked, ..)| *asked == key) => {}
                (Ok(key), None) => {
                    self.names.claim(&key, claim);
                    member.asked.push((key, name, source));
                }
            }
        }
        member.service = Some(service);
    }

    /// With its own names had, what stands below them; and its containers.
    fn ask_below(&mut self, by: u32, manner: Manner) {
        let mut member = std::mem::take(&mut self.members[by as usize]);
        for key in std::mem::take(&mut member.asked_below) {
            self.names.withdraw(&key, by, Rank::Below..=Rank::Alias);
        }
        member.faults[1].clear();
        if let Some(service) = member.service.clone() {
            self.hold_names(by, &mut member, &service);
            self.ask_tasks(by, &mut member, &service, manner);
            self.ask_containers(by, &mut member, &service);
            self.ask_aliases(by, &mut member, &service, manner);
        }
        self.members[by as usize] = member;
    }

    /// Sees which of its own names it got.
    fn hold_names(&self, by: u32, member: &mut Member, service: &Service) {
        member.held.clear();
        let (mut held, mut lost) = (Vec::new(), Vec::new());
        for (key, name, source) in &member.asked {
            match self.names.holder(key) {
                Some(claim) if claim.by != by => lost.push((name, claim, *source)),
                _ => {
                    member.held.push(key.clone());
                    held.push(name);
                }
            }
        }
        let zone = &self.apex.zone;
        for (name, claim, source) in lost {
            let Some((owner, _)) = &claim.seniority.of else { continue };
            let instead = match held.first() {
                Some(other) => format!("ask for `{other}.{zone}` to reach this one"),
                None => "rename one of them to reach this one".to_owned(),
            };
            let message = format!(
                "both `{}` and `{}` are called `{name}`; `{}` has the elder instance and keeps `{name}.{zone}`, {instead}",
                owner.name, service.name, owner.name
            );
            let origin = format!("service {}", service.name);
            member.faults[1].push(Fault::new(origin, source, message));
        }
    }

    fn ask_tasks(&mut self, by: u32, member: &mut Member, service: &Arc<Service>, manner: Manner) {
        // Where all are ready, both are the same.
        let ready = service.endpoints.iter().all(|endpoint| endpoint.is_available());
        let all = if ready { Arc::clone(&member.node) } else { manner.all(service) };
        for name in &member.held {
            for (label, node) in [(&b"\x05tasks"[..], &member.node), (b"\x03all", &all)] {
                if let Ok(key) = names::below(label, name, self.room) {
                    let (seniority, what) = (member::eldest(service), What::Node(Arc::clone(node)));
                    self.names.claim(&key, Claim { rank: Rank::Below, seniority, by, what });
                    member.asked_below.push(key);
                }
            }
        }
    }

    fn ask_containers(&mut self, by: u32, member: &mut Member, service: &Arc<Service>) {
        for (at, (endpoint, node)) in service.endpoints.iter().zip(&member.containers).enumerate() {
            let instance = &endpoint.instance;
            let mut ask = |key: Key, rank| {
                let what = What::Node(Arc::clone(node));
                self.names.claim(&key, Claim { rank, seniority: member::age(service, at), by, what });
                member.asked_below.push(key);
            };
            match names::key(&instance.name, self.room) {
                Ok(key) => ask(key, Rank::Container),
                // A container alone is its own service, whose fault said the same.
                Err(_) if instance.service == ServiceKey::Container(instance.name.clone()) => {}
                Err(error) => {
                    let message = format!("`{}` can't be a name in DNS: {error}", instance.name);
                    member.faults[1].push(Fault::new(
                        format!("container {}", instance.name),
                        "name",
                        message,
                    ));
                }
            }
            // Nobody wrote the id, so nobody is told when it can't be a name.
            if let Ok(key) = names::key(instance.id.short(), self.room) {
                ask(key, Rank::Id);
            }
        }
    }

    /// Containers may share an alias, as in Docker: then it stands for all of them, each with one address.
    fn ask_aliases(&mut self, by: u32, member: &mut Member, service: &Arc<Service>, manner: Manner) {
        for (at, endpoint) in service.endpoints.iter().enumerate() {
            for (alias, v4, v6) in member::aliases(endpoint) {
                match names::key(alias, self.room) {
                    Ok(key) => {
                        let what = What::Node(manner.alias(endpoint, v4, v6));
                        let seniority = member::age(service, at);
                        self.names.claim(&key, Claim { rank: Rank::Alias, seniority, by, what });
                        member.asked_below.push(key);
                    }
                    Err(error) => {
                        let origin = format!("container {}", endpoint.instance.name);
                        let message = format!("`{alias}` can't be a name in DNS: {error}");
                        member.faults[1].push(Fault::new(origin, "alias", message));
                    }
                }
            }
        }
    }

    /// With every name given out: who is pointed to by which.
    fn ask_last(&mut self, by: u32, manner: Manner) {
        let mut member = std::mem::take(&mut self.members[by as usize]);
        for key in std::mem::take(&mut member.asked_ports) {
            self.names.withdraw(&key, by, PORTS..=PORTS);
        }
        for key in std::mem::take(&mut member.asked_reverse) {
            self.elsewhere.withdraw(&key, by, REVERSE);
        }
        member.faults[2].clear();
        if let Some(service) = member.service.clone() {
            self.judge_tasks(by, &mut member, &service);
            let hosts: Vec<Option<Arc<Host>>> =
                (0..service.endpoints.len()).map(|at| self.host(by, &member, &service, at)).collect();
            self.ask_ports(by, &mut member, &service, &hosts, manner);
            self.ask_reverse(by, &mut member, &service, &hosts, manner);
        }
        self.members[by as usize] = member;
    }

    /// Tells of the names below its own, and of those elsewhere, that it did not get.
    fn judge_tasks(&self, by: u32, member: &mut Member, service: &Service) {
        for key in &member.asked_elsewhere {
            let holder = self.elsewhere.holder(key).filter(|claim| claim.by != by);
            let Some((owner, _)) = holder.and_then(|claim| claim.seniority.of.as_ref()) else { continue };
            let name = names::shown(key);
            let message =
                format!("`{name}.` is a name of `{}` already, which has the elder instance", owner.name);
            let origin = format!("service {}", service.name);
            member.faults[2].push(Fault::new(origin, "portolan.dns.names", message));
        }
        for (name, label) in
            member.held.iter().flat_map(|name| [(name, &b"\x05tasks"[..]), (name, b"\x03all")])
        {
            let reason = match names::below(label, name, self.room) {
                Ok(key) if self.names.holder(&key).is_none_or(|claim| claim.by == by) => continue,
                Ok(_) => "a service is called so".to_owned(),
                // Said once: what has no room for `all` has none for `tasks`.
                Err(_) if label == b"\x03all" => continue,
                Err(error) => error.to_string(),
            };
            let label = String::from_utf8_lossy(&label[1..]);
            member.faults[2].push(Fault::new(
                format!("service {}", service.name),
                name_source(&service.key),
                format!("it gets no name under `{label}`: {reason}"),
            ));
        }
    }

    /// The container by a name that means it and nothing else: its own, else its id.
    fn host(&self, by: u32, member: &Member, service: &Service, at: usize) -> Option<Arc<Host>> {
        let instance = &service.endpoints[at].instance;
        let node = member.containers.get(at)?;
        let is_this = |claim: &Claim| {
            claim.by == by
                && claim.seniority.of.as_ref().is_some_and(|(_, endpoint)| *endpoint as usize == at)
        };
        for (name, rank) in [(&*instance.name, Rank::Container), (instance.id.short(), Rank::Id)] {
            let Ok(key) = names::key(name, self.room) else { continue };
            match self.names.holder(&key) {
                Some(claim) if claim.rank == rank && is_this(claim) => {
                    return Some(Arc::new(Host { name: key, node: Arc::clone(node) }));
                }
                // Taken by its own service, with no other replica: then that name means this container just as well.
                Some(claim)
                    if claim.rank == Rank::Service && claim.by == by && service.endpoints.len() == 1 =>
                {
                    return Some(Arc::new(Host { name: key, node: Arc::clone(&member.node) }));
                }
                _ => {}
            }
        }
        None
    }

    /// `_NAME._proto` and `_NUMBER._proto` below every name of the service.
    fn ask_ports(
        &mut self,
        by: u32,
        member: &mut Member,
        service: &Arc<Service>,
        hosts: &[Option<Arc<Host>>],
        manner: Manner,
    ) {
        let (sets, faulty) = manner.ports(service, hosts, self.apex.origin());
        let origin = format!("service {}", service.name);
        for (labels, set) in sets {
            // Without a place the name exists all the same.
            let what = set.map_or_else(|| What::Node(Arc::default()), |set| What::Beside(Arc::new(set)));
            for name in &member.held {
                match names::below(&labels, name, self.room) {
                    Ok(key) => {
                        let (seniority, what) = (member::eldest(service), what.clone());
                        self.names.claim(&key, Claim { rank: PORTS, seniority, by, what });
                        member.asked_ports.push(key);
                    }
                    Err(error) => {
                        let message = format!("a port gets no SRV record: {error}");
                        member.faults[2].push(Fault::new(&*origin, "port", message));
                    }
                }
            }
        }
        for name in faulty {
            let message =
                format!("`{name}` can't be a port's name in DNS: use 1 to 62 letters, digits, `-` and `_`");
            member.faults[2].push(Fault::new(&*origin, "port", message));
        }
    }

    /// Its addresses lead back to its name, as long as it has them: also while it can't be given new work.
    fn ask_reverse(
        &mut self,
        by: u32,
        member: &mut Member,
        service: &Arc<Service>,
        hosts: &[Option<Arc<Host>>],
        manner: Manner,
    ) {
        for (at, (endpoint, host)) in service.endpoints.iter().zip(hosts).enumerate() {
            let Some(host) = host.as_ref().filter(|_| endpoint.state != State::Stopped) else { continue };
            let node = manner.reverse(endpoint, &host.name, self.apex.origin());
            let ips: Vec<IpAddr> = member::every_address(endpoint);
            for key in ips.into_iter().map(names::reverse_key) {
                let (seniority, what) = (member::age(service, at), What::Node(Arc::clone(&node)));
                self.elsewhere.claim(&key, Claim { rank: Rank::Alias, seniority, by, what });
                member.asked_reverse.push(key);
            }
        }
    }
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

mod written;

#[cfg(test)]
mod convergence;
#[cfg(test)]
mod tests;
