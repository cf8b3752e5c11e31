//! A table of names that is never changed once it is in place, and cheap to have changed: the next one shares with it all
//! but the few shards in which a name came, went or got other records.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::HashMap;
use foldhash::fast::FixedState;

use crate::key::Key;
use crate::records::Node;

/// Shards, a power of two. At a hundred thousand names a change copies a few hundred entries, not all of them.
const SHARDS: usize = 512;

type Shard = HashMap<Key, Arc<Node>>;

/// Names and what they have. A clone shares everything.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    shards: Box<[Arc<Shard>]>,
    names: usize,
}

impl Default for Table {
    fn default() -> Self {
        let empty = Arc::new(Shard::default());
        Self { shards: (0..SHARDS).map(|_| Arc::clone(&empty)).collect(), names: 0 }
    }
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.names
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<Node>> {
        if self.names == 0 {
            return None;
        }
        self.shards[shard(key)].get(key)
    }

    /// Every name of either table in the shards that they do not share.
    pub(super) fn differing<'t>(&'t self, other: &'t Self) -> impl Iterator<Item = &'t Key> {
        let pairs = self.shards.iter().zip(&other.shards).filter(|(one, other)| !Arc::ptr_eq(one, other));
        pairs.flat_map(|(one, other)| one.keys().chain(other.keys()))
    }

    /// Every name, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Node>)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// Gives a name its node, or takes it out. A shard that others still look at is copied first.
    pub(super) fn set(&mut self, key: &Key, node: Option<Arc<Node>>) {
        let shard = Arc::make_mut(&mut self.shards[shard(key)]);
        let (before, now) = match node {
            Some(node) => (shard.insert(key.clone(), node).is_some(), true),
            None => (shard.remove(&**key).is_some(), false),
        };
        self.names = self.names + usize::from(now) - usize::from(before);
    }
}

/// Which shard: by a hash of its own, as the table within uses the bits of another.
fn shard(key: &[u8]) -> usize {
    FixedState::with_seed(0x5eed).hash_one(key) as usize >> 7 & (SHARDS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_in_place_stays_as_it_is() {
        let mut table = Table::default();
        let key = |n: u32| Key::from(&n.to_be_bytes()[..]);
        for n in 0..2000 {
            table.set(&key(n), Some(Arc::default()));
        }
        let in_place = table.clone();
        table.set(&key(7), None);
        table.set(&key(7), None);
        table.set(&key(5000), Some(Arc::default()));
        assert_eq!((in_place.len(), table.len()), (2000, 2000));
        assert!(in_place.get(&key(7)).is_some() && in_place.get(&key(5000)).is_none());
        assert!(table.get(&key(7)).is_none() && table.get(&key(5000)).is_some());
        let copied =
            in_place.shards.iter().zip(&table.shards).filter(|(old, new)| !Arc::ptr_eq(old, new)).count();
        assert_eq!(copied, 2, "all else is shared");
        let fullest = in_place.shards.iter().map(|shard| shard.len()).max();
        assert!(fullest < Some(24), "{fullest:?} of 2000 names in one of {SHARDS} shards");
    }
}
