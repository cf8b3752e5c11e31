//! One question to several servers: the best first, the next one as soon as that is slower than it should be. A dead one
//! costs nobody its timeout.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::cache::Asked;
use super::reply::Reply;
use super::upstream::{Failure, Upstream};
use crate::metrics::Metrics;

/// How much longer than it usually takes a server may take before the next one is asked too.
const PACES: u32 = 3;
const SOONEST: Duration = Duration::from_millis(30);
const LATEST: Duration = Duration::from_millis(400);

/// The first answer; `None` where no server gives one.
pub(super) async fn run(
    servers: &Arc<[Arc<Upstream>]>,
    asked: &Asked,
    case: u128,
    metrics: &Metrics,
) -> Option<Reply> {
    if servers.iter().all(|server| server.is_spared()) {
        metrics.forward_broken();
    }
    let order = order(servers);
    let mut left = order.iter();
    let mut running = Running::new(); // those not waited for are left when it is dropped
    let mut last: Option<(Arc<Upstream>, Instant)> = None;
    let mut overtaken: Vec<Arc<Upstream>> = Vec::new();
    loop {
        let mut next_at = Instant::now();
        if let Some((server, begun)) = &last {
            next_at = *begun + (server.pace() * PACES).clamp(SOONEST, LATEST);
        }
        tokio::select! {
            biased;
            Some(ended) = running.join_next(), if !running.is_empty() => {
                let Ok((server, outcome, took)) = ended else { continue };
                let rcode = match &outcome {
                    Ok(reply) if reply.rcode == 3 => "nxdomain",
                    Ok(_) => "noerror",
                    Err(Failure::Refused) => "refused",
                    Err(Failure::Silent) => "timeout",
                };
                metrics.forwarded(&server.label, rcode, took);
                if matches!(outcome, Err(Failure::Silent)) {
                    metrics.forward_failed(&server.label);
                }
                match outcome {
                    Ok(reply) => {
                        // Those that should have been faster are not waited for next time.
                        for other in overtaken.iter().filter(|other| !Arc::ptr_eq(other, &server)) {
                            other.failed();
                            metrics.forward_failed(&other.label);
                        }
                        return Some(reply);
                    }
                    Err(Failure::Silent | Failure::Refused) => last = None,
                }
            }
            () = sleep_until(next_at), if left.len() > 0 => {
                let Some(server) = left.next() else { continue };
                overtaken.extend(last.take().map(|(slow, _)| slow));
                start(&mut running, server, asked, case);
                if server.is_on_trial() {
                    // It is not waited for: the next one starts beside it, and is to be the slower of the two.
                    overtaken.push(Arc::clone(server));
                } else {
                    last = Some((Arc::clone(server), Instant::now()));
                }
            }
            else => return None,
        }
    }
}

type Running = JoinSet<(Arc<Upstream>, Result<Reply, Failure>, Duration)>;

fn start(running: &mut Running, server: &Arc<Upstream>, asked: &Asked, case: u128) {
    let (server, asked) = (Arc::clone(server), asked.clone());
    running.spawn(async move {
        let begun = Instant::now();
        let outcome = server.ask(&asked, case).await;
        (server, outcome, begun.elapsed())
    });
}

/// Those on trial first, as they are asked beside another; then those that answer, the fastest first; those that are
/// spared last.
fn order(servers: &[Arc<Upstream>]) -> Vec<Arc<Upstream>> {
    let mut order: Vec<Arc<Upstream>> = servers.to_vec();
    order.sort_by_key(|server| {
        let class = if server.is_spared() { 2 } else { i32::from(!server.is_on_trial()) };
        (class, server.pace())
    });
    order
}
