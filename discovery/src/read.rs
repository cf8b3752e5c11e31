//! Labels that were read. Replicas have the same ones, which are read once and kept once, for as long as anybody has them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

use portolan_config::Labels;

/// So many are kept before it is looked which of them nobody has any more.
const SWEPT_FROM: usize = 64;

/// Labels by what is written, of which two hashes are kept that nobody can foretell.
#[derive(Debug, Default)]
pub(crate) struct ReadLabels {
    known: HashMap<[u64; 2], Weak<Labels>>,
    hashers: [RandomState; 2],
    sweep_at: usize,
}

impl ReadLabels {
    /// What these labels say.
    pub(crate) fn read(&mut self, written: &BTreeMap<String, String>) -> Arc<Labels> {
        let key = [0, 1].map(|index: usize| self.hashers[index].hash_one(written));
        if let Some(known) = self.known.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        if self.known.len() >= self.sweep_at.max(SWEPT_FROM) {
            self.known.retain(|_, labels| labels.strong_count() > 0);
            self.sweep_at = self.known.len() * 2;
        }
        let labels = Arc::new(Labels::decode(written));
        self.known.insert(key, Arc::downgrade(&labels));
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(service: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("portolan.service".to_owned(), service.to_owned())])
    }

    #[test]
    fn the_same_labels_are_read_once_and_forgotten_with_the_last_who_has_them() {
        let mut read = ReadLabels::default();
        let (one, same, other) =
            (read.read(&written("a")), read.read(&written("a")), read.read(&written("b")));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        assert_eq!((one.service.as_deref(), other.service.as_deref()), (Some("a"), Some("b")));
        for number in 0..SWEPT_FROM * 10 {
            read.read(&written(&number.to_string()));
        }
        assert!(read.known.len() <= SWEPT_FROM + 2, "{} are kept", read.known.len());
        assert!(Arc::ptr_eq(&one, &read.read(&written("a"))), "somebody has it still");
    }
}
