//! Counts of the last while, added to by all workers at once and without a lock.
//!
//! A part of the window that is used anew is emptied by whoever comes first; what another worker adds in that very
//! moment may be lost. That is one request of many, once a second.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Parts of the window, of a second each, as in Traefik.
const PARTS: usize = 10;
const PART_MILLIS: u64 = 1000;

/// How many there were within the last ten seconds.
#[derive(Debug, Default)]
pub(super) struct Window([Part; PARTS]);

#[derive(Debug, Default)]
struct Part {
    /// Which second since the clock began, plus one; 0 is none.
    second: AtomicU64,
    count: AtomicU64,
}

impl Window {
    /// One more, at `now` in milliseconds.
    pub(super) fn add(&self, now: u64) {
        let second = now / PART_MILLIS + 1;
        let part = &self.0[second as usize % PARTS];
        if part.second.swap(second, Relaxed) != second {
            part.count.store(0, Relaxed);
        }
        part.count.fetch_add(1, Relaxed);
    }

    pub(super) fn count(&self, now: u64) -> u64 {
        let second = now / PART_MILLIS + 1;
        let is_within = |part: &&Part| part.second.load(Relaxed) + PARTS as u64 > second;
        self.0.iter().filter(is_within).map(|part| part.count.load(Relaxed)).sum()
    }

    pub(super) fn reset(&self) {
        for part in &self.0 {
            part.second.store(0, Relaxed);
            part.count.store(0, Relaxed);
        }
    }
}

/// Steps within each power of two: the width of one is below 2 % of its value.
const STEPS_BITS: u32 = 6;
const STEPS: usize = 1 << STEPS_BITS;
/// Microseconds up to more than an hour.
const POWERS: usize = 27;
/// Histograms that take turns, and for how long one is added to: as in Traefik.
const TURNS: usize = 6;
const TURN_MILLIS: u64 = 10_000;

/// How long answers took within the last minute, by log-linear steps as an HDR histogram has them.
#[derive(Debug)]
pub(super) struct Histogram {
    turns: Vec<Turn>,
}

#[derive(Debug)]
struct Turn {
    number: AtomicU64,
    counts: Vec<AtomicU32>,
}

impl Default for Histogram {
    fn default() -> Self {
        let turn = || Turn {
            number: AtomicU64::new(0),
            counts: (0..STEPS * POWERS).map(|_| AtomicU32::new(0)).collect(),
        };
        Self { turns: (0..TURNS).map(|_| turn()).collect() }
    }
}

impl Histogram {
    pub(super) fn add(&self, now: u64, took: Duration) {
        let number = now / TURN_MILLIS + 1;
        let turn = &self.turns[number as usize % TURNS];
        if turn.number.swap(number, Relaxed) != number {
            turn.clear();
        }
        turn.counts[step_of(took)].fetch_add(1, Relaxed);
    }

    /// The time within which so many percent were answered; nothing without answers. What came in the histograms that
    /// are not added to any more counts until they are used anew, as in Traefik.
    pub(super) fn at_quantile(&self, percent: f64) -> Duration {
        let count = |step: usize| -> u64 {
            self.turns.iter().map(|turn| u64::from(turn.counts[step].load(Relaxed))).sum()
        };
        let total: u64 = (0..STEPS * POWERS).map(count).sum();
        if total == 0 {
            return Duration::ZERO;
        }
        // Never negative: both are not.
        #[allow(clippy::cast_sign_loss)]
        let wanted = ((percent / 100.0 * total as f64 + 0.5) as u64).max(1);
        let mut seen = 0;
        for step in 0..STEPS * POWERS {
            seen += count(step);
            if seen >= wanted {
                return end_of(step);
            }
        }
        end_of(STEPS * POWERS - 1)
    }

    pub(super) fn reset(&self) {
        self.turns.iter().for_each(Turn::clear);
    }
}

impl Turn {
    fn clear(&self) {
        for count in &self.counts {
            count.store(0, Relaxed);
        }
    }
}

/// The first power of two holds one step for each microsecond; each further one doubles their width.
fn step_of(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let power = (64 - (micros >> STEPS_BITS).leading_zeros()) as usize;
    if power >= POWERS {
        return STEPS * POWERS - 1;
    }
    let within = match power {
        0 => micros,
        power => (micros >> (power - 1)) - STEPS as u64,
    };
    power * STEPS + within as usize
}

/// The longest time that counts for this step.
fn end_of(step: usize) -> Duration {
    let (power, within) = (step / STEPS, (step % STEPS) as u64);
    Duration::from_micros(match power {
        0 => within,
        power => ((within + STEPS as u64 + 1) << (power - 1)) - 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_forgets_after_ten_seconds() {
        let window = Window::default();
        for now in [100_000, 100_001, 104_000] {
            window.add(now);
        }
        assert_eq!(window.count(104_000), 3);
        assert_eq!(window.count(109_999), 3);
        assert_eq!(window.count(110_000), 1);
        assert_eq!(window.count(114_000), 0);
        // A part of it is used anew.
        window.add(110_500);
        assert_eq!(window.count(110_500), 2);
        window.reset();
        assert_eq!(window.count(110_500), 0);
    }

    #[test]
    fn every_time_is_found_within_two_percent() {
        let mut last = 0;
        for micros in (0..200).chain((1..1000).map(|each| each * each * 3000)) {
            let took = Duration::from_micros(micros);
            let step = step_of(took);
            assert!(step >= last, "{micros}");
            last = step;
            let end = end_of(step);
            assert!(end >= took && end.as_micros() as f64 <= micros as f64 * 1.02 + 1.0, "{micros}: {end:?}");
        }
        assert_eq!(step_of(Duration::MAX), STEPS * POWERS - 1);
    }

    #[test]
    fn quantiles_are_of_what_was_added() {
        let histogram = Histogram::default();
        assert_eq!(histogram.at_quantile(50.0), Duration::ZERO);
        for millis in 1..=100 {
            histogram.add(50_000, Duration::from_millis(millis));
        }
        for (percent, millis) in [(0.0, 1), (50.0, 50), (99.0, 99), (100.0, 100)] {
            let found = histogram.at_quantile(percent).as_secs_f64() * 1000.0;
            assert!(
                (found - f64::from(millis)).abs() <= f64::from(millis) * 0.02 + 0.1,
                "{percent}: {found}"
            );
        }
        // A minute later its turn is used anew.
        histogram.add(110_000, Duration::from_secs(1));
        assert!(histogram.at_quantile(50.0) > Duration::from_millis(900));
        histogram.reset();
        assert_eq!(histogram.at_quantile(50.0), Duration::ZERO);
    }
}
