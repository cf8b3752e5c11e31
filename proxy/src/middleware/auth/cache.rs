//! Passwords that were right: by a keyed hash, so that nothing in memory can be tried at leisure.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::{hmac, rand};

/// How many are remembered; then it begins anew.
const REMEMBERED_MAX: usize = 1024;

/// What was right.
pub(super) struct Cache {
    key: Option<hmac::Key>,
    right: ArcSwap<HashSet<[u8; 32]>>,
}

impl Cache {
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        // Without randomness, nothing is remembered.
        let key = rand::fill(&mut key).ok().map(|()| hmac::Key::new(hmac::HMAC_SHA256, &key));
        Self { key, right: ArcSwap::default() }
    }

    /// What stands for this password as that of this hash.
    pub(super) fn mark(&self, hash: &str, password: &[u8]) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        context.update(&(hash.len() as u64).to_be_bytes());
        context.update(hash.as_bytes());
        context.update(password);
        context.sign().as_ref().try_into().ok()
    }

    pub(super) fn has(&self, mark: &[u8; 32]) -> bool {
        self.right.load().contains(mark)
    }

    pub(super) fn remember(&self, mark: [u8; 32]) {
        let mut right = HashSet::clone(&self.right.load());
        if right.len() >= REMEMBERED_MAX {
            right.clear();
        }
        right.insert(mark);
        self.right.store(Arc::new(right));
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache of {}", self.right.load().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_right_is_known_for_its_hash_alone_and_within_bounds() {
        let cache = Cache::new();
        let mark = |hash, password: &str| cache.mark(hash, password.as_bytes()).expect("there is randomness");
        cache.remember(mark("hash", "right"));
        assert!(cache.has(&mark("hash", "right")));
        for (hash, password) in [("hash", "wrong"), ("other", "right"), ("hashr", "ight"), ("", "hashright")]
        {
            assert!(!cache.has(&mark(hash, password)), "{hash} {password}");
        }
        for index in 0..2 * REMEMBERED_MAX {
            cache.remember(mark("hash", &index.to_string()));
        }
        assert!(cache.right.load().len() <= REMEMBERED_MAX);
    }
}
