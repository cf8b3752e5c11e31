//! What outlives a recompile: the state of upstreams and targets, by identity.
//!
//! The table is immutable and replaced whole; the turn of a rotation and the metrics of an endpoint must not start
//! anew with it. They are kept here, keyed by name and by (upstream, endpoint, port), never by address.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use portolan_discovery::EndpointKey;

use crate::balancer::Cursor;
use crate::metrics::{EndpointCounters, Metrics, Scope};

/// The books. Compilation writes them; workers hold `Arc`s of what they use.
#[derive(Debug)]
pub struct Ledger {
    metrics: Metrics,
    next_target: AtomicU64,
    upstreams: DashMap<String, UpstreamAccount>,
    routers: DashMap<String, Arc<Scope>>,
    targets: DashMap<TargetKey, TargetAccount>,
}

/// A port of one life of one instance, as a target of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TargetKey {
    pub(crate) upstream: String,
    pub(crate) endpoint: EndpointKey,
    pub(crate) port: u16,
}

/// What is kept of a target.
#[derive(Clone, Debug)]
pub(crate) struct TargetAccount {
    /// The number that stands for it for as long as the process runs; no two lives share one.
    pub(crate) id: u64,
    pub(crate) counters: EndpointCounters,
}

/// What is kept of an upstream.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamAccount {
    pub(crate) cursor: Arc<Cursor>,
    pub(crate) scope: Arc<Scope>,
}

/// What the newest table refers to; the rest is closed.
#[derive(Debug, Default)]
pub(crate) struct InUse {
    pub(crate) upstreams: HashSet<String>,
    pub(crate) routers: HashSet<String>,
    pub(crate) targets: HashSet<u64>,
}

impl Ledger {
    /// Empty books.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            next_target: AtomicU64::new(1),
            upstreams: DashMap::new(),
            routers: DashMap::new(),
            targets: DashMap::new(),
        }
    }

    pub(crate) fn upstream(&self, name: &str) -> UpstreamAccount {
        if let Some(account) = self.upstreams.get(name) {
            return account.clone();
        }
        let account = UpstreamAccount { cursor: Arc::default(), scope: Arc::new(self.metrics.service(name)) };
        self.upstreams.insert(name.to_owned(), account.clone());
        account
    }

    pub(crate) fn router(&self, name: &str) -> Arc<Scope> {
        self.routers.entry(name.to_owned()).or_insert_with(|| Arc::new(self.metrics.router(name))).clone()
    }

    pub(crate) fn target(&self, key: &TargetKey, endpoint_name: &str) -> TargetAccount {
        if let Some(account) = self.targets.get(key) {
            return account.clone();
        }
        let account = TargetAccount {
            id: self.next_target.fetch_add(1, Ordering::Relaxed),
            counters: self.metrics.endpoint(&key.upstream, endpoint_name),
        };
        self.targets.insert(key.clone(), account.clone());
        account
    }

    /// Closes the accounts that nothing refers to any more, and takes their series out of the metrics.
    pub(crate) fn close_unused(&self, in_use: &InUse) {
        self.upstreams.retain(|name, account| {
            let keep = in_use.upstreams.contains(name);
            if !keep {
                account.scope.forget();
            }
            keep
        });
        self.routers.retain(|name, scope| {
            let keep = in_use.routers.contains(name);
            if !keep {
                scope.forget();
            }
            keep
        });
        let mut gone = Vec::new();
        self.targets.retain(|_, account| {
            let keep = in_use.targets.contains(&account.id);
            if !keep {
                gone.push(account.counters.clone());
            }
            keep
        });
        // A container that was restarted has a new account under its old name: that series goes on.
        for counters in gone {
            if !self.targets.iter().any(|account| account.counters.is_same_series(&counters)) {
                self.metrics.forget_endpoint(&counters);
            }
        }
    }
}
