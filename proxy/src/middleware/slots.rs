//! Counts for many sources at once, shared by all workers without a lock.
//!
//! A source has a place by its hash, among a few. Memory is taken by the page, when a source first comes there. What has
//! no place left gives way or is let through: a flood of sources must not cost more than its requests.

use std::cell::Cell;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use foldhash::quality::RandomState;

const PAGES: usize = 256;
const PLACES: usize = 256;
/// Places that a source may have.
const TRIES: usize = 8;

type Pages<T> = Box<[OnceLock<Box<[T]>>]>;

/// Counts by source.
struct Slots<T> {
    pages: Pages<T>,
    hasher: RandomState,
}

impl<T: Default> Slots<T> {
    fn new() -> Self {
        let pages = (0..PAGES).map(|_| OnceLock::new()).collect();
        Self { pages, hasher: RandomState::default() }
    }

    /// What stands for a source, never 0; and the places that it may have.
    fn places(&self, source: &str) -> (u64, impl Iterator<Item = (usize, usize)> + use<T>) {
        let key = self.hasher.hash_one(source) | 1;
        let (page, first) = ((key >> 56) as usize % PAGES, (key >> 48) as usize);
        (key, (0..TRIES).map(move |nth| (page, (first + nth) % PLACES)))
    }

    fn at(&self, (page, place): (usize, usize)) -> &T {
        let page = self.pages[page].get_or_init(|| (0..PLACES).map(|_| T::default()).collect());
        &page[place]
    }
}

/// Token buckets, each as the moment at which it will be full again.
pub(super) struct Buckets {
    slots: Slots<Bucket>,
}

#[derive(Default)]
struct Bucket {
    key: AtomicU64,
    full_at: AtomicU64,
}

/// What a bucket takes, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// Until a token comes back.
    pub(super) token: u64,
    /// Tokens of a full bucket.
    pub(super) burst: u64,
    /// How long a token is waited for.
    pub(super) patience: u64,
}

impl Buckets {
    pub(super) fn new() -> Self {
        Self { slots: Slots::new() }
    }

    /// Takes a token of this source. Gives how long it has to be waited for, or how long it would have to be for a token
    /// that is not taken. `now` is in nanoseconds, and grows.
    pub(super) fn take(&self, source: &str, flow: Flow, now: u64) -> Result<u64, u64> {
        let bucket = self.bucket(source, now);
        let mut full_at = bucket.full_at.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(flow.token);
            let wait = next.saturating_sub(flow.token.saturating_mul(flow.burst)).saturating_sub(now);
            if wait > flow.patience {
                return Err(wait);
            }
            match bucket.full_at.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(wait),
                Err(newer) => full_at = newer,
            }
        }
    }

    /// The bucket of a source: its own, or one that is full, as an unknown one is. Where there is neither, the one that
    /// is full first gives way. In a race for it, two sources may share one for a moment: neither gets more by that.
    fn bucket(&self, source: &str, now: u64) -> &Bucket {
        let (key, places) = self.slots.places(source);
        let mut first: Option<&Bucket> = None;
        for place in places {
            let bucket = self.slots.at(place);
            let owner = bucket.key.load(Ordering::Relaxed);
            if owner == key {
                return bucket;
            }
            let full_at = bucket.full_at.load(Ordering::Relaxed);
            if full_at <= now
                && bucket.key.compare_exchange(owner, key, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            {
                return bucket;
            }
            if first.is_none_or(|first| full_at < first.full_at.load(Ordering::Relaxed)) {
                first = Some(bucket);
            }
        }
        let bucket = first.unwrap_or_else(|| self.slots.at((0, 0)));
        bucket.key.store(key, Ordering::Relaxed);
        bucket
    }
}

/// The highest number of each source that was ever used.
pub(super) struct Highest {
    slots: Slots<Mark>,
}

#[derive(Default)]
struct Mark {
    key: AtomicU64,
    highest: AtomicU64,
}

impl Highest {
    pub(super) fn new() -> Self {
        Self { slots: Slots::new() }
    }

    /// Whether a number is higher than all before; it is the highest then. Of sources without a place, one gives way.
    pub(super) fn raise(&self, source: &str, number: u64) -> bool {
        let (key, mut places) = self.slots.places(source);
        let first = places.next().unwrap_or_default();
        let owned = |place: &(usize, usize)| {
            let owner = &self.slots.at(*place).key;
            owner.load(Ordering::Relaxed) == key
                || owner.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        let place = std::iter::once(first).chain(places).find(owned);
        let mark = self.slots.at(place.unwrap_or(first));
        if place.is_none() {
            mark.key.store(key, Ordering::Relaxed);
            mark.highest.store(0, Ordering::Relaxed);
        }
        mark.highest.fetch_max(number, Ordering::Relaxed) < number
    }
}

impl std::fmt::Debug for Highest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Highest")
    }
}

/// How many of each source there are at present.
pub(super) struct Counts {
    slots: Slots<AtomicU64>,
}

/// The low bits of a place are the count, the others the source.
const COUNT_BITS: u32 = 24;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// One of those that are counted, until it is dropped.
pub(crate) struct Held {
    counts: Arc<Counts>,
    /// None where there was no place, or not any longer.
    place: Cell<Option<(usize, usize)>>,
}

impl Held {
    /// Counts it no longer.
    pub(crate) fn let_go(&self) {
        if let Some(place) = self.place.take() {
            self.counts.slots.at(place).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Counts {
    pub(super) fn new() -> Self {
        Self { slots: Slots::new() }
    }

    /// Counts one more of this source, if there are not that many already.
    pub(super) fn hold(self: &Arc<Self>, source: &str, most: u64) -> Option<Held> {
        let most = most.min(COUNT);
        let (key, places) = self.slots.places(source);
        let key = key & !COUNT;
        for place in places {
            let slot = self.slots.at(place);
            let mut now = slot.load(Ordering::Relaxed);
            // Its own, or nobody's: what counts nothing is free.
            while now & COUNT == 0 || now & !COUNT == key {
                let count = now & COUNT;
                if count >= most {
                    return None;
                }
                match slot.compare_exchange_weak(now, key | (count + 1), Ordering::Relaxed, Ordering::Relaxed)
                {
                    Ok(_) => return Some(Held { counts: self.clone(), place: Cell::new(Some(place)) }),
                    Err(newer) => now = newer,
                }
            }
        }
        Some(Held { counts: self.clone(), place: Cell::new(None) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let buckets = Buckets::new();
        let flow = Flow { token: SECOND / 10, burst: 3, patience: SECOND / 20 };
        let now = 5 * SECOND;
        for _ in 0..3 {
            assert_eq!(buckets.take("a", flow, now), Ok(0));
        }
        assert_eq!(buckets.take("a", flow, now), Err(SECOND / 10));
        assert_eq!(buckets.take("b", flow, now), Ok(0));
        // Close to the next token, it is waited for.
        assert_eq!(buckets.take("a", flow, now + SECOND / 20), Ok(SECOND / 20));
        assert_eq!(buckets.take("a", flow, now + SECOND / 10), Err(SECOND / 10));
        // Full again, it gives its burst and no more.
        for _ in 0..3 {
            assert_eq!(buckets.take("a", flow, now + 60 * SECOND), Ok(0));
        }
        assert!(buckets.take("a", flow, now + 60 * SECOND).is_err());
    }

    #[test]
    fn a_number_counts_once_and_none_below_it() {
        let highest = Highest::new();
        for (source, number, raised) in [
            ("a", 1, true),
            ("a", 1, false),
            ("a", 3, true),
            ("a", 2, false),
            ("b", 1, true),
            ("c", 0, false),
        ] {
            assert_eq!(highest.raise(source, number), raised, "{source} {number}");
        }
    }

    #[test]
    fn a_flood_of_sources_takes_no_more_than_there_is() {
        let buckets = Buckets::new();
        let flow = Flow { token: SECOND, burst: 1, patience: 0 };
        let fresh =
            (0..200_000).filter(|index| buckets.take(&index.to_string(), flow, SECOND).is_ok()).count();
        assert!((PAGES * PLACES / 2..=PAGES * PLACES).contains(&fresh), "{fresh}");
    }

    #[test]
    fn each_source_is_counted_for_itself_and_let_go_of() {
        let counts = Arc::new(Counts::new());
        let held: Vec<Held> = (0..3).filter_map(|_| counts.hold("a", 3)).collect();
        assert_eq!(held.len(), 3);
        assert!(counts.hold("a", 3).is_none() && counts.hold("b", 3).is_some());
        drop(held);
        assert!(counts.hold("a", 1).is_some());
        assert!(counts.hold("a", 0).is_none());
    }

    #[test]
    fn counts_are_right_whoever_counts_beside() {
        let counts = Arc::new(Counts::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for index in 0..20_000 {
                        let source = (index % 5).to_string();
                        drop((counts.hold(&source, 100), counts.hold("same", 100)));
                    }
                });
            }
        });
        for source in ["0", "1", "2", "3", "4", "same"] {
            assert!(counts.hold(source, 1).is_some(), "{source}");
        }
    }
}
