//! One connection to a manager, from subscription to loss: subscribe, then look, then look again and again.
//!
//! The loop always reads on; a look, a ping, a busy receiver are waited for beside the stream.

use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use bollard::models::{EventMessage, EventMessageTypeEnum};
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant as Deadline, sleep_until};

use super::manager::{Manager, Want};
use super::pace::Pace;
use super::view::View;
use crate::provider::docker::events::{self, Message};
use crate::provider::docker::pulse::{Ended, dead};
use crate::provider::docker::raw::Failure;
use crate::provider::docker::teller::{Heard, Teller};

/// Between two looks at everything, which heal whatever was missed.
const EVERYTHING_EVERY: Duration = Duration::from_secs(10);
/// Until the next look after one that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Follows the manager until it is lost. `synced` is told the number of services once the first look is in.
pub(super) async fn follow<M: Manager>(
    manager: &M,
    view: &mut View,
    teller: &mut Teller,
    mut pace: Pace,
    synced: impl FnOnce(usize),
) -> Ended {
    let mut synced = Some(synced);
    let mut events = pin!(manager.events().await);
    let mut dead = pin!(dead(|| manager.ping()));
    let mut asked = Instant::now();
    let mut everything_at = Deadline::now() + EVERYTHING_EVERY;
    let mut look = pin!(manager.look(Want { everything: true, ..wanted(view) }).fuse());
    let mut looking = true;
    // What events have told of since the last look began.
    let mut stale = false;
    let mut next = Deadline::now();

    loop {
        let changes = tokio::select! {
            heard = teller.flush() => match heard {
                Heard::Yes => continue,
                Heard::No => return Ended::Unheard,
            },
            event = events.next() => match event {
                None => return Ended::Lost("the stream of events ended".to_owned()),
                Some(Err(reason)) => return Ended::Lost(format!("the stream of events broke: {reason}")),
                Some(Ok(message)) => {
                    let read_at = Instant::now();
                    teller.count_event(events::label(&message));
                    if is_of_swarm(&message) {
                        tracing::debug!(action = message.action, "the Swarm changes");
                        pace.stir(Deadline::now());
                        (stale, next) = (true, Deadline::now());
                        continue;
                    }
                    match events::read(message, SystemTime::now()) {
                        Message::Container(event) => {
                            let changes = view.apply(&event, read_at);
                            // The tasks will say so too, and who takes its place.
                            if !changes.is_empty() {
                                pace.stir(Deadline::now());
                                next = Deadline::now();
                            }
                            changes
                        }
                        Message::Everything => {
                            (everything_at, next) = (Deadline::now(), Deadline::now());
                            continue;
                        }
                        Message::Nothing => continue,
                    }
                }
            },
            result = &mut look, if looking => {
                looking = false;
                let now = Deadline::now();
                match result {
                    Ok(seen) => {
                        let fresh = !view.is_live();
                        let changes = view.looked(seen, asked);
                        if !changes.is_empty() {
                            pace.stir(now);
                        }
                        if fresh {
                            teller.count_sync(SystemTime::now());
                        }
                        if let Some(synced) = synced.take() {
                            synced(view.count());
                        }
                        let paced = pace.next(now, asked.elapsed());
                        next = if stale { now } else { paced };
                        changes
                    }
                    Err(failure) if view.is_live() => {
                        // What is known stands, and so do the signs of this node; whether it is dead, a ping says.
                        teller.count_error();
                        tracing::warn!(reason = said(failure), "can't look at the Swarm, will try again");
                        (stale, everything_at) = (true, now);
                        next = now + AFTER_FAILURE;
                        continue;
                    }
                    Err(failure) => return Ended::Lost(said(failure)),
                }
            }
            () = sleep_until(next), if !looking => {
                let now = Deadline::now();
                let everything = now >= everything_at;
                if everything {
                    everything_at = now + EVERYTHING_EVERY;
                }
                asked = Instant::now();
                look.set(manager.look(Want { everything, spec: std::mem::take(&mut stale), ..wanted(view) }).fuse());
                looking = true;
                continue;
            }
            reason = &mut dead => return Ended::Lost(reason),
        };
        for (observed_at, change) in changes {
            teller.tell(observed_at, change);
        }
    }
}

fn wanted(view: &View) -> Want {
    Want { tasks: view.tasks(), services: view.services(), ..Want::default() }
}

/// Whether an event is about the Swarm as a whole: its services, nodes and networks.
fn is_of_swarm(message: &EventMessage) -> bool {
    let action = message.action.as_deref().unwrap_or_default();
    match message.typ {
        Some(EventMessageTypeEnum::SERVICE | EventMessageTypeEnum::NODE) => true,
        Some(EventMessageTypeEnum::NETWORK) => !matches!(action, "connect" | "disconnect"),
        _ => false,
    }
}

fn said(failure: Failure) -> String {
    match failure {
        Failure::Other(reason) => reason,
        Failure::NotFound => "there is no such list".to_owned(),
    }
}

#[cfg(test)]
mod tests;
