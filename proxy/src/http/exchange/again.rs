//! Whether a request that failed may be sent again.

use std::sync::Arc;

use super::carrier::Leg;
use super::{Exchange, Upload};
use crate::balancer::Tried;
use crate::http::Reason;
use crate::limits::ATTEMPTS_MAX;
use crate::table::Upstream;
use crate::worker::Worker;

/// A failure before any byte of an answer reached the client.
pub(in crate::http) struct Failure {
    pub(super) reason: Reason,
    pub(super) may_retry: bool,
}

impl Failure {
    /// What is to be done about a request that no byte of an answer came back for: whether it may be sent again.
    pub(in crate::http) fn unanswered(
        reason: Reason,
        request: &Exchange,
        upload: &Upload,
        leg: &Leg,
    ) -> Self {
        // An endpoint may say that it did not look at the request.
        let is_safe = request.method.is_idempotent() || leg.endpoint.is_unprocessed();
        let may_retry = reason == Reason::EndpointReset && is_safe && !upload.begun.get();
        Self { reason, may_retry }
    }
}

/// Whether a request may go to another endpoint, chosen from what is known by now: that may be more than when the request
/// came. Unless it is `free`, the upstream's budget pays for it.
pub(super) fn goes_on(upstream: &mut Arc<Upstream>, tried: &Tried, free: bool, worker: &Worker) -> bool {
    if let Some(newer) = worker.table().upstreams.get(&upstream.name) {
        upstream.clone_from(newer);
    }
    if tried.count() >= ATTEMPTS_MAX || tried.are_all(upstream) {
        return false;
    }
    if free || upstream.budget.spend(upstream.allowance, upstream.cursor.taken()) {
        worker.metrics.retried(&upstream.name);
        return true;
    }
    worker.metrics.retry_refused(&upstream.name);
    false
}
