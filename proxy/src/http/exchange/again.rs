//! Whether a request that failed may be sent again.

use std::sync::Arc;

use crate::balancer::Tried;
use crate::limits::ATTEMPTS_MAX;
use crate::table::Upstream;
use crate::worker::Worker;

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
