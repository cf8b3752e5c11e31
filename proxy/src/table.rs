//! The table that traffic is served by: immutable, compiled from a snapshot, replaced whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use portolan_config::dynamic::tcp::ProxyVersion;
use portolan_config::rule::RequestView;
use portolan_config::tls::Scheme;
use portolan_config::{DataPath, ListenAddress, Protocol, PublishLimits};

use crate::balancer::{Load, Plan, Running};
use crate::budget::{Allowance, Budget};
use crate::census::Census;
use crate::health::outlier::Judge;
use crate::http::Reason;
use crate::metrics::{EndpointCounters, Scope};
use crate::places::{Bounds, Places};
use crate::sticky::Sticky;

mod chains;
mod compile;
mod composite;
mod datagrams;
mod destination;
mod filed;
mod path;
mod reach;
mod redirections;
mod routes;
mod secure;
pub(crate) mod tcp;
mod way;

pub use chains::faults_of_unused;
pub use compile::compile;
pub(crate) use composite::Part;
pub(crate) use datagrams::{Chosen, Datagrams, Led};
pub(crate) use destination::{Ask, Destination, Mirror};
use filed::Filed;
pub(crate) use path::{path_at, routing_host, routing_path, rule_path};
pub(crate) use reach::Reach;
pub(crate) use routes::{Route, Routes};
pub(crate) use secure::{Choice, DEFAULT as DEFAULT_OPTIONS};
pub(crate) use way::{Errors, Turn, Way};

type Map<K, V> = HashMap<K, V, RandomState>;

/// Everything the workers steer by.
#[derive(Debug, Default)]
pub struct Table {
    /// The snapshot's generation.
    pub generation: u64,
    /// Whether every source has said what there is, so that what is not here is not there.
    pub(crate) is_complete: bool,
    /// What each entry point takes, by its name.
    pub(crate) entry_points: Map<String, Entry>,
    /// The upstreams, by qualified name.
    pub upstreams: Map<String, Arc<Upstream>>,
    /// All services that something can be sent to, by qualified name.
    pub(crate) destinations: Map<String, Arc<Destination>>,
    /// The published ports, by where they listen.
    pub(crate) publications: BTreeMap<Port, Published>,
    /// Where each UDP entry point leads, by its name.
    pub(crate) datagrams: Map<String, Led>,
    /// What TCP routers may lead to, by qualified name.
    pub(crate) tcp_services: tcp::Services,
    /// How the bytes of TCP services travel that say nothing of it.
    pub(crate) data_path: DataPath,
}

/// What one entry point takes.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// The routes of requests in the clear.
    plain: Routes,
    /// Those of requests that came by TLS.
    secure: Routes,
    /// Which options of TLS a connection is taken by.
    pub(crate) options: Choice,
    /// The TCP routers.
    pub(crate) connections: tcp::Connections,
}

impl Entry {
    /// The routes of requests that came this way.
    pub(crate) fn routes(&self, secure: bool) -> &Routes {
        if secure { &self.secure } else { &self.plain }
    }
}

impl Table {
    /// The numbers of all targets that may be given work.
    pub(crate) fn offered(&self) -> HashSet<u64> {
        self.upstreams.values().flat_map(|upstream| &upstream.available).map(|target| target.id).collect()
    }

    /// Why a request is turned away that no route takes.
    pub(crate) fn no_route(&self) -> Reason {
        if self.is_complete { Reason::NoRoute } else { Reason::NotReady }
    }

    /// The name of the router that takes the request in the clear, at this entry point.
    pub fn find(&self, entry_point: &str, request: &RequestView<'_>) -> Option<&str> {
        let routes = self.entry_points.get(entry_point)?.routes(false);
        routes.find(request).map(|route| route.router.name.as_str())
    }
}

/// A published port, by where it listens. Which service that is for at the moment, the table says: it can pass from
/// one to another without the socket being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Port {
    pub(crate) address: ListenAddress,
    pub(crate) protocol: Protocol,
}

/// Where a published port leads.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// The qualified name of the upstream.
    pub(crate) upstream: String,
    /// Who asked for it, for faults: `container web-1`.
    pub(crate) origin: String,
    /// How its bytes are to travel.
    pub(crate) data_path: Option<DataPath>,
    /// Whether replicas are told who the client is, and how.
    pub(crate) proxy_protocol: Option<ProxyVersion>,
    /// How much it takes.
    pub(crate) limits: PublishLimits,
    /// Who counts its connections.
    pub(crate) census: Option<Arc<Census>>,
}

impl Published {
    /// Whether endpoints are to see the client's own address.
    pub(crate) fn is_transparent(&self) -> bool {
        self.data_path == Some(DataPath::Transparent)
    }
}

/// A set of targets of which one is chosen for each piece of work.
#[derive(Debug)]
pub struct Upstream {
    /// The qualified name.
    pub name: String,
    /// Those that may be given work.
    pub available: Vec<Arc<Target>>,
    /// How many there are in each state, by its word; for saying why none is available.
    pub states: Vec<(&'static str, usize)>,
    /// How one is chosen.
    pub plan: Plan,
    /// Those on this machine, where they go before the others.
    pub(crate) near: Option<Near>,
    /// Whether the server sees the host that the client asked for.
    pub pass_host_header: bool,
    /// Where the rotation stands.
    pub cursor: Arc<Cursor>,
    /// How much may be sent again.
    pub(crate) budget: Arc<Budget>,
    /// How much of what came.
    pub(crate) allowance: Allowance,
    /// How many requests there may be at a time, where that is limited.
    pub(crate) bounds: Option<Bounds>,
    /// Those there are, and who waits.
    pub(crate) places: Arc<Places>,
    /// The cookie by which a client stays with its target, where there is one.
    pub(crate) sticky: Option<Sticky>,
    /// What it counts into.
    pub scope: Arc<Scope>,
}

/// Targets that go before the others, and how one of them is chosen.
#[derive(Debug)]
pub(crate) struct Near {
    pub(crate) targets: Vec<Arc<Target>>,
    pub(crate) plan: Plan,
}

impl Upstream {
    /// Why nothing is available, for the answer and the log: `3 endpoints: 2 stopped, 1 unhealthy`.
    pub fn why_unavailable(&self) -> String {
        let total: usize = self.states.iter().map(|(_, count)| count).sum();
        let plural = if total == 1 { "endpoint" } else { "endpoints" };
        let states: Vec<String> =
            self.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        format!("{total} {plural}: {}", states.join(", "))
    }
}

/// Where round robin stands. Shared by all workers, so that the rotation is even over any number of them, and kept
/// when the table is compiled anew.
#[derive(Debug, Default)]
pub struct Cursor(AtomicUsize);

impl Cursor {
    /// The next turn's number.
    pub(crate) fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// How many turns were taken.
    pub(crate) fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One place to send traffic to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Stands for this port of this life of this instance; pools and retries go by it, never by the address.
    pub id: u64,
    /// Where it is now.
    pub address: SocketAddr,
    /// Where it is by IPv6, if it is reached by IPv4 otherwise. For clients whose own address it is to see.
    pub(crate) by_v6: Option<SocketAddr>,
    /// How it is spoken to.
    pub scheme: Scheme,
    /// The host that the server goes by; empty where it has no name but its address.
    pub host: Arc<str>,
    /// What is put before the path of a request; empty where nothing is.
    pub path_prefix: Arc<str>,
    /// Its share beside the others; never 0.
    pub(crate) weight: u32,
    /// What hashes go by: the same for this port of this instance in every life and every process.
    pub(crate) key: u64,
    /// How it has been doing.
    pub(crate) load: Arc<Load>,
    /// Who judges it by its answers, where anybody does.
    pub(crate) judge: Option<Arc<Judge>>,
    /// The endpoint's name.
    pub endpoint: String,
    /// Deadlines and limits of connections to it.
    pub(crate) reach: Reach,
    /// What it counts into.
    pub counters: EndpointCounters,
}

impl Target {
    /// Where it is for a client of this address, which it is to see: by the same family, if it has an address of that.
    pub(crate) fn address_for(&self, client: IpAddr) -> SocketAddr {
        self.by_v6.filter(|_| client.to_canonical().is_ipv6()).unwrap_or(self.address)
    }

    /// Counts work for it, where its upstream goes by that.
    pub(crate) fn begin(&self, upstream: &Upstream) -> Option<Running> {
        upstream.plan.is_by_load().then(|| Running::begin(self.load.clone()))
    }
}

impl Upstream {
    /// One of so many targets where nothing listens, for tests and measurements.
    ///
    /// # Panics
    /// Not with metrics of its own.
    #[doc(hidden)]
    pub fn made_up(name: &str, targets: usize) -> Self {
        let metrics =
            crate::metrics::Metrics::register(&prometheus::Registry::new()).expect("a registry of its own");
        let target = |index: usize| Target {
            id: index as u64,
            address: SocketAddr::from(([127, 0, 0, 1], 1000 + index as u16)),
            by_v6: None,
            scheme: Scheme::Http,
            host: Arc::from(""),
            path_prefix: Arc::from(""),
            weight: 1,
            key: crate::balancer::hash::mix(index as u64),
            load: Arc::default(),
            judge: None,
            endpoint: format!("endpoint-{index}"),
            reach: Reach::default(),
            counters: metrics.endpoint(name, &format!("endpoint-{index}")),
        };
        Self {
            name: name.to_owned(),
            available: (0..targets).map(|index| Arc::new(target(index))).collect(),
            states: Vec::new(),
            plan: Plan::default(),
            near: None,
            pass_host_header: true,
            cursor: Arc::default(),
            budget: Arc::new(Budget::new()),
            allowance: Allowance::default(),
            bounds: None,
            places: Arc::default(),
            sticky: None,
            scope: Arc::new(metrics.service(name)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An upstream of one target for each flag, available or not, at 127.0.0.1.
    pub(crate) fn upstream(available: &[bool]) -> Upstream {
        let mut upstream = Upstream::made_up("test", available.len());
        upstream.available.retain(|target| available[target.id as usize]);
        upstream.states = vec![("stopped", available.iter().filter(|available| !**available).count())];
        upstream
    }

    #[test]
    fn an_upstream_says_why_it_can_not_serve() {
        assert_eq!(upstream(&[false, false]).why_unavailable(), "2 endpoints: 2 stopped");
    }
}
