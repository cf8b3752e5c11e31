//! The Docker provider, which Podman's compatible API serves as well.
//!
//! ```text
//! connect ──▶ follow (one connection) ──▶ view (pure: what follows from what) ──▶ Update
//!    ▲            │  events, lists, inspections
//!    └── backoff ─┘  lost
//! ```
//!
//! Only this module and those below it know that Docker exists.

use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::metrics::Metrics;
use crate::provider::{Change, Provider, ProviderName, Update};

mod address;
mod backoff;
mod connect;
mod connect_error;
mod container;
mod engine;
mod events;
mod follow;
mod observe;
mod outbox;
mod pulse;
mod raw;
mod refresh;
mod service;
mod signal;
mod swarm;
mod teller;
mod time;
mod view;

pub use connect::{EngineInfo, probe};
pub use connect_error::ConnectError;
pub use swarm::{NAME as SWARM, Swarm, is_manager};

use backoff::Backoff;
use connect::connect;
use engine::Bollard;
use follow::{Yields, follow};
use pulse::Ended;
use teller::{Heard, Teller};
use view::View;

/// The providers that an engine may leave without a word.
pub fn names() -> [ProviderName; 2] {
    [NAME, SWARM].map(ProviderName::new)
}

/// The provider's name.
const NAME: &str = "docker";

/// The containers of one Docker Engine, or of Podman.
#[derive(Debug)]
pub struct Docker {
    host: Option<String>,
    metrics: Metrics,
    yields: Option<watch::Receiver<bool>>,
}

impl Docker {
    /// The engine at `host`, as in `DOCKER_HOST`; `None` leaves it to the environment, then the default socket.
    pub fn new(host: Option<String>, metrics: Metrics) -> Self {
        Self { host, metrics, yields: None }
    }

    /// The same, silent about tasks of a Swarm while `others` says that somebody else tells of them.
    #[must_use]
    pub fn yielding_tasks(mut self, others: watch::Receiver<bool>) -> Self {
        self.yields = Some(others);
        self
    }
}

impl Provider for Docker {
    fn name(&self) -> ProviderName {
        ProviderName::new(NAME)
    }

    async fn run(self, updates: mpsc::Sender<Update>) {
        let provider = self.name();
        let connected = self.metrics.connected.with_label_values(&[&*provider.0]);
        connected.set(0);
        let mut teller = Teller::new(provider, updates, self.metrics);
        let mut yields = Yields::new(self.yields);
        let mut view = View::default();
        let mut backoff = Backoff::from_entropy();
        let mut lost: Option<Lost> = None;
        loop {
            let reason = match connect(self.host.as_deref()).await {
                Err(error) => error.to_string(),
                Ok(connection) => {
                    view.reconnect(connection.address.host_ip());
                    let synced = |containers: usize| {
                        backoff.reset();
                        greet(&connection.info, containers, lost.take().as_ref());
                    };
                    let (address, version) = (connection.address, connection.info.api_version.clone());
                    let engine = Bollard::new(connection.client, address, version);
                    match follow(&engine, &mut view, &mut teller, &mut yields, synced).await {
                        Ended::Unheard => return,
                        Ended::Lost(reason) => reason,
                    }
                }
            };
            connected.set(0);
            teller.count_error();
            // Warned of once; a reason that changes is passed on, as it is what an operator is shown.
            match &mut lost {
                Some(known) if known.reason == reason => {}
                Some(known) => {
                    tracing::debug!(%reason, "the container engine still does not answer");
                    known.reason.clone_from(&reason);
                    teller.tell(Instant::now(), Change::Lost(reason));
                }
                None => {
                    tracing::warn!(%reason, "the container engine is lost; what it said last stands");
                    lost = Some(Lost { since: Instant::now(), reason: reason.clone() });
                    teller.tell(Instant::now(), Change::Lost(reason));
                }
            }
            if teller.rest(backoff.wait()).await == Heard::No {
                return;
            }
        }
    }
}

struct Lost {
    since: Instant,
    reason: String,
}

fn greet(engine: &EngineInfo, containers: usize, lost: Option<&Lost>) {
    match lost {
        None => tracing::info!("{engine} answered: {containers} containers"),
        Some(lost) => {
            let seconds = lost.since.elapsed().as_secs_f32();
            tracing::info!("{engine} answers again after {seconds:.1} s: {containers} containers");
        }
    }
}
