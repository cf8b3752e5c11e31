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
use std::ops::RangeInclusive;
use std::sync::Arc;

use foldhash::HashSet;
use hickory_proto::rr::RecordType;
use portolan_config::Fault;
use portolan_config::settings::Dns;
use portolan_discovery::{Service, ServiceKey, Snapshot};

use super::book::{Asker, Book, Claim, Rank, What};
use super::member::{self, Manner};
use super::router_hosts::RouterHosts;
use super::{Apex, Zone};
use crate::fixed::Fixed;
use crate::key::Key;
use crate::names::{self, MAX_NAME};
use crate::records::{About, Node, addresses};

/// Who claims our own names.
const OURS: u32 = u32::MAX;
/// The least rank: ports take nothing from anybody.
const PORTS: Rank = Rank::Ours;
/// The label that asks for further names.
const NAMES_LABEL: &str = "portolan.dns.names";
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
    /// Who asks for our own names.
    ours: Arc<Asker>,
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
    /// `None` where none of its containers is to have names.
    asker: Option<Arc<Asker>>,
    node: Arc<Node>,
    containers: Vec<Arc<Node>>,
    /// The names it asked for as its own.
    asked: Vec<Asked>,
    /// The same outside the zone.
    asked_elsewhere: Vec<Key>,
    /// What it asked for below its names, and for its containers.
    asked_below: Vec<Key>,
    /// SRV records.
    asked_ports: Vec<Key>,
    asked_reverse: Vec<Key>,
    /// What is wrong: with its own names; with who got what; with the rest.
    faults: [Vec<Fault>; 3],
}

/// A service's own name.
#[derive(Debug)]
struct Asked {
    key: Key,
    /// Whether a label asks for it.
    by_label: bool,
    /// Whether the service got it.
    held: bool,
}

impl Asked {
    /// Where the operator wrote it.
    fn source(&self, service: &Service) -> &'static str {
        if self.by_label { NAMES_LABEL } else { name_source(&service.key) }
    }
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
            elsewhere: Book::with_zones(&apex.reverse),
            apex,
            services: Vec::new(),
            members: Vec::new(),
            free: Vec::new(),
            names: Book::tree(),
            ours: Asker::nobody(OURS),
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
            member.asked.iter().map(|asked| &asked.key).chain(&member.asked_below).chain(&member.asked_ports)
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
        for asked in std::mem::take(&mut member.asked) {
            self.names.withdraw(&asked.key, by, OWN);
        }
        for key in std::mem::take(&mut member.asked_elsewhere) {
            self.elsewhere.withdraw(&key, by, OWN);
        }
        member.faults[0].clear();
        let Some((service, further)) = member::labelled(&member::without(service, &self.hidden)) else {
            member.asker = None;
            return;
        };
        let asker = Arc::new(Asker { by, service: Some(Arc::clone(&service)) });
        let eldest = member::eldest(&service);
        member.node = manner.service(&service);
        member.containers = service.endpoints.iter().map(|endpoint| manner.container(endpoint)).collect();
        let own = service.key.dns_names().into_iter().map(|name| (name, false));
        let further = further.into_iter().map(|name| (name, true));
        for (name, by_label) in own.chain(further) {
            // With a final dot it is whole, and no name of the zone.
            let whole = name.strip_suffix('.').filter(|_| by_label);
            let room = if whole.is_some() { MAX_NAME - 1 } else { self.room };
            let what = What::Node(Arc::clone(&member.node));
            let claim = Claim { rank: Rank::Service, at: eldest, asker: Arc::clone(&asker), what };
            match (names::key(whole.unwrap_or(&name), room), whole) {
                (Err(error), _) => member.faults[0].push(Fault::new(
                    format!("service {}", service.name),
                    if by_label { NAMES_LABEL } else { name_source(&service.key) },
                    format!("`{name}` can't be a name in DNS: {error}"),
                )),
                (Ok(key), Some(_)) => {
                    self.elsewhere.claim(&key, claim);
                    member.asked_elsewhere.push(key);
                }
                // Its own name written once more.
                (Ok(key), None) if member.asked.iter().any(|asked| asked.key == key) => {}
                (Ok(key), None) => {
                    self.names.claim(&key, claim);
                    member.asked.push(Asked { key, by_label, held: false });
                }
            }
        }
        member.asked.shrink_to_fit();
        member.asker = Some(asker);
    }

    /// With its own names had, what stands below them; and its containers.
    fn ask_below(&mut self, by: u32, manner: Manner) {
        let mut member = std::mem::take(&mut self.members[by as usize]);
        for key in std::mem::take(&mut member.asked_below) {
            self.names.withdraw(&key, by, Rank::Below..=Rank::Alias);
        }
        member.faults[1].clear();
        if let Some(asker) = member.asker.clone()
            && let Some(service) = &asker.service
        {
            self.hold_names(&mut member, service, by);
            self.ask_tasks(&mut member, service, &asker, manner);
            self.ask_containers(&mut member, service, &asker);
            self.ask_aliases(&mut member, service, &asker, manner);
        }
        member.asked_below.shrink_to_fit();
        self.members[by as usize] = member;
    }

    /// Sees which of its own names it got.
    fn hold_names(&self, member: &mut Member, service: &Service, by: u32) {
        let mut lost = Vec::new();
        for asked in &mut member.asked {
            let other = self.names.holder(&asked.key).filter(|claim| claim.by() != by);
            asked.held = other.is_none();
            lost.extend(other.map(|claim| (names::shown(&asked.key), claim, asked.source(service))));
        }
        let held = member.asked.iter().find(|asked| asked.held).map(|asked| names::shown(&asked.key));
        let zone = &self.apex.zone;
        for (name, claim, source) in lost {
            let Some(owner) = &claim.asker.service else { continue };
            let instead = match &held {
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

    fn ask_tasks(&mut self, member: &mut Member, service: &Arc<Service>, asker: &Arc<Asker>, manner: Manner) {
        // Where all are ready, both are the same.
        let ready = service.endpoints.iter().all(|endpoint| endpoint.is_available());
        let all = if ready { Arc::clone(&member.node) } else { manner.all(service) };
        let at = member::eldest(service);
        for asked in member.asked.iter().filter(|asked| asked.held) {
            for (label, node) in [(&b"\x05tasks"[..], &member.node), (b"\x03all", &all)] {
                if let Ok(key) = names::below(label, &asked.key, self.room) {
                    let (asker, what) = (Arc::clone(asker), What::Node(Arc::clone(node)));
                    self.names.claim(&key, Claim { rank: Rank::Below, at, asker, what });
                    member.asked_below.push(key);
                }
            }
        }
    }

    fn ask_containers(&mut self, member: &mut Member, service: &Service, asker: &Arc<Asker>) {
        for (at, (endpoint, node)) in (0..).zip(service.endpoints.iter().zip(&member.containers)) {
            let instance = &endpoint.instance;
            let mut ask = |key: Key, rank| {
                let (asker, what) = (Arc::clone(asker), What::Node(Arc::clone(node)));
                self.names.claim(&key, Claim { rank, at, asker, what });
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
    fn ask_aliases(&mut self, member: &mut Member, service: &Service, asker: &Arc<Asker>, manner: Manner) {
        for (at, endpoint) in (0..).zip(&service.endpoints) {
            for (alias, v4, v6) in member::aliases(endpoint) {
                match names::key(alias, self.room) {
                    Ok(key) => {
                        let what = What::Node(manner.alias(endpoint, v4, v6));
                        let asker = Arc::clone(asker);
                        self.names.claim(&key, Claim { rank: Rank::Alias, at, asker, what });
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

mod pointers;
mod written;

#[cfg(test)]
mod convergence;
#[cfg(test)]
mod tests;
