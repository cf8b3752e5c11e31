//! What a client in a container sees: names by its networks, as Docker scopes them, with the addresses that it can reach.
//! Everybody else sees everything.
//!
//! Who a client is, its address says: where networks that do not know of each other gave one out twice, it is all who
//! have it.

use std::net::IpAddr;
use std::slice;
use std::sync::Arc;

use portolan_discovery::{Endpoint, NetworkAddress, State};

use crate::names;
use crate::records::{About, Node};
use crate::zone::Zone;

/// A client's place.
#[derive(Debug)]
pub(crate) struct View<'z> {
    clients: &'z [Arc<Endpoint>],
}

impl<'z> View<'z> {
    /// The view of the container that has this address; `None` where none has.
    pub(crate) fn of(zone: &'z Zone, client: IpAddr) -> Option<Self> {
        if client.is_loopback() {
            return None;
        }
        let clients = match &zone.alone(&names::reverse_key(client))?.about {
            About::Container(endpoint) => slice::from_ref(endpoint),
            About::Alias(endpoints) => endpoints.as_slice(),
            About::Nothing | About::Service(_) | About::All(_) => return None,
        };
        Some(Self { clients })
    }

    /// Whether a name exists: somebody who has it is on a network of the client's, or it is no container's.
    pub(crate) fn sees(&self, node: &Node) -> bool {
        match &node.about {
            About::Nothing => true,
            about => endpoints(about).iter().any(|endpoint| self.shared(endpoint).next().is_some()),
        }
    }

    /// The addresses of a name that the client shares a network with, of those that may be given out.
    pub(crate) fn addresses(&self, about: &About) -> Vec<IpAddr> {
        let mut found: Vec<IpAddr> = Vec::new();
        for endpoint in endpoints(about) {
            let given = match about {
                About::All(_) => endpoint.state != State::Stopped,
                _ => endpoint.is_available(),
            };
            // All of a container's; one of each replica's.
            let most = if matches!(about, About::Container(_)) { usize::MAX } else { 1 };
            for network in self.shared(endpoint).take(if given { most } else { 0 }) {
                let ips = network.ipv4.map(IpAddr::V4).into_iter().chain(network.ipv6.map(IpAddr::V6));
                found.extend(ips.filter(|ip| !found.contains(ip)).collect::<Vec<_>>());
            }
        }
        found
    }

    /// The attachments of an endpoint to networks of the client's; the one it is reached at first.
    fn shared<'e>(&self, endpoint: &'e Endpoint) -> impl Iterator<Item = &'e NetworkAddress> {
        let chosen = |network: &&NetworkAddress| network.endpoint_id == *endpoint.key.attachment;
        let networks = &endpoint.instance.networks;
        let first = networks.iter().filter(chosen);
        let rest = networks.iter().filter(move |network| !chosen(network));
        first.chain(rest).filter(|network| {
            let theirs = self.clients.iter().flat_map(|client| &client.instance.networks);
            theirs.into_iter().any(|own| own.network == network.network)
        })
    }
}

fn endpoints(about: &About) -> &[Arc<Endpoint>] {
    match about {
        About::Nothing => &[],
        About::Service(service) | About::All(service) => &service.endpoints,
        About::Container(endpoint) => slice::from_ref(endpoint),
        About::Alias(endpoints) => endpoints.as_slice(),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Message;
    use hickory_proto::rr::RecordType::{self, A, AAAA, PTR, SRV};

    use super::*;
    use crate::test_support::{asker, container, data, query, verdict, zone};
    use crate::{Asker, Transport, answer};

    fn ask(zone: &Zone, client: &str, name: &str, kind: RecordType) -> Message {
        let asker = Asker { client: client.parse().unwrap(), views: true, ..asker(Transport::Tcp) };
        let mut reply = Vec::new();
        answer(zone, &query(name, kind).to_vec().unwrap(), &asker, &mut reply).unwrap();
        Message::from_vec(&reply).unwrap()
    }

    /// `front` has the client, one web and the proxy; `back` the database, the other web and the proxy.
    fn world() -> Zone {
        let on_back = |name: &str, ip: &str| container(name, "").moved("back", ip);
        zone([
            container("client", "").moved("front", "10.1.0.9"),
            container("web-1", "")
                .moved("front", "10.1.0.1")
                .compose("shop", "web")
                .port(80, Some("http"))
                .alias("www"),
            on_back("web-2", "10.2.0.2").compose("shop", "web").port(80, Some("http")).alias("www"),
            on_back("db", "10.2.0.3").port(5432, None),
            on_back("proxy", "10.2.0.4").also_on("front", "10.1.0.4", &["gate"]).ipv6("fd02::4"),
        ])
    }

    #[test]
    fn a_container_sees_what_is_on_its_networks() {
        let zone = world();
        let sorted = |reply: Message| {
            let mut found = data(&reply.answers);
            found.sort();
            found
        };
        for (client, name, expected) in [
            ("10.1.0.9", "web", &["10.1.0.1"][..]),
            ("10.1.0.9", "tasks.web.shop", &["10.1.0.1"]),
            ("10.1.0.9", "all.web", &["10.1.0.1"]),
            ("10.1.0.9", "www", &["10.1.0.1"]),
            ("10.1.0.9", "proxy", &["10.1.0.4"]),
            ("10.2.0.3", "web", &["10.2.0.2"]),
            ("10.2.0.3", "proxy", &["10.2.0.4"]),
            ("10.1.0.4", "web", &["10.1.0.1", "10.2.0.2"]),
            ("127.0.0.1", "web", &["10.1.0.1", "10.2.0.2"]),
            ("10.9.9.9", "proxy", &["10.2.0.4"]),
            ("fd02::4", "web", &["10.1.0.1", "10.2.0.2"]),
            ("fd02::9", "db", &["10.2.0.3"]),
        ] {
            assert_eq!(sorted(ask(&zone, client, name, A)), expected, "{client} {name}");
        }
        assert_eq!(verdict(&ask(&zone, "10.1.0.9", "proxy", AAAA)), "NoError SOA", "not from that network");
        assert_eq!(data(&ask(&zone, "10.2.0.3", "proxy", AAAA).answers), ["fd02::4"]);
    }

    #[test]
    fn what_is_on_no_network_of_a_container_does_not_exist_for_it() {
        let zone = world();
        for (name, kind) in [("db", A), ("db", AAAA), ("tasks.db", A), ("web-2", A)] {
            assert_eq!(verdict(&ask(&zone, "10.1.0.9", name, kind)), "NXDomain SOA", "{name} {kind}");
        }
        assert_eq!(verdict(&ask(&zone, "10.1.0.9", "_5432._tcp.db", SRV)), "NoError SOA");
        assert_eq!(verdict(&ask(&zone, "127.0.0.1", "db", A)), "NoError with answers");
    }

    #[test]
    fn ports_are_those_of_hosts_that_it_sees() {
        let zone = world();
        let reply = ask(&zone, "10.1.0.9", "_http._tcp.web", SRV);
        assert_eq!(data(&reply.answers), ["0 1 80 web-1.portolan.internal."]);
        assert_eq!(data(&reply.additionals), ["10.1.0.1"]);
        assert_eq!(ask(&zone, "127.0.0.1", "_http._tcp.web", SRV).answers.len(), 2);
        assert_eq!(ask(&zone, "10.1.0.9", "1.0.1.10.in-addr.arpa.", PTR).answers.len(), 1);
    }
}
