//! A request that waits until there is a place for it, where its service lets some wait.

use std::sync::Arc;

use super::carrier::{ConnectedBy, Unobtainable};
use super::{Carrier, Client, Exchange, Leg};
use crate::balancer::{Tried, has_another, take};
use crate::deadline::{Moment, timeout_at};
use crate::http::Reason;
use crate::http::entry_point::{earlier, is_over};
use crate::http::pool::Care;
use crate::limits::PENDING_RECHECK;
use crate::places::Bounds;
use crate::table::Upstream;
use crate::worker::Worker;

/// Waits for a place, and leads the request there. `reason` is why there was none at first.
#[allow(clippy::too_many_arguments)] // all that is known of an attempt
pub(super) async fn wait(
    reason: Reason,
    client: &mut impl Client,
    upstream: &mut Arc<Upstream>,
    request: &Exchange,
    carrier: &mut Carrier<'_>,
    tried: &Tried,
    care: Care,
    worker: &Worker,
) -> Result<Leg, Unobtainable> {
    let Some(bounds) = upstream.bounds.filter(Bounds::lets_wait) else {
        return Err(Unobtainable::Full(reason));
    };
    let places = upstream.places.clone();
    let Some(waiting) = places.wait(&bounds) else { return Err(Unobtainable::Full(Reason::PendingLimit)) };
    let _counted = worker.metrics.pending(&upstream.name);
    let deadline = earlier(Moment::now() + bounds.patience, request.deadlines.answer);
    let (target, running) = loop {
        let called = waiting.called();
        // What may be given work can have changed meanwhile, and how much of it.
        if let Some(newer) = worker.table().upstreams.get(&upstream.name) {
            upstream.clone_from(newer);
        }
        match take(upstream, request.asker, tried, true) {
            Ok(Some(taken)) => break taken,
            Ok(None) => return Err(Unobtainable::Exhausted),
            Err(_) if Moment::now() >= deadline => {
                let answer_is_due = is_over(request.deadlines.answer);
                let reason = if answer_is_due { Reason::AnswerTimeout } else { Reason::PendingTimeout };
                return Err(Unobtainable::Full(reason));
            }
            Err(_) => {}
        }
        tokio::select! {
            biased;
            () = client.gone() => return Err(Unobtainable::Full(Reason::ClientGone)),
            () = worker.news.notified() => {}
            _ = timeout_at(deadline.min(Moment::now() + PENDING_RECHECK), called) => {}
        }
    };
    drop(waiting);
    let by = ConnectedBy::of(&target, has_another(upstream, &target, tried));
    carrier.lead_to(target, running, upstream, request, care, by, worker).await
}
