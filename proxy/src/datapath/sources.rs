//! Which address a connection to an endpoint leaves with. Workers ask it for every connection of a port that is to be
//! transparent; the thread of the data paths says what the host is like.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

/// The networks from which answers to anybody come by this host. None, where that was not arranged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Arc<ArcSwap<Vec<IpNet>>>);

impl Sources {
    pub(super) fn store(&self, networks: Vec<IpNet>) {
        if **self.0.load() != networks {
            self.0.store(Arc::new(networks));
        }
    }

    /// The client's own address, if the endpoint's answers to it come by here: an endpoint on a bridge sends what is for
    /// others this way, and what is for a neighbour straight to that.
    pub(crate) fn of(&self, client: IpAddr, endpoint: SocketAddr) -> Option<IpAddr> {
        let (client, endpoint) = (client.to_canonical(), endpoint.ip());
        // An address of a link means another host on the endpoint's.
        let is_of_link = matches!(client, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if client.is_ipv4() != endpoint.is_ipv4() || client.is_loopback() || is_of_link {
            return None;
        }
        let networks = self.0.load();
        let home = networks.iter().find(|network| network.contains(&endpoint))?;
        (!home.contains(&client)).then_some(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_keeps_its_address_where_the_answer_comes_by_here() {
        let sources = Sources::default();
        let of = |client: &str, endpoint: &str| {
            sources.of(client.parse().unwrap(), endpoint.parse().unwrap()).map(|ip| ip.to_string())
        };
        assert_eq!(of("10.0.0.9", "172.17.0.2:80"), None, "nothing was arranged");
        sources.store(vec!["172.17.0.0/16".parse().unwrap()]);
        assert_eq!(of("10.0.0.9", "172.17.0.2:80").as_deref(), Some("10.0.0.9"));
        assert_eq!(of("::ffff:10.0.0.9", "172.17.0.2:80").as_deref(), Some("10.0.0.9"));
        for client in ["172.17.0.9", "127.0.0.1", "fd01::9"] {
            assert_eq!(of(client, "172.17.0.2:80"), None, "{client}");
        }
        assert_eq!(of("10.0.0.9", "10.1.0.2:80"), None, "it is somewhere else");
        assert_eq!(of("fd01::9", "[fd00::2]:80"), None, "that was not arranged");
        sources.store(vec!["fd00::/64".parse().unwrap()]);
        assert_eq!(of("fd01::9", "[fd00::2]:80").as_deref(), Some("fd01::9"));
        for client in ["fd00::9", "::1", "fe80::9", "10.0.0.9"] {
            assert_eq!(of(client, "[fd00::2]:80"), None, "{client}");
        }
    }
}
