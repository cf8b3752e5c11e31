//! What a manager says of services, tasks, nodes and networks: as much as is read here, and no more.
//!
//! The client library's own models have closed sets of words, one unknown of which fails a whole list, and its task has no
//! addresses. So these are lenient: what is missing or null is empty, and words stay words.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// What is null counts as missing: Go writes an empty map or list so.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Service {
    #[serde(rename = "ID", default, deserialize_with = "nullable")]
    pub(super) id: String,
    #[serde(rename = "CreatedAt", default, deserialize_with = "nullable")]
    pub(super) created_at: String,
    #[serde(rename = "Spec", default, deserialize_with = "nullable")]
    pub(super) spec: ServiceSpec,
    #[serde(rename = "Endpoint", default, deserialize_with = "nullable")]
    pub(super) endpoint: ServiceEndpoint,
}

/// What a service is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ServiceSpec {
    #[serde(rename = "Name", default, deserialize_with = "nullable")]
    pub(super) name: String,
    #[serde(rename = "Labels", default, deserialize_with = "nullable")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(rename = "TaskTemplate", default, deserialize_with = "nullable")]
    pub(super) task: TaskSpec,
    #[serde(rename = "Mode", default, deserialize_with = "nullable")]
    pub(super) mode: Mode,
}

/// How many tasks there are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Mode {
    #[serde(rename = "Replicated", default, deserialize_with = "nullable")]
    pub(super) replicated: Option<Replicated>,
}

/// So many, wherever there is room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Replicated {
    #[serde(rename = "Replicas", default, deserialize_with = "nullable")]
    pub(super) replicas: Option<u64>,
}

/// Where a service is reached as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ServiceEndpoint {
    #[serde(rename = "Ports", default, deserialize_with = "nullable")]
    pub(super) ports: Vec<ServicePort>,
    #[serde(rename = "VirtualIPs", default, deserialize_with = "nullable")]
    pub(super) addresses: Vec<VirtualAddress>,
}

/// A port that the routing mesh or the nodes publish.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ServicePort {
    #[serde(rename = "Protocol", default, deserialize_with = "nullable")]
    pub(super) protocol: String,
    #[serde(rename = "TargetPort", default, deserialize_with = "nullable")]
    pub(super) target: u16,
}

/// The address that Swarm balances, on one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct VirtualAddress {
    #[serde(rename = "NetworkID", default, deserialize_with = "nullable")]
    pub(super) network: String,
    #[serde(rename = "Addr", default, deserialize_with = "nullable")]
    pub(super) address: String,
}

/// One task: a container that is to run, runs or ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Task {
    #[serde(rename = "ID", default, deserialize_with = "nullable")]
    pub(super) id: String,
    #[serde(rename = "CreatedAt", default, deserialize_with = "nullable")]
    pub(super) created_at: String,
    #[serde(rename = "UpdatedAt", default, deserialize_with = "nullable")]
    pub(super) updated_at: String,
    #[serde(rename = "ServiceID", default, deserialize_with = "nullable")]
    pub(super) service: String,
    #[serde(rename = "Slot", default, deserialize_with = "nullable")]
    pub(super) slot: u64,
    #[serde(rename = "NodeID", default, deserialize_with = "nullable")]
    pub(super) node: String,
    #[serde(rename = "DesiredState", default, deserialize_with = "nullable")]
    pub(super) desired: String,
    #[serde(rename = "Status", default, deserialize_with = "nullable")]
    pub(super) status: TaskStatus,
    #[serde(rename = "Spec", default, deserialize_with = "nullable")]
    pub(super) spec: TaskSpec,
    #[serde(rename = "NetworksAttachments", default, deserialize_with = "nullable")]
    pub(super) attachments: Vec<TaskAttachment>,
}

/// What a task is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct TaskSpec {
    #[serde(rename = "ContainerSpec", default, deserialize_with = "nullable")]
    pub(super) container: ContainerSpec,
    #[serde(rename = "Networks", default, deserialize_with = "nullable")]
    pub(super) networks: Vec<Joined>,
}

/// What its container is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ContainerSpec {
    #[serde(rename = "Image", default, deserialize_with = "nullable")]
    pub(super) image: String,
    #[serde(rename = "StopSignal", default, deserialize_with = "nullable")]
    pub(super) stop_signal: String,
}

/// A network that tasks are to be on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Joined {
    #[serde(rename = "Target", default, deserialize_with = "nullable")]
    pub(super) target: String,
    #[serde(rename = "Aliases", default, deserialize_with = "nullable")]
    pub(super) aliases: Vec<String>,
}

/// What has become of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct TaskStatus {
    #[serde(rename = "Timestamp", default, deserialize_with = "nullable")]
    pub(super) at: String,
    #[serde(rename = "State", default, deserialize_with = "nullable")]
    pub(super) state: String,
    #[serde(rename = "Err", default, deserialize_with = "nullable")]
    pub(super) error: String,
    #[serde(rename = "ContainerStatus", default, deserialize_with = "nullable")]
    pub(super) container: ContainerStatus,
    #[serde(rename = "PortStatus", default, deserialize_with = "nullable")]
    pub(super) ports: PortStatus,
}

/// Its container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ContainerStatus {
    #[serde(rename = "ContainerID", default, deserialize_with = "nullable")]
    pub(super) id: String,
}

/// Ports of its node that lead to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct PortStatus {
    #[serde(rename = "Ports", default, deserialize_with = "nullable")]
    pub(super) ports: Vec<HostPort>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct HostPort {
    #[serde(rename = "Protocol", default, deserialize_with = "nullable")]
    pub(super) protocol: String,
    #[serde(rename = "TargetPort", default, deserialize_with = "nullable")]
    pub(super) target: u16,
    #[serde(rename = "PublishedPort", default, deserialize_with = "nullable")]
    pub(super) published: u16,
    #[serde(rename = "PublishMode", default, deserialize_with = "nullable")]
    pub(super) mode: String,
}

/// A place on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct TaskAttachment {
    #[serde(rename = "Network", default, deserialize_with = "nullable")]
    pub(super) network: AttachedNetwork,
    #[serde(rename = "Addresses", default, deserialize_with = "nullable")]
    pub(super) addresses: Vec<String>,
}

/// The network of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct AttachedNetwork {
    #[serde(rename = "ID", default, deserialize_with = "nullable")]
    pub(super) id: String,
    #[serde(rename = "Spec", default, deserialize_with = "nullable")]
    pub(super) spec: NetworkSpec,
    #[serde(rename = "DriverState", default, deserialize_with = "nullable")]
    pub(super) driver: Driver,
}

/// What that is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct NetworkSpec {
    #[serde(rename = "Name", default, deserialize_with = "nullable")]
    pub(super) name: String,
    #[serde(rename = "Ingress", default, deserialize_with = "nullable")]
    pub(super) ingress: bool,
}

/// What makes a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Driver {
    #[serde(rename = "Name", default, deserialize_with = "nullable")]
    pub(super) name: String,
}

/// A machine of the Swarm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Node {
    #[serde(rename = "ID", default, deserialize_with = "nullable")]
    pub(super) id: String,
    #[serde(rename = "Description", default, deserialize_with = "nullable")]
    pub(super) description: NodeDescription,
    #[serde(rename = "Status", default, deserialize_with = "nullable")]
    pub(super) status: NodeStatus,
    #[serde(rename = "ManagerStatus", default, deserialize_with = "nullable")]
    pub(super) manager: ManagerStatus,
}

/// What it says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct NodeDescription {
    #[serde(rename = "Hostname", default, deserialize_with = "nullable")]
    pub(super) hostname: String,
}

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct NodeStatus {
    #[serde(rename = "State", default, deserialize_with = "nullable")]
    pub(super) state: String,
    #[serde(rename = "Addr", default, deserialize_with = "nullable")]
    pub(super) address: String,
}

/// What it is as a manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ManagerStatus {
    #[serde(rename = "Addr", default, deserialize_with = "nullable")]
    pub(super) address: String,
}

/// A network, as the list of networks has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Network {
    #[serde(rename = "Id", default, deserialize_with = "nullable")]
    pub(super) id: String,
    #[serde(rename = "Name", default, deserialize_with = "nullable")]
    pub(super) name: String,
    #[serde(rename = "Driver", default, deserialize_with = "nullable")]
    pub(super) driver: String,
    #[serde(rename = "Ingress", default, deserialize_with = "nullable")]
    pub(super) ingress: bool,
    #[serde(rename = "Containers", default, deserialize_with = "nullable")]
    pub(super) containers: BTreeMap<String, Contained>,
    #[serde(rename = "IPAM", default, deserialize_with = "nullable")]
    pub(super) ipam: Ipam,
}

/// Its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Ipam {
    #[serde(rename = "Config", default, deserialize_with = "nullable")]
    pub(super) config: Vec<IpamConfig>,
}

/// A range of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct IpamConfig {
    #[serde(rename = "Subnet", default, deserialize_with = "nullable")]
    pub(super) subnet: String,
    #[serde(rename = "Gateway", default, deserialize_with = "nullable")]
    pub(super) gateway: String,
}

/// A container on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Contained {
    #[serde(rename = "IPv4Address", default, deserialize_with = "nullable")]
    pub(super) ipv4: String,
}

/// What an engine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Info {
    #[serde(rename = "Swarm", default, deserialize_with = "nullable")]
    pub(super) swarm: SwarmInfo,
}

/// Its part in a Swarm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct SwarmInfo {
    #[serde(rename = "NodeID", default, deserialize_with = "nullable")]
    pub(super) node: String,
    #[serde(rename = "ControlAvailable", default, deserialize_with = "nullable")]
    pub(super) control: bool,
}

/// An image, where the engine has it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Image {
    #[serde(rename = "Config", default, deserialize_with = "nullable")]
    pub(super) config: ImageConfig,
}

/// What containers of an image are like.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ImageConfig {
    #[serde(rename = "ExposedPorts", default, deserialize_with = "nullable")]
    pub(super) ports: BTreeMap<String, serde_json::Value>,
    #[serde(rename = "StopSignal", default, deserialize_with = "nullable")]
    pub(super) stop_signal: String,
}

/// A container of the engine's own node, as its list has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Local {
    #[serde(rename = "Id", default, deserialize_with = "nullable")]
    pub(super) id: String,
    #[serde(rename = "State", default, deserialize_with = "nullable")]
    pub(super) state: String,
    #[serde(rename = "Status", default, deserialize_with = "nullable")]
    pub(super) status: String,
}
