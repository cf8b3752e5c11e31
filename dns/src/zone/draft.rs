//! A zone while it is being drawn up: names are claimed in order of precedence, and what loses is left out.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use portolan_config::Fault;

use crate::key::Key;
use crate::names::{self, MAX_NAME, NameError};
use crate::records::{Addresses, Node};

/// Names claimed so far, and what could not be.
pub(super) struct Draft {
    pub(super) nodes: HashMap<Key, Node>,
    pub(super) faults: Vec<Fault>,
    /// The bytes a key may have, so that with the zone it is still a name.
    room: usize,
}

impl Draft {
    /// An empty draft of a zone whose name is `origin` bytes long, to hold about `names` names.
    pub(super) fn new(origin: usize, names: usize) -> Self {
        Self {
            nodes: HashMap::with_capacity(names),
            faults: Vec::new(),
            room: MAX_NAME.saturating_sub(origin),
        }
    }

    pub(super) fn key(&self, name: &str) -> Result<Key, NameError> {
        names::key(name, self.room)
    }

    pub(super) fn below(&self, labels: &[u8], parent: &[u8]) -> Result<Key, NameError> {
        names::below(labels, parent, self.room)
    }

    /// Gives the name to whoever asks first. `false` when it is taken.
    pub(super) fn claim(&mut self, key: Key, addresses: &Arc<Addresses>) -> bool {
        match self.nodes.entry(key) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(Node { addresses: Some(Arc::clone(addresses)), services: None });
                true
            }
        }
    }

    pub(super) fn fault(&mut self, origin: String, key: impl Into<String>, message: String) {
        self.faults.push(Fault::new(origin, key, message));
    }

    /// Every name above a name exists, even if it has nothing itself (RFC 8020 §2, RFC 4592 §2.2.2). Last of all, for a
    /// name that exists only so can still be claimed.
    pub(super) fn add_empty_non_terminals(&mut self) {
        let mut missing: Vec<Key> = Vec::new();
        for key in self.nodes.keys() {
            let mut name: &[u8] = key;
            while let Some(parent) = names::parent(name) {
                if self.nodes.contains_key(parent) {
                    break; // it sees to those above it
                }
                missing.push(parent.into());
                name = parent;
            }
        }
        for key in missing {
            self.nodes.entry(key).or_default();
        }
    }
}
