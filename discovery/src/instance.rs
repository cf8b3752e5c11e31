//! One thing that runs (or ran): a container, a task, a process, as its provider saw it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::SystemTime;

use portolan_config::Protocol;
use serde::{Deserialize, Serialize};

use crate::kept::nanoseconds;

/// An instance's identity within its provider, for as long as it exists: a container's full id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct InstanceId(pub Arc<str>);

impl InstanceId {
    /// The identity spelled `id`.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The first twelve characters, as Docker shows an id and names it in DNS.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl From<String> for InstanceId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        (*id.0).to_owned()
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an instance is a replica of. Two instances of one provider with equal keys are replicas of one service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServiceKey {
    /// A Swarm service, by name.
    Swarm(String),
    /// A Compose service, within its project.
    Compose {
        /// The project's name.
        project: String,
        /// The service's name within the project.
        service: String,
    },
    /// Instances that say so themselves, with the label `portolan.service`.
    Label(String),
    /// A container alone, by its own name.
    Container(String),
}

impl ServiceKey {
    /// The name in routers, metrics and the table, in Traefik's form: `web-shop` for Compose's `web` of `shop`.
    pub fn name(&self) -> String {
        match self {
            Self::Swarm(name) | Self::Label(name) | Self::Container(name) => normalize(name),
            Self::Compose { project, service } => normalize(&format!("{service}_{project}")),
        }
    }

    /// The name as Traefik's templates have it in `.Name`, before it is normalized.
    pub fn template_name(&self) -> String {
        match self {
            Self::Swarm(name) | Self::Label(name) | Self::Container(name) => name.clone(),
            Self::Compose { project, service } => format!("{service}_{project}"),
        }
    }

    /// The names in DNS, most wanted first: a Compose service is `web`, and `web.shop` where that is not enough.
    pub fn dns_names(&self) -> Vec<String> {
        match self {
            Self::Swarm(name) | Self::Label(name) | Self::Container(name) => vec![name.clone()],
            Self::Compose { project, service } => vec![service.clone(), format!("{service}.{project}")],
        }
    }
}

/// Every run of characters that are neither letter nor digit becomes one `-`, none at the ends: Traefik's `normalize`.
pub fn normalize(name: &str) -> String {
    name.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// Whether an instance may be given work, and if not, why.
///
/// Presence and health are two facts: an instance in any of these states is in the chart; only [`State::Ready`] is
/// given work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Runs, and is healthy as far as its provider knows.
    Ready,
    /// Runs, but its health check has not passed yet.
    Starting,
    /// Runs, and its health check fails.
    Unhealthy,
    /// Was told to stop: what it has begun it may finish, nothing new is sent.
    Draining,
    /// Frozen by its operator.
    Paused,
    /// Exists, and does not run.
    Stopped,
}

impl State {
    /// Every state, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::Ready, Self::Starting, Self::Unhealthy, Self::Draining, Self::Paused, Self::Stopped];

    /// The word used in metrics, logs and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an instance is reached on one network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkAddress {
    /// The network's name.
    pub network: String,
    /// The engine's id of this attachment. It changes with every start, as addresses are given out again at once.
    pub endpoint_id: String,
    /// The IPv4 address, if it has one.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address, if it has one.
    pub ipv6: Option<Ipv6Addr>,
    /// The names it has on this network beside the instance's own.
    pub aliases: Vec<String>,
    /// Whether this process reaches it there. Where it does not, the address is for names alone: those who ask may be
    /// on the network.
    pub reached: bool,
}

/// A port that an instance says it listens on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// The transport.
    pub protocol: Protocol,
}

/// A port of the host that leads to a port of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Binding {
    /// The instance's port.
    pub port: Port,
    /// The host's address, where it is bound to one.
    pub ip: Option<IpAddr>,
    /// The host's port.
    pub host_port: u16,
}

/// A machine that an instance runs on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "WrittenNode")]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether this process is on it, as far as the provider knows.
    pub here: bool,
}

/// A node as it was kept: by an earlier version its name alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenNode {
    Name(String),
    Known { name: String, here: bool },
}

impl From<WrittenNode> for Node {
    fn from(written: WrittenNode) -> Self {
        match written {
            WrittenNode::Name(name) => Self { name, here: false },
            WrittenNode::Known { name, here } => Self { name, here },
        }
    }
}

/// One instance as its provider saw it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its identity within the provider.
    pub id: InstanceId,
    /// Its own name, without a leading slash.
    pub name: String,
    /// What it is a replica of.
    pub service: ServiceKey,
    /// The machine it runs on, where its provider tells of several.
    pub node: Option<Node>,
    /// The labels as written.
    pub labels: BTreeMap<String, String>,
    /// Where it is reached, the network to be preferred first. Empty when it is not running.
    pub networks: Vec<NetworkAddress>,
    /// The ports it exposes, lowest number first.
    pub ports: Vec<Port>,
    /// Ports of its host that lead to ports of its own. Where no network reaches it, they do.
    pub bindings: Vec<Binding>,
    /// What its environment says in nginx-proxy's words, `VIRTUAL_HOST` and its like; nothing else of it.
    pub virtual_host: BTreeMap<String, String>,
    /// Its state.
    pub state: State,
    /// Why it is in that state, in a few words: `running`, `kill signal 15`, `exited (137)`, `health check failed`.
    pub reason: String,
    /// When it entered that state.
    #[serde(with = "nanoseconds")]
    pub since: SystemTime,
    /// When it was created: of two instances that claim the same thing, the elder keeps it.
    #[serde(with = "nanoseconds")]
    pub created: SystemTime,
}
