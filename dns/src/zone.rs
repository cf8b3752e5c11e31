//! The zone: every name there is, and what it has. Immutable; a new one takes its place with every snapshot.
//!
//! It knows names and record sets. It must not know the wire format of messages, nor where queries come from.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::HashMap;
use portolan_config::settings::Dns;

use crate::key::Key;
use crate::names::reverse_address;
use crate::records::{Addresses, Host, Node};

mod compile;
mod draft;

pub use compile::compile;

/// The zone that is answered from at present: a query loads it once.
pub type SharedZone = Arc<ArcSwap<Zone>>;

/// The name server's name under the zone, as SOA and NS give it.
pub(crate) const NAME_SERVER: &[u8] = b"\x02ns";
/// The mailbox of whoever runs the zone (RFC 2142 §7), under the zone.
pub(crate) const HOSTMASTER: &[u8] = b"\x0ahostmaster";

/// A shared zone that gives SERVFAIL until the first complete one is stored in it.
pub fn shared(settings: &Dns) -> SharedZone {
    Arc::new(ArcSwap::from_pointee(Zone::not_synced(settings)))
}

/// Everything that can be answered, at one moment.
#[derive(Debug)]
pub struct Zone {
    /// The zone's name in lower-case wire form, root included.
    origin: Box<[u8]>,
    /// Seconds that any answer may be kept, negative ones too.
    ttl: u32,
    serial: u32,
    /// Whether absence means anything yet.
    synced: bool,
    names: HashMap<Key, Node>,
    reverse: HashMap<IpAddr, Vec<Arc<Host>>>,
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
    /// A name in the zone.
    Node(&'z Node),
    /// The reverse name of an address that these have.
    Reverse(&'z [Arc<Host>]),
}

impl Zone {
    /// The zone before the first complete snapshot: every name in it gives SERVFAIL.
    pub fn not_synced(settings: &Dns) -> Self {
        Self {
            origin: origin(settings),
            ttl: u32::try_from(settings.ttl.as_secs()).unwrap_or(u32::MAX),
            serial: 0,
            synced: false,
            names: HashMap::default(),
            reverse: HashMap::default(),
        }
    }

    /// How many names there are, those that exist only because of a name below them included.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no name but the apex.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether it was compiled from a complete snapshot.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The SOA's serial: the snapshot's generation, modulo 2³².
    pub fn serial(&self) -> u32 {
        self.serial
    }

    pub(crate) fn ttl(&self) -> u32 {
        self.ttl
    }

    pub(crate) fn origin(&self) -> &[u8] {
        &self.origin
    }

    pub(crate) fn name_server(&self) -> Option<&Addresses> {
        self.names.get(NAME_SERVER)?.addresses.as_deref()
    }

    /// Looks up a whole name in lower-case wire form, and says where in it the zone's name begins, if it ends with that.
    pub(crate) fn find(&self, name: &[u8]) -> (Found<'_>, Option<usize>) {
        let Some(suffix) = self.suffix(name) else { return (self.find_reverse(name), None) };
        let found = if !self.synced {
            Found::NotSynced
        } else if suffix == 0 {
            Found::Apex
        } else {
            self.names.get(&name[..suffix]).map_or(Found::Missing, Found::Node)
        };
        (found, Some(suffix))
    }

    /// Reverse names are ours for the addresses we know, each by itself; the rest belongs to others. Before the first
    /// complete snapshot any might be ours.
    fn find_reverse(&self, name: &[u8]) -> Found<'_> {
        match reverse_address(name) {
            Some(_) if !self.synced => Found::NotSynced,
            Some(address) => self.reverse.get(&address).map_or(Found::Outside, |hosts| Found::Reverse(hosts)),
            None => Found::Outside,
        }
    }

    fn suffix(&self, name: &[u8]) -> Option<usize> {
        let suffix = name.len().checked_sub(self.origin.len())?;
        if name[suffix..] != *self.origin {
            return None;
        }
        // The bytes agree; a label must begin there too: `xportolan.internal` is none of ours.
        let mut at = 0;
        while at < suffix {
            at += 1 + usize::from(name[at]);
        }
        (at == suffix).then_some(suffix)
    }
}

fn origin(settings: &Dns) -> Box<[u8]> {
    let mut wire = Vec::with_capacity(settings.zone.len() + 2);
    // The settings were checked: labels of 1 to 63 bytes, 200 in all.
    for label in settings.zone.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    wire.push(0);
    wire.into()
}
