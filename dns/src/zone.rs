//! The zone: every name there is, and what it has. Immutable; a new one takes its place with every snapshot.
//!
//! It knows names and record sets. It must not know the wire format of messages, nor where queries come from.

use std::collections::BTreeSet;
use std::sync::Arc;

use portolan_config::settings::Dns;

use crate::key::Key;
use crate::names;
use crate::records::Node;

mod book;
mod compile;
mod member;
mod router_hosts;
mod table;
mod versions;

pub use compile::{Compiler, compile};
use table::Table;
pub use versions::{SharedZone, Versions};

/// The name server's name under the zone, as SOA and NS give it.
pub(crate) const NAME_SERVER: &[u8] = b"\x02ns";
/// The mailbox of whoever runs the zone (RFC 2142 §7), under the zone.
pub(crate) const HOSTMASTER: &[u8] = b"\x0ahostmaster";

/// A shared zone that gives SERVFAIL until the first complete one is stored in it.
pub fn shared(settings: &Dns) -> SharedZone {
    Arc::new(Versions::new(settings))
}

/// What is the same for every zone of one server.
#[derive(Debug)]
pub(crate) struct Apex {
    /// The zone's name as it is written.
    zone: String,
    /// The zones' names in lower-case wire form, root included: all have the same names. The first one's are those that
    /// records point to.
    origins: Box<[Box<[u8]>]>,
    /// Zones of reverse names, in the same form.
    reverse: Box<[Box<[u8]>]>,
    /// What a name has that exists because of those below it only.
    nothing: Arc<Node>,
    /// Seconds that any answer may be kept, negative ones too.
    ttl: u32,
}

/// Everything that can be answered, at one moment.
#[derive(Clone, Debug)]
pub struct Zone {
    apex: Arc<Apex>,
    serial: u32,
    /// Whether absence means anything yet.
    synced: bool,
    /// Names under the zone, without it.
    names: Table,
    /// Names outside it that we answer for one by one, whole but for the root: reverse names.
    elsewhere: Table,
    /// Whether there is a wildcard under the zone, and elsewhere.
    wildcards: [bool; 2],
}

/// A name, looked up.
#[derive(Debug)]
pub(crate) struct Lookup<'z> {
    pub(crate) found: Found<'z>,
    /// Where in the name the zone's begins, if it ends with that.
    pub(crate) suffix: Option<usize>,
    /// That zone, or the first one.
    pub(crate) origin: &'z [u8],
    /// Where in the name a zone of reverse names begins, if it ends with one.
    pub(crate) reverse: Option<usize>,
}

/// What a name is to the zone.
#[derive(Debug)]
pub(crate) enum Found<'z> {
    /// Not ours to say.
    Outside,
    /// Ours, but we don't know yet.
    NotSynced,
    /// Ours, and it does not exist.
    Missing,
    /// The zone's own name.
    Apex,
    /// The name of a zone of reverse names.
    Reverse,
    /// A name in the zone.
    Node(&'z Arc<Node>),
    /// A name elsewhere, which is a zone of its own.
    Alone(&'z Arc<Node>),
}

impl Apex {
    fn new(settings: &Dns) -> Self {
        Self {
            zone: settings.zone.clone(),
            origins: [&settings.zone]
                .into_iter()
                .chain(&settings.options.more_zones)
                .map(|zone| origin(zone))
                .collect(),
            reverse: settings.options.reverse_zones.iter().map(names::reverse_zone).collect(),
            nothing: Arc::default(),
            ttl: u32::try_from(settings.ttl.as_secs()).unwrap_or(u32::MAX),
        }
    }

    /// The first zone's name.
    fn origin(&self) -> &[u8] {
        &self.origins[0]
    }
}

impl Zone {
    /// The zone before the first complete snapshot: every name in it gives SERVFAIL.
    pub fn not_synced(settings: &Dns) -> Self {
        Self::empty(Arc::new(Apex::new(settings)))
    }

    fn empty(apex: Arc<Apex>) -> Self {
        let (names, elsewhere) = (Table::default(), Table::default());
        Self { apex, serial: 0, synced: false, names, elsewhere, wildcards: [false; 2] }
    }

    /// How many names there are, those that exist only because of a name below them included.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no name but the apex.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it was compiled from a complete snapshot.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The SOA's serial: it grows with every snapshot that changes a name, modulo 2³².
    pub fn serial(&self) -> u32 {
        self.serial
    }

    pub(crate) fn ttl(&self) -> u32 {
        self.apex.ttl
    }

    /// The first zone's name, which records point to.
    pub(crate) fn origin(&self) -> &[u8] {
        self.apex.origin()
    }

    /// The same as it is written, without a final dot.
    pub(crate) fn zone_name(&self) -> &str {
        &self.apex.zone
    }

    /// What the operator wrote down for the zone's own name.
    pub(crate) fn apex(&self) -> Option<&Arc<Node>> {
        self.names.get(&[])
    }

    /// The zone of ours that is called so, in lower-case wire form.
    pub(crate) fn origin_called(&self, name: &[u8]) -> Option<&[u8]> {
        self.apex.origins.iter().map(|origin| &**origin).find(|origin| *origin == name)
    }

    /// Every name under the zone with what it has, in no order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Key, &Arc<Node>)> {
        self.names.iter()
    }

    /// What a name under the zone has.
    pub(crate) fn node(&self, key: &[u8]) -> Option<&Arc<Node>> {
        self.names.get(key)
    }

    /// The names under the zone that may have something else in the other one.
    pub(crate) fn differing(&self, other: &Self) -> BTreeSet<Key> {
        self.names.differing(&other.names).cloned().collect()
    }

    /// Every name under the zone with what it has, in no order: what two compiles of one snapshot must agree on.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&crate::key::Key, &Arc<Node>)> {
        self.names.iter().chain(self.elsewhere.iter())
    }

    /// What a name elsewhere has: its key is the whole name without the root.
    pub(crate) fn alone(&self, key: &[u8]) -> Option<&Arc<Node>> {
        self.elsewhere.get(key)
    }

    /// The zone of reverse names that is called so, in lower-case wire form.
    pub(crate) fn reverse_called(&self, name: &[u8]) -> Option<&[u8]> {
        self.apex.reverse.iter().map(|zone| &**zone).find(|zone| *zone == name)
    }

    /// Every name elsewhere that is below a zone, by its key there, with what it has.
    pub(crate) fn nodes_below<'z>(
        &'z self,
        zone: &'z [u8],
    ) -> impl Iterator<Item = (&'z [u8], &'z Arc<Node>)> {
        self.elsewhere.iter().filter_map(|(key, node)| Some((key_below(key, zone)?, node)))
    }

    /// The names elsewhere, whole but for the root, that may have something else in the other one and are below a zone.
    pub(crate) fn differing_below(&self, other: &Self, zone: &[u8]) -> BTreeSet<Key> {
        let differing = self.elsewhere.differing(&other.elsewhere);
        differing.filter(|key| key_below(key, zone).is_some()).cloned().collect()
    }

    pub(crate) fn name_server(&self) -> Option<&Arc<Node>> {
        self.names.get(NAME_SERVER)
    }

    /// Looks up a whole name in lower-case wire form.
    pub(crate) fn find(&self, name: &[u8]) -> Lookup<'_> {
        let mut origins = self.apex.origins.iter();
        let Some((suffix, origin)) = origins.find_map(|origin| Some((suffix(name, origin)?, &**origin)))
        else {
            let reverse = self.apex.reverse.iter().find_map(|zone| suffix(name, zone));
            let found = match self.find_elsewhere(name) {
                Found::Outside => reverse.map_or(Found::Outside, |at| self.find_reverse(at)),
                found => found,
            };
            return Lookup { found, suffix: None, origin: self.origin(), reverse };
        };
        let found = if !self.synced {
            Found::NotSynced
        } else if suffix == 0 {
            Found::Apex
        } else {
            let key = &name[..suffix];
            let node = self.names.get(key).or_else(|| self.wildcard(key));
            node.map_or(Found::Missing, Found::Node)
        };
        Lookup { found, suffix: Some(suffix), origin, reverse: None }
    }

    /// The wildcard right below the closest name above that exists (RFC 4592 §3.3.1).
    fn wildcard(&self, key: &[u8]) -> Option<&Arc<Node>> {
        if !self.wildcards[0] {
            return None;
        }
        let mut above = names::parent(key).unwrap_or_default();
        while !above.is_empty() && self.names.get(above).is_none() {
            above = names::parent(above).unwrap_or_default();
        }
        self.names.get(&Key::join(b"\x01*", above))
    }

    /// Names elsewhere are ours each by itself; the rest belongs to others. Before the first complete snapshot the
    /// reverse name of any address might be ours.
    fn find_elsewhere(&self, name: &[u8]) -> Found<'_> {
        if !self.synced && names::reverse_address(name).is_some() {
            return Found::NotSynced;
        }
        let key = &name[..name.len().saturating_sub(1)];
        let node = self.elsewhere.get(key).or_else(|| self.wildcard_elsewhere(key));
        node.map_or(Found::Outside, Found::Alone)
    }

    /// A name in a zone of reverse names, which begins there in it, that is no address's and has none below it.
    fn find_reverse(&self, at: usize) -> Found<'_> {
        match at {
            _ if !self.synced => Found::NotSynced,
            0 => Found::Reverse,
            _ => Found::Missing,
        }
    }

    /// The nearest wildcard above: what else there is between is not ours to know.
    fn wildcard_elsewhere(&self, key: &[u8]) -> Option<&Arc<Node>> {
        if !self.wildcards[1] {
            return None;
        }
        std::iter::successors(names::parent(key), |above| names::parent(above))
            .find_map(|above| self.elsewhere.get(&Key::join(b"\x01*", above)))
    }
}

/// What stands before a zone's name in a name without the root, if it ends with that.
pub(crate) fn key_below<'k>(key: &'k [u8], zone: &[u8]) -> Option<&'k [u8]> {
    suffix(key, zone.strip_suffix(&[0])?).map(|at| &key[..at])
}

/// Where in a name a zone's begins, if it ends with that.
fn suffix(name: &[u8], origin: &[u8]) -> Option<usize> {
    let suffix = name.len().checked_sub(origin.len())?;
    if name[suffix..] != *origin {
        return None;
    }
    // The bytes agree; a label must begin there too: `xportolan.internal` is none of ours.
    let mut at = 0;
    while at < suffix {
        at += 1 + usize::from(name[at]);
    }
    (at == suffix).then_some(suffix)
}

/// The wire form of a domain that was checked: labels of 1 to 63 bytes, 200 in all.
pub(crate) fn origin(zone: &str) -> Box<[u8]> {
    let mut wire = Vec::with_capacity(zone.len() + 2);
    for label in zone.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    wire.push(0);
    wire.into()
}
