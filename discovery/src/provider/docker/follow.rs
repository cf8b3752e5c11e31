//! One connection, from subscription to loss: subscribe, then list, then follow.
//!
//! The loop always reads on. Whatever takes time (a list, an inspection, a ping, a busy receiver) is waited for beside
//! the stream, never instead of it: the engine drops the events of a slow reader without a word.

use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant as Deadline, sleep_until};

use super::engine::Engine;
use super::events::{self, Message};
use super::pulse::{Ended, dead};
use super::refresh::Refresher;
use super::teller::{Heard, Teller};
use super::view::{Effects, View};
use crate::instance::InstanceId;

/// Between two complete lists, which heal whatever was missed.
const RELIST_EVERY: Duration = Duration::from_secs(60);
/// Until the next attempt at a list that failed.
const RELIST_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Whether somebody else tells of a Swarm's tasks, and when that changes.
pub(super) struct Yields {
    others: Option<watch::Receiver<bool>>,
}

impl Yields {
    pub(super) fn new(others: Option<watch::Receiver<bool>>) -> Self {
        Self { others }
    }

    fn now(&mut self) -> bool {
        self.others.as_mut().is_some_and(|others| *others.borrow_and_update())
    }

    /// Ends when it changes, with what it is then.
    async fn change(&mut self) -> bool {
        let Some(others) = &mut self.others else { return std::future::pending().await };
        if others.changed().await.is_err() {
            // Its last word stands.
            self.others = None;
            return std::future::pending().await;
        }
        self.now()
    }
}

/// Follows the engine until it is lost. `synced` is told the number of containers once the first list is in.
pub(super) async fn follow<E: Engine>(
    engine: &E,
    view: &mut View,
    teller: &mut Teller,
    yields: &mut Yields,
    synced: impl FnOnce(usize),
) -> Ended {
    let mut synced = Some(synced);
    let mut events = pin!(engine.events().await);
    let mut refresher = Refresher::new(engine.clone());
    let mut dead = pin!(dead(|| engine.ping()));
    view.hide_tasks(yields.now(), Instant::now());
    let mut epoch = view.begin_list();
    let mut list = pin!(engine.list().fuse());
    let mut listing = true;
    let mut relist_at = Deadline::now() + RELIST_EVERY;

    loop {
        refresher.begin(|id| view.epoch(id));
        let effects = tokio::select! {
            heard = teller.flush() => match heard {
                Heard::Yes => continue,
                Heard::No => return Ended::Unheard,
            },
            event = events.next() => match event {
                None => return Ended::Lost("the stream of events ended".to_owned()),
                Some(Err(reason)) => return Ended::Lost(format!("the stream of events broke: {reason}")),
                Some(Ok(message)) => {
                    let read_at = Instant::now();
                    let action = events::label(&message);
                    teller.count_event(action);
                    match events::read(message, SystemTime::now()) {
                        Message::Container(event) => {
                            tracing::debug!(container = event.id.short(), event = ?event.kind, "event");
                            view.apply(&event, read_at)
                        }
                        Message::Everything => {
                            relist_at = Deadline::now();
                            continue;
                        }
                        Message::Nothing => continue,
                    }
                }
            },
            refreshed = refresher.next(), if !refresher.is_idle() => {
                let Some(refreshed) = refreshed else { continue };
                match refreshed.outcome {
                    Ok(found) => view.refreshed(&refreshed.id, refreshed.epoch, found, Instant::now()),
                    Err(reason) => {
                        teller.count_error();
                        tracing::warn!(container = refreshed.id.short(), %reason, "can't inspect, will try again");
                        continue;
                    }
                }
            }
            result = &mut list, if listing => {
                listing = false;
                match result {
                    Ok(containers) => {
                        let count = containers.containers.len() + containers.unread.len();
                        if !containers.unread.is_empty() {
                            teller.count_error();
                            let names: Vec<_> = containers.unread.iter().map(InstanceId::short).collect();
                            tracing::warn!(
                                containers = names.join(", "),
                                "these containers can't be read; they are as they were, and are asked for again"
                            );
                        }
                        relist_at = relist_at.max(Deadline::now());
                        teller.count_sync(SystemTime::now());
                        if let Some(synced) = synced.take() {
                            synced(count);
                        }
                        view.listed(epoch, containers, Instant::now())
                    }
                    Err(reason) if view.is_live() => {
                        // What is known still follows the events; only the healing is late.
                        teller.count_error();
                        tracing::warn!(%reason, "can't list, will try again");
                        relist_at = Deadline::now() + RELIST_AFTER_FAILURE;
                        continue;
                    }
                    Err(reason) => return Ended::Lost(reason),
                }
            }
            () = sleep_until(relist_at), if !listing => {
                epoch = view.begin_list();
                list.set(engine.list().fuse());
                listing = true;
                relist_at = Deadline::now() + RELIST_EVERY;
                continue;
            }
            hide = yields.change() => view.hide_tasks(hide, Instant::now()),
            reason = &mut dead => return Ended::Lost(reason),
        };
        let Effects { changes, refresh } = effects;
        for (observed_at, change) in changes {
            teller.tell(observed_at, change);
        }
        for id in refresh {
            refresher.request(id);
        }
    }
}

#[cfg(test)]
mod tests;
