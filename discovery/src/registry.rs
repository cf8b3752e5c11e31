//! Keeps what providers observed, and publishes it as snapshots.
//!
//! One task owns the registry; there is no lock. Updates are applied in batches: while a snapshot is drawn, further
//! updates wait together, so that a burst of a thousand events publishes few snapshots, and a single event is
//! published at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use portolan_config::Labels;
use tokio::sync::{mpsc, watch};

use crate::chart::{self, Chart, Document, Policy, Sketch};
use crate::instance::{Instance, InstanceId};
use crate::provider::{Change, ProviderName, Update};
use crate::snapshot::{Applied, Snapshot, SourceStatus};
use crate::verdict::Verdicts;

/// Updates taken in one batch, at most.
const BATCH_MAX: usize = 1024;
/// Measurements kept for a reader that skips snapshots, at most.
const APPLIED_MAX: usize = 4096;

/// Everything observed so far.
#[derive(Debug)]
pub struct Registry {
    policy: Policy,
    /// Where another policy holds for what one provider observes.
    policies: BTreeMap<ProviderName, Policy>,
    sources: BTreeMap<ProviderName, Source>,
    generation: u64,
    /// As drawn, without what checks found.
    chart: Chart,
    verdicts: Verdicts,
    applied: VecDeque<Applied>,
}

#[derive(Debug, Default)]
struct Source {
    sketches: BTreeMap<InstanceId, Sketch>,
    document: Option<Document>,
    last_sync: Option<SystemTime>,
    lost: Option<String>,
}

impl Registry {
    /// A registry that waits for the first word of `sources`.
    pub fn new(policy: Policy, sources: impl IntoIterator<Item = ProviderName>) -> Self {
        let sources = sources.into_iter().map(|name| (name, Source::default())).collect();
        Self {
            policy,
            policies: BTreeMap::new(),
            sources,
            generation: 0,
            chart: Chart::default(),
            verdicts: Verdicts::default(),
            applied: VecDeque::new(),
        }
    }

    /// Judges what `provider` observes by a policy of its own.
    #[must_use]
    pub fn with_policy(mut self, provider: ProviderName, policy: Policy) -> Self {
        self.policies.insert(provider, policy);
        self
    }

    /// Takes updates and publishes snapshots until every sender is gone.
    pub async fn run(mut self, mut updates: mpsc::Receiver<Update>, snapshots: watch::Sender<Arc<Snapshot>>) {
        let mut batch = Vec::new();
        while updates.recv_many(&mut batch, BATCH_MAX).await > 0 {
            for update in batch.drain(..) {
                self.apply(update, SystemTime::now());
            }
            snapshots.send_replace(Arc::new(self.snapshot()));
        }
    }

    /// Takes one update, which arrived at `now`.
    pub fn apply(&mut self, update: Update, now: SystemTime) {
        if let Change::Judged(judgement) = update.change {
            self.verdicts.take(judgement);
        } else {
            self.observe(&update.provider, update.change, now);
        }
        self.applied.push_back(Applied {
            generation: self.generation + 1,
            provider: update.provider,
            observed_at: update.observed_at,
        });
        if self.applied.len() > APPLIED_MAX {
            self.applied.pop_front();
        }
    }

    fn observe(&mut self, provider: &ProviderName, change: Change, now: SystemTime) {
        let source = self.sources.entry(provider.clone()).or_default();
        let policy = self.policies.get(provider).unwrap_or(&self.policy);
        match change {
            Change::Reset(instances) => {
                let mut before = std::mem::take(&mut source.sketches);
                for instance in instances {
                    let sketch = sketch(provider, instance, &mut before, policy);
                    source.sketches.insert(sketch.instance.id.clone(), sketch);
                }
                source.last_sync = Some(now);
                source.lost = None;
            }
            Change::Upsert(instance) => {
                let sketch = sketch(provider, *instance, &mut source.sketches, policy);
                source.sketches.insert(sketch.instance.id.clone(), sketch);
            }
            Change::Remove(id) => {
                source.sketches.remove(&id);
            }
            Change::Configured(configured) => {
                source.document = Some(Document::new(provider, &configured));
                source.last_sync = Some(now);
                source.lost = None;
            }
            // Its last word stands: an engine that restarts does not empty the table.
            Change::Lost(reason) => source.lost = Some(reason),
            // Of no source.
            Change::Judged(_) => {}
        }
    }

    /// Draws what is known now.
    pub fn snapshot(&mut self) -> Snapshot {
        self.generation += 1;
        let sketches = self.sources.values().flat_map(|source| source.sketches.values());
        let documents = self.sources.values().filter_map(|source| source.document.as_ref());
        self.chart = chart::draw(sketches, documents, &self.policy, &self.chart);
        let chart = self.verdicts.lay_over(self.chart.clone());
        let newest = self.generation;
        let snapshot = Snapshot {
            generation: newest,
            sources: self.sources.iter().map(|(provider, source)| source.status(provider)).collect(),
            services: chart.services,
            routers: chart.routers,
            upstreams: chart.upstreams,
            composites: chart.composites,
            middlewares: chart.middlewares,
            layer_four: chart.layer_four,
            publications: chart.publications,
            tls: chart.tls,
            faults: chart.faults,
            applied: self.applied.iter().cloned().collect(),
        };
        // A reader takes the newest snapshot and may miss a few, not many: it compiles one while we draw one.
        self.applied.retain(|applied| applied.generation + 8 > newest);
        snapshot
    }
}

impl Source {
    fn status(&self, provider: &ProviderName) -> SourceStatus {
        SourceStatus { provider: provider.clone(), last_sync: self.last_sync, lost: self.lost.clone() }
    }
}

/// Sketches an instance, unless it is as it was before; its labels are read only where they are new.
fn sketch(
    provider: &ProviderName,
    instance: Instance,
    before: &mut BTreeMap<InstanceId, Sketch>,
    policy: &Policy,
) -> Sketch {
    let labels = match before.remove(&instance.id) {
        Some(sketch) if *sketch.instance == instance => return sketch,
        Some(sketch) if sketch.instance.labels == instance.labels => sketch.labels,
        _ => Arc::new(Labels::decode(&instance.labels)),
    };
    Sketch::new(provider, Arc::new(instance), labels, policy)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::instance::{ServiceKey, State};

    fn instance(name: &str, state: State) -> Instance {
        Instance {
            id: InstanceId::new(name),
            name: name.to_owned(),
            service: ServiceKey::Container(name.to_owned()),
            labels: BTreeMap::new(),
            networks: Vec::new(),
            ports: Vec::new(),
            bindings: Vec::new(),
            virtual_host: BTreeMap::new(),
            state,
            reason: String::new(),
            since: SystemTime::UNIX_EPOCH,
            created: SystemTime::UNIX_EPOCH,
        }
    }

    fn update(change: Change) -> Update {
        Update { provider: ProviderName::new("docker"), observed_at: Instant::now(), change }
    }

    fn registry() -> Registry {
        Registry::new(Policy::default(), [ProviderName::new("docker")])
    }

    fn names(snapshot: &Snapshot) -> Vec<&str> {
        snapshot.services.iter().map(|service| service.name.as_str()).collect()
    }

    #[test]
    fn nothing_is_complete_before_the_first_list() {
        let mut registry = registry();
        registry.apply(update(Change::Upsert(Box::new(instance("a", State::Ready)))), SystemTime::now());
        assert!(!registry.snapshot().is_complete());
        registry.apply(update(Change::Reset(vec![])), SystemTime::now());
        assert!(registry.snapshot().is_complete());
    }

    #[test]
    fn a_list_replaces_everything_and_a_lost_source_nothing() {
        let mut registry = registry();
        let both = vec![instance("a", State::Ready), instance("b", State::Ready)];
        registry.apply(update(Change::Reset(both)), SystemTime::now());
        registry.apply(update(Change::Lost("connection refused".into())), SystemTime::now());
        let lost = registry.snapshot();
        assert_eq!(names(&lost), ["a@docker", "b@docker"]);
        assert_eq!(lost.sources[0].lost.as_deref(), Some("connection refused"));
        registry.apply(update(Change::Reset(vec![instance("b", State::Ready)])), SystemTime::now());
        let found = registry.snapshot();
        assert_eq!(names(&found), ["b@docker"]);
        assert_eq!(found.sources[0].lost, None);
        assert!(found.generation > lost.generation);
    }

    #[tokio::test]
    async fn a_burst_publishes_few_snapshots_and_the_last_one_holds_it_all() {
        let (updates, receiver) = mpsc::channel(4096);
        let (publisher, mut snapshots) = watch::channel(Arc::new(Snapshot::default()));
        updates.send(update(Change::Reset(vec![]))).await.unwrap();
        for number in 0..1000 {
            let change = Change::Upsert(Box::new(instance(&format!("c{number}"), State::Ready)));
            updates.send(update(change)).await.unwrap();
        }
        drop(updates);
        registry().run(receiver, publisher).await;
        let last = snapshots.borrow_and_update().clone();
        assert_eq!(last.services.len(), 1000);
        assert!(last.generation <= 2, "{} snapshots for 1001 updates", last.generation);
        assert_eq!(last.applied.len(), 1001);
    }
}
