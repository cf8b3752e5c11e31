//! The file provider: Traefik's dynamic configuration from one file, or from all files of a directory.
//!
//! ```text
//! watch ──changed──▶ load (files to one configuration) ──▶ lookup (addresses of server names) ──▶ Update
//! ```
//!
//! A file that can't be read keeps its last good word, and is a fault with file and line. What was read is told whole:
//! nobody sees half of a change.

use std::time::{Duration, Instant, SystemTime};

use portolan_config::settings::FileProvider;
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::provider::{Change, Configured, Provider, ProviderName, Update};

mod load;
mod lookup;
mod watch;

use load::Loader;
use lookup::Lookup;
use watch::Watch;

/// Addresses of names are looked up again after this time.
const LOOKUP_AGAIN: Duration = Duration::from_secs(30);
/// Names without an address are looked up again after this time.
const LOOKUP_FAILED_AGAIN: Duration = Duration::from_secs(2);

/// The files of one place.
#[derive(Debug)]
pub struct File {
    settings: FileProvider,
    metrics: Metrics,
}

impl File {
    /// The files that `settings` name.
    pub fn new(settings: FileProvider, metrics: Metrics) -> Self {
        Self { settings, metrics }
    }
}

impl Provider for File {
    fn name(&self) -> ProviderName {
        ProviderName::new("file")
    }

    async fn run(self, updates: mpsc::Sender<Update>) {
        let provider = self.name();
        let mut watch = self.settings.watch.then(|| Watch::new(&self.settings.source));
        let mut loader = Loader::new(self.settings.source.clone());
        let mut lookup = Lookup::default();
        let mut observed_at = Instant::now();
        let mut told = false;
        loop {
            let loaded;
            (loader, loaded) = load(loader).await;
            let looked_up = lookup.run(loader.hosts()).await;
            if loaded || looked_up || !told {
                let configured = Configured {
                    dynamic: loader.dynamic(),
                    addresses: lookup.addresses().clone(),
                    faults: loader.faults(),
                };
                let failed = configured.faults.len() as u64;
                self.metrics.errors.with_label_values(&[&*provider.0]).inc_by(failed);
                self.metrics.synced(&provider, SystemTime::now());
                let change = Change::Configured(Box::new(configured));
                if updates.send(Update { provider: provider.clone(), observed_at, change }).await.is_err() {
                    return;
                }
                told = true;
            }
            let again = lookup.again(LOOKUP_AGAIN, LOOKUP_FAILED_AGAIN);
            tokio::select! {
                () = updates.closed() => return,
                () = rest(again) => observed_at = Instant::now(),
                at = changed(watch.as_mut()) => {
                    self.metrics.events.with_label_values(&[&*provider.0, "changed"]).inc();
                    observed_at = at;
                }
            }
        }
    }
}

/// Reads everything, on a thread of its own: a slow disk holds nobody up.
async fn load(loader: Loader) -> (Loader, bool) {
    let place = loader.place().clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut loader = loader;
        let changed = loader.load();
        (loader, changed)
    });
    // It panics only if reading does, and starts anew then.
    read.await.unwrap_or_else(|_| (Loader::new(place), false))
}

async fn rest(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

async fn changed(watch: Option<&mut Watch>) -> Instant {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
