//! Judges endpoints by what they answer to requests: counted by the workers, without a lock; what follows of it is for the
//! control plane to say (`health/eject.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use portolan_config::dynamic::service::PassiveHealthCheck;
use tokio::sync::mpsc;

use super::Subject;
use crate::deadline::Moment;
use crate::limits::OUTLIER_REQUESTS_MIN;

/// What is counted of a target. One for each, kept in the ledger.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// When the window began, in milliseconds; 0 before the first failure.
    window: AtomicU64,
    /// Failures in the window without an answer that was none.
    in_a_row: AtomicU32,
    failures: AtomicU32,
    answers: AtomicU32,
    /// Whether it was told of, and nothing has been decided since.
    told: AtomicBool,
}

impl Tally {
    /// It begins anew.
    pub(super) fn clear(&self) {
        for count in [&self.in_a_row, &self.failures, &self.answers] {
            count.store(0, Relaxed);
        }
        self.window.store(0, Relaxed);
        self.told.store(false, Relaxed);
    }
}

/// A target that had too many failures.
#[derive(Debug)]
pub(crate) struct Outlier {
    pub(super) subject: Subject,
    pub(super) name: String,
    pub(super) reason: String,
    pub(super) policy: PassiveHealthCheck,
    pub(super) tally: Arc<Tally>,
}

/// Where outliers are told.
pub(crate) type Tell = mpsc::UnboundedSender<Outlier>;

/// A target that is judged by its answers.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) subject: Subject,
    pub(crate) name: String,
    pub(crate) policy: PassiveHealthCheck,
    pub(crate) tally: Arc<Tally>,
    pub(crate) tell: Option<Tell>,
}

impl Judge {
    /// It answered with this status: 500 and above is a failure, as Traefik has it.
    pub(crate) fn answered(&self, status: u16) {
        if status >= 500 {
            return self.failed(&status.to_string());
        }
        self.begin_window();
        self.tally.answers.fetch_add(1, Relaxed);
        self.tally.in_a_row.store(0, Relaxed);
    }

    /// It did not answer, or with a failure.
    pub(crate) fn failed(&self, what: &str) {
        self.begin_window();
        let tally = &self.tally;
        let in_a_row = tally.in_a_row.fetch_add(1, Relaxed) + 1;
        let failures = tally.failures.fetch_add(1, Relaxed) + 1;
        let answers = tally.answers.fetch_add(1, Relaxed) + 1;
        let window = self.policy.failure_window;
        let reason = if in_a_row >= self.policy.max_failed_attempts.max(1) {
            format!("{in_a_row} failures in a row within {window}, at last {what}")
        } else if self.policy.error_percent > 0
            && answers >= OUTLIER_REQUESTS_MIN
            && u64::from(failures) * 100 >= u64::from(self.policy.error_percent) * u64::from(answers)
        {
            format!("{failures} of {answers} requests failed within {window}, at last {what}")
        } else {
            return;
        };
        // Told once; it is for the control plane to say when that is over.
        if let Some(tell) = &self.tell
            && !tally.told.swap(true, Relaxed)
        {
            let _ = tell.send(Outlier {
                subject: self.subject.clone(),
                name: self.name.clone(),
                reason,
                policy: self.policy,
                tally: tally.clone(),
            });
        }
    }

    /// Workers that begin it at once may count one or two less.
    fn begin_window(&self) {
        let now = Moment::now().millis().max(1);
        let began = self.tally.window.load(Relaxed);
        let over = Duration::from_millis(now.saturating_sub(began)) >= self.policy.failure_window.duration();
        if began == 0 || over {
            for count in [&self.tally.in_a_row, &self.tally.failures, &self.tally.answers] {
                count.store(0, Relaxed);
            }
            self.tally.window.store(now, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_config::dynamic::value::Span;
    use portolan_discovery::{EndpointKey, InstanceId, ProviderName};

    use super::*;

    fn judge(policy: PassiveHealthCheck) -> (Judge, mpsc::UnboundedReceiver<Outlier>) {
        let (tell, told) = mpsc::unbounded_channel();
        let endpoint = EndpointKey {
            provider: ProviderName::new("test"),
            instance: InstanceId::new("a"),
            attachment: "a".into(),
        };
        let subject = Subject { service: "s@test".into(), endpoint, port: 80 };
        let tally = Arc::default();
        (Judge { subject, name: "a".to_owned(), policy, tally, tell: Some(tell) }, told)
    }

    fn in_a_row(max_failed_attempts: u32) -> PassiveHealthCheck {
        PassiveHealthCheck { max_failed_attempts, ..PassiveHealthCheck::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_failures_in_a_row_are_told_once() {
        let (judge, mut told) = judge(in_a_row(3));
        for status in [500, 503, 200, 404, 502, 500] {
            judge.answered(status);
        }
        assert!(told.try_recv().is_err(), "two in a row");
        judge.failed("connection refused");
        judge.answered(500);
        let outlier = told.try_recv().expect("it is told");
        assert_eq!(outlier.reason, "3 failures in a row within 10s, at last connection refused");
        assert!(told.try_recv().is_err(), "once");
        outlier.tally.clear();
        for _ in 0..3 {
            judge.answered(500);
        }
        assert!(told.try_recv().is_ok(), "and again");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_another_time_do_not_count() {
        let (judge, mut told) = judge(in_a_row(2));
        judge.answered(500);
        tokio::time::advance(Duration::from_secs(11)).await;
        judge.answered(500);
        assert!(told.try_recv().is_err());
        judge.answered(500);
        assert!(told.try_recv().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_of_failures_counts_where_there_are_enough_requests() {
        let policy =
            PassiveHealthCheck { error_percent: 50, failure_window: Span::secs(60), ..in_a_row(100) };
        let (judge, mut told) = judge(policy);
        for _ in 0..OUTLIER_REQUESTS_MIN / 2 - 1 {
            judge.answered(200);
            judge.answered(500);
        }
        assert!(told.try_recv().is_err(), "too few");
        judge.answered(500);
        judge.answered(500);
        assert!(told.try_recv().expect("it is told").reason.contains("requests failed within 1m0s"));
    }
}
