//! TCP routers and services of a world.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use portolan_config::Protocol;
use portolan_config::dynamic::http::RuleSyntax;
use portolan_config::dynamic::service::WeightedChild;
use portolan_config::dynamic::tcp::{LayerFourWeighted, TcpLoadBalancer, TcpRouterTls, TcpTransport};
use portolan_config::rule::TcpRule;
use portolan_config::tls::Scheme;
use portolan_discovery::{LayerFour, Target, TcpRouter, TcpUpstream, Upstream};

use super::{Wire, World, place};

/// TLS that is left to the endpoint.
pub(crate) fn passthrough() -> TcpRouterTls {
    TcpRouterTls { passthrough: true, ..TcpRouterTls::default() }
}

impl World {
    /// From now on, the TCP service `NAME@test` is at these places.
    pub(crate) fn serve_tcp(&mut self, name: &str, targets: Vec<Target>) {
        self.serve_tcp_by(name, targets, TcpTransport::default());
    }

    /// The same, over connections like these.
    pub(crate) fn serve_tcp_by(&mut self, name: &str, targets: Vec<Target>, transport: TcpTransport) {
        self.add_tcp_service(name, targets, TcpLoadBalancer::default(), transport);
    }

    /// The same, with this said of the service.
    pub(crate) fn spread_tcp(&mut self, name: &str, targets: Vec<Target>, balancing: TcpLoadBalancer) {
        self.add_tcp_service(name, targets, balancing, TcpTransport::default());
    }

    fn add_tcp_service(
        &mut self,
        name: &str,
        targets: Vec<Target>,
        balancing: TcpLoadBalancer,
        transport: TcpTransport,
    ) {
        let mut upstream = Upstream::new(format!("{name}@test/tcp"), targets);
        upstream.transport = Arc::new(transport.connections.clone());
        let places = TcpUpstream::Targets {
            upstream: Arc::new(upstream),
            balancing: Arc::new(balancing),
            transport: Arc::new(transport),
        };
        self.with_layer_four(|four| {
            four.tcp_upstreams.insert(format!("{name}@test"), Arc::new(places));
        });
    }

    /// From now on, the TCP service `NAME@test` spreads over these by weight.
    pub(crate) fn weigh_tcp(&mut self, name: &str, children: &[(&str, u32)]) {
        let child =
            |(name, weight): &(&str, u32)| WeightedChild { name: format!("{name}@test"), weight: *weight };
        let services = children.iter().map(child).collect();
        let weighted = TcpUpstream::Weighted(LayerFourWeighted { services, health_check: None });
        self.with_layer_four(|four| {
            four.tcp_upstreams.insert(format!("{name}@test"), Arc::new(weighted));
        });
    }

    /// Adds a TCP router that takes no TLS.
    pub(crate) fn route_tcp(&mut self, rule: &str, service: &str) {
        self.add_tcp_route(rule, service, None);
    }

    /// Adds a TCP router that takes TLS.
    pub(crate) fn route_tcp_by(&mut self, rule: &str, service: &str, tls: TcpRouterTls) {
        self.add_tcp_route(rule, service, Some(tls));
    }

    fn add_tcp_route(&mut self, rule: &str, service: &str, tls: Option<TcpRouterTls>) {
        let read = TcpRule::parse_as(rule, RuleSyntax::V3).expect("a rule");
        let router = TcpRouter {
            name: format!("{rule}@test"),
            priority: if read.is_catch_all() { -1 } else { rule.len() as i64 },
            rule: read,
            entry_points: Vec::new(),
            middlewares: self.snapshot.layer_four.tcp_middlewares.keys().cloned().collect(),
            tls,
            upstream: format!("{service}@test"),
            origin: "a test".to_owned(),
        };
        self.with_layer_four(|four| four.tcp_routers.push(Arc::new(router)));
    }

    /// Changes the TCP side.
    pub(crate) fn with_layer_four(&mut self, change: impl FnOnce(&mut LayerFour)) {
        let before = &self.snapshot.layer_four;
        let mut four = LayerFour {
            tcp_routers: before.tcp_routers.clone(),
            tcp_upstreams: before.tcp_upstreams.clone(),
            tcp_middlewares: before.tcp_middlewares.clone(),
            udp_routers: Vec::new(),
            udp_upstreams: BTreeMap::new(),
        };
        change(&mut four);
        self.snapshot.layer_four = Arc::new(four);
        self.apply();
    }
}

/// A place that is spoken to by TLS.
pub(crate) fn by_tls(target: Target) -> Target {
    Target { scheme: Scheme::Https, ..target }
}

/// Where connections come that are passed on unread.
pub(crate) struct Front {
    pub(crate) world: World,
    at: SocketAddr,
    /// What it is called in metrics.
    pub(crate) name: String,
    /// Its service there.
    pub(crate) service: String,
}

impl Front {
    /// A published port, and a TCP router on the entry point: each in front of servers at these addresses.
    pub(crate) fn all(addresses: &[SocketAddr]) -> [Self; 2] {
        let mut published = World::of(addresses);
        let at = published.publish(Protocol::Tcp);
        let mut routed = World::of(&[]);
        let places = addresses.iter().enumerate().map(|(index, at)| place(&format!("c{index}"), *at));
        routed.serve_tcp("db", places.collect());
        routed.route_tcp("HostSNI(`*`)", "db");
        let entry_point = routed.http;
        [
            Self {
                world: published,
                at,
                name: format!("\"{}/tcp\"", at.port()),
                service: "\"app@test\"".to_owned(),
            },
            Self {
                world: routed,
                at: entry_point,
                name: "\"web\"".to_owned(),
                service: "\"db@test/tcp\"".to_owned(),
            },
        ]
    }

    pub(crate) async fn client(&self) -> Wire {
        Wire::connect(self.at).await
    }
}
