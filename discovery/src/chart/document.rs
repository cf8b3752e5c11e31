//! What a provider's files ask for. Servers are named by URL: each becomes an endpoint with nothing behind it that
//! Portolan could observe, taken for ready until something else is known.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use portolan_config::dynamic::service::ServiceKind;
use portolan_config::dynamic::tcp::{TcpService, UdpService};
use portolan_config::{Fault, Protocol};

use super::ties::{self, Tie};
use super::wish::{self, Defaults, TcpKind, TcpServiceWish, UdpServiceWish, Wish, Wishes, origin, qualify};
use crate::instance::{Instance, InstanceId, NetworkAddress, Port, ServiceKey, State};
use crate::provider::{Configured, ProviderName};
use crate::server_url::ServerUrl;
use crate::snapshot::{Endpoint, EndpointKey, NamedPort, Target};

/// A provider's configuration, ready to be put on the chart.
#[derive(Debug)]
pub struct Document {
    pub(super) wishes: Wishes,
    /// What is wrong with it, whatever else there is.
    pub(super) faults: Vec<Fault>,
    /// What ties it to others.
    pub(super) ties: Box<[Tie]>,
}

impl Document {
    /// Sketches a configuration.
    pub fn new(provider: &ProviderName, configured: &Configured) -> Self {
        let dynamic = &configured.dynamic;
        let mut draft =
            Draft { provider, addresses: &configured.addresses, faults: configured.faults.clone() };
        for wrong in &dynamic.wrong {
            draft.fault(&origin(&wrong.place, ""), &wrong.path, &wrong.message);
        }
        let mut wishes = Wishes {
            middlewares: wish::middlewares(&dynamic.middlewares, provider, ""),
            transports: wish::plain(&dynamic.servers_transports, "http.serversTransports", provider, ""),
            tcp_middlewares: wish::plain(&dynamic.tcp_middlewares, "tcp.middlewares", provider, ""),
            tcp_transports: wish::plain(
                &dynamic.tcp_servers_transports,
                "tcp.serversTransports",
                provider,
                "",
            ),
            tls_options: wish::plain(&dynamic.tls_options, "tls.options", provider, ""),
            stores: wish::plain(&dynamic.stores, "tls.stores", provider, ""),
            certificates: dynamic.certificates.clone(),
            ..Wishes::default()
        };
        draft.http_services(configured, &mut wishes);
        draft.layer_four_services(configured, &mut wishes);
        let defaults = Defaults::default();
        let mut faults = Vec::new();
        for (name, item) in &dynamic.routers {
            wishes.routers.push(wish::router(name, item, provider, "", &defaults, &mut faults));
        }
        for (name, item) in &dynamic.tcp_routers {
            wishes.tcp_routers.push(wish::tcp_router(name, item, provider, "", &defaults, &mut faults));
        }
        for (name, item) in &dynamic.udp_routers {
            wishes.udp_routers.push(wish::udp_router(name, item, provider, "", &defaults, &mut faults));
        }
        for (origin, (key, message)) in faults {
            draft.fault(&origin, &key, &message);
        }
        Self { ties: ties::of_document(&wishes), wishes, faults: draft.faults }
    }
}

/// Addresses of host names, or why there are none.
pub type Addresses = BTreeMap<String, Result<Vec<IpAddr>, String>>;

struct Draft<'a> {
    provider: &'a ProviderName,
    addresses: &'a Addresses,
    faults: Vec<Fault>,
}

impl Draft<'_> {
    fn fault(&mut self, origin: &str, key: &str, message: &str) {
        self.faults.push(Fault::new(origin, key, message));
    }

    fn http_services(&mut self, configured: &Configured, wishes: &mut Wishes) {
        for (name, item) in &configured.dynamic.services {
            let key = format!("http.services.{name}");
            let origin = origin(&item.place, "");
            let value = item.value.as_ref().and_then(|written| {
                let mut wish = wish::service(written, self.provider);
                if let ServiceKind::LoadBalancer(balancer) = &written.kind {
                    for (index, server) in balancer.servers.iter().enumerate() {
                        match ServerUrl::parse(&server.url) {
                            Ok(url) => {
                                let prefix = if server.preserve_path { url.path.as_str() } else { "" };
                                for mut target in self.targets(&url.host, url.port, Protocol::Tcp) {
                                    target.scheme = url.scheme;
                                    target.weight = server.weight;
                                    target.path_prefix = Arc::from(prefix);
                                    target.host = Arc::from(url.authority.as_str());
                                    target.url = Arc::from(server.url.as_str());
                                    wish.targets.push(target);
                                }
                            }
                            Err(message) => {
                                let key = format!("{key}.loadBalancer.servers[{index}].url");
                                self.fault(
                                    &origin,
                                    &key,
                                    &format!("{message}; service `{name}` is left out"),
                                );
                                return None;
                            }
                        }
                    }
                }
                Some(Arc::new(wish))
            });
            wishes.services.push(Wish { name: qualify(name, self.provider), value, origin, key });
        }
    }

    fn layer_four_services(&mut self, configured: &Configured, wishes: &mut Wishes) {
        for (name, item) in &configured.dynamic.tcp_services {
            let key = format!("tcp.services.{name}");
            let origin = origin(&item.place, "");
            let value = item.value.as_ref().and_then(|written| match &**written {
                TcpService::Weighted(weighted) => {
                    let kind = TcpKind::Weighted(wish::weighted(weighted, self.provider));
                    Some(TcpServiceWish { kind, targets: Vec::new(), tls: Vec::new() })
                }
                TcpService::LoadBalancer(balancer) => {
                    let kind = wish::tcp_balancer(balancer, self.provider);
                    let (mut targets, mut tls) = (Vec::new(), Vec::new());
                    for (index, server) in balancer.servers.iter().enumerate() {
                        let found = self.at(&server.address, Protocol::Tcp, &origin, &key, index)?;
                        tls.extend(found.iter().map(|_| server.tls));
                        targets.extend(found);
                    }
                    Some(TcpServiceWish { kind, targets, tls })
                }
            });
            let value = value.map(Arc::new);
            wishes.tcp_services.push(Wish { name: qualify(name, self.provider), value, origin, key });
        }
        for (name, item) in &configured.dynamic.udp_services {
            let key = format!("udp.services.{name}");
            let origin = origin(&item.place, "");
            let value = item.value.as_ref().and_then(|written| match &**written {
                UdpService::Weighted(weighted) => {
                    let weighted = Some(wish::weighted(weighted, self.provider));
                    Some(UdpServiceWish { weighted, targets: Vec::new() })
                }
                UdpService::LoadBalancer(balancer) => {
                    let mut targets = Vec::new();
                    for (index, server) in balancer.servers.iter().enumerate() {
                        targets.extend(self.at(&server.address, Protocol::Udp, &origin, &key, index)?);
                    }
                    Some(UdpServiceWish { weighted: None, targets })
                }
            });
            let value = value.map(Arc::new);
            wishes.udp_services.push(Wish { name: qualify(name, self.provider), value, origin, key });
        }
    }

    /// The targets at an address of layer 4.
    fn at(
        &mut self,
        address: &str,
        protocol: Protocol,
        origin: &str,
        key: &str,
        index: usize,
    ) -> Option<Vec<Target>> {
        match ServerUrl::parse_address(address) {
            Ok((host, port)) => Some(self.targets(&host, port, protocol)),
            Err(message) => {
                self.fault(origin, &format!("{key}.loadBalancer.servers[{index}].address"), &message);
                None
            }
        }
    }

    /// A target for each address that the host has; one without an address where it has none.
    fn targets(&self, host: &str, port: u16, protocol: Protocol) -> Vec<Target> {
        if let Ok(ip) = host.parse() {
            return vec![Target::new(Arc::new(self.endpoint(host, port, protocol, Ok(ip))), port)];
        }
        let nothing = Err("its name has not been looked up yet".to_owned());
        match self.addresses.get(host).unwrap_or(&nothing) {
            Ok(addresses) => addresses
                .iter()
                .map(|ip| Target::new(Arc::new(self.endpoint(host, port, protocol, Ok(*ip))), port))
                .collect(),
            Err(why) => {
                let endpoint = self.endpoint(host, port, protocol, Err(why.clone()));
                vec![Target::new(Arc::new(endpoint), port)]
            }
        }
    }

    fn endpoint(&self, host: &str, port: u16, protocol: Protocol, ip: Result<IpAddr, String>) -> Endpoint {
        let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let (ip, state, reason) = match ip {
            Ok(ip) => (Some(ip), State::Ready, "named by a file".to_owned()),
            Err(why) => (None, State::Starting, why),
        };
        let (ipv4, ipv6) = match ip {
            Some(IpAddr::V4(ip)) => (Some(ip), None),
            Some(IpAddr::V6(ip)) => (None, Some(ip)),
            None => (None, None),
        };
        let name = match ip {
            Some(ip) if host.parse::<IpAddr>().is_err() => format!("{shown} ({ip})"),
            _ => shown,
        };
        let id = InstanceId::new(&format!("{name}/{protocol}"));
        let attachment: Arc<str> = ip.map_or_else(|| Arc::from(""), |ip| Arc::from(ip.to_string()));
        let network = NetworkAddress {
            network: "file".to_owned(),
            endpoint_id: attachment.to_string(),
            ipv4,
            ipv6,
            aliases: Vec::new(),
            reached: true,
        };
        let instance = Instance {
            id: id.clone(),
            service: ServiceKey::Container(name.clone()),
            name,
            labels: BTreeMap::new(),
            networks: if ip.is_some() { vec![network] } else { Vec::new() },
            ports: vec![Port { number: port, protocol }],
            bindings: Vec::new(),
            node: None,
            virtual_host: BTreeMap::new(),
            state,
            reason: reason.clone(),
            since: SystemTime::UNIX_EPOCH,
            created: SystemTime::UNIX_EPOCH,
        };
        Endpoint {
            key: EndpointKey { provider: self.provider.clone(), instance: id, attachment },
            instance: Arc::new(instance),
            ports: vec![NamedPort { number: port, protocol, name: None }],
            ipv4,
            ipv6,
            state,
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
