//! Providers observe what runs and tell the registry.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use portolan_config::{Dynamic, Fault};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::chart::Addresses;
use crate::instance::{Instance, InstanceId};
use crate::order::Order;
use crate::verdict::Judgement;

pub mod demo;
pub mod docker;
pub mod file;
pub mod internal;

/// Where an observation comes from: `docker`, `demo`. The part after `@` in a qualified name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ProviderName(pub Arc<str>);

impl ProviderName {
    /// The provider called `name`.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for ProviderName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<ProviderName> for String {
    fn from(name: ProviderName) -> Self {
        (*name.0).to_owned()
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing a provider has to say.
#[derive(Debug)]
pub struct Update {
    /// Who says it.
    pub provider: ProviderName,
    /// When the provider learned of it: the start of the delay that `portolan_provider_apply_delay_seconds` measures.
    pub observed_at: Instant,
    /// What it is.
    pub change: Change,
}

/// What a provider observed.
#[derive(Debug)]
pub enum Change {
    /// Everything there is, after each (re)connect: what is not in it is gone. It heals whatever was missed.
    Reset(Vec<Instance>),
    /// This instance is new, or is now like this.
    Upsert(Box<Instance>),
    /// This instance is gone.
    Remove(InstanceId),
    /// What the source has been told to do, whole: it takes the place of what it was told before.
    Configured(Box<Configured>),
    /// A check found this of an endpoint, whoever observed that. It says nothing of its source.
    Judged(Judgement),
    /// An operator ordered this. It says nothing of any source.
    Ordered(Order),
    /// The source does not answer, for this reason. Its last word stands until the next `Reset`.
    Lost(String),
}

/// What a provider was told: the dynamic configuration of its files.
#[derive(Debug, Default)]
pub struct Configured {
    /// What they say.
    pub dynamic: Dynamic,
    /// The addresses of hosts that servers are named by.
    pub addresses: Addresses,
    /// What could not be read at all.
    pub faults: Vec<Fault>,
}

/// A source of observations.
///
/// It runs until the receiver is gone. It starts with a complete [`Change::Reset`] and sends another after every
/// reconnect; it never ends because its source failed.
pub trait Provider: Send + 'static {
    /// Its name.
    fn name(&self) -> ProviderName;

    /// Observes, and tells.
    fn run(self, updates: mpsc::Sender<Update>) -> impl Future<Output = ()> + Send;
}
