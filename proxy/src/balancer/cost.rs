//! Choices without a proxy around them, so that what they cost can be measured (`benches/balancers.rs`).

use portolan_config::dynamic::service::LoadBalancer;

use super::{Asker, Plan, Tried, hash, pick};
use crate::table::Upstream;

/// The number of the target of a table's upstream that is next, as far as that goes by nothing of who asks.
pub fn pick_of(upstream: &Upstream) -> Option<u64> {
    pick(upstream, Asker::default(), &Tried::default()).map(|target| target.id)
}

/// Targets, and how they are chosen among.
#[derive(Debug)]
pub struct Choice(Upstream);

impl Choice {
    /// Among targets of these weights, none of them 0.
    ///
    /// # Panics
    /// Not with metrics of its own.
    pub fn new(balancing: &LoadBalancer, weights: &[u32]) -> Self {
        let mut upstream = Upstream::made_up("bench", weights.len());
        for (target, weight) in upstream.available.iter_mut().zip(weights) {
            if let Some(target) = std::sync::Arc::get_mut(target) {
                target.weight = *weight;
            }
        }
        upstream.plan = Plan::new(balancing, &upstream.available);
        Self(upstream)
    }

    /// The number of the target that a client, by its number, is sent to.
    pub fn pick(&self, client: u64) -> Option<u64> {
        let asker = Asker { hash: self.0.plan.hashes().map(|_| hash::mix(client)), ..Asker::default() };
        pick(&self.0, asker, &Tried::default()).map(|target| target.id)
    }
}
