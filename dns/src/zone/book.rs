//! Who asks for which name, and who gets it: kept from one zone to the next, so that a change costs what changed.
//!
//! It knows precedence. It must not know why anybody asks for a name.

use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::{HashMap, HashSet};
use portolan_discovery::Service;

use super::table::Table;
use crate::key::Key;
use crate::names;
use crate::records::{About, Node, RrSet};

/// Who gets a name, most entitled first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A service, by its own name.
    Service,
    /// What stands below a service's name: `tasks.<service>` and `all.<service>`.
    Below,
    /// A container by its name.
    Container,
    /// A container by its short id.
    Id,
    /// Shared by all that ask for it.
    Alias,
    /// Ours: `ns`.
    Ours,
    /// The host of a router: this host's address.
    Router,
}

/// One who asks for a name.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) rank: Rank,
    pub(super) seniority: Seniority,
    /// The number of the service that it is made for.
    pub(super) by: u32,
    pub(super) what: What,
}

/// What the name is to have.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// This, if the name is got.
    Node(Arc<Node>),
    /// These records beside whatever else it has: they clash with nothing.
    Beside(Arc<RrSet>),
}

/// Of two of one rank the elder gets a name; services without any instance are the youngest.
#[derive(Clone, Debug, Default)]
pub(super) struct Seniority {
    pub(super) created: Option<SystemTime>,
    /// The service, and which of its endpoints; to tell apart what is equally old, by names.
    pub(super) of: Option<(Arc<Service>, u32)>,
}

impl Seniority {
    fn names(&self) -> (&str, &str) {
        self.of.as_ref().map_or(("", ""), |(service, endpoint)| {
            let endpoint = service.endpoints.get(*endpoint as usize);
            (endpoint.map_or("", |endpoint| &*endpoint.instance.name), &*service.name)
        })
    }
}

impl Claim {
    fn order(&self, other: &Self) -> Ordering {
        let age = |claim: &Self| (claim.seniority.created.is_none(), claim.seniority.created);
        self.rank
            .cmp(&other.rank)
            .then_with(|| age(self).cmp(&age(other)))
            .then_with(|| self.seniority.names().cmp(&other.seniority.names()))
            .then(self.by.cmp(&other.by))
    }
}

#[derive(Debug, Default)]
struct Entry {
    /// The most entitled first.
    claims: Vec<Claim>,
    /// Names right below that exist.
    below: u32,
}

impl Entry {
    fn holder(&self) -> Option<&Claim> {
        self.claims.iter().find(|claim| matches!(claim.what, What::Node(_)))
    }

    fn exists(&self) -> bool {
        !self.claims.is_empty() || self.below > 0
    }

    /// What the name has; `None` where it does not exist.
    fn node(&self, turn: u32) -> Option<Arc<Node>> {
        if !self.exists() {
            return None;
        }
        let beside = self.claims.iter().filter_map(|claim| match &claim.what {
            What::Beside(set) => Some(set),
            What::Node(_) => None,
        });
        let held = self.held(turn);
        if beside.clone().next().is_none() {
            return Some(held);
        }
        let mut sets: Vec<Arc<RrSet>> = Vec::new();
        for set in beside.chain(&held.sets) {
            if !sets.iter().any(|other| other.kind() == set.kind()) {
                sets.push(Arc::clone(set));
            }
        }
        Some(Arc::new(Node { sets: sets.into(), about: held.about.clone() }))
    }

    fn held(&self, turn: u32) -> Arc<Node> {
        let Some(holder) = self.holder() else { return Arc::default() };
        let What::Node(node) = &holder.what else { return Arc::default() };
        if holder.rank != Rank::Alias {
            return Arc::clone(node);
        }
        let all = self.claims.iter().filter_map(|claim| match &claim.what {
            What::Node(node) if claim.rank == Rank::Alias => Some(&**node),
            _ => None,
        });
        let all: Vec<&Node> = all.collect();
        if all.len() == 1 {
            return Arc::clone(node);
        }
        let endpoints = all.iter().flat_map(|node| match &node.about {
            About::Alias(endpoints) => endpoints.to_vec(),
            About::Container(endpoint) => vec![Arc::clone(endpoint)],
            _ => Vec::new(),
        });
        let about = About::Alias(endpoints.collect());
        Arc::new(Node::merged(&all, about, turn))
    }
}

/// The names of one table, and all who ask for them.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: HashMap<Key, Entry>,
    /// Names asked for or given up since the table was last brought up to date.
    touched: HashSet<Key>,
    /// The holders that touched names had when they were first touched, since [`Book::changed_hands`] was last asked.
    before: HashMap<Key, Option<(u32, Rank)>>,
    /// Whether a name that exists makes those above it exist (RFC 8020 §2, RFC 4592 §2.2.2).
    tree: bool,
    pub(super) table: Table,
}

impl Book {
    /// A book of names that lie below one another, down from the zone's apex.
    pub(super) fn tree() -> Self {
        Self { tree: true, ..Self::default() }
    }

    pub(super) fn claim(&mut self, key: &Key, claim: Claim) {
        self.touch(key);
        let entry = self.entries.entry(key.clone()).or_default();
        let is_new = !entry.exists();
        let at = entry.claims.partition_point(|other| other.order(&claim).is_le());
        entry.claims.insert(at, claim);
        if is_new {
            self.exists_below(key);
        }
    }

    /// Takes back what one service asked of a name by claims of these ranks.
    pub(super) fn withdraw(&mut self, key: &Key, by: u32, ranks: RangeInclusive<Rank>) {
        self.touch(key);
        let Some(entry) = self.entries.get_mut(&**key) else { return };
        if !entry.exists() {
            return;
        }
        entry.claims.retain(|claim| claim.by != by || !ranks.contains(&claim.rank));
        if !entry.exists() {
            self.is_gone(key);
        }
    }

    /// Who has the name.
    pub(super) fn holder(&self, key: &[u8]) -> Option<&Claim> {
        self.entries.get(key)?.holder()
    }

    /// The services that ask for a name which got another holder since this was last asked; aliases, which have none,
    /// not counted.
    pub(super) fn changed_hands(&mut self) -> HashSet<u32> {
        let mut services = HashSet::default();
        for (key, before) in std::mem::take(&mut self.before) {
            let entry = self.entries.get(&*key);
            let now = entry.and_then(Entry::holder).map(|claim| (claim.by, claim.rank));
            if before == now {
                continue;
            }
            let claims = entry.map_or(&[][..], |entry| &entry.claims);
            services.extend(claims.iter().filter(|claim| claim.rank < Rank::Alias).map(|claim| claim.by));
        }
        services
    }

    /// Brings the table up to date, and gives whether that took anything. `turn` is where new rotations start.
    pub(super) fn settle(&mut self, turn: u32) -> bool {
        self.before.clear();
        let is_new = !self.touched.is_empty();
        for key in std::mem::take(&mut self.touched) {
            let node = self.entries.get(&*key).and_then(|entry| entry.node(turn));
            if node.is_none() {
                self.entries.remove(&*key);
            }
            self.table.set(&key, node);
        }
        is_new
    }

    fn touch(&mut self, key: &Key) {
        self.touched.insert(key.clone());
        if !self.before.contains_key(&**key) {
            let holder = self.holder(key).map(|claim| (claim.by, claim.rank));
            self.before.insert(key.clone(), holder);
        }
    }

    fn exists_below(&mut self, key: &[u8]) {
        let mut key = key;
        while let Some(parent) = names::parent(key).filter(|_| self.tree) {
            let entry = self.entries.entry(parent.into()).or_default();
            let existed = entry.exists();
            entry.below += 1;
            if existed {
                return;
            }
            self.touched.insert(parent.into());
            key = parent;
        }
    }

    fn is_gone(&mut self, key: &[u8]) {
        let mut key = key;
        while let Some(parent) = names::parent(key).filter(|_| self.tree) {
            let Some(entry) = self.entries.get_mut(parent) else { return };
            entry.below = entry.below.saturating_sub(1);
            if entry.exists() {
                return;
            }
            self.touched.insert(parent.into());
            key = parent;
        }
    }
}
