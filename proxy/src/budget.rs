//! How many requests of an upstream may be sent again: a share of those that came. A server that fails under its load must
//! not be given several times of it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use portolan_config::dynamic::service::RetryBudget;
use tokio::time::Instant;

use crate::limits::{RETRY_BUDGET_FLOOR, RETRY_BUDGET_PERCENT, RETRY_BUDGET_WINDOW};

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Of a hundred requests.
    percent: usize,
    /// In any case, in the time of a window.
    floor: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { percent: RETRY_BUDGET_PERCENT, floor: RETRY_BUDGET_FLOOR }
    }
}

impl Allowance {
    /// As asked for, or as is usual.
    pub(crate) fn of(written: Option<RetryBudget>) -> Self {
        written.map_or_else(Self::default, |written| Self {
            percent: written.percent.into(),
            floor: written.min_retries as usize,
        })
    }
}

/// What is left to be sent again. Shared by all workers; asked only when something has failed.
#[derive(Debug)]
pub(crate) struct Budget {
    begun: Instant,
    /// When the window began, in milliseconds since the budget did.
    window: AtomicU64,
    /// How many turns were taken until then.
    turns: AtomicUsize,
    /// How many of the turns since were second ones.
    spent: AtomicUsize,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            window: AtomicU64::new(0),
            turns: AtomicUsize::new(0),
            spent: AtomicUsize::new(0),
        }
    }

    /// Takes one out, where there is one. `turns` is how often an endpoint was chosen so far, retries included.
    ///
    /// Workers that ask at once may each begin the window, or take the last one together: it is a few more or less.
    pub(crate) fn spend(&self, allowance: Allowance, turns: usize) -> bool {
        let now = self.begun.elapsed().as_millis() as u64;
        let window = self.window.load(Ordering::Relaxed);
        if Duration::from_millis(now.saturating_sub(window)) >= RETRY_BUDGET_WINDOW {
            self.window.store(now, Ordering::Relaxed);
            self.turns.store(turns, Ordering::Relaxed);
            self.spent.store(0, Ordering::Relaxed);
        }
        let spent = self.spent.load(Ordering::Relaxed);
        let requests = turns.wrapping_sub(self.turns.load(Ordering::Relaxed)).saturating_sub(spent);
        let allowed = allowance.floor.max(requests * allowance.percent / 100);
        let granted = spent < allowed;
        if granted {
            self.spent.fetch_add(1, Ordering::Relaxed);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `failures` in a row are granted, when `requests` came before.
    fn granted(budget: &Budget, turns: &mut usize, requests: usize, failures: usize) -> usize {
        granted_by(Allowance::default(), budget, turns, requests, failures)
    }

    fn granted_by(
        allowance: Allowance,
        budget: &Budget,
        turns: &mut usize,
        requests: usize,
        failures: usize,
    ) -> usize {
        *turns += requests;
        let mut granted = 0;
        for _ in 0..failures {
            if budget.spend(allowance, *turns) {
                *turns += 1;
                granted += 1;
            }
        }
        granted
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_of_the_requests_may_be_sent_again_and_a_few_in_any_case() {
        let (budget, mut turns) = (Budget::new(), 0);
        assert_eq!(granted(&budget, &mut turns, 1, 1000), RETRY_BUDGET_FLOOR);
        assert_eq!(granted(&budget, &mut turns, 10_000, 5_000), 2_000 - RETRY_BUDGET_FLOOR);
        tokio::time::advance(RETRY_BUDGET_WINDOW).await;
        assert_eq!(granted(&budget, &mut turns, 0, 1000), RETRY_BUDGET_FLOOR, "a new window");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_may_have_a_budget_of_its_own_or_none() {
        let written = RetryBudget { percent: 50, min_retries: 3 };
        for (written, expected) in [(written, 500), (RetryBudget { percent: 0, min_retries: 0 }, 0)] {
            let (budget, mut turns) = (Budget::new(), 0);
            let allowance = Allowance::of(Some(written));
            assert_eq!(
                granted_by(allowance, &budget, &mut turns, 1, 100),
                usize::from(expected > 0) * 3,
                "the first few are free"
            );
            assert_eq!(
                granted_by(allowance, &budget, &mut turns, 999, 1000) + 3 * usize::from(expected > 0),
                expected
            );
        }
        assert_eq!(Allowance::of(None), Allowance::default());
        assert_eq!(Allowance::of(Some(RetryBudget::default())), Allowance::default(), "as documented");
    }
}
