//! What labels on a container say: Traefik's `traefik.…`, and `portolan.…` in the same grammar plus what it lacks.
//!
//! A label that can't be read, or asks for what Portolan can't do yet, costs what it belongs to (a router, an option)
//! and is reported with its own name. Where a label is written under both prefixes, `portolan.` wins.

use std::collections::BTreeMap;

use crate::dynamic::tcp::ProxyVersion;
use crate::{DataPath, Dynamic, Protocol, Publish, PublishLimits};

mod decode;

/// Everything a container's labels ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    /// `enable`: whether HTTP routers are made; unless written, the operator's `exposedByDefault` decides.
    pub enable: Option<bool>,
    /// `portolan.service`: the name of the service this is a replica of.
    pub service: Option<String>,
    /// `docker.network`: the network whose address is used.
    pub network: Option<String>,
    /// `swarm.lbswarm`: whether a service of Swarm's is sent to by its one virtual address, which Swarm balances.
    pub swarm_balances: bool,
    /// `docker.allownonrunning`: whether it is asked for while it does not run.
    pub allow_non_running: bool,
    /// `portolan.publish`: host ports in front of all replicas.
    pub publish: Vec<Publish>,
    /// `portolan.publish.datapath`: how the bytes of those ports travel.
    pub data_path: Option<DataPath>,
    /// `portolan.publish.proxyprotocol`: whether replicas are told who the client is, and how.
    pub proxy_protocol: Option<ProxyVersion>,
    /// `portolan.publish.max…` and `.idletimeout`: how much those ports take.
    pub publish_limits: PublishLimits,
    /// `portolan.dns.…`: names in DNS.
    pub dns: DnsLabels,
    /// `portolan.port.NAME`: names for ports, as SRV records give them.
    pub ports: BTreeMap<String, (u16, Protocol)>,
    /// `http`, `tcp`, `udp` and `tls`: routers, services, middlewares.
    pub dynamic: Dynamic,
    /// What is wrong.
    pub faults: Vec<LabelFault>,
}

/// `portolan.dns.…`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsLabels {
    /// `names`: further names of the service; below the zone, or with a final dot whole.
    pub names: Vec<String>,
    /// `enable`: whether the container is in DNS; it is, unless written.
    pub enable: Option<bool>,
    /// `priority` of its SRV records.
    pub priority: Option<u16>,
    /// `weight` of its SRV records.
    pub weight: Option<u16>,
}

/// A label that can't be done as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelFault {
    /// The label, spelled as written.
    pub label: String,
    /// What is wrong with it.
    pub message: String,
}

impl Labels {
    /// Reads labels. Those of other programs are passed over.
    pub fn decode(labels: &BTreeMap<String, String>) -> Self {
        decode::decode(labels)
    }
}
