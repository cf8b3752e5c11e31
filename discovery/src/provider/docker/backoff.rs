//! How long to wait before asking again: 50 ms at first, 2 s at most, never in step with others.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(2);

/// The waits between attempts. They double, and each is shortened at random by up to half, so that many Portolans
/// that lost one engine don't come back as one.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    random: u64,
}

impl Backoff {
    /// Starts small, its randomness from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { next: FIRST, random: seed | 1 }
    }

    /// Starts small, its randomness from the process.
    pub(super) fn from_entropy() -> Self {
        Self::new(RandomState::new().hash_one(0_u8))
    }

    /// How long to wait this time.
    pub(super) fn wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(MOST);
        full / 2 + (full / 2).mul_f64(self.fraction())
    }

    /// The last attempt succeeded.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    fn fraction(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_limit_and_start_over_after_success() {
        let mut backoff = Backoff::new(7);
        let mut full = FIRST;
        for _ in 0..20 {
            let wait = backoff.wait();
            assert!(full / 2 <= wait && wait <= full, "{wait:?} of {full:?}");
            full = (full * 2).min(MOST);
        }
        assert_eq!(full, MOST);
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}
