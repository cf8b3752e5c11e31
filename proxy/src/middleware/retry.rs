//! `retry`: when a request is sent once more, and how long is waited before.
//!
//! Whether it *may* be sent again (what was sent of it, what of its body is at hand) is for the exchange to know.

use std::time::Duration;

use portolan_config::dynamic::middleware as dynamic;
use portolan_config::dynamic::value::StatusRange;

/// The middleware, as compiled.
#[derive(Debug)]
pub(crate) struct Retry {
    /// How often it is sent in all; at least once.
    pub(crate) attempts: u32,
    /// Within which time, counted from the first; `None` is any.
    pub(crate) timeout: Option<Duration>,
    interval: Duration,
    /// Bytes of a body that is kept to be sent again.
    body_bytes_max: Option<u64>,
    status: Vec<StatusRange>,
    /// Whether a connection that failed is a reason.
    pub(crate) on_network_error: bool,
    any_method: bool,
}

impl Retry {
    /// Compiles the middleware.
    pub(crate) fn compile(written: &dynamic::Retry) -> Self {
        Self {
            attempts: written.attempts.max(1),
            timeout: written.timeout.positive(),
            interval: written.initial_interval.duration(),
            body_bytes_max: u64::try_from(written.max_request_body_bytes).ok(),
            status: written.status.clone(),
            on_network_error: !written.disable_retry_on_network_error,
            any_method: written.retry_non_idempotent_method,
        }
    }

    /// How large a body may be with which a request of this method is sent again after an answer; `None` is that no answer
    /// is a reason.
    pub(crate) fn body_to_keep(&self, method: &str) -> Option<u64> {
        let is_meant = self.attempts > 1
            && !self.status.is_empty()
            // As Traefik draws the line (RFC 9110 §9.2.2 leaves out CONNECT and extensions, too).
            && (self.any_method || !matches!(method, "POST" | "PATCH" | "LOCK"));
        is_meant.then(|| self.body_bytes_max.unwrap_or(u64::MAX))
    }

    /// Whether this answer is not good enough.
    pub(crate) fn is_refused(&self, status: u16) -> bool {
        self.status.iter().any(|range| range.contains(status))
    }

    /// How long is waited before the attempt after `attempt`, the first of which is 1: from one that follows at once to
    /// the next, the time grows, up to twice the first. `random`, of 0 to 1, makes it half as long up to half as long
    /// again, so that those who failed together do not come back together.
    pub(crate) fn pause(&self, attempt: u32, random: f64) -> Duration {
        if self.attempts < 2 || self.interval.is_zero() {
            return Duration::ZERO;
        }
        let steps = f64::from(attempt.saturating_sub(1)) / f64::from(self.attempts - 1);
        self.interval.mul_f64(2_f64.powf(steps.min(1.0)) * (0.5 + random.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use portolan_config::dynamic::value::Span;

    use super::*;

    fn compiled(change: impl FnOnce(&mut dynamic::Retry)) -> Retry {
        let mut written = dynamic::Retry { attempts: 4, ..dynamic::Retry::default() };
        change(&mut written);
        Retry::compile(&written)
    }

    #[test]
    fn pauses_grow_up_to_twice_the_first() {
        let retry = compiled(|written| written.initial_interval = Span::millis(100));
        let pauses: Vec<u128> = (1..=4).map(|attempt| retry.pause(attempt, 0.5).as_millis()).collect();
        assert_eq!(pauses, [100, 125, 158, 200]);
        assert_eq!(retry.pause(9, 0.5).as_millis(), 200);
        assert_eq!(retry.pause(1, 0.0).as_millis(), 50);
        assert_eq!(retry.pause(1, 1.0).as_millis(), 150);
        assert_eq!(compiled(|_| ()).pause(1, 0.5), Duration::ZERO);
    }

    #[test]
    fn an_answer_is_a_reason_only_where_that_is_written() {
        let by_status = |written: &mut dynamic::Retry| {
            written.status = vec![StatusRange::parse("500-599").unwrap(), StatusRange::parse("429").unwrap()];
        };
        let retry = compiled(by_status);
        assert!(retry.is_refused(503) && retry.is_refused(429) && !retry.is_refused(404));
        assert_eq!(retry.body_to_keep("GET"), Some(2 * 1024 * 1024));
        assert_eq!(retry.body_to_keep("PUT"), Some(2 * 1024 * 1024));
        assert_eq!(retry.body_to_keep("POST"), None);
        assert_eq!(compiled(|_| ()).body_to_keep("GET"), None);
        let any = compiled(|written| {
            by_status(written);
            written.retry_non_idempotent_method = true;
            written.max_request_body_bytes = -1;
        });
        assert_eq!(any.body_to_keep("POST"), Some(u64::MAX));
        let once = compiled(|written| {
            by_status(written);
            written.attempts = 1;
        });
        assert_eq!(once.body_to_keep("GET"), None);
    }
}
