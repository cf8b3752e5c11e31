//! Where the observations go: to the registry, without ever waiting for it, and into the metrics.

use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::outbox::Outbox;
use crate::metrics::Metrics;
use crate::provider::{Change, ProviderName, Update};

/// The way to the registry.
pub(super) struct Teller {
    provider: ProviderName,
    updates: mpsc::Sender<Update>,
    metrics: Metrics,
    outbox: Outbox,
}

/// Whether anybody listens still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Yes,
    No,
}

impl Teller {
    pub(super) fn new(provider: ProviderName, updates: mpsc::Sender<Update>, metrics: Metrics) -> Self {
        Self { provider, updates, metrics, outbox: Outbox::default() }
    }

    /// Tells what can be told at once; the rest waits for [`Teller::flush`].
    pub(super) fn tell(&mut self, observed_at: Instant, change: Change) {
        self.outbox.push(Update { provider: self.provider.clone(), observed_at, change });
        while !self.outbox.is_empty()
            && let Ok(permit) = self.updates.try_reserve()
            && let Some(update) = self.outbox.pop()
        {
            permit.send(update);
        }
    }

    /// Waits until the receiver takes one more of what waits, or is gone. With nothing to tell it waits for the latter.
    /// Nothing is lost when it is cancelled.
    pub(super) async fn flush(&mut self) -> Heard {
        if self.outbox.is_empty() {
            self.updates.closed().await;
            return Heard::No;
        }
        match self.updates.reserve().await {
            Ok(permit) => {
                if let Some(update) = self.outbox.pop() {
                    permit.send(update);
                }
                Heard::Yes
            }
            Err(_) => Heard::No,
        }
    }

    /// Does nothing for so long but tell what waits.
    pub(super) async fn rest(&mut self, pause: Duration) -> Heard {
        let mut over = std::pin::pin!(sleep(pause));
        loop {
            tokio::select! {
                () = &mut over => return Heard::Yes,
                heard = self.flush() => if heard == Heard::No {
                    return Heard::No;
                },
            }
        }
    }

    pub(super) fn count_event(&self, action: &str) {
        self.metrics.events.with_label_values(&[&*self.provider.0, action]).inc();
    }

    pub(super) fn count_error(&self) {
        self.metrics.errors.with_label_values(&[&*self.provider.0]).inc();
    }

    /// A complete list was taken, and the engine answers.
    pub(super) fn count_sync(&self, now: SystemTime) {
        self.metrics.synced(&self.provider, now);
    }
}
