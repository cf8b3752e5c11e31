//! What others answered, for as long as they let it be kept; and longer, for when they do not answer (RFC 8767).
//!
//! A fixed number of places, four to a row: whoever looks something up takes no lock and waits for nobody, and what is
//! kept is bounded by how it is made. It reads no clock: it is told the time, in seconds.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;

use super::reply::Reply;

/// Places in a row: what falls into one row competes for them.
const ROW: usize = 4;
/// How long an answer may be given after it has run out, where nobody gives a newer one (RFC 8767 §5 has 1 to 3 days).
const STALE_SECONDS: u32 = 86_400;
/// An answer in its last tenth that was asked for before is fetched again ahead of time.
const PREFETCH_PART: u32 = 10;

/// What was asked, as far as answers differ by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    /// In lower-case wire form, root included.
    pub(crate) name: Box<[u8]>,
    pub(crate) record_type: u16,
    /// DO: with signatures.
    pub(crate) dnssec_ok: bool,
    /// CD: whether they hold or not.
    pub(crate) checking_disabled: bool,
}

/// An answer, and since when it is kept.
#[derive(Debug)]
pub(crate) struct Entry {
    asked: Asked,
    pub(crate) reply: Reply,
    kept_since: u32,
    /// Times it was given.
    hits: AtomicU32,
    /// Somebody fetches it again.
    fetched_again: AtomicBool,
}

/// How an answer stands.
#[derive(Debug)]
pub(crate) enum Kept {
    /// It may be given; so many seconds old. `true`: and should be fetched again by whoever was told so.
    Fresh(Arc<Entry>, u32, bool),
    /// It has run out, and is better than none.
    Stale(Arc<Entry>),
    Nothing,
}

/// Answers by what was asked.
#[derive(Debug)]
pub(crate) struct Cache {
    places: Box<[ArcSwapOption<Entry>]>,
    hasher: RandomState,
    taken: AtomicUsize,
}

impl Cache {
    /// A cache of about so many answers.
    pub(crate) fn new(answers: usize) -> Self {
        let rows = answers.div_ceil(ROW).next_power_of_two();
        Self {
            places: (0..rows * ROW).map(|_| ArcSwapOption::empty()).collect(),
            hasher: RandomState::default(),
            taken: AtomicUsize::new(0),
        }
    }

    /// Answers kept, stale ones too.
    pub(crate) fn len(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn get(&self, asked: &Asked, now: u32) -> Kept {
        for place in self.row(asked) {
            let entry = place.load();
            let Some(entry) = entry.as_ref().filter(|entry| entry.asked == *asked) else { continue };
            return match entry.age(now) {
                age if age < entry.reply.ttl => {
                    let hits = entry.hits.fetch_add(1, Ordering::Relaxed);
                    let again = hits > 0
                        && (entry.reply.ttl - age) * PREFETCH_PART <= entry.reply.ttl
                        && !entry.fetched_again.swap(true, Ordering::Relaxed);
                    Kept::Fresh(Arc::clone(entry), age, again)
                }
                age if age < entry.reply.ttl.saturating_add(STALE_SECONDS) && !entry.reply.is_failure() => {
                    Kept::Stale(Arc::clone(entry))
                }
                _ => Kept::Nothing,
            };
        }
        Kept::Nothing
    }

    /// Keeps an answer, in place of an older one to the same question, else of whatever in its row is worth least; gives
    /// whether that gave way.
    pub(crate) fn put(&self, asked: Asked, reply: Reply, now: u32) -> (Arc<Entry>, bool) {
        let row = self.row(&asked);
        let same =
            row.iter().position(|place| place.load().as_ref().is_some_and(|entry| entry.asked == asked));
        let least = || {
            let left = |place: &ArcSwapOption<Entry>| {
                place.load().as_ref().map_or(i64::MIN, |entry| entry.seconds_left(now))
            };
            row.iter().enumerate().min_by_key(|(_, place)| left(place)).map_or(0, |(at, _)| at)
        };
        let entry = Arc::new(Entry {
            asked,
            reply,
            kept_since: now,
            hits: AtomicU32::new(0),
            fetched_again: AtomicBool::new(false),
        });
        let place = &row[same.unwrap_or_else(least)];
        let before = place.swap(Some(Arc::clone(&entry)));
        if before.is_none() {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        (entry, before.is_some() && same.is_none())
    }

    fn row(&self, asked: &Asked) -> &[ArcSwapOption<Entry>] {
        let rows = self.places.len() / ROW;
        let row = self.hasher.hash_one(asked) as usize & (rows - 1);
        &self.places[row * ROW..(row + 1) * ROW]
    }
}

impl Entry {
    fn age(&self, now: u32) -> u32 {
        now.saturating_sub(self.kept_since)
    }

    fn seconds_left(&self, now: u32) -> i64 {
        i64::from(self.reply.ttl) - i64::from(self.age(now))
    }

    /// Fetching it again came to nothing: somebody else may try.
    pub(crate) fn not_fetched(&self) {
        self.fetched_again.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(number: u32) -> Asked {
        let name = [&[4][..], &number.to_be_bytes(), &[0]].concat().into();
        Asked { name, record_type: 1, dnssec_ok: false, checking_disabled: false }
    }

    fn kept(cache: &Cache, number: u32, now: u32) -> String {
        match cache.get(&asked(number), now) {
            Kept::Fresh(_, age, again) => format!("fresh {age}{}", if again { " again" } else { "" }),
            Kept::Stale(_) => "stale".to_owned(),
            Kept::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn an_answer_ages_is_fetched_ahead_once_and_goes_stale() {
        let cache = Cache::new(100);
        cache.put(asked(1), Reply::for_test(100), 1000);
        for (now, expected) in [
            (1000, "fresh 0"),
            (1089, "fresh 89"),
            (1090, "fresh 90 again"),
            (1091, "fresh 91"),
            (1100, "stale"),
            (1100 + STALE_SECONDS, "nothing"),
            (900, "fresh 0"), // a clock that was set back
        ] {
            assert_eq!(kept(&cache, 1, now), expected, "{now}");
        }
        let other = Asked { dnssec_ok: true, ..asked(1) };
        assert!(matches!(cache.get(&other, 1000), Kept::Nothing));
    }

    #[test]
    fn it_never_keeps_more_than_it_was_made_for_and_gives_up_what_ends_first() {
        let cache = Cache::new(64);
        for number in 0..10_000 {
            cache.put(asked(number), Reply::for_test(10 + number), 0);
        }
        assert_eq!((cache.len(), cache.places.len()), (64, 64));
        assert_eq!(kept(&cache, 9_999, 0), "fresh 0");
        assert_eq!(kept(&cache, 0, 0), "nothing");
        cache.put(asked(9_999), Reply::for_test(1), 5);
        assert_eq!(cache.len(), 64);
        assert_eq!(kept(&cache, 9_999, 6), "stale");
    }
}
