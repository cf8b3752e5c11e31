//! `circuitBreaker`: stops asking who fails, and asks again little by little.
//!
//! ```text
//!            the condition holds             fallbackDuration is over
//! Standby ──────────────────────▶ Tripped ─────────────────────────▶ Recovering
//!    ▲                               ▲   the condition holds again        │
//!    │                               └────────────────────────────────────┤
//!    └─────────────────────── recoveryDuration is over ────────────────────┘
//! ```
//!
//! One for all workers, and without a lock: what they count are atomics, and where two of them act at once it matters
//! little who is first. Sans-I/O: the time is an argument.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use portolan_config::dynamic::middleware as dynamic;
use portolan_config::dynamic::value::Span;

mod condition;
mod rolling;

use self::condition::Gauges;
use super::expression::Condition;

/// A breaker: what it goes by, and how it stands.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    condition: Condition<condition::Function>,
    check_period: u64,
    fallback: u64,
    recovery: u64,
    /// The answer while it is open.
    pub(crate) response_code: u16,
    gauges: Gauges,
    state: AtomicU8,
    /// Until when the state lasts, in milliseconds of the clock that the caller reads.
    until: AtomicU64,
    /// When the condition is to be looked at again.
    next_check: AtomicU64,
    /// What was let through and what was not, since it recovers.
    allowed: AtomicU64,
    denied: AtomicU64,
}

const STANDBY: u8 = 0;
const TRIPPED: u8 = 1;
const RECOVERING: u8 = 2;

impl CircuitBreaker {
    /// Compiles a breaker, closed.
    pub(crate) fn compile(written: &dynamic::CircuitBreaker) -> Result<Self, String> {
        let condition =
            condition::parse(&written.expression).map_err(|why| format!("`expression`: {why}"))?;
        if !(100..1000).contains(&written.response_code) {
            return Err(format!("`responseCode`: {} is not a status code", written.response_code));
        }
        let default = dynamic::CircuitBreaker::default();
        let span = |written: Span, default: Span| millis(written.positive().unwrap_or(default.duration()));
        Ok(Self {
            gauges: Gauges::of(&condition),
            condition,
            check_period: span(written.check_period, default.check_period),
            fallback: span(written.fallback_duration, default.fallback_duration),
            recovery: span(written.recovery_duration, default.recovery_duration),
            response_code: written.response_code,
            state: AtomicU8::new(STANDBY),
            until: AtomicU64::new(0),
            next_check: AtomicU64::new(0),
            allowed: AtomicU64::new(0),
            denied: AtomicU64::new(0),
        })
    }

    /// Whether it is open, or opens little by little.
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Relaxed) != STANDBY
    }

    /// Whether a request may go on, at `now` in milliseconds.
    pub(crate) fn admits(&self, now: u64) -> bool {
        let mut state = self.state.load(Relaxed);
        if state == STANDBY {
            return true;
        }
        let until = self.until.load(Relaxed);
        if state == TRIPPED {
            if now < until {
                return false;
            }
            if self.turn(TRIPPED, RECOVERING, now + self.recovery) {
                self.allowed.store(0, Relaxed);
                self.denied.store(0, Relaxed);
            }
            state = RECOVERING;
        } else if now >= until {
            self.turn(RECOVERING, STANDBY, 0);
            return true;
        }
        debug_assert_eq!(state, RECOVERING);
        self.is_next_one(now)
    }

    /// While it recovers, up to half of what comes goes through, a little more with every moment.
    fn is_next_one(&self, now: u64) -> bool {
        let begun = self.until.load(Relaxed).saturating_sub(self.recovery);
        let target = 0.5 * now.saturating_sub(begun) as f64 / self.recovery as f64;
        let allowed = self.allowed.load(Relaxed) + 1;
        let ratio = allowed as f64 / (allowed + self.denied.load(Relaxed)) as f64;
        let is_allowed = ratio < target;
        if is_allowed { &self.allowed } else { &self.denied }.fetch_add(1, Relaxed);
        is_allowed
    }

    /// Takes note of an answer. Gives whether the breaker opened by it.
    pub(crate) fn record(&self, now: u64, status: u16, took: Duration) -> bool {
        self.gauges.record(now, status, took);
        let due = self.next_check.load(Relaxed);
        let next = now + self.check_period;
        if now < due || self.next_check.compare_exchange(due, next, Relaxed, Relaxed).is_err() {
            return false;
        }
        let state = self.state.load(Relaxed);
        if state == TRIPPED || !self.condition.holds(&|function| self.gauges.give(function, now)) {
            return false;
        }
        let opened = self.turn(state, TRIPPED, now + self.fallback);
        if opened {
            self.gauges.reset();
        }
        opened
    }

    /// Goes from one state to another, unless somebody else was there first.
    fn turn(&self, from: u8, to: u8, until: u64) -> bool {
        let first = self.state.compare_exchange(from, to, Relaxed, Relaxed).is_ok();
        if first {
            self.until.store(until, Relaxed);
        }
        first
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(expression: &str) -> CircuitBreaker {
        let written = dynamic::CircuitBreaker {
            expression: expression.to_owned(),
            ..dynamic::CircuitBreaker::default()
        };
        CircuitBreaker::compile(&written).unwrap()
    }

    /// Beyond the first window, so that it begins as any other moment.
    const START: u64 = 1_000_000;

    #[test]
    fn a_breaker_opens_and_closes_again() {
        let breaker = breaker("NetworkErrorRatio() > 0.5");
        let took = Duration::from_millis(1);
        assert!(!breaker.record(START, 200, took), "a good one");
        assert!(!breaker.record(START + 10, 502, took), "half of them, and not looked at before its time");
        assert!(breaker.record(START + 100, 504, took), "two of three");
        assert!(!breaker.admits(START + 101));
        assert!(!breaker.admits(START + 10_099));
        // It recovers: nothing goes through at first, half of it in the end.
        let let_through = |from: u64, to: u64| (from..to).filter(|now| breaker.admits(*now)).count();
        let begun = START + 10_100;
        assert_eq!(let_through(begun, begun + 10), 0);
        let early = let_through(begun + 1000, begun + 2000);
        let late = let_through(begun + 9000, begun + 9999);
        assert!((20..150).contains(&early), "{early}");
        assert!(late > early * 3 && late < 999, "{early}, then {late}");
        assert!(breaker.admits(begun + 10_000));
        assert_eq!(let_through(begun + 10_001, begun + 11_001), 1000, "closed again");
    }

    #[test]
    fn a_breaker_that_recovers_opens_again() {
        let breaker = breaker("ResponseCodeRatio(500, 600, 0, 600) > 0.3");
        let took = Duration::ZERO;
        assert!(breaker.record(START, 500, took));
        assert!(!breaker.record(START + 500, 500, took), "open already");
        let begun = START + 10_000;
        assert!(!breaker.admits(begun));
        assert!(breaker.record(begun + 5000, 503, took), "it still fails");
        assert!(!breaker.admits(begun + 5001));
        assert!(!breaker.admits(begun + 14_999), "for the whole time again");
    }

    #[test]
    fn what_failed_long_ago_does_not_count() {
        let breaker = breaker("NetworkErrorRatio() > 0.5");
        breaker.record(START, 200, Duration::ZERO);
        for late in 1..10 {
            breaker.record(START + late, 502, Duration::ZERO);
        }
        // Eleven seconds later there is one good answer and nothing else.
        assert!(!breaker.record(START + 11_000, 200, Duration::ZERO));
    }

    #[test]
    fn conditions_that_can_not_be_read_are_said() {
        for (expression, expected) in [
            ("NetworkErrorRatio()", "comparison"),
            ("NetworkErrorRatio(1) > 1", "takes no values"),
            ("Latency() > 1", "there is no `Latency`"),
            ("LatencyAtQuantileMS() > 1", "one value"),
            ("LatencyAtQuantileMS(101) > 1", "0 to 100"),
            ("ResponseCodeRatio(500, 600) > 1", "four values"),
        ] {
            let written = dynamic::CircuitBreaker {
                expression: expression.to_owned(),
                ..dynamic::CircuitBreaker::default()
            };
            let message = CircuitBreaker::compile(&written).unwrap_err();
            assert!(message.starts_with("`expression`: ") && message.contains(expected), "{message}");
        }
    }
}
