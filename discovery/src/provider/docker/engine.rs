//! The calls to the engine, each with its deadline, behind a trait so that the rest is tested without one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bollard::errors::Error;
use bollard::models::{ContainerSummary, EventMessage};
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Deserializer, de::Error as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::address::Address;
use super::connect::chain;
use super::observe::{self, Networks, Observed};
use super::raw::{Failure, Raw};
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

/// One line of the list.
struct Line {
    id: InstanceId,
    /// What else it says; `None` where that can't be read.
    model: Option<ContainerSummary>,
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = serde_json::Value::deserialize(deserializer)?;
        let id = line["Id"].as_str().filter(|id| !id.is_empty());
        let id = InstanceId::new(id.ok_or_else(|| D::Error::custom("a container without an id"))?);
        let read = serde_json::from_value(line);
        if let Err(error) = &read {
            tracing::debug!(container = id.short(), %error, "a line of the list can't be read");
        }
        Ok(Self { id, model: read.ok() })
    }
}

/// An engine behind bollard.
#[derive(Clone, Debug)]
pub(super) struct Bollard {
    client: bollard::Docker,
    /// bollard gives up a whole list at one word that it does not know, such as a state that only Podman has.
    raw: Raw,
    networks: Arc<Mutex<Arc<Networks>>>,
}

impl Bollard {
    pub(super) fn new(client: bollard::Docker, address: Address, api_version: String) -> Self {
        Self { client, raw: Raw::new(address, api_version), networks: Arc::default() }
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

    /// Completes a line of the list. An error is a container of which nothing more is known than that it is there.
    async fn complete(
        &self,
        line: Line,
        end: Instant,
        networks: &Networks,
    ) -> Result<Option<Listed>, InstanceId> {
        let Line { id, model } = line;
        let deadline = end.min(Instant::now() + COMPLETION_STEP_DEADLINE);
        match timeout_at(deadline, self.inspect(&id)).await {
            Ok(Ok(observed)) => Ok(observed.map(|observed| Listed { observed, inspected: true })),
            Ok(Err(_)) | Err(_) => {
                let observed = model.and_then(|model| observe::listed(model, networks)).ok_or(id)?;
                Ok(Some(Listed { observed, inspected: false }))
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
        let lines = timeout(LIST_DEADLINE, self.raw.list::<Line>("/containers/json?all=true"))
            .await
            .map_err(|_| format!("no list of containers within {} s", LIST_DEADLINE.as_secs()))?
            .map_err(|failure| match failure {
                Failure::NotFound => "no list of containers: there is none".to_owned(),
                Failure::Other(reason) => format!("no list of containers: {reason}"),
            })?;
        let end = Instant::now() + COMPLETION_DEADLINE;
        let mut completed = stream::iter(lines)
            .map(|line| self.complete(line, end, &networks))
            .buffer_unordered(INSPECTIONS_MAX);
        let mut listing = Listing::default();
        while let Some(completed) = completed.next().await {
            match completed {
                Ok(found) => listing.containers.extend(found),
                Err(id) => listing.unread.push(id),
            }
        }
        Ok(listing)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_word_that_nobody_knows_is_a_container_all_the_same() {
        let text = r#"[{"Id":"a","State":"running"},{"Id":"b","State":"initialized"},{"Id":"c","Ports":7}]"#;
        let lines: Vec<Line> = serde_json::from_str(text).unwrap();
        let read: Vec<_> = lines.iter().map(|line| (&*line.id.0, line.model.is_some())).collect();
        assert_eq!(read, [("a", true), ("b", false), ("c", false)]);
        assert!(serde_json::from_str::<Line>(r#"{"State":"running"}"#).is_err());
    }
}
