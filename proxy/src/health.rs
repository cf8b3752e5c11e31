//! Asks endpoints whether they serve, and tells the registry what it found: on the control plane's thread, never on a
//! worker's.
//!
//! ```text
//! Arc<Snapshot> ──▶ Checker ──▶ one task a target: ask, judge, wait ──Judgement──▶ registry ──▶ the next snapshot
//! ```
//!
//! What is known of a target belongs to its endpoint, one life of one instance, and outlives every table. A verdict comes
//! back with the next snapshot, so that traffic, names and whoever looks see the same.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use portolan_discovery::{Change, EndpointKey, Judgement, ProviderName, Snapshot, Update, Verdict};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;

use crate::limits::CHECKS_AT_ONCE;
use crate::metrics::Metrics;
use crate::tls::Front;

mod ask;
mod eject;
mod http1;
mod http2;
pub(crate) mod outlier;
mod probe;
mod rhythm;

use eject::Ejections;
use outlier::Outlier;
use probe::{Probe, probes, sizes};
use rhythm::Rhythm;

/// Who checks, where a provider's name would stand.
const NAME: &str = "health";

/// What is looked at: a port of an endpoint, for a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subject {
    /// The service's qualified name.
    pub(crate) service: Arc<str>,
    pub(crate) endpoint: EndpointKey,
    pub(crate) port: u16,
}

/// Somebody who looks at it.
struct Watch {
    probe: Probe,
    verdict: Option<Verdict>,
    task: AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All checks there are.
pub struct Checker {
    tls: Arc<ArcSwap<Front>>,
    metrics: Metrics,
    watches: HashMap<Subject, Watch>,
    /// So many ask at once; the others wait.
    room: Arc<Semaphore>,
    found: (mpsc::Sender<Found>, mpsc::Receiver<Found>),
    /// Endpoints whose answers were failures, as workers tell.
    outliers: mpsc::UnboundedReceiver<Outlier>,
    ejections: Ejections,
    /// How many endpoints each service has that run.
    sizes: HashMap<Arc<str>, usize>,
}

/// What a check found, if that is not what it found before.
struct Found {
    subject: Subject,
    verdict: Verdict,
}

impl Checker {
    pub(crate) fn new(
        tls: Arc<ArcSwap<Front>>,
        metrics: Metrics,
        outliers: mpsc::UnboundedReceiver<Outlier>,
    ) -> Self {
        Self {
            tls,
            metrics,
            watches: HashMap::new(),
            room: Arc::new(Semaphore::new(CHECKS_AT_ONCE)),
            found: mpsc::channel(CHECKS_AT_ONCE),
            outliers,
            ejections: Ejections::default(),
            sizes: HashMap::new(),
        }
    }

    /// Checks what the snapshots ask to be checked, and tells, until either end is gone.
    pub async fn follow(
        mut self,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        updates: mpsc::Sender<Update>,
    ) {
        loop {
            let back = self.ejections.next();
            let told = tokio::select! {
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let snapshot = snapshots.borrow_and_update().clone();
                    self.look_at(&snapshot)
                }
                Some(found) = self.found.1.recv() => self.take(found).into_iter().collect(),
                Some(outlier) = self.outliers.recv() => self.eject(outlier).into_iter().collect(),
                () = until(back) => self.readmit(),
            };
            for judgement in told {
                let update = Update {
                    provider: ProviderName::new(NAME),
                    observed_at: std::time::Instant::now(),
                    change: Change::Judged(judgement),
                };
                if updates.send(update).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Begins and ends checks. Gives what is to be told of that.
    fn look_at(&mut self, snapshot: &Snapshot) -> Vec<Judgement> {
        let mut told = Vec::new();
        self.sizes = sizes(snapshot);
        let mut wanted = probes(snapshot);
        self.watches.retain(|subject, watch| {
            // One whose probe is another goes on with what is known, and asks anew.
            let goes_on = wanted.contains_key(subject);
            if !goes_on {
                watch.task.abort();
                self.metrics.forget_checked(&subject.service, &watch.probe.name);
                told.push(subject.judged(None));
            }
            goes_on
        });
        for (subject, probe) in wanted.drain() {
            let known = self.watches.get(&subject);
            if known.is_some_and(|watch| watch.probe == probe) {
                continue;
            }
            let mut verdict = known.and_then(|watch| watch.verdict.clone());
            if verdict.is_none() && !probe.starts_up {
                verdict = Some(Verdict::Unknown);
                told.push(subject.judged(Some(Verdict::Unknown)));
            }
            let rhythm = Rhythm::new(&probe.pace, verdict.as_ref());
            let watching = watch(
                subject.clone(),
                probe.clone(),
                rhythm,
                self.tls.clone(),
                self.room.clone(),
                self.found.0.clone(),
            );
            let task = tokio::spawn(watching).abort_handle();
            self.metrics.checked(&subject.service, &probe.name, !matches!(verdict, Some(Verdict::Unknown)));
            self.watches.insert(subject, Watch { probe, verdict, task });
        }
        told
    }

    /// Takes an endpoint out of service for its answers.
    fn eject(&mut self, outlier: Outlier) -> Option<Judgement> {
        let (subject, name, reason) = (outlier.subject.clone(), outlier.name.clone(), outlier.reason.clone());
        let count = self.sizes.get(&subject.service).copied().unwrap_or_default();
        match self.ejections.eject(outlier, count, tokio::time::Instant::now()) {
            Ok(lasts) => {
                tracing::warn!(service = %subject.service, endpoint = name, reason, ?lasts, "is out of service");
                Some(subject.ejected(Some(Verdict::Down(reason))))
            }
            Err(why) => {
                tracing::warn!(service = %subject.service, endpoint = name, reason, why, "stays in service");
                None
            }
        }
    }

    /// Takes those in again whose time is over.
    fn readmit(&mut self) -> Vec<Judgement> {
        let back = self.ejections.readmit(tokio::time::Instant::now());
        for subject in &back {
            tracing::info!(service = %subject.service, endpoint = %subject.endpoint, "is in service again");
        }
        back.iter().map(|subject| subject.ejected(None)).collect()
    }

    /// Takes what a check found.
    fn take(&mut self, found: Found) -> Option<Judgement> {
        let Found { subject, verdict } = found;
        // It may have been ended meanwhile.
        let watch = self.watches.get_mut(&subject)?;
        let up = verdict == Verdict::Up;
        self.metrics.checked(&subject.service, &watch.probe.name, up);
        let was = watch.verdict.replace(verdict.clone());
        match &verdict {
            Verdict::Down(reason) if !matches!(was, Some(Verdict::Down(_))) => {
                tracing::warn!(service = %subject.service, endpoint = watch.probe.name, reason, "is down");
            }
            Verdict::Up if was.is_some_and(|was| was != Verdict::Up) => {
                tracing::info!(service = %subject.service, endpoint = watch.probe.name, "is up");
            }
            _ => {}
        }
        Some(subject.judged(Some(verdict)))
    }
}

impl Subject {
    /// What follows of its answers.
    fn ejected(&self, verdict: Option<Verdict>) -> Judgement {
        let check = format!("{}:{} answers", self.service, self.port).into();
        Judgement { endpoint: self.endpoint.clone(), check, verdict }
    }

    fn judged(&self, verdict: Option<Verdict>) -> Judgement {
        let check = format!("{}:{}", self.service, self.port).into();
        Judgement { endpoint: self.endpoint.clone(), check, verdict }
    }
}

/// Resolves then, or never.
async fn until(then: Option<tokio::time::Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// Asks again and again. It tells what is new.
async fn watch(
    subject: Subject,
    probe: Probe,
    mut rhythm: Rhythm,
    tls: Arc<ArcSwap<Front>>,
    room: Arc<Semaphore>,
    found: mpsc::Sender<Found>,
) {
    loop {
        let answer = {
            // Never closed.
            let _place = room.acquire().await;
            ask::ask(&probe, &subject.service, &tls).await
        };
        if let Some(verdict) = rhythm.judge(answer)
            && found.send(Found { subject: subject.clone(), verdict }).await.is_err()
        {
            return;
        }
        tokio::time::sleep(rhythm.pause(fraction())).await;
    }
}

/// A number from 0 to 1 that nobody else has at this time.
fn fraction() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
}
