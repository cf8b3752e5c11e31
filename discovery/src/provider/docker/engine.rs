//! The calls to the engine, each with its deadline, behind a trait so that the rest is tested without one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bollard::errors::Error;
use bollard::models::{ContainerSummary, EventMessage};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::chain;
use super::observe::{self, Networks, Observed};
use super::time;
use super::view::{Listed, Listing};
use crate::instance::InstanceId;

/// How long a list may take, without inspections.
const LIST_DEADLINE: Duration = Duration::from_secs(10);
/// How long all the inspections that complete a list may take.
const COMPLETION_DEADLINE: Duration = Duration::from_secs(10);
/// How long one of them may take before the list has to do.
const COMPLETION_STEP_DEADLINE: Duration = Duration::from_secs(2);
/// How long the engine may take to tell the time.
const CLOCK_DEADLINE: Duration = Duration::from_secs(2);
/// Inspections at a time, at most: each takes a lock in the engine.
pub(super) const INSPECTIONS_MAX: usize = 16;

/// The types of events that are read. bollard ends the stream at a type that it does not know, so the engine is asked
/// for no others; actions and scopes are not filtered, as Podman's filters for them match the wrong things.
const EVENT_TYPES: [&str; 3] = ["container", "network", "daemon"];

/// A container engine.
pub(super) trait Engine: Clone + Send + Sync + 'static {
    /// What happens from now on. The stream ends when the connection does.
    fn events(&self) -> impl Future<Output = impl Stream<Item = Result<EventMessage, String>> + Send> + Send;

    /// Every container.
    fn list(&self) -> impl Future<Output = Result<Listing, String>> + Send;

    /// One container; `None` when there is no such thing.
    fn inspect(&self, id: &InstanceId) -> impl Future<Output = Result<Option<Observed>, String>> + Send;

    /// Whether it still answers.
    fn ping(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// An engine behind bollard.
#[derive(Clone, Debug)]
pub(super) struct Bollard {
    client: bollard::Docker,
    networks: Arc<Mutex<Arc<Networks>>>,
}

impl Bollard {
    pub(super) fn new(client: bollard::Docker) -> Self {
        Self { client, networks: Arc::default() }
    }

    fn networks(&self) -> Arc<Networks> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the networks anew. Without them the old ones have to do: they only decide an order.
    async fn read_networks(&self) -> Arc<Networks> {
        match timeout(LIST_DEADLINE, self.client.list_networks(None)).await {
            Ok(Ok(models)) => {
                let read =
                    models.into_iter().filter_map(|model| Some((model.id?, model.internal?))).collect();
                *self.networks.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
            }
            Ok(Err(error)) => {
                tracing::debug!(error = %chain(&error), "the engine does not list its networks");
            }
            Err(_) => tracing::debug!("the engine does not list its networks in time"),
        }
        self.networks()
    }

    /// The engine's time, by its own clock.
    async fn clock(&self) -> Option<SystemTime> {
        let info = timeout(CLOCK_DEADLINE, self.client.info()).await.ok()?.ok()?;
        time::rfc3339(info.system_time.as_deref()?)
    }

    async fn complete(&self, model: ContainerSummary, end: Instant, networks: &Networks) -> Option<Listed> {
        let id = InstanceId::new(model.id.as_deref()?);
        let deadline = end.min(Instant::now() + COMPLETION_STEP_DEADLINE);
        match timeout_at(deadline, self.inspect(&id)).await {
            Ok(Ok(observed)) => observed.map(|observed| Listed { observed, inspected: true }),
            Ok(Err(_)) | Err(_) => {
                observe::listed(model, networks).map(|observed| Listed { observed, inspected: false })
            }
        }
    }
}

impl Engine for Bollard {
    async fn events(&self) -> impl Stream<Item = Result<EventMessage, String>> + Send {
        let filters = [("type", EVENT_TYPES.to_vec())].into();
        let mut options = EventsOptionsBuilder::default().filters(&filters);
        // The engine answers the request before it has subscribed us. Asking for what happened since a moment ago, by
        // its own clock, closes that gap.
        if let Some(now) = self.clock().await {
            options = options.since(&time::since(now));
        }
        self.client.events(Some(options.build())).map(|event| event.map_err(|error| chain(&error)))
    }

    async fn list(&self) -> Result<Listing, String> {
        let networks = self.read_networks().await;
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let models = timeout(LIST_DEADLINE, self.client.list_containers(Some(options)))
            .await
            .map_err(|_| format!("no list of containers within {} s", LIST_DEADLINE.as_secs()))?
            .map_err(|error| format!("no list of containers: {}", chain(&error)))?;
        let end = Instant::now() + COMPLETION_DEADLINE;
        let containers = stream::iter(models)
            .map(|model| self.complete(model, end, &networks))
            .buffer_unordered(INSPECTIONS_MAX)
            .filter_map(std::future::ready)
            .collect()
            .await;
        Ok(Listing { containers })
    }

    async fn inspect(&self, id: &InstanceId) -> Result<Option<Observed>, String> {
        match self.client.inspect_container(&id.0, None).await {
            Ok(model) => {
                let mut networks = self.networks();
                if observe::has_stranger(&model, &networks) {
                    networks = self.read_networks().await;
                }
                Ok(observe::inspected(model, &networks))
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(chain(&error)),
        }
    }

    async fn ping(&self) -> Result<(), String> {
        self.client.ping().await.map(drop).map_err(|error| chain(&error))
    }
}
