//! `rateLimit` and `inFlightReq`: requests in a time, and at once.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use portolan_config::dynamic::middleware::{InFlightReq, RateLimit};
use portolan_config::dynamic::value::Span;

use super::answer::phrase;
use super::slots::{Buckets, Counts, Flow, Held};
use super::source::{Criterion, Strategy};
use super::{Draft, OwnAnswer};
use crate::deadline::{Moment, sleep_until};
use crate::http::Reason;

/// How long a token of a slow bucket is waited for; of a faster one, half the time between two.
const PATIENCE_MAX: Duration = Duration::from_millis(500);

/// Lets so many requests through in a time.
pub(crate) struct RateStep {
    criterion: Criterion,
    /// None where any number may come.
    flow: Option<Flow>,
    buckets: Arc<Buckets>,
}

impl RateStep {
    /// `before` is the step of the same name until now: its buckets are as empty as they were.
    pub(super) fn compile(written: &RateLimit, before: Option<&Self>) -> Result<Self, String> {
        let usual = Criterion::Address(Strategy::of(None)?);
        let flow = (written.average > 0).then(|| {
            let period = written.period.duration().as_nanos();
            let token = u64::try_from(period / u128::from(written.average)).unwrap_or(u64::MAX).max(1);
            let rate = 1_000_000_000 / token;
            let patience =
                if rate < 1 { PATIENCE_MAX } else { Duration::from_secs(1) / (rate as u32 * 2).max(2) };
            Flow { token, burst: written.burst.max(1), patience: patience.as_nanos() as u64 }
        });
        Ok(Self {
            criterion: Criterion::of(&written.source_criterion, usual)?,
            flow,
            buckets: before.map_or_else(|| Arc::new(Buckets::new()), |before| before.buckets.clone()),
        })
    }

    pub(super) async fn request(&self, draft: &Draft) -> Result<(), Box<OwnAnswer>> {
        let Some(flow) = self.flow else { return Ok(()) };
        let taken = self.buckets.take(&self.criterion.find(draft), flow, now());
        match taken.map(Duration::from_nanos) {
            Ok(Duration::ZERO) => Ok(()),
            Ok(wait) => {
                sleep_until(Moment::now() + wait).await;
                Ok(())
            }
            Err(wait) => Err(too_many(Duration::from_nanos(wait)).into()),
        }
    }
}

fn too_many(wait: Duration) -> OwnAnswer {
    let mut answer = OwnAnswer::new(429);
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    answer.head.fields.add("Retry-After", seconds.to_string().as_bytes());
    answer.head.fields.add("X-Retry-In", Span::of(wait).to_string().as_bytes());
    answer.body = phrase(429).into();
    answer.reason = Some(Reason::RateLimited);
    answer
}

/// Nanoseconds since the first request that was counted, and a second.
pub(super) fn now() -> u64 {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    EPOCH.elapsed().as_nanos() as u64 + 1_000_000_000
}

/// Lets so many requests through at once.
pub(crate) struct InFlightStep {
    criterion: Criterion,
    amount: u64,
    counts: Arc<Counts>,
}

impl InFlightStep {
    /// `before` is the step of the same name until now: those that are in flight still count.
    pub(super) fn compile(written: &InFlightReq, before: Option<&Self>) -> Result<Self, String> {
        Ok(Self {
            criterion: Criterion::of(&written.source_criterion, Criterion::Host)?,
            amount: written.amount,
            counts: before.map_or_else(|| Arc::new(Counts::new()), |before| before.counts.clone()),
        })
    }

    pub(super) fn request(&self, draft: &Draft) -> Result<Held, Box<OwnAnswer>> {
        self.counts.hold(&self.criterion.find(draft), self.amount).ok_or_else(|| {
            let mut answer = OwnAnswer::new(429);
            answer.body = format!("max connections reached: {}", self.amount).into();
            answer.reason = Some(Reason::InFlightLimit);
            answer.into()
        })
    }
}

impl fmt::Debug for RateStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RateStep {:?} {:?}", self.criterion, self.flow)
    }
}

impl fmt::Debug for InFlightStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InFlightStep {:?} {}", self.criterion, self.amount)
    }
}

#[cfg(test)]
mod tests {
    use portolan_config::dynamic::middleware::Middleware;

    use super::*;
    use crate::middleware::tests::written;

    fn flow(yaml: &str) -> Option<Flow> {
        let Middleware::RateLimit(written) = written(&format!("rateLimit: {yaml}")) else { panic!("{yaml}") };
        RateStep::compile(&written, None).expect("it can be done").flow
    }

    #[test]
    fn rates_are_as_written() {
        let millis = |token: u64, burst, patience: u64| {
            Some(Flow { token: token * 1_000_000, burst, patience: patience * 1_000_000 })
        };
        for (yaml, expected) in [
            ("{average: 0}", None),
            ("{average: 100, burst: 50}", millis(10, 50, 5)),
            ("{average: 1}", millis(1000, 1, 500)),
            ("{average: 6, period: 1m, burst: 0}", millis(10_000, 1, 500)),
            ("{average: 2, period: 1m}", millis(30_000, 1, 500)),
        ] {
            assert_eq!(flow(yaml), expected, "{yaml}");
        }
    }

    #[test]
    fn who_comes_too_often_is_told_when_to_come_again() {
        let answer = too_many(Duration::from_millis(1250));
        assert_eq!(answer.head.fields.text("Retry-After"), "2");
        assert_eq!(answer.head.fields.text("X-Retry-In"), "1.25s");
        assert_eq!(&answer.body[..], b"Too Many Requests");
    }
}
