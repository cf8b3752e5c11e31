//! Who asks for which name, and who gets it: kept from one zone to the next, so that a change costs what changed.
//!
//! It knows precedence. It must not know why anybody asks for a name.

use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use portolan_discovery::{Endpoint, Service};

use super::key_below;
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

/// Whoever asks for names: a service as it was in one snapshot, or one who is no service.
#[derive(Debug)]
pub(super) struct Asker {
    /// Its number.
    pub(super) by: u32,
    pub(super) service: Option<Arc<Service>>,
}

/// A name asked for.
///
/// There is one for nearly every name of a zone, so what can be had from the service is looked up there, and not kept.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) rank: Rank,
    /// Which of the service's endpoints it is made for; the eldest one, where it is made for all.
    pub(super) at: u32,
    pub(super) asker: Arc<Asker>,
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

impl Asker {
    /// One who is no service.
    pub(super) fn nobody(by: u32) -> Arc<Self> {
        Arc::new(Self { by, service: None })
    }

    fn endpoint(&self, at: u32) -> Option<&Endpoint> {
        self.service.as_ref()?.endpoints.get(at as usize).map(|endpoint| &**endpoint)
    }
}

impl Claim {
    /// The number of the service that it is made for.
    pub(super) fn by(&self) -> u32 {
        self.asker.by
    }

    /// Of two of one rank the elder gets a name; services without any instance are the youngest. What is equally old is
    /// told apart by names.
    fn order(&self, other: &Self) -> Ordering {
        let age = |claim: &Self| {
            let created = claim.asker.endpoint(claim.at).map(|endpoint| endpoint.instance.created);
            (created.is_none(), created)
        };
        self.rank
            .cmp(&other.rank)
            .then_with(|| age(self).cmp(&age(other)))
            .then_with(|| self.names().cmp(&other.names()))
            .then(self.by().cmp(&other.by()))
    }

    fn names(&self) -> (&str, &str) {
        let endpoint = self.asker.endpoint(self.at);
        let service = self.asker.service.as_ref();
        (endpoint.map_or("", |endpoint| &endpoint.instance.name), service.map_or("", |service| &service.name))
    }
}

/// The claims on one name, the most entitled first. Nearly always there is one, and it needs no memory of its own.
#[derive(Debug, Default)]
enum Claims {
    #[default]
    None,
    One(Claim),
    Many(Vec<Claim>),
}

impl Claims {
    fn as_slice(&self) -> &[Claim] {
        match self {
            Self::None => &[],
            Self::One(claim) => std::slice::from_ref(claim),
            Self::Many(claims) => claims,
        }
    }

    fn insert(&mut self, claim: Claim) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(claim),
            Self::One(other) if other.order(&claim).is_le() => Self::Many(vec![other, claim]),
            Self::One(other) => Self::Many(vec![claim, other]),
            Self::Many(mut claims) => {
                let at = claims.partition_point(|other| other.order(&claim).is_le());
                claims.insert(at, claim);
                Self::Many(claims)
            }
        };
    }

    fn retain(&mut self, keep: impl Fn(&Claim) -> bool) {
        *self = match std::mem::take(self) {
            Self::One(claim) if keep(&claim) => Self::One(claim),
            Self::Many(mut claims) => {
                claims.retain(keep);
                match claims.len() {
                    0 => Self::None,
                    1 => claims.pop().map_or(Self::None, Self::One),
                    _ => Self::Many(claims),
                }
            }
            Self::None | Self::One(_) => Self::None,
        };
    }
}

#[derive(Debug, Default)]
struct Entry {
    claims: Claims,
    /// Names right below that exist.
    below: u32,
}

impl Entry {
    fn holder(&self) -> Option<&Claim> {
        self.claims.as_slice().iter().find(|claim| matches!(claim.what, What::Node(_)))
    }

    fn exists(&self) -> bool {
        !self.claims.as_slice().is_empty() || self.below > 0
    }

    /// What the name has; `None` where it does not exist.
    fn node(&self, turn: u32, nothing: &Arc<Node>) -> Option<Arc<Node>> {
        if !self.exists() {
            return None;
        }
        let beside = self.claims.as_slice().iter().filter_map(|claim| match &claim.what {
            What::Beside(set) => Some(set),
            What::Node(_) => None,
        });
        let held = self.held(turn).unwrap_or_else(|| Arc::clone(nothing));
        if beside.clone().next().is_none() {
            return Some(held);
        }
        let mut sets: Vec<Arc<RrSet>> = Vec::new();
        for set in beside.chain(held.sets.iter()) {
            if !sets.iter().any(|other| other.kind() == set.kind()) {
                sets.push(Arc::clone(set));
            }
        }
        Some(Arc::new(Node { sets: sets.into_iter().collect(), about: held.about.clone() }))
    }

    fn held(&self, turn: u32) -> Option<Arc<Node>> {
        let holder = self.holder()?;
        let What::Node(node) = &holder.what else { return None };
        if holder.rank != Rank::Alias {
            return Some(Arc::clone(node));
        }
        let all = self.claims.as_slice().iter().filter_map(|claim| match &claim.what {
            What::Node(node) if claim.rank == Rank::Alias => Some(&**node),
            _ => None,
        });
        let all: Vec<&Node> = all.collect();
        if all.len() == 1 {
            return Some(Arc::clone(node));
        }
        let endpoints = all.iter().flat_map(|node| match &node.about {
            About::Alias(endpoints) => endpoints.to_vec(),
            About::Container(endpoint) => vec![Arc::clone(endpoint)],
            _ => Vec::new(),
        });
        let about = About::Alias(Arc::new(endpoints.collect()));
        Some(Arc::new(Node::merged(&all, about, turn)))
    }
}

/// Where a name that exists makes those above it exist (RFC 8020 §2, RFC 4592 §2.2.2).
#[derive(Debug, Default)]
enum Scope {
    /// Nowhere: each name stands alone.
    #[default]
    Alone,
    /// Everywhere.
    Tree,
    /// Below these names, whole and in lower-case wire form.
    Zones(Box<[Box<[u8]>]>),
}

impl Scope {
    /// The name right above, where it exists because of this one.
    fn above<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let above = names::parent(key)?;
        let is_within = match self {
            Self::Alone => false,
            Self::Tree => true,
            Self::Zones(zones) => {
                zones.iter().any(|zone| key_below(above, zone).is_some_and(|rest| !rest.is_empty()))
            }
        };
        is_within.then_some(above)
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
    scope: Scope,
    /// What a name has that exists because of those below it only.
    nothing: Arc<Node>,
    pub(super) table: Table,
}

impl Book {
    /// A book of names that lie below one another, down from the zone's apex.
    pub(super) fn tree() -> Self {
        Self { scope: Scope::Tree, ..Self::default() }
    }

    /// A book of names that stand alone, but for those below these zones.
    pub(super) fn with_zones(zones: &[Box<[u8]>]) -> Self {
        Self { scope: Scope::Zones(zones.into()), ..Self::default() }
    }

    pub(super) fn claim(&mut self, key: &Key, claim: Claim) {
        self.touch(key);
        let entry = self.entries.entry(key.clone()).or_default();
        let is_new = !entry.exists();
        entry.claims.insert(claim);
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
        entry.claims.retain(|claim| claim.by() != by || !ranks.contains(&claim.rank));
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
            let now = entry.and_then(Entry::holder).map(|claim| (claim.by(), claim.rank));
            if before == now {
                continue;
            }
            let claims = entry.map_or(&[][..], |entry| entry.claims.as_slice());
            services.extend(claims.iter().filter(|claim| claim.rank < Rank::Alias).map(Claim::by));
        }
        services
    }

    /// Brings the table up to date, and gives whether that took anything. `turn` is where new rotations start.
    pub(super) fn settle(&mut self, turn: u32) -> bool {
        // What a first snapshot needed here, no change does.
        self.before = HashMap::default();
        let is_new = !self.touched.is_empty();
        for key in std::mem::take(&mut self.touched) {
            let node = self.entries.get(&*key).and_then(|entry| entry.node(turn, &self.nothing));
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
            let holder = self.holder(key).map(|claim| (claim.by(), claim.rank));
            self.before.insert(key.clone(), holder);
        }
    }

    fn exists_below(&mut self, key: &[u8]) {
        let mut key = key;
        while let Some(parent) = self.scope.above(key) {
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
        while let Some(parent) = self.scope.above(key) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_one_asks_for_takes_little() {
        assert_eq!(size_of::<Claim>(), 32);
        assert_eq!(size_of::<(Key, Entry)>(), 72);
    }
}
