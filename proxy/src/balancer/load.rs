//! How a target has been doing lately: what it has to do, and how soon it answers. One for each target, shared by all
//! workers, kept in the ledger for as long as the target is known.
//!
//! No lock: workers that write at once may lose each other's word, which the next one mends.

use std::sync::atomic::{
    AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::deadline::Moment;
use crate::limits::UNREACHED_PAUSE;
use crate::places::{Place, count_below};

/// Answers that a mean is made of, as in Traefik's `leasttime`.
const SAMPLES: usize = 100;

/// In what time a slow answer is forgotten by two thirds.
const DECAY: Duration = Duration::from_secs(10);

/// What a target that has not answered yet but has something to do is taken for.
const UNKNOWN_MICROS: f64 = 1e9;

/// How a target has been doing. On a line of the cache of its own: all workers write to it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Load {
    /// Requests and connections that it has to do with.
    running: AtomicU32,
    /// The peak-sensitive mean of the time to its answers, in microseconds, as the bits of an `f64`.
    ewma: AtomicU64,
    /// When that was brought up to date, in milliseconds.
    ewma_at: AtomicU64,
    /// When it was first thought of for work, in milliseconds; 0 before.
    warm_since: AtomicU64,
    /// Until when others are preferred, as it could not be reached, in milliseconds; 0 while it is.
    avoided_until: AtomicU64,
    /// The newest answers' times.
    samples: OnceLock<Box<Samples>>,
}

#[derive(Debug)]
struct Samples {
    micros: [AtomicU32; SAMPLES],
    sum: AtomicU64,
    taken: AtomicUsize,
}

impl Load {
    /// Requests and connections that it has to do with now.
    pub(crate) fn running(&self) -> u32 {
        self.running.load(Relaxed)
    }

    /// The mean of the time to its newest answers, in microseconds; 0 before the first.
    pub(crate) fn mean(&self) -> f64 {
        let Some(samples) = self.samples.get() else { return 0.0 };
        let count = samples.taken.load(Relaxed).min(SAMPLES);
        if count == 0 { 0.0 } else { samples.sum.load(Relaxed) as f64 / count as f64 }
    }

    /// What one more request costs there: how soon it answers, times what it has to do.
    pub(crate) fn cost(&self, now: Moment) -> f64 {
        let (ewma, running) = (self.decayed(now), f64::from(self.running()));
        if ewma == 0.0 && running > 0.0 { UNKNOWN_MICROS + running } else { ewma * (running + 1.0) }
    }

    /// The time to its answers as it is thought to be now: without news, what was slow may be so no longer.
    fn decayed(&self, now: Moment) -> f64 {
        let ewma = f64::from_bits(self.ewma.load(Relaxed));
        if ewma == 0.0 {
            return 0.0;
        }
        let age = now.millis().saturating_sub(self.ewma_at.load(Relaxed));
        ewma * (-(age as f64) / DECAY.as_millis() as f64).exp()
    }

    /// It answered, after so long.
    pub(crate) fn answered(&self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let samples = self.samples.get_or_init(|| {
            Box::new(Samples {
                micros: [const { AtomicU32::new(0) }; SAMPLES],
                sum: AtomicU64::new(0),
                taken: AtomicUsize::new(0),
            })
        });
        let place = samples.taken.fetch_add(1, Relaxed) % SAMPLES;
        let before = samples.micros[place].swap(micros, Relaxed);
        samples.sum.fetch_add(u64::from(micros).wrapping_sub(u64::from(before)), Relaxed);
        // At least one, which is not nothing.
        let (now, took) = (Moment::now(), f64::from(micros.max(1)));
        let before = self.decayed(now);
        let age = now.millis().saturating_sub(self.ewma_at.load(Relaxed)) as f64;
        let kept = (-age / DECAY.as_millis() as f64).exp();
        // A slow answer counts at once, a fast one little by little: better careful too long than not at all.
        let ewma = if took >= before { took } else { before * kept.min(0.9) + took * (1.0 - kept.min(0.9)) };
        self.ewma.store(ewma.to_bits(), Relaxed);
        self.ewma_at.store(now.millis(), Relaxed);
    }

    /// How much of its full share it gets, from 0 to 1, if one that is new gets all of it after `window` only.
    pub(crate) fn warmth(&self, now: Moment, window: Duration) -> f64 {
        // 0 stands for never.
        let now = now.millis().max(1);
        let since = match self.warm_since.compare_exchange(0, now, Relaxed, Relaxed) {
            Ok(_) => now,
            Err(since) => since,
        };
        (now.saturating_sub(since) as f64 / window.as_millis().max(1) as f64).min(1.0)
    }

    /// It could not be reached: nobody answers at its address.
    pub(crate) fn unreached(&self) {
        self.avoided_until.store((Moment::now() + UNREACHED_PAUSE).millis(), Relaxed);
    }

    /// It was reached.
    pub(crate) fn reached(&self) {
        if self.avoided_until.load(Relaxed) != 0 {
            self.avoided_until.store(0, Relaxed);
        }
    }

    /// Whether others are preferred.
    pub(crate) fn is_avoided(&self) -> bool {
        let until = self.avoided_until.load(Relaxed);
        until != 0 && Moment::now().millis() < until
    }

    /// It is given work: where nobody knows whether it can be reached again, one finds out, and the others wait for that.
    pub(crate) fn given(&self) {
        if self.avoided_until.load(Relaxed) != 0 {
            self.unreached();
        }
    }

    /// It may be given no work at present: when it may again, it is new.
    pub(crate) fn cool(&self) {
        self.warm_since.store(0, Relaxed);
    }
}

/// Something that a target has to do with, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Running {
    load: Arc<Load>,
    since: Instant,
    /// Its place in the service, where those are limited. Left after what it counts for the target: who is called then finds
    /// both free.
    place: Option<Place>,
}

impl Running {
    /// It begins.
    pub(crate) fn begin(load: Arc<Load>) -> Self {
        load.running.fetch_add(1, Relaxed);
        Self { load, since: Instant::now(), place: None }
    }

    /// The same, unless the target has as many as it may have.
    pub(crate) fn begin_within(load: &Arc<Load>, most: u32) -> Option<Self> {
        let begun = || Self { load: load.clone(), since: Instant::now(), place: None };
        count_below(&load.running, most).then(begun)
    }

    /// It has this place in the service.
    pub(crate) fn at(self, place: Place) -> Self {
        let mut placed = self;
        placed.place = Some(place);
        placed
    }

    /// The head of the answer came.
    pub(crate) fn answered(&self) {
        self.load.answered(self.since.elapsed());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.load.running.fetch_sub(1, SeqCst);
        drop(self.place.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_counted_for_as_long_as_it_runs() {
        let load = Arc::new(Load::default());
        let both = (Running::begin(load.clone()), Running::begin(load.clone()));
        assert_eq!(load.running(), 2);
        drop(both);
        assert_eq!(load.running(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_mean_is_of_the_newest_hundred() {
        let load = Load::default();
        assert!(load.mean() == 0.0);
        for _ in 0..SAMPLES {
            load.answered(Duration::from_millis(10));
        }
        for _ in 0..SAMPLES / 2 {
            load.answered(Duration::from_millis(20));
        }
        assert!((load.mean() - 15_000.0).abs() < 1.0, "{}", load.mean());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_counts_at_once_and_is_forgotten_slowly() {
        let load = Load::default();
        load.answered(Duration::from_millis(1));
        load.answered(Duration::from_millis(100));
        assert!((load.cost(Moment::now()) - 100_000.0).abs() < 1.0);
        load.answered(Duration::from_millis(1));
        assert!(load.cost(Moment::now()) > 80_000.0);
        tokio::time::advance(DECAY * 10).await;
        assert!(load.cost(Moment::now()) < 10.0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_not_answered_gets_one_request_and_not_all() {
        let load = Arc::new(Load::default());
        assert!(load.cost(Moment::now()) == 0.0);
        let _running = Running::begin(load.clone());
        assert!(load.cost(Moment::now()) > 1e6);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_not_reached_is_tried_by_one_at_a_time_until_it_is() {
        let load = Load::default();
        assert!(!load.is_avoided());
        load.unreached();
        assert!(load.is_avoided());
        tokio::time::advance(UNREACHED_PAUSE).await;
        assert!(!load.is_avoided());
        load.given();
        assert!(load.is_avoided(), "one finds out");
        load.reached();
        load.given();
        assert!(!load.is_avoided());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_new_warms_up() {
        let load = Load::default();
        let window = Duration::from_secs(10);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(load.warmth(Moment::now(), window) == 0.0);
        tokio::time::advance(window / 2).await;
        assert!((load.warmth(Moment::now(), window) - 0.5).abs() < 0.01);
        tokio::time::advance(window).await;
        assert!(load.warmth(Moment::now(), window) > 0.99);
        load.cool();
        assert!(load.warmth(Moment::now(), window) == 0.0);
    }
}
