//! Inspections in the background: few at a time, one per container, each with a deadline, repeated when they fail.
//!
//! It does not know what an inspection is good for; whether a result is still news is the view's to say.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

use super::engine::{Engine, INSPECTIONS_MAX};
use super::observe::Observed;
use crate::instance::InstanceId;

/// How long an inspection may take. The engine holds a container's lock for most of a second when it starts or stops.
const DEADLINE: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// The inspections that are asked for and under way.
pub(super) struct Refresher<E> {
    engine: E,
    waiting: VecDeque<InstanceId>,
    /// Those that wait, are under way, or rest after a failure.
    known: HashSet<InstanceId>,
    failures: HashMap<InstanceId, u32>,
    steps: FuturesUnordered<Pin<Box<dyn Future<Output = Step> + Send>>>,
    running: usize,
}

/// An inspection that ended.
pub(super) struct Refreshed {
    pub(super) id: InstanceId,
    /// The epoch in which it began.
    pub(super) epoch: u64,
    /// What it found. After a failure it is repeated by itself.
    pub(super) outcome: Result<Option<Observed>, String>,
}

enum Step {
    Rested(InstanceId),
    Ended(Box<Refreshed>),
}

impl<E: Engine> Refresher<E> {
    pub(super) fn new(engine: E) -> Self {
        Self {
            engine,
            waiting: VecDeque::new(),
            known: HashSet::new(),
            failures: HashMap::new(),
            steps: FuturesUnordered::new(),
            running: 0,
        }
    }

    /// Asks for an inspection of `id`. One that is under way already serves: if it is overtaken, the view asks again.
    pub(super) fn request(&mut self, id: InstanceId) {
        if self.known.insert(id.clone()) {
            self.waiting.push_back(id);
        }
    }

    /// Begins as many as may be. `epoch` gives a container's epoch, `None` when it is gone.
    pub(super) fn begin(&mut self, epoch: impl Fn(&InstanceId) -> Option<u64>) {
        while self.running < INSPECTIONS_MAX
            && let Some(id) = self.waiting.pop_front()
        {
            let Some(epoch) = epoch(&id) else {
                self.known.remove(&id);
                self.failures.remove(&id);
                continue;
            };
            self.running += 1;
            let engine = self.engine.clone();
            self.steps.push(Box::pin(async move {
                let outcome = match timeout(DEADLINE, engine.inspect(&id)).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
                };
                Step::Ended(Box::new(Refreshed { id, epoch, outcome }))
            }));
        }
    }

    /// Whether there is nothing to wait for.
    pub(super) fn is_idle(&self) -> bool {
        self.steps.is_empty()
    }

    /// The next that ends; `None` when something else moved on and [`Refresher::begin`] is to be called.
    pub(super) async fn next(&mut self) -> Option<Refreshed> {
        match self.steps.next().await? {
            Step::Rested(id) => {
                self.waiting.push_back(id);
                None
            }
            Step::Ended(refreshed) => {
                self.running -= 1;
                match refreshed.outcome {
                    Ok(_) => {
                        self.failures.remove(&refreshed.id);
                        self.known.remove(&refreshed.id);
                    }
                    Err(_) => self.rest(refreshed.id.clone()),
                }
                Some(*refreshed)
            }
        }
    }

    fn rest(&mut self, id: InstanceId) {
        let failures = self.failures.entry(id.clone()).or_default();
        let pause = RETRY_MOST.min(RETRY_FIRST * 2_u32.saturating_pow((*failures).min(16)));
        *failures += 1;
        self.steps.push(Box::pin(async move {
            sleep(pause).await;
            Step::Rested(id)
        }));
    }
}
