//! How far a connection is trusted: by what it let be finished.
//!
//! A client that asks and takes its question back before it is answered costs an endpoint a request and itself next to
//! nothing (rapid reset, CVE-2023-44487; MadeYouReset, CVE-2025-8671). So each request taken back must have been earned
//! with one that was answered. Who waited in earnest is not meant, nor who got an answer and stopped reading it.

use std::time::Duration;

use crate::limits::{HTTP2_CREDIT_MAX, HTTP2_PATIENCE};

/// What a connection earned.
#[derive(Debug, Default)]
pub(super) struct Trust {
    credit: u32,
}

impl Trust {
    /// A request was answered.
    pub(super) fn completed(&mut self) {
        self.credit = (self.credit + 1).min(HTTP2_CREDIT_MAX);
    }

    /// A request was taken back before it was answered, this long after it came. Gives whether the connection may go
    /// on.
    #[must_use]
    pub(super) fn taken_back(&mut self, waited: Duration) -> bool {
        if waited >= HTTP2_PATIENCE {
            return true;
        }
        let may_go_on = self.credit > 0;
        self.credit = self.credit.saturating_sub(1);
        may_go_on
    }

    /// Whether so many requests that are begun and not finished may be at endpoints.
    pub(super) fn allows_unfinished(&self, count: u32) -> bool {
        count <= self.credit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::from_millis(5);

    #[test]
    fn what_is_taken_back_must_have_been_earned() {
        let mut trust = Trust::default();
        assert!(!trust.taken_back(AT_ONCE));
        trust.completed();
        trust.completed();
        assert!(trust.taken_back(AT_ONCE));
        assert!(trust.taken_back(AT_ONCE));
        assert!(!trust.taken_back(AT_ONCE));
    }

    #[test]
    fn who_waited_in_earnest_may_give_up() {
        let mut trust = Trust::default();
        for _ in 0..1000 {
            assert!(trust.taken_back(HTTP2_PATIENCE));
        }
    }

    #[test]
    fn a_long_life_does_not_buy_a_flood() {
        let mut trust = Trust::default();
        for _ in 0..1_000_000 {
            trust.completed();
        }
        let taken_back = (0..1000).filter(|_| trust.taken_back(AT_ONCE)).count();
        assert_eq!(taken_back as u32, HTTP2_CREDIT_MAX);
    }
}
