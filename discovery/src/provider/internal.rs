//! The internal provider: what Portolan serves of itself, as a service that routers lead to like any other.
//!
//! It says one thing, once. It knows where the admin server is and which of its paths are to be reached on which entry
//! points; not what is behind them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Instant, SystemTime};

use portolan_config::Protocol;
use tokio::sync::mpsc;

use super::{Change, Provider, ProviderName, Update};
use crate::instance::{Instance, InstanceId, NetworkAddress, Port, ServiceKey, State};

/// The name of the provider.
pub const NAME: &str = "internal";

/// Above every length of a rule: the highest that may be asked for.
const PRIORITY: i64 = i64::MAX - 1000;

/// One path of the admin server, on one entry point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalPath {
    /// The router's name.
    pub name: &'static str,
    /// The path, from its slash.
    pub path: &'static str,
    /// The entry point.
    pub entry_point: String,
}

/// A part of the admin server that routers of operators may lead to: `api@internal` and its like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalService {
    /// The service's name.
    pub name: &'static str,
    /// What is put before the path of a request to it, from its slash: what of the admin server is reached by that is for
    /// the admin server to say.
    pub prefix: &'static str,
}

/// The admin server, as something that runs.
#[derive(Debug)]
pub struct Internal {
    admin: SocketAddr,
    paths: Vec<InternalPath>,
    services: Vec<InternalService>,
}

impl Internal {
    /// The admin server at this address, reached by these paths and as these services; without any, there is nothing.
    pub fn new(admin: SocketAddr, paths: Vec<InternalPath>, services: Vec<InternalService>) -> Self {
        Self { admin, paths, services }
    }

    fn instance(&self) -> Instance {
        let mut labels = vec![(
            "traefik.http.services.portolan.loadbalancer.server.port".to_owned(),
            self.admin.port().to_string(),
        )];
        labels.push(("traefik.enable".to_owned(), "true".to_owned()));
        for InternalPath { name, path, entry_point } in &self.paths {
            let router = format!("traefik.http.routers.{name}");
            labels.push((format!("{router}.rule"), format!("Path(`{path}`)")));
            labels.push((format!("{router}.entrypoints"), entry_point.clone()));
            labels.push((format!("{router}.priority"), PRIORITY.to_string()));
            labels.push((format!("{router}.service"), "portolan".to_owned()));
        }
        for InternalService { name, prefix } in &self.services {
            let server = format!("traefik.http.services.{name}.loadbalancer.server");
            labels.push((format!("{server}.url"), format!("http://{}{prefix}", self.admin)));
            labels.push((format!("{server}.preservepath"), "true".to_owned()));
        }
        let (ipv4, ipv6) = match self.admin.ip() {
            IpAddr::V4(ip) => (Some(ip), None),
            IpAddr::V6(ip) => (None, Some(ip)),
        };
        let now = SystemTime::now();
        Instance {
            id: InstanceId::new("portolan-internal"),
            name: "portolan-internal".to_owned(),
            service: ServiceKey::Label("portolan-internal".to_owned()),
            labels: labels.into_iter().collect(),
            networks: vec![NetworkAddress {
                network: "host".to_owned(),
                endpoint_id: "portolan-internal".to_owned(),
                ipv4,
                ipv6,
                aliases: Vec::new(),
                reached: true,
            }],
            ports: vec![Port { number: self.admin.port(), protocol: Protocol::Tcp }],
            bindings: Vec::new(),
            node: None,
            virtual_host: BTreeMap::new(),
            state: State::Ready,
            reason: "running".to_owned(),
            since: now,
            created: now,
        }
    }
}

impl Provider for Internal {
    fn name(&self) -> ProviderName {
        ProviderName::new(NAME)
    }

    async fn run(self, updates: mpsc::Sender<Update>) {
        let update = Update {
            provider: self.name(),
            observed_at: Instant::now(),
            change: Change::Reset(if self.paths.is_empty() && self.services.is_empty() {
                Vec::new()
            } else {
                vec![self.instance()]
            }),
        };
        // Nobody listens any more: there is nothing else to say.
        let _ = updates.send(update).await;
        updates.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portolan_config::Constraints;

    use super::*;
    use crate::chart::Policy;
    use crate::registry::Registry;

    #[tokio::test]
    async fn ping_is_a_route_to_the_admin_server() {
        let path = InternalPath { name: "ping", path: "/ping", entry_point: "web".to_owned() };
        let internal = Internal::new("127.0.0.1:9080".parse().expect("an address"), vec![path], Vec::new());
        // Constraints are those of containers.
        let constraints = Constraints::parse("Label(`a`, `b`)").expect("it can be read");
        let policy = Policy { constraints: Some(Arc::new(constraints)), ..Policy::default() };
        let mut registry = Registry::new(policy, [internal.name()]);
        let (updates, mut received) = mpsc::channel(1);
        let running = tokio::spawn(internal.run(updates));
        registry.apply(received.recv().await.expect("it says one thing"), SystemTime::now());
        let snapshot = registry.snapshot();
        assert_eq!(snapshot.faults, []);
        let [router] = &snapshot.routers[..] else { panic!("{snapshot:#?}") };
        assert_eq!(
            (router.name.as_str(), router.rule.to_string().as_str()),
            ("ping@internal", "Path(`/ping`)")
        );
        assert_eq!(router.entry_points, ["web"]);
        drop(received);
        running.await.expect("it ends when nobody listens");
    }

    #[tokio::test]
    async fn parts_of_the_admin_server_are_services_for_whoever_leads_there() {
        let api = InternalService { name: "api", prefix: "/of/api" };
        let internal = Internal::new("127.0.0.1:9080".parse().expect("an address"), Vec::new(), vec![api]);
        let mut registry = Registry::new(Policy::default(), [internal.name()]);
        let (updates, mut received) = mpsc::channel(1);
        let running = tokio::spawn(internal.run(updates));
        registry.apply(received.recv().await.expect("it says one thing"), SystemTime::now());
        let snapshot = registry.snapshot();
        assert_eq!(snapshot.faults, []);
        assert!(snapshot.routers.is_empty(), "nobody is led there who is not sent");
        let api =
            snapshot.upstreams.iter().find(|upstream| upstream.name == "api@internal").expect("a service");
        let [target] = &api.targets[..] else { panic!("{api:#?}") };
        assert_eq!((&*target.path_prefix, target.port), ("/of/api", 9080));
        running.abort();
    }
}
