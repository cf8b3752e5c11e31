//! What outlives a recompile: the state of upstreams, targets and routers, by identity.
//!
//! The table is immutable and replaced whole; the turn of a rotation and the metrics of an endpoint must not start
//! anew with it. They are kept here, by name and by (endpoint, port), never by address. What was compiled is kept as
//! well, and used again for as long as the chart shows the same part.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use portolan_config::dynamic::middleware::Middleware;
use portolan_config::tls::{Pem, Scheme};
use portolan_config::{Fault, PublishLimits};
use portolan_discovery::{self as discovery, Composite, EndpointKey};

use crate::balancer::Load;
use crate::budget::Budget;
use crate::census::Census;
use crate::health::outlier::{Tally, Tell};
use crate::metrics::{EndpointCounters, Metrics, Scope};
use crate::middleware::{Chain, Step};
use crate::places::Places;
use crate::table::{Cursor, Destination, Part, Route, Upstream};
use crate::tls::Files;

/// The books. Compilation writes them; workers hold `Arc`s of what they use.
#[derive(Debug)]
pub struct Ledger {
    metrics: Metrics,
    /// Where endpoints are told whose answers are failures.
    tell: Option<Tell>,
    next_target: AtomicU64,
    upstreams: DashMap<String, UpstreamAccount>,
    composites: DashMap<String, CompositeAccount>,
    routers: DashMap<String, RouterAccount>,
    middlewares: DashMap<String, MiddlewareAccount>,
    /// The connections that `inFlightConn` counts, by its qualified name.
    in_flight: DashMap<String, Arc<Census>>,
    /// The connections of published ports, by address, and of TCP services, by qualified name; and the limits that they are
    /// counted for.
    counted: DashMap<String, (PublishLimits, Arc<Census>)>,
    /// Whose turn it is in weighted TCP services, by qualified name.
    turns: DashMap<String, Arc<Cursor>>,
}

/// What is kept of an upstream.
#[derive(Debug)]
struct UpstreamAccount {
    drawn: Arc<discovery::Upstream>,
    compiled: Arc<Upstream>,
    /// The same as somewhere to go, once it was asked for.
    destination: Option<Arc<Destination>>,
    targets: Vec<TargetAccount>,
    /// The newest table that has it.
    generation: u64,
}

/// What is kept of a service of services.
#[derive(Debug)]
struct CompositeAccount {
    drawn: Arc<Composite>,
    children: Vec<Part>,
    compiled: Arc<Destination>,
    cursor: Arc<Cursor>,
    generation: u64,
}

/// What is kept of a router.
#[derive(Debug)]
struct RouterAccount {
    drawn: Arc<discovery::Router>,
    compiled: Arc<Route>,
    generation: u64,
}

/// What is kept of a middleware: its counts are in what was compiled.
#[derive(Debug)]
struct MiddlewareAccount {
    written: Arc<Middleware>,
    compiled: Result<Arc<Step>, String>,
    generation: u64,
    /// The file that it goes by, as it was read, and what is wrong with it.
    files: Files,
    wrong: Option<String>,
}

/// What is kept of a target: a port of one life of one instance.
#[derive(Clone, Debug)]
pub(crate) struct TargetAccount {
    endpoint: EndpointKey,
    port: u16,
    scheme: Scheme,
    /// Stands for it for as long as the process runs; no two lives share one.
    pub(crate) id: u64,
    pub(crate) counters: EndpointCounters,
    /// How it has been doing.
    pub(crate) load: Arc<Load>,
    /// Its failures.
    pub(crate) tally: Arc<Tally>,
}

/// What an upstream is compiled with, besides what the chart shows of it.
pub(crate) struct Kept {
    pub(crate) tell: Option<Tell>,
    pub(crate) cursor: Arc<Cursor>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) places: Arc<Places>,
    pub(crate) scope: Arc<Scope>,
    /// In the order of the chart's targets.
    pub(crate) targets: Vec<TargetAccount>,
}

impl Ledger {
    /// Empty books.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            tell: None,
            next_target: AtomicU64::new(1),
            upstreams: DashMap::new(),
            composites: DashMap::new(),
            routers: DashMap::new(),
            middlewares: DashMap::new(),
            in_flight: DashMap::new(),
            counted: DashMap::new(),
            turns: DashMap::new(),
        }
    }

    /// From now on, endpoints whose answers are failures are told there.
    pub(crate) fn tell_outliers(&mut self, tell: Tell) {
        self.tell = Some(tell);
    }

    /// Who counts the connections of an `inFlightConn`: who did so before, unless the limit is another now.
    pub(crate) fn in_flight(&self, name: &str, most: usize) -> Arc<Census> {
        let mut kept = self.in_flight.entry(name.to_owned()).or_insert_with(|| Census::of_clients(most));
        if kept.per_client() != Some(most) {
            *kept = Census::of_clients(most);
        }
        kept.clone()
    }

    /// Who counts the connections of a published port or a TCP service: who did so before, unless its limits are others now.
    pub(crate) fn census(&self, of: &str, limits: PublishLimits) -> Arc<Census> {
        let made = || (limits, Census::of_published(&limits));
        let mut kept = self.counted.entry(of.to_owned()).or_insert_with(made);
        if kept.0 != limits {
            *kept = made();
        }
        kept.1.clone()
    }

    /// Whose turn it is in a weighted TCP service, as it was in the table before.
    pub(crate) fn turns(&self, service: &str) -> Arc<Cursor> {
        self.turns.entry(service.to_owned()).or_default().clone()
    }

    /// The compiled upstream: the one of before, or what `compile` makes of what was kept.
    pub(crate) fn upstream(
        &self,
        drawn: &Arc<discovery::Upstream>,
        generation: u64,
        compile: impl FnOnce(Kept) -> Upstream,
    ) -> Arc<Upstream> {
        let Some(mut account) = self.upstreams.get_mut(&drawn.name) else {
            let kept = Kept {
                tell: self.tell.clone(),
                cursor: Arc::default(),
                budget: Arc::new(Budget::new()),
                places: Arc::default(),
                scope: Arc::new(self.metrics.service(&drawn.name)),
                targets: self.targets(drawn, &[]),
            };
            let targets = kept.targets.clone();
            let compiled = Arc::new(compile(kept));
            let account = UpstreamAccount {
                drawn: drawn.clone(),
                compiled: compiled.clone(),
                destination: None,
                targets,
                generation,
            };
            self.upstreams.insert(drawn.name.clone(), account);
            return compiled;
        };
        account.generation = generation;
        if !Arc::ptr_eq(&account.drawn, drawn) {
            // Connections that were made in another way are not used again: as other targets they are not found.
            let is_same_way = account.drawn.transport == drawn.transport;
            let known = if is_same_way { account.targets.as_slice() } else { &[] };
            let targets = self.targets(drawn, known);
            let kept = Kept {
                tell: self.tell.clone(),
                cursor: account.compiled.cursor.clone(),
                budget: account.compiled.budget.clone(),
                places: account.compiled.places.clone(),
                scope: account.compiled.scope.clone(),
                targets: targets.clone(),
            };
            account.drawn = drawn.clone();
            account.compiled = Arc::new(compile(kept));
            account.destination = None;
            self.forget(&account.targets, &targets);
            account.targets = targets;
        }
        account.compiled.clone()
    }

    /// An upstream that was compiled, as somewhere to go: the same for as long as it is.
    pub(crate) fn destination(&self, compiled: &Arc<Upstream>) -> Arc<Destination> {
        let made = || Arc::new(Destination::Upstream(compiled.clone()));
        let Some(mut account) = self.upstreams.get_mut(&compiled.name) else { return made() };
        account.destination.get_or_insert_with(made).clone()
    }

    /// The compiled service of services: the one of before, or what `compile` makes of these children, with the turns of
    /// before.
    pub(crate) fn composite(
        &self,
        drawn: &Arc<Composite>,
        children: &[Part],
        generation: u64,
        compile: impl FnOnce(Arc<Cursor>) -> Destination,
    ) -> Arc<Destination> {
        let Some(mut account) = self.composites.get_mut(&drawn.name) else {
            let cursor: Arc<Cursor> = Arc::default();
            let compiled = Arc::new(compile(cursor.clone()));
            let account = CompositeAccount {
                drawn: drawn.clone(),
                children: children.to_vec(),
                compiled: compiled.clone(),
                cursor,
                generation,
            };
            self.composites.insert(drawn.name.clone(), account);
            return compiled;
        };
        account.generation = generation;
        if !Part::are_same(&account.children, children) || account.drawn != *drawn {
            account.compiled = Arc::new(compile(account.cursor.clone()));
            account.children = children.to_vec();
        }
        account.drawn = drawn.clone();
        account.compiled.clone()
    }

    /// The compiled router: the one of before, or a new one that counts into the same series.
    pub(crate) fn router(
        &self,
        drawn: &Arc<discovery::Router>,
        destination: &Arc<Destination>,
        chain: Option<Arc<Chain>>,
        generation: u64,
    ) -> Arc<Route> {
        let compile = |chain, scope| {
            Arc::new(Route { router: drawn.clone(), destination: destination.clone(), chain, scope })
        };
        let Some(mut account) = self.routers.get_mut(&drawn.name) else {
            let compiled = compile(chain, Arc::new(self.metrics.router(&drawn.name)));
            let account = RouterAccount { drawn: drawn.clone(), compiled: compiled.clone(), generation };
            self.routers.insert(drawn.name.clone(), account);
            return compiled;
        };
        account.generation = generation;
        if !Arc::ptr_eq(&account.drawn, drawn)
            || !Arc::ptr_eq(&account.compiled.destination, destination)
            || !Chain::is_same(account.compiled.chain.as_ref(), chain.as_ref())
        {
            account.compiled = compile(chain, account.compiled.scope.clone());
            account.drawn = drawn.clone();
        }
        account.compiled.clone()
    }

    /// The compiled middleware: the one of before, or what is made of what is written now, with the counts of before.
    pub(crate) fn step(
        &self,
        name: &str,
        written: &Arc<Middleware>,
        generation: u64,
    ) -> Result<Arc<Step>, String> {
        let mut account = match self.middlewares.get_mut(name) {
            Some(account) => account,
            None => {
                let compiled = Step::compile(written, None).map(Arc::new);
                let files = Files::default();
                let account =
                    MiddlewareAccount { written: written.clone(), compiled, generation, files, wrong: None };
                self.middlewares.entry(name.to_owned()).insert(account)
            }
        };
        account.generation = generation;
        if !Arc::ptr_eq(&account.written, written) && account.written != *written {
            let before = account.compiled.as_ref().ok().map(AsRef::as_ref);
            account.compiled = Step::compile(written, before).map(Arc::new);
            account.files.forget();
        }
        account.written.clone_from(written);
        account.compiled.clone()
    }

    /// Looks whether the files that middlewares go by changed, and has them follow. Gives what can't be done. A file that
    /// can't be read leaves its last word in place, and lets nobody in where there was none.
    pub fn look(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for mut account in self.middlewares.iter_mut() {
            let Ok(step) = account.compiled.clone() else { continue };
            let Some(path) = step.users_file().map(Path::to_path_buf) else { continue };
            let account = account.value_mut();
            if account.files.is_empty() || account.files.changed() {
                let read = account.files.bytes(&Pem::File(path.clone()));
                let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()));
                account.wrong = text.and_then(|text| step.take_users(&text)).err();
            }
            if let Some(why) = &account.wrong {
                let origin = path.display().to_string();
                faults.push(Fault::new(origin, format!("{}.usersFile", account.written.name()), why.clone()));
            }
        }
        faults
    }

    /// Closes the accounts that the table of this generation does not use, and takes their series out of the metrics.
    pub(crate) fn close_unused(&self, generation: u64) {
        self.upstreams.retain(|name, account| {
            let keep = account.generation == generation;
            if !keep {
                account.compiled.scope.forget();
                self.metrics.forget_retries(name);
                self.forget(&account.targets, &[]);
            }
            keep
        });
        self.composites.retain(|_, account| account.generation == generation);
        self.middlewares.retain(|_, account| account.generation == generation);
        self.routers.retain(|_, account| {
            let keep = account.generation == generation;
            if !keep {
                account.compiled.scope.forget();
            }
            keep
        });
    }

    /// The accounts of an upstream's targets: those there are, and new ones for new lives.
    fn targets(&self, drawn: &discovery::Upstream, before: &[TargetAccount]) -> Vec<TargetAccount> {
        let account = |target: &discovery::Target| {
            let known = before.iter().find(|account| {
                account.port == target.port
                    && account.scheme == target.scheme
                    && account.endpoint == target.endpoint.key
            });
            known.cloned().unwrap_or_else(|| TargetAccount {
                endpoint: target.endpoint.key.clone(),
                port: target.port,
                scheme: target.scheme,
                id: self.next_target.fetch_add(1, Ordering::Relaxed),
                counters: self.metrics.endpoint(&drawn.name, &target.endpoint.instance.name),
                load: Arc::default(),
                tally: Arc::default(),
            })
        };
        drawn.targets.iter().map(account).collect()
    }

    /// Takes the series of targets that left out of the metrics. A container that was restarted has a new life under
    /// its old name: that series goes on.
    fn forget(&self, before: &[TargetAccount], now: &[TargetAccount]) {
        for gone in before {
            if !now.iter().any(|account| account.counters.is_same_series(&gone.counters)) {
                self.metrics.forget_endpoint(&gone.counters);
            }
        }
    }
}
