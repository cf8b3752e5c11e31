//! The TCP and UDP side of the chart: routers for connections and datagrams, and what they send to.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_config::dynamic::tcp::{
    LayerFourWeighted, TcpLoadBalancer, TcpMiddleware, TcpRouterTls, TcpTransport,
};
use portolan_config::rule::TcpRule;

use super::{Target, Upstream};

/// Routers and services of layer 4.
#[derive(Clone, Debug, Default)]
pub struct LayerFour {
    /// The TCP routers, by qualified name.
    pub tcp_routers: Vec<Arc<TcpRouter>>,
    /// What they send to, by qualified name.
    pub tcp_upstreams: BTreeMap<String, Arc<TcpUpstream>>,
    /// What their connections go through, by qualified name.
    pub tcp_middlewares: BTreeMap<String, Arc<TcpMiddleware>>,
    /// The UDP routers, by qualified name.
    pub udp_routers: Vec<Arc<UdpRouter>>,
    /// What they send to, by qualified name.
    pub udp_upstreams: BTreeMap<String, Arc<UdpUpstream>>,
}

/// A TCP router: which connections go where.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpRouter {
    /// The qualified name.
    pub name: String,
    /// Which connections.
    pub rule: TcpRule,
    /// Higher is asked first. Unless written, the length of the rule as written; a lone ``HostSNI(`*`)`` is last.
    pub priority: i64,
    /// On which entry points; empty means every default one.
    pub entry_points: Vec<String>,
    /// What its connections go through, by qualified name, in order.
    pub middlewares: Vec<String>,
    /// Set where it takes TLS, and then only that. Its options are a qualified name.
    pub tls: Option<TcpRouterTls>,
    /// The qualified name of the upstream.
    pub upstream: String,
    /// Who wrote it, for faults found later.
    pub origin: String,
}

/// What TCP routers send to.
#[derive(Clone, Debug)]
pub enum TcpUpstream {
    /// Spread over targets.
    Targets {
        /// The places to send to, `https` where they are spoken to by TLS. Its name tells it from an HTTP one:
        /// `db@docker/tcp`.
        upstream: Arc<Upstream>,
        /// How; its servers are the targets.
        balancing: Arc<TcpLoadBalancer>,
        /// What connections to them are like.
        transport: Arc<TcpTransport>,
    },
    /// Spread over other upstreams, by their qualified names.
    Weighted(LayerFourWeighted),
}

/// A UDP router: what a UDP entry point leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpRouter {
    /// The qualified name.
    pub name: String,
    /// On which entry points; empty means every default one.
    pub entry_points: Vec<String>,
    /// The qualified name of the upstream.
    pub upstream: String,
    /// Who wrote it, for faults found later.
    pub origin: String,
}

/// What UDP routers send to.
#[derive(Clone, Debug)]
pub enum UdpUpstream {
    /// Spread over targets.
    Targets(Vec<Target>),
    /// Spread over other upstreams, by their qualified names.
    Weighted(LayerFourWeighted),
}
