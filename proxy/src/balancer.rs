//! Chooses the endpoint for the next piece of work. Knows of targets and turns, and nothing of protocols: whoever asks says
//! what there is to go by.

use std::net::IpAddr;
use std::sync::Arc;

use crate::table::{Target, Upstream};

#[doc(hidden)]
pub mod cost;
pub(crate) mod hash;
mod load;
mod maglev;
mod plan;
mod rotation;

pub(crate) use load::{Load, Running};
use maglev::Maglev;
pub use plan::Plan;
pub(crate) use rotation::Rotation;

/// The targets that were tried already and failed, in this request or connection.
#[derive(Debug, Default)]
pub(crate) struct Tried(Vec<u64>);

impl Tried {
    pub(crate) fn add(&mut self, target: &Target) {
        self.0.push(target.id);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no other.
    pub(crate) fn are_all(&self, upstream: &Upstream) -> bool {
        upstream.available.iter().all(|target| self.contains(target))
    }

    fn contains(&self, target: &Target) -> bool {
        self.0.contains(&target.id)
    }
}

/// What is known of whom the work is for, as far as the choice goes by that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asker {
    /// A hash of what the same endpoint is to be chosen for.
    pub(crate) hash: Option<u64>,
    /// The target that it stays with, for as long as that may be given work.
    pub(crate) stuck: Option<u64>,
    /// Whether it is to be told anew whom it stays with, also if that is the same.
    pub(crate) outdated: bool,
}

impl Asker {
    /// A client, by its address.
    pub(crate) fn at(client: IpAddr) -> Self {
        let hash = match client.to_canonical() {
            IpAddr::V4(ip) => hash::of(&ip.octets()),
            IpAddr::V6(ip) => hash::of(&ip.octets()),
        };
        Self { hash: Some(hash), ..Self::default() }
    }
}

/// An available target that was not tried yet, by the upstream's plan.
pub(crate) fn pick(upstream: &Upstream, asker: Asker, tried: &Tried) -> Option<Arc<Target>> {
    let targets = &upstream.available;
    let usable = |target: &Target| !tried.contains(target);
    if let Some(stuck) = asker.stuck
        && let Some(target) = targets.iter().find(|target| target.id == stuck)
        && usable(target)
    {
        return Some(target.clone());
    }
    let index = upstream.plan.choose(targets, asker, || upstream.cursor.next(), usable)?;
    targets.get(index).cloned()
}

#[cfg(test)]
mod tests;
