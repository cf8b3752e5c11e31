//! Keeps what providers observed, and publishes it as snapshots.
//!
//! One task owns the registry; there is no lock. Updates are applied in batches: while a snapshot is drawn, further
//! updates wait together, so that a burst of a thousand events publishes few snapshots, and a single event is
//! published at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::chart::{At, Document, Drawable, Policy, Sketch, Whole};
use crate::instance::{Instance, InstanceId};
use crate::kept::{Kept, KeptSource};
use crate::provider::{Change, ProviderName, Update};
use crate::read::ReadLabels;
use crate::snapshot::{Applied, Snapshot, SourceStatus};
use crate::verdict::Verdicts;

/// Updates taken in one batch, at most.
const BATCH_MAX: usize = 1024;
/// Measurements kept for a reader that skips snapshots, at most.
const APPLIED_MAX: usize = 4096;
/// How long a source that does not even fail may say nothing, until what an earlier process kept of it counts.
const KEPT_WAIT: Duration = Duration::from_secs(1);

/// What the registry is asked besides.
#[derive(Debug)]
pub enum Ask {
    /// What is to be kept.
    Kept(oneshot::Sender<Kept>),
    /// To judge by these from now on, also what is known already: of all providers, and of single ones.
    Judge(Policy, Vec<(ProviderName, Policy)>),
    /// To forget a source that nobody asks any more.
    Forget(ProviderName),
}

/// Everything observed so far.
#[derive(Debug)]
pub struct Registry {
    policy: Policy,
    /// Where another policy holds for what one provider observes.
    policies: BTreeMap<ProviderName, Policy>,
    sources: BTreeMap<ProviderName, Source>,
    generation: u64,
    /// As drawn, without what checks found. Whoever puts a sketch or document into a source, or takes one out, tells it.
    whole: Whole,
    labels: ReadLabels,
    verdicts: Verdicts,
    applied: VecDeque<Applied>,
    keeping: Keeping,
}

/// What is kept for later, and was.
#[derive(Debug, Default)]
struct Keeping {
    providers: BTreeSet<ProviderName>,
    boot: String,
    /// What an earlier process kept of sources that have said nothing yet.
    before: BTreeMap<ProviderName, KeptSource>,
    asks: Option<mpsc::Receiver<Ask>>,
}

#[derive(Debug, Default)]
struct Source {
    sketches: BTreeMap<InstanceId, Sketch>,
    document: Option<Document>,
    last_sync: Option<SystemTime>,
    lost: Option<String>,
    /// When what it said was last known to be true; `None` while it answers.
    as_of: Option<SystemTime>,
    /// Whether that is what an earlier process kept.
    is_kept: bool,
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
            whole: Whole::default(),
            labels: ReadLabels::default(),
            verdicts: Verdicts::default(),
            applied: VecDeque::new(),
            keeping: Keeping::default(),
        }
    }

    /// Answers `asks` with what `providers` said last. What an earlier process kept of them counts where one is lost before
    /// it gave a list, or gives none for a second: an engine that answers is believed alone.
    #[must_use]
    pub fn keeping(
        mut self,
        providers: impl IntoIterator<Item = ProviderName>,
        kept: Kept,
        asks: mpsc::Receiver<Ask>,
    ) -> Self {
        self.verdicts.obey_kept(kept.orders);
        let providers: BTreeSet<_> = providers.into_iter().collect();
        let before = kept.sources.into_iter().filter(|source| {
            providers.contains(&source.provider) && self.sources.contains_key(&source.provider)
        });
        let before = before.map(|source| (source.provider.clone(), source)).collect();
        self.keeping = Keeping { before, providers, boot: kept.boot, asks: Some(asks) };
        self
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
        let mut asks = self.keeping.asks.take();
        let mut patience = (!self.keeping.before.is_empty()).then(|| Instant::now() + KEPT_WAIT);
        loop {
            tokio::select! {
                taken = updates.recv_many(&mut batch, BATCH_MAX) => {
                    if taken == 0 {
                        return;
                    }
                    for update in batch.drain(..) {
                        self.apply(update, SystemTime::now());
                    }
                }
                () = until(patience), if patience.is_some() => {
                    patience = None;
                    let silent: Vec<_> = self.keeping.before.keys().cloned().collect();
                    for provider in &silent {
                        self.recall(provider);
                    }
                }
                Some(ask) = next(&mut asks) => match ask {
                    Ask::Kept(answer) => {
                        drop(answer.send(self.kept(SystemTime::now())));
                        continue;
                    }
                    Ask::Judge(policy, of) => self.judge(policy, of),
                    Ask::Forget(provider) => self.forget(&provider),
                }
            }
            snapshots.send_replace(Arc::new(self.snapshot()));
        }
    }

    /// Judges by other policies from now on. What was observed stands.
    fn judge(&mut self, policy: Policy, of: Vec<(ProviderName, Policy)>) {
        self.policy = policy;
        self.policies = of.into_iter().collect();
        for (provider, source) in &mut self.sources {
            let policy = self.policies.get(provider).unwrap_or(&self.policy);
            for sketch in source.sketches.values_mut() {
                self.whole.left(at(provider, sketch), Drawable::Sketch(sketch));
                *sketch = Sketch::new(provider, sketch.instance.clone(), sketch.labels.clone(), policy);
                self.whole.entered(at(provider, sketch), Drawable::Sketch(sketch));
            }
        }
        self.whole.redraw();
    }

    /// Forgets a source, with all that it told of.
    fn forget(&mut self, provider: &ProviderName) {
        if let Some(source) = self.sources.remove(provider) {
            for sketch in source.sketches.values() {
                self.whole.left(at(provider, sketch), Drawable::Sketch(sketch));
            }
            if let Some(document) = &source.document {
                self.whole.left(At::Document(provider.clone()), Drawable::Document(document));
            }
        }
        self.keeping.before.remove(provider);
        self.verdicts.keep_orders(provider, |_| false);
    }

    /// Takes one update, which arrived at `now`.
    pub fn apply(&mut self, update: Update, now: SystemTime) {
        match update.change {
            Change::Judged(judgement) => self.verdicts.take(judgement),
            Change::Ordered(order) => self.verdicts.obey(order, now),
            change => self.observe(&update.provider, change, now),
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
                    let known = before.remove(&instance.id);
                    let id = instance.id.clone();
                    let sketch = sketch(provider, instance, known, policy, &mut self.labels, &mut self.whole);
                    if let Some(twice) = source.sketches.insert(id, sketch) {
                        self.whole.left(at(provider, &twice), Drawable::Sketch(&twice));
                    }
                }
                for gone in before.values() {
                    self.whole.left(at(provider, gone), Drawable::Sketch(gone));
                }
                source.last_sync = Some(now);
                source.lost = None;
                (source.as_of, source.is_kept) = (None, false);
                self.keeping.before.remove(provider);
                self.verdicts.keep_orders(provider, |id| source.sketches.contains_key(id));
            }
            Change::Upsert(instance) => {
                let known = source.sketches.remove(&instance.id);
                let sketch = sketch(provider, *instance, known, policy, &mut self.labels, &mut self.whole);
                source.sketches.insert(sketch.instance.id.clone(), sketch);
            }
            Change::Remove(id) => {
                if let Some(gone) = source.sketches.remove(&id) {
                    self.whole.left(at(provider, &gone), Drawable::Sketch(&gone));
                }
                self.verdicts.keep_orders(provider, |id| source.sketches.contains_key(id));
            }
            Change::Configured(configured) => {
                let at = At::Document(provider.clone());
                if let Some(before) = &source.document {
                    self.whole.left(at.clone(), Drawable::Document(before));
                }
                let document = source.document.insert(Document::new(provider, &configured));
                self.whole.entered(at, Drawable::Document(document));
                source.last_sync = Some(now);
                source.lost = None;
            }
            // Its last word stands: an engine that restarts does not empty the table.
            Change::Lost(reason) => {
                source.lost = Some(reason);
                source.as_of.get_or_insert(now);
                self.recall(provider);
            }
            // Of no source.
            Change::Judged(_) | Change::Ordered(_) => {}
        }
    }

    /// Takes what an earlier process kept of a source that has given no list, where there is any.
    fn recall(&mut self, provider: &ProviderName) {
        let Some(kept) = self.keeping.before.remove(provider) else { return };
        let Some(source) = self.sources.get_mut(provider) else { return };
        let policy = self.policies.get(provider).unwrap_or(&self.policy);
        let instances = kept.instances.len();
        for instance in kept.instances {
            if !source.sketches.contains_key(&instance.id) {
                let instance = Arc::unwrap_or_clone(instance);
                let sketch = sketch(provider, instance, None, policy, &mut self.labels, &mut self.whole);
                source.sketches.insert(sketch.instance.id.clone(), sketch);
            }
        }
        source.last_sync = Some(kept.as_of);
        (source.as_of, source.is_kept) = (Some(kept.as_of), true);
        let age = SystemTime::now().duration_since(kept.as_of).unwrap_or_default();
        tracing::warn!(
            %provider, instances, age_seconds = age.as_secs(),
            "the source does not answer; what was kept of it is served until it does"
        );
    }

    /// What is to be kept, where it is true at `now` what sources that answer have said.
    pub fn kept(&self, now: SystemTime) -> Kept {
        let synced = self.sources.iter().filter(|(provider, source)| {
            self.keeping.providers.contains(provider) && source.last_sync.is_some()
        });
        let mut sources: Vec<KeptSource> = synced
            .map(|(provider, source)| KeptSource {
                provider: provider.clone(),
                as_of: source.as_of.unwrap_or(now),
                instances: source.sketches.values().map(|sketch| sketch.instance.clone()).collect(),
            })
            .collect();
        // What has not been needed yet is not lost by that.
        sources.extend(self.keeping.before.values().cloned());
        Kept { boot: self.keeping.boot.clone(), sources, orders: self.verdicts.orders().standing() }
    }

    /// Draws what is known now.
    pub fn snapshot(&mut self) -> Snapshot {
        self.generation += 1;
        let sources = &self.sources;
        let find = |at: &At| match at {
            At::Document(provider) => sources.get(provider)?.document.as_ref().map(Drawable::Document),
            At::Sketch(provider, id) => sources.get(provider)?.sketches.get(id).map(Drawable::Sketch),
        };
        self.whole.draw(find, &self.policy);
        let chart = self.verdicts.lay_over(&self.whole);
        let newest = self.generation;
        let snapshot = Snapshot {
            generation: newest,
            sources: self.sources.iter().map(|(provider, source)| source.status(provider)).collect(),
            services: chart.services,
            routers: chart.routers,
            upstreams: chart.upstreams,
            composites: chart.composites,
            middlewares: chart.middlewares,
            middleware_origins: chart.middleware_origins,
            layer_four: chart.layer_four,
            publications: chart.publications,
            tls: chart.tls,
            faults: chart.faults,
            orders: self.verdicts.orders(),
            applied: self.applied.iter().cloned().collect(),
        };
        // A reader takes the newest snapshot and may miss a few, not many: it compiles one while we draw one.
        self.applied.retain(|applied| applied.generation + 8 > newest);
        snapshot
    }
}

impl Source {
    fn status(&self, provider: &ProviderName) -> SourceStatus {
        SourceStatus {
            provider: provider.clone(),
            last_sync: self.last_sync,
            lost: self.lost.clone(),
            kept: self.as_of.filter(|_| self.is_kept),
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn next(asks: &mut Option<mpsc::Receiver<Ask>>) -> Option<Ask> {
    match asks {
        Some(asks) => asks.recv().await,
        None => std::future::pending().await,
    }
}

fn at(provider: &ProviderName, sketch: &Sketch) -> At {
    At::Sketch(provider.clone(), sketch.instance.id.clone())
}

/// Sketches an instance, unless it is as it was when it was `known`; its labels are read only where they are new. The chart
/// is told what changed.
fn sketch(
    provider: &ProviderName,
    instance: Instance,
    known: Option<Sketch>,
    policy: &Policy,
    read: &mut ReadLabels,
    whole: &mut Whole,
) -> Sketch {
    let labels = match known {
        Some(sketch) if *sketch.instance == instance => return sketch,
        Some(sketch) => {
            whole.left(at(provider, &sketch), Drawable::Sketch(&sketch));
            if sketch.instance.labels == instance.labels { Some(sketch.labels) } else { None }
        }
        None => None,
    };
    let labels = labels.unwrap_or_else(|| read.read(&instance.labels));
    let sketch = Sketch::new(provider, Arc::new(instance), labels, policy);
    whole.entered(at(provider, &sketch), Drawable::Sketch(&sketch));
    sketch
}

#[cfg(test)]
mod tests {
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
            node: None,
            virtual_host: BTreeMap::new(),
            state,
            reason: String::new(),
            since: SystemTime::UNIX_EPOCH,
            created: SystemTime::UNIX_EPOCH,
        }
    }

    fn update(change: Change) -> Update {
        Update { provider: ProviderName::new("docker"), observed_at: std::time::Instant::now(), change }
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
    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn keeping(kept: Kept) -> (Registry, mpsc::Sender<Ask>) {
        let (asks, asked) = mpsc::channel(1);
        (registry().keeping([ProviderName::new("docker")], kept, asked), asks)
    }

    /// What a process knew that saw `a` and `b` at 100 s.
    fn kept_of_both() -> Kept {
        let (mut registry, _asks) = keeping(Kept::default());
        assert!(registry.kept(at(1)).sources.is_empty(), "nothing is known, so nothing is kept");
        let both = vec![instance("a", State::Ready), instance("b", State::Ready)];
        registry.apply(update(Change::Reset(both)), at(50));
        registry.kept(at(100))
    }

    #[test]
    fn what_was_kept_counts_only_where_the_source_is_lost_and_until_it_answers() {
        let kept = kept_of_both();
        assert_eq!(kept.sources[0].as_of, at(100), "a source that answers stands by its word");
        let (mut registry, _asks) = keeping(kept.clone());
        assert!(names(&registry.snapshot()).is_empty());
        assert_eq!(registry.kept(at(150)), kept, "what is not needed yet is not lost");
        registry.apply(update(Change::Lost("connection refused".into())), at(200));
        let served = registry.snapshot();
        assert_eq!(names(&served), ["a@docker", "b@docker"]);
        assert!(served.is_complete());
        assert_eq!((served.sources[0].kept, served.sources[0].last_sync), (Some(at(100)), Some(at(100))));
        // It grows no younger by being handed on.
        assert_eq!(registry.kept(at(300)), kept);
        registry.apply(update(Change::Reset(vec![instance("b", State::Ready)])), at(400));
        let found = registry.snapshot();
        assert_eq!(names(&found), ["b@docker"]);
        assert_eq!(found.sources[0].kept, None);
        registry.apply(update(Change::Lost("again".into())), at(500));
        assert_eq!(registry.snapshot().sources[0].kept, None, "it is this process that heard it");
        assert_eq!(registry.kept(at(600)).sources[0].as_of, at(500));
    }

    #[test]
    fn a_source_that_answers_is_believed_alone() {
        let (mut registry, _asks) = keeping(kept_of_both());
        registry.apply(update(Change::Reset(vec![])), at(200));
        registry.apply(update(Change::Lost("gone".into())), at(300));
        assert!(names(&registry.snapshot()).is_empty());
        assert!(registry.kept(at(400)).sources[0].instances.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_says_nothing_at_all_is_not_waited_for() {
        let (registry, asks) = keeping(kept_of_both());
        let (_updates, receiver) = mpsc::channel(1);
        let (publisher, mut snapshots) = watch::channel(Arc::new(Snapshot::default()));
        tokio::spawn(registry.run(receiver, publisher));
        snapshots.changed().await.unwrap();
        assert_eq!(names(&snapshots.borrow()), ["a@docker", "b@docker"]);
        let (ask, answer) = oneshot::channel();
        asks.send(Ask::Kept(ask)).await.unwrap();
        assert_eq!(answer.await.unwrap(), kept_of_both());
    }

    #[test]
    fn another_policy_judges_what_is_known_and_a_source_that_is_asked_no_more_is_forgotten() {
        let (mut registry, _asks) = keeping(Kept::default());
        let mut serving = instance("a", State::Ready);
        serving.ports = vec![crate::instance::Port { number: 80, protocol: portolan_config::Protocol::Tcp }];
        registry.apply(update(Change::Reset(vec![serving])), at(1));
        assert!(registry.snapshot().routers.is_empty(), "nobody asked for it");
        let exposing = || Policy { exposed_by_default: true, ..Policy::default() };
        registry.judge(exposing(), Vec::new());
        assert_eq!(registry.snapshot().routers.len(), 1);
        let docker = ProviderName::new("docker");
        registry.judge(exposing(), vec![(docker.clone(), Policy::default())]);
        let snapshot = registry.snapshot();
        assert_eq!((snapshot.routers.len(), names(&snapshot)), (0, vec!["a@docker"]));
        registry.forget(&docker);
        let snapshot = registry.snapshot();
        assert!(snapshot.sources.is_empty() && snapshot.services.is_empty());
    }
}
