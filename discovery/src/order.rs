//! What an operator ordered of instances, laid over the chart like what checks found: a drained one gets nothing new,
//! whatever its provider says of it.
//!
//! It knows instances and nodes by identity, never names or addresses. An order lasts until it is taken back, or until
//! its instance is gone; one about a node lasts until it is taken back, and holds for what starts there later.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::instance::{InstanceId, State};
use crate::kept::nanoseconds;
use crate::provider::ProviderName;
use crate::snapshot::Endpoint;

/// What an order is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// One instance, in all its lives: a restart takes nothing back.
    Instance(ProviderName, InstanceId),
    /// Whatever runs on the machines of this name.
    Node(String),
}

impl Subject {
    /// Whether it is about this endpoint.
    pub fn holds(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Instance(provider, id) => {
                endpoint.key.provider == *provider && endpoint.key.instance == *id
            }
            Self::Node(name) => endpoint.instance.node.as_ref().is_some_and(|node| node.name == *name),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What is no number of an engine's is not cut: a server's address.
            Self::Instance(provider, id) => {
                let is_number = id.0.bytes().all(|byte| byte.is_ascii_alphanumeric());
                write!(f, "{}@{provider}", if is_number { id.short() } else { &id.0 })
            }
            Self::Node(node) => write!(f, "node/{node}"),
        }
    }
}

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What it is about.
    pub subject: Subject,
    /// Whether it is to drain, or to be as its provider says again.
    pub drain: bool,
    /// Why, in the operator's words; empty where nothing was said.
    pub why: String,
}

/// An order that stands, as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What it is about.
    pub subject: Subject,
    /// When it was given.
    #[serde(with = "nanoseconds")]
    pub since: SystemTime,
    /// Why, in the operator's words; empty where nothing was said.
    pub why: String,
}

/// When an order was given, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    since: SystemTime,
    why: String,
}

impl Given {
    /// The reason of an endpoint's state.
    fn reason(&self, by: &str) -> String {
        if self.why.is_empty() { by.to_owned() } else { format!("{by}: {}", self.why) }
    }
}

/// The orders that stand, each with the time it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    instances: BTreeMap<InstanceId, BTreeMap<ProviderName, Given>>,
    nodes: BTreeMap<String, Given>,
}

impl Orders {
    /// Whether none stands.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.nodes.is_empty()
    }

    /// Whether this is drained by an order of its own.
    pub fn stands(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Instance(provider, id) => {
                self.instances.get(id).is_some_and(|by| by.contains_key(provider))
            }
            Subject::Node(node) => self.nodes.contains_key(node),
        }
    }

    /// Everything that an order stands for.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        let instances = self.instances.iter().flat_map(|(id, by)| {
            by.keys().map(move |provider| Subject::Instance(provider.clone(), id.clone()))
        });
        instances.chain(self.nodes.keys().cloned().map(Subject::Node))
    }

    /// Takes an order given at `now`. The same one again changes the words of its reason, where it has any, and nothing else.
    pub(crate) fn take(&mut self, order: Order, now: SystemTime) {
        if !order.drain {
            match order.subject {
                Subject::Instance(provider, id) => self.forget(&provider, &id),
                Subject::Node(node) => drop(self.nodes.remove(&node)),
            }
            return;
        }
        let new = Given { since: now, why: String::new() };
        let given = match order.subject {
            Subject::Instance(provider, id) => {
                self.instances.entry(id).or_default().entry(provider).or_insert(new)
            }
            Subject::Node(node) => self.nodes.entry(node).or_insert(new),
        };
        if !order.why.is_empty() {
            given.why = order.why;
        }
    }

    /// All that stand, to be kept or shown.
    pub fn standing(&self) -> Vec<Standing> {
        let instances = self.instances.iter().flat_map(|(id, by)| {
            by.iter().map(|(provider, given)| (Subject::Instance(provider.clone(), id.clone()), given))
        });
        let nodes = self.nodes.iter().map(|(node, given)| (Subject::Node(node.clone()), given));
        let standing =
            |(subject, given): (_, &Given)| Standing { subject, since: given.since, why: given.why.clone() };
        instances.chain(nodes).map(standing).collect()
    }

    /// Those that an earlier process kept.
    pub(crate) fn of_kept(kept: Vec<Standing>) -> Self {
        let mut orders = Self::default();
        for Standing { subject, since, why } in kept {
            orders.take(Order { subject, drain: true, why }, since);
        }
        orders
    }

    /// Forgets what was ordered of an instance that is gone.
    pub(crate) fn forget(&mut self, provider: &ProviderName, id: &InstanceId) {
        if let Some(by) = self.instances.get_mut(id) {
            by.remove(provider);
            if by.is_empty() {
                self.instances.remove(id);
            }
        }
    }

    /// Forgets what was ordered of instances of `provider` that are not there any more.
    pub(crate) fn keep(&mut self, provider: &ProviderName, is_there: impl Fn(&InstanceId) -> bool) {
        self.instances.retain(|id, by| {
            if !is_there(id) {
                by.remove(provider);
            }
            !by.is_empty()
        });
    }

    /// Whether an endpoint drains by order: since when, and the reason in words. Who does not run anyway does not.
    pub(crate) fn of(&self, endpoint: &Endpoint) -> Option<(SystemTime, String)> {
        if self.is_empty() || !matches!(endpoint.state, State::Ready | State::Starting | State::Unhealthy) {
            return None;
        }
        let key = &endpoint.key;
        if let Some(given) = self.instances.get(&key.instance).and_then(|by| by.get(&key.provider)) {
            return Some((given.since, given.reason("operator")));
        }
        let node = &endpoint.instance.node.as_ref()?.name;
        self.nodes.get(node).map(|given| (given.since, given.reason(&format!("operator (node {node})"))))
    }
}
