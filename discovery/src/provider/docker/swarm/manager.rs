//! The calls to a manager, each with its deadline, behind a trait so that the rest is tested without one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::{Stream, StreamExt};

use super::here;
use super::model::{Image, Info, Local, Network, Node, Service, Task};
use super::task::{GATEWAY, is_over, without_prefix};
use super::world::{Here, ImageFacts, Images, Seen};
use crate::provider::docker::address::Address;
use crate::provider::docker::connect::chain;
use crate::provider::docker::raw::{Failure, Raw};

/// The types of events that are read: the Swarm's own, and those of the engine's own containers.
const EVENT_TYPES: [&str; 5] = ["container", "service", "node", "network", "daemon"];
/// Tasks asked for by their ids at once, at most; of more, all are asked for.
const BY_ID_MAX: usize = 100;
/// Images asked for in one look, at most; the next look asks on.
const IMAGES_MAX: usize = 50;
/// Images remembered, at most; then all are forgotten, and those in use are asked for again.
const IMAGES_KEPT_MAX: usize = 10_000;

/// What a look is to bring besides tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Want {
    /// Services, nodes, networks and where this process is.
    pub(super) everything: bool,
    /// Services and nodes.
    pub(super) spec: bool,
    /// The tasks that were known to be there.
    pub(super) tasks: BTreeSet<String>,
    /// The services that are known.
    pub(super) services: BTreeSet<String>,
}

/// A manager of a Swarm.
pub(super) trait Manager: Clone + Send + Sync + 'static {
    /// What happens from now on. The stream ends when the connection does.
    fn events(&self) -> impl Future<Output = impl Stream<Item = Result<EventMessage, String>> + Send> + Send;

    /// Looks at tasks, and at what is wanted besides.
    fn look(&self, want: Want) -> impl Future<Output = Result<Seen, Failure>> + Send;

    /// Whether it still answers.
    fn ping(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// A manager behind its API.
#[derive(Clone, Debug)]
pub(super) struct Api {
    client: bollard::Docker,
    raw: Raw,
    /// Whether the engine runs on the machine that this process is on, as far as its address says so.
    is_here: bool,
    images: Arc<Mutex<Arc<Images>>>,
    place: Arc<Mutex<Place>>,
    /// The node of the engine, by its id.
    node: Arc<Mutex<String>>,
}

/// Where this process is, as it was last found out.
#[derive(Clone, Debug, Default)]
struct Place {
    here: Here,
    /// The containers that were looked for then: not all of them are reached from there.
    asked: BTreeSet<String>,
}

impl Api {
    pub(super) fn new(client: bollard::Docker, address: Address, api_version: String) -> Self {
        let is_here = matches!(address, Address::Unix(_));
        Self {
            client,
            raw: Raw::new(address, api_version),
            is_here,
            images: Arc::default(),
            place: Arc::default(),
            node: Arc::default(),
        }
    }

    /// Whether the engine is a manager now; remembers the id of its node.
    pub(super) async fn is_manager(&self) -> Result<bool, Failure> {
        let info: Info = self.raw.one("/info").await?;
        *self.node.lock().unwrap_or_else(PoisonError::into_inner) = info.swarm.node;
        Ok(info.swarm.control)
    }

    /// The node that this process is on, by its id: the engine's, where that is reached without a network.
    fn own_node(&self) -> Option<String> {
        let node = self.node.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.is_here && !node.is_empty()).then_some(node)
    }

    async fn tasks(&self, known: BTreeSet<String>) -> Result<Vec<Task>, Failure> {
        let mut tasks: Vec<Task> = self.raw.list(&filtered("/tasks", "desired-state", ["running"])).await?;
        let wanted: BTreeSet<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        let leaving: Vec<&String> = known.iter().filter(|id| !wanted.contains(id.as_str())).collect();
        if leaving.is_empty() {
            return Ok(tasks);
        }
        let mut more: Vec<Task> = if leaving.len() > BY_ID_MAX {
            self.raw.list("/tasks").await?
        } else {
            self.raw.list(&filtered("/tasks", "id", leaving.iter().map(|id| id.as_str()))).await?
        };
        // What came to run in between is in both; the later answer counts.
        more.retain(|task| known.contains(&task.id) && !is_over(&task.status.state));
        tasks.retain(|task| !more.iter().any(|later| later.id == task.id));
        tasks.append(&mut more);
        Ok(tasks)
    }

    /// The networks, and where this process is.
    async fn networks(&self, tasks: &[Task]) -> Result<(Vec<Network>, Here), Failure> {
        let networks: Vec<Network> = self.raw.list(&filtered("/networks", "scope", ["swarm"])).await?;
        let attached = networks.iter().filter(|network| !network.ingress && here::is_attached(network));
        let attached = attached.map(|network| network.id.clone()).collect();
        let place = Place {
            here: Here { node: self.own_node(), attached, gateways: self.gateways().await? },
            asked: on_overlays(tasks).cloned().collect(),
        };
        let here = place.here.clone();
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
        Ok((networks, here))
    }

    /// Where this process is now, if there are containers that were not looked for yet.
    async fn here_anew(&self, tasks: &[Task]) -> Result<Option<Here>, Failure> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !self.is_here || on_overlays(tasks).all(|container| place.asked.contains(container)) {
            return Ok(None);
        }
        place.here.gateways = self.gateways().await?;
        place.asked = on_overlays(tasks).cloned().collect();
        let here = place.here.clone();
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
        Ok(Some(here))
    }

    /// Where containers on overlay networks are reached from the host of this engine; nothing unless this process is on that.
    async fn gateways(&self) -> Result<BTreeMap<String, Ipv4Addr>, Failure> {
        if !self.is_here {
            return Ok(BTreeMap::new());
        }
        let bridge: Network = match self.raw.one(&format!("/networks/{GATEWAY}")).await {
            Ok(bridge) => bridge,
            Err(Failure::NotFound) => return Ok(BTreeMap::new()),
            Err(failure) => return Err(failure),
        };
        // Containers are on that bridge as well, and do not reach each other there: only who has its own address does.
        let mut gateways = bridge.ipam.config.iter().filter_map(|range| without_prefix(&range.gateway));
        if !gateways.any(here::is_own) {
            return Ok(BTreeMap::new());
        }
        let found = bridge.containers.into_iter().filter_map(|(container, place)| {
            match without_prefix(&place.ipv4)? {
                IpAddr::V4(ip) => Some((container, ip)),
                IpAddr::V6(_) => None,
            }
        });
        Ok(found.collect())
    }

    /// What is known of images, with those that these tasks have and that were not asked for before.
    async fn images(&self, tasks: &[Task]) -> Result<Arc<Images>, Failure> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let used: BTreeSet<&str> = tasks.iter().map(|task| task.spec.container.image.as_str()).collect();
        let unknown: Vec<&str> =
            used.into_iter().filter(|image| !image.is_empty() && !images.contains_key(*image)).collect();
        if unknown.is_empty() {
            return Ok(images);
        }
        let known = Arc::make_mut(&mut images);
        if known.len() > IMAGES_KEPT_MAX {
            known.clear();
        }
        for image in unknown.into_iter().take(IMAGES_MAX) {
            let facts = match self.raw.one::<Image>(&format!("/images/{}/json", escaped(image))).await {
                Ok(found) => Some(ImageFacts::from(found)),
                Err(Failure::NotFound) => None,
                Err(failure) => return Err(failure),
            };
            known.insert(image.to_owned(), facts);
        }
        *self.images.lock().unwrap_or_else(PoisonError::into_inner) = images.clone();
        Ok(images)
    }

    /// Forgets what was not found: it may have been pulled since.
    fn forget_missing_images(&self) {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if images.values().any(Option::is_none) {
            Arc::make_mut(&mut images).retain(|_, facts| facts.is_some());
        }
    }
}

impl Manager for Api {
    async fn events(&self) -> impl Stream<Item = Result<EventMessage, String>> + Send {
        let filters = [("type", EVENT_TYPES.to_vec())].into();
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        self.client.events(Some(options)).map(|event| event.map_err(|error| chain(&error)))
    }

    async fn look(&self, want: Want) -> Result<Seen, Failure> {
        if want.everything {
            self.forget_missing_images();
        }
        let tasks = self.tasks(want.tasks).await?;
        let stranger = tasks.iter().any(|task| !want.services.contains(&task.service));
        let mut seen = Seen { images: self.images(&tasks).await?, tasks, ..Seen::default() };
        if want.everything || want.spec || stranger {
            seen.services = Some(self.raw.list::<Service>("/services").await?);
        }
        if want.everything || want.spec {
            seen.nodes = Some(self.raw.list::<Node>("/nodes").await?);
        }
        if want.everything {
            let (networks, here) = self.networks(&seen.tasks).await?;
            (seen.networks, seen.here) = (Some(networks), Some(here));
            let of_tasks = filtered("/containers/json", "label", ["com.docker.swarm.task.id"]);
            seen.local = Some(self.raw.list::<Local>(&of_tasks).await?);
        } else {
            seen.here = self.here_anew(&seen.tasks).await?;
        }
        Ok(seen)
    }

    async fn ping(&self) -> Result<(), String> {
        self.client.ping().await.map(drop).map_err(|error| chain(&error))
    }
}

/// The containers of tasks that run and are on an overlay network.
fn on_overlays(tasks: &[Task]) -> impl Iterator<Item = &String> {
    let run = tasks.iter().filter(|task| task.status.state == "running");
    let on_overlay =
        |task: &&Task| task.attachments.iter().any(|place| place.network.driver.name == "overlay");
    run.filter(on_overlay).map(|task| &task.status.container.id)
}

/// A path with one filter: `?filters={"id":["a","b"]}`.
fn filtered<'a>(path: &str, filter: &str, values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<&str> = values.into_iter().collect();
    let filters = serde_json::json!({ filter: values }).to_string();
    format!("{path}?filters={}", escaped(&filters))
}

/// What must not stand in a path or a query as it is, escaped (RFC 3986 §2.1).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b':' | b'@' => {
                escaped.push(char::from(byte));
            }
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                escaped.push('%');
                escaped.push(char::from(DIGITS[usize::from(byte >> 4)]));
                escaped.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_written_as_the_engine_reads_it() {
        assert_eq!(
            filtered("/tasks", "id", ["a1", "b2"]),
            "/tasks?filters=%7B%22id%22%3A%5B%22a1%22%2C%22b2%22%5D%7D".replace("%3A", ":")
        );
        assert_eq!(escaped("nginx:1.27@sha256:ab"), "nginx:1.27@sha256:ab");
    }
}
