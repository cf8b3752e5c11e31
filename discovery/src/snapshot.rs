//! The chart: everything that the proxy and the DNS server steer by, as one immutable value.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use portolan_config::dynamic::http::Observability;
use portolan_config::dynamic::middleware::Middleware;
use portolan_config::dynamic::service::{LoadBalancer, ServiceKind};
use portolan_config::dynamic::tcp::ProxyVersion;
use portolan_config::tls::{RouterTls, Scheme, ServersTransport, Tls};
use portolan_config::{DataPath, Fault, Protocol, Publish, PublishLimits, Rule};

use crate::instance::{Instance, InstanceId, ServiceKey, State};
use crate::order::Orders;
use crate::provider::ProviderName;

mod layer_four;

pub use layer_four::{LayerFour, TcpRouter, TcpUpstream, UdpRouter, UdpUpstream};

/// The world at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Grows with every snapshot; 0 is the empty one before anything was observed.
    pub generation: u64,
    /// The sources, and how far each is to be trusted.
    pub sources: Vec<SourceStatus>,
    /// The services, by qualified name.
    pub services: Vec<Arc<Service>>,
    /// The HTTP routers, by qualified name.
    pub routers: Vec<Arc<Router>>,
    /// What routers and publications send to, by qualified name.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Services that send to other services, by qualified name.
    pub composites: Vec<Arc<Composite>>,
    /// What routers and services let their requests go through, by qualified name.
    pub middlewares: Arc<BTreeMap<String, Arc<Middleware>>>,
    /// Who wrote each of those, for faults found later.
    pub middleware_origins: Arc<BTreeMap<String, String>>,
    /// The TCP and UDP side.
    pub layer_four: Arc<LayerFour>,
    /// The host ports asked for, by port.
    pub publications: Vec<Arc<Publication>>,
    /// What clients that speak TLS are shown, and what is asked of them.
    pub tls: Arc<Tls>,
    /// What could not be drawn as it was written.
    pub faults: Vec<Fault>,
    /// What operators ordered: endpoints that drain by it are shown so.
    pub orders: Arc<Orders>,
    /// The updates that this and the last few snapshots were the first to hold, oldest first.
    pub applied: Vec<Applied>,
}

impl Snapshot {
    /// Whether every source has given its first complete list. Before that, absence means nothing.
    pub fn is_complete(&self) -> bool {
        !self.sources.is_empty() && self.sources.iter().all(|source| source.last_sync.is_some())
    }
}

/// How one source stands.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    /// Its name.
    pub provider: ProviderName,
    /// When it last gave a complete list; `None` before the first.
    pub last_sync: Option<SystemTime>,
    /// Why it does not answer at present; `None` when it does. Its last word stands meanwhile.
    pub lost: Option<String>,
    /// Where its word is one that an earlier process kept: when that was last known to be true.
    pub kept: Option<SystemTime>,
}

/// An update that reached the chart, for measuring how long that took.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The first snapshot that holds it.
    pub generation: u64,
    /// Who reported it.
    pub provider: ProviderName,
    /// When it was reported.
    pub observed_at: Instant,
}

/// The replicas of one thing.
#[derive(Clone, Debug)]
pub struct Service {
    /// The qualified name: `web-shop@docker`.
    pub name: String,
    /// What makes its endpoints replicas of each other.
    pub key: ServiceKey,
    /// Who observed it.
    pub provider: ProviderName,
    /// Its replicas, by container name. Those that can't serve are here too, with the reason.
    pub endpoints: Vec<Arc<Endpoint>>,
}

/// The identity of an endpoint: one life of one instance, on one network.
///
/// Never an address: an engine gives an address out again right after its owner died, and the new owner must not
/// inherit the dead one's failures, counters or connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointKey {
    /// Who observed the instance.
    pub provider: ProviderName,
    /// The instance.
    pub instance: InstanceId,
    /// The engine's id of its attachment to the network; empty when it is attached to none.
    pub attachment: Arc<str>,
}

impl fmt::Display for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.instance.short(), self.provider)
    }
}

/// One replica of a service, at the address where it is reached.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its identity.
    pub key: EndpointKey,
    /// The instance behind it: names, networks, ports, labels.
    pub instance: Arc<Instance>,
    /// The ports it offers: those that labels name, the one HTTP goes to (as `http`), and those it exposes.
    pub ports: Vec<NamedPort>,
    /// The IPv4 address it is reached at.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address it is reached at.
    pub ipv6: Option<Ipv6Addr>,
    /// The instance's state.
    pub state: State,
    /// The reason for the state, as the instance has it, or why a running instance can't be reached.
    pub reason: String,
}

impl Endpoint {
    /// The address that traffic is sent to: IPv4 where there is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.ipv4.map(IpAddr::V4).or(self.ipv6.map(IpAddr::V6))
    }

    /// Whether it may be given new work.
    pub fn is_available(&self) -> bool {
        self.state == State::Ready && self.address().is_some()
    }
}

/// A port that an endpoint offers, as SRV records give it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPort {
    /// The number.
    pub number: u16,
    /// The transport.
    pub protocol: Protocol,
    /// The name, if it has one. `http` where HTTP routers send to it.
    pub name: Option<String>,
}

/// What traffic is sent to: endpoints, each with a port. Traefik calls an HTTP one a service.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The qualified name: `api@docker`.
    pub name: String,
    /// The places to send to, in the order of the service's endpoints.
    pub targets: Vec<Target>,
    /// What its requests go through after the router's, by qualified name, in order.
    pub middlewares: Vec<String>,
    /// How they are spread; its servers are the targets.
    pub balancing: Arc<LoadBalancer>,
    /// `passHostHeader`: whether the server sees the host that the client asked for.
    pub pass_host_header: bool,
    /// What connections to the targets are like.
    pub transport: Arc<ServersTransport>,
}

impl Upstream {
    /// One whose targets are spoken to as is usual.
    pub fn new(name: String, targets: Vec<Target>) -> Self {
        Self {
            name,
            targets,
            middlewares: Vec::new(),
            balancing: Arc::default(),
            pass_host_header: true,
            transport: Arc::default(),
        }
    }
}

/// One place to send traffic to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The port there.
    pub port: u16,
    /// How it is spoken to.
    pub scheme: Scheme,
    /// How much work it gets beside the others; none with 0.
    pub weight: u32,
    /// `preservePath`: what is put before the path of a request; empty where nothing is.
    pub path_prefix: Arc<str>,
    /// The URL of the server as it was written; empty where none was.
    pub url: Arc<str>,
    /// The host that the server goes by where it does not see the client's, with a port that is not the scheme's own;
    /// empty where it has no name but its address.
    pub host: Arc<str>,
}

impl Target {
    /// One that is spoken to in the clear.
    pub fn new(endpoint: Arc<Endpoint>, port: u16) -> Self {
        Self {
            endpoint,
            port,
            scheme: Scheme::Http,
            weight: 1,
            path_prefix: Arc::from(""),
            url: Arc::from(""),
            host: Arc::from(""),
        }
    }
}

/// An HTTP router: which requests go to which upstream.
#[derive(Clone, Debug)]
pub struct Router {
    /// The qualified name: `api@docker`.
    pub name: String,
    /// Which requests.
    pub rule: Rule,
    /// Higher is asked first. Unless written, the length of the rule as written.
    pub priority: i64,
    /// On which entry points; empty means every default one.
    pub entry_points: Vec<String>,
    /// Set where it takes only requests that came by TLS.
    pub tls: Option<RouterTls>,
    /// What its requests go through, by qualified name, in order; chains are taken apart.
    pub middlewares: Vec<String>,
    /// The same as it was written, where chains are among them; else nothing.
    pub chains: Vec<String>,
    /// What is told of its requests.
    pub observability: Observability,
    /// The qualified name of the upstream, or of the composite.
    pub upstream: String,
    /// Who wrote it, for faults found later: `container web-1`.
    pub origin: String,
}

impl Router {
    /// A router that sends what `rule` takes to `upstream`, on every default entry point.
    pub fn new(name: impl Into<String>, rule: Rule, upstream: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            rule,
            priority: 0,
            entry_points: Vec::new(),
            tls: None,
            middlewares: Vec::new(),
            chains: Vec::new(),
            observability: Observability::default(),
            upstream: upstream.into(),
            origin: String::new(),
        }
    }

    /// The middlewares that it names, chains as such.
    pub fn named(&self) -> &[String] {
        if self.chains.is_empty() { &self.middlewares } else { &self.chains }
    }
}

/// A service that sends to other services: weighted, highestRandomWeight, mirroring or failover.
#[derive(Clone, Debug, PartialEq)]
pub struct Composite {
    /// The qualified name.
    pub name: String,
    /// Which kind; the services in it by their qualified names.
    pub kind: ServiceKind,
    /// What its requests go through after the router's, by qualified name, in order.
    pub middlewares: Vec<String>,
}

/// A host port that a service asks for.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The port, and what it leads to.
    pub publish: Publish,
    /// The qualified name of the service that asked.
    pub service: String,
    /// The qualified name of the upstream.
    pub upstream: String,
    /// Who wrote it, for faults found later: `container web-1`.
    pub origin: String,
    /// How its bytes are to travel; the operator's choice unless written.
    pub data_path: Option<DataPath>,
    /// Whether replicas are told who the client is, and how.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How much it takes.
    pub limits: PublishLimits,
}
