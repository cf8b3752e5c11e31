//! The Swarm provider: services and their tasks on all nodes, as a manager tells of them.
//!
//! ```text
//! connect ──▶ follow (one connection) ──▶ view (pure: what follows from what) ──▶ Update
//!    ▲            │  events; looks at tasks, fast while something happens
//!    └── backoff ─┘  lost
//! ```
//!
//! Labels are the service's (`deploy.labels`). A worker's engine does not tell of services: there, this provider asks the
//! manager that it is told of, and the Docker provider knows the node's own containers.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::backoff::Backoff;
use super::connect::connect;
use super::pulse::Ended;
use super::teller::{Heard, Teller};
use crate::metrics::Metrics;
use crate::provider::{Change, Provider, ProviderName, Update};

mod follow;
mod here;
mod manager;
mod model;
mod pace;
mod service;
mod task;
mod view;
mod world;

use crate::provider::docker::raw::Failure;
use follow::follow;
use manager::Api;
use pace::Pace;
use view::View;

/// The provider's name.
pub const NAME: &str = "swarm";

/// Between two questions whether the engine has become a manager.
const MANAGER_EVERY: Duration = Duration::from_secs(5);

/// The services of the Swarm that one engine manages.
#[derive(Debug)]
pub struct Swarm {
    host: Option<String>,
    refresh: Duration,
    /// Whether it was not asked for: then an engine that manages none is no failure.
    is_auto: bool,
    metrics: Metrics,
    owns: watch::Sender<bool>,
}

impl Swarm {
    /// The Swarm of the engine at `host`, as in `DOCKER_HOST`; `None` leaves it to the environment, then the default socket.
    /// `refresh` is the longest time between two looks.
    pub fn new(host: Option<String>, refresh: Duration, metrics: Metrics) -> Self {
        let owns = watch::Sender::new(false);
        Self { host, refresh, is_auto: false, metrics, owns }
    }

    /// The same where nobody asked for it: it has nothing to say while the engine manages no Swarm.
    #[must_use]
    pub fn if_manager(mut self) -> Self {
        self.is_auto = true;
        self
    }

    /// Whether this provider tells of tasks, so that nobody else should; `at_first` before it has asked.
    pub fn owns_tasks(&self, at_first: bool) -> watch::Receiver<bool> {
        self.owns.send_replace(at_first);
        self.owns.subscribe()
    }
}

/// Whether the engine at `host` manages a Swarm; not if it does not answer.
pub async fn is_manager(host: Option<&str>) -> bool {
    let Ok(connection) = connect(host).await else { return false };
    let api = Api::new(connection.client, connection.address, connection.info.api_version);
    matches!(tokio::time::timeout(super::connect::CONNECT_DEADLINE, api.is_manager()).await, Ok(Ok(true)))
}

/// What became of one attempt.
enum Attempt {
    Unheard,
    NotManager(String),
    Lost(String),
}

impl Provider for Swarm {
    fn name(&self) -> ProviderName {
        ProviderName::new(NAME)
    }

    async fn run(self, updates: mpsc::Sender<Update>) {
        let provider = self.name();
        let connected = self.metrics.connected.with_label_values(&[&*provider.0]);
        connected.set(0);
        let mut teller = Teller::new(provider, updates, self.metrics.clone());
        let mut view = View::default();
        let mut backoff = Backoff::from_entropy();
        let mut lost: Option<String> = None;
        // Whether there is no Swarm, and nothing was told of one.
        let mut nothing = self.is_auto && !*self.owns.borrow();
        loop {
            let synced = |services: usize| {
                self.owns.send_replace(true);
                match &lost {
                    None => tracing::info!(services, "the engine manages a Swarm"),
                    Some(_) => tracing::info!(services, "the manager of the Swarm answers again"),
                }
            };
            let attempt = self.attempt(&mut view, &mut teller, synced).await;
            connected.set(0);
            let (pause, reason) = match attempt {
                Attempt::Unheard => return,
                Attempt::NotManager(_) if self.is_auto => {
                    if !nothing {
                        teller.tell(Instant::now(), Change::Reset(Vec::new()));
                        self.owns.send_replace(false);
                    }
                    (nothing, lost) = (true, None);
                    if teller.rest(MANAGER_EVERY).await == Heard::No {
                        return;
                    }
                    continue;
                }
                Attempt::NotManager(reason) => {
                    let advice = "point `providers.swarm.endpoint` to a manager";
                    (MANAGER_EVERY, format!("the engine manages no Swarm ({reason}): {advice}"))
                }
                Attempt::Lost(reason) => (backoff.wait(), reason),
            };
            if view.is_live() {
                backoff.reset();
                lost = None;
            }
            if nothing && !view.is_live() {
                // The engine is away, and nobody has asked for a Swarm.
                if teller.rest(pause).await == Heard::No {
                    return;
                }
                continue;
            }
            nothing = false;
            teller.count_error();
            if lost.as_ref() != Some(&reason) {
                // The Docker provider has said so already of an engine that both ask.
                if lost.is_none() && !self.is_auto {
                    tracing::warn!(%reason, "the manager of the Swarm is lost; what it said last stands");
                }
                teller.tell(Instant::now(), Change::Lost(reason.clone()));
                lost = Some(reason);
            }
            if teller.rest(pause).await == Heard::No {
                return;
            }
        }
    }
}

impl Swarm {
    async fn attempt(&self, view: &mut View, teller: &mut Teller, synced: impl FnOnce(usize)) -> Attempt {
        view.reconnect();
        let connection = match connect(self.host.as_deref()).await {
            Ok(connection) => connection,
            Err(error) => return Attempt::Lost(error.to_string()),
        };
        let api = Api::new(connection.client, connection.address, connection.info.api_version);
        match api.is_manager().await {
            Ok(true) => {}
            Ok(false) => return Attempt::NotManager("it is a worker, or in no Swarm".to_owned()),
            Err(Failure::Other(reason)) => return Attempt::Lost(reason),
            Err(Failure::NotFound) => return Attempt::NotManager("it does not say".to_owned()),
        }
        match follow(&api, view, teller, Pace::new(self.refresh), synced).await {
            Ended::Unheard => Attempt::Unheard,
            Ended::Lost(reason) => Attempt::Lost(reason),
        }
    }
}
