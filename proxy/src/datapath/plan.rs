//! Which ports the kernel can carry, and where each of their turns goes. Pure: it is told what the host is like.

use std::net::{IpAddr, SocketAddr};

use portolan_config::Protocol;

use super::{Endpoint, Wanted};
use crate::balancer::hash;
use crate::table::Port;

/// Turns that a port has. The kernel takes them one after the other, or by the client's hash; which endpoint has which
/// is all that changes when endpoints come and go. Many, so that any number of endpoints has nearly equal shares.
pub(super) const TURNS: usize = 256;

/// What matters of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Why no port can be carried.
    pub(super) nothing: Option<String>,
    /// Why ports of IPv4, and of IPv6, can't be.
    pub(super) family: [Option<String>; 2],
    /// The bridges of this host, each with the networks in which it has an address.
    pub(super) bridges: Vec<(String, Vec<ipnet::IpNet>)>,
}

/// A port as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) port: Port,
    /// The endpoint of each turn, of IPv4 and of IPv6; empty where there is none.
    pub(super) turns: [Vec<SocketAddr>; 2],
    /// The bridges on which they are.
    pub(super) bridges: Vec<String>,
}

/// How the kernel would carry the port, or why it can't.
pub(super) fn plan(wanted: &Wanted, facts: &Facts) -> Result<Carried, String> {
    if let Some(why) = &facts.nothing {
        return Err(why.clone());
    }
    if wanted.port.address.ip.is_some_and(|ip| ip.is_loopback()) {
        return Err("it listens on the loopback address, whose clients are on this host".to_owned());
    }
    let mut bridges = Vec::new();
    let counts = |endpoint: &&Endpoint| {
        !endpoint.besides || (facts.family[1].is_none() && bridge_of(endpoint.address.ip(), facts).is_some())
    };
    let endpoints: Vec<&Endpoint> = wanted.endpoints.iter().filter(counts).collect();
    for endpoint in &endpoints {
        let family = usize::from(endpoint.address.is_ipv6());
        if let Some(why) = &facts.family[family] {
            return Err(why.clone());
        }
        let Some(bridge) = bridge_of(endpoint.address.ip(), facts) else {
            return Err(format!(
                "{} at {} is on no bridge of this host, so its answers would not come back this way",
                endpoint.name,
                endpoint.address.ip()
            ));
        };
        if !bridges.contains(bridge) {
            bridges.push(bridge.clone());
        }
    }
    bridges.sort();
    let of_family = |v6: bool| {
        let mut endpoints: Vec<&Endpoint> =
            endpoints.iter().filter(|endpoint| endpoint.address.is_ipv6() == v6).copied().collect();
        endpoints.sort_by_key(|endpoint| (endpoint.key, endpoint.address));
        turns(wanted.port.protocol, &endpoints)
    };
    Ok(Carried { port: wanted.port, turns: [of_family(false), of_family(true)], bridges })
}

/// Why endpoints of the port can't see the client's own address.
pub(super) fn not_transparent(wanted: &Wanted, facts: &Facts) -> Option<String> {
    if facts.nothing.is_some() {
        return facts.nothing.clone();
    }
    let stranger = wanted
        .endpoints
        .iter()
        .filter(|endpoint| !endpoint.besides)
        .find(|endpoint| bridge_of(endpoint.address.ip(), facts).is_none())?;
    Some(format!(
        "{} at {} is on no bridge of this host, so its answers would not come back this way",
        stranger.name,
        stranger.address.ip()
    ))
}

fn bridge_of(ip: IpAddr, facts: &Facts) -> Option<&String> {
    let has = |(_, networks): &&(String, Vec<ipnet::IpNet>)| networks.iter().any(|net| net.contains(&ip));
    facts.bridges.iter().find(has).map(|(name, _)| name)
}

/// Connections go round; a datagram's client always has the same turn, which is to stay with its endpoint.
fn turns(protocol: Protocol, endpoints: &[&Endpoint]) -> Vec<SocketAddr> {
    let owner = |turn: usize| match protocol {
        Protocol::Tcp => endpoints.get(turn % endpoints.len()),
        Protocol::Udp => {
            let pull = |endpoint: &&Endpoint| hash::pull(hash::mix(turn as u64), endpoint.key, 1);
            endpoints.iter().max_by(|a, b| pull(a).total_cmp(&pull(b)))
        }
    };
    let count = if endpoints.is_empty() { 0 } else { TURNS };
    (0..count).filter_map(owner).map(|endpoint| endpoint.address).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use portolan_config::DataPath;

    use super::*;

    pub(in crate::datapath) fn facts() -> Facts {
        let networks = vec!["172.17.0.1/16".parse().unwrap(), "fd00::1/64".parse().unwrap()];
        Facts { bridges: vec![("docker0".to_owned(), networks)], ..Facts::default() }
    }

    pub(in crate::datapath) fn wanted(at: &str, protocol: Protocol, endpoints: &[&str]) -> Wanted {
        let endpoint = |address: &&str| Endpoint {
            name: format!("web-{address}"),
            key: hash::of(address.as_bytes()),
            address: address.parse().unwrap(),
            besides: false,
        };
        Wanted {
            port: Port { address: at.parse().unwrap(), protocol },
            asked: DataPath::Nftables,
            origin: "a test".to_owned(),
            endpoints: endpoints.iter().map(endpoint).collect(),
            leaving: Vec::new(),
        }
    }

    #[test]
    fn every_endpoint_has_its_share_of_the_turns() {
        let three = ["172.17.0.2:80", "172.17.0.3:80", "172.17.0.4:80", "[fd00::2]:80"];
        for (protocol, least) in [(Protocol::Tcp, 85), (Protocol::Udp, 60)] {
            let carried = plan(&wanted(":8080", protocol, &three), &facts()).unwrap();
            assert_eq!(carried.turns[0].len(), TURNS);
            for address in &three[..3] {
                let address: SocketAddr = address.parse().unwrap();
                let share = carried.turns[0].iter().filter(|turn| **turn == address).count();
                assert!((least..=TURNS - 2 * least).contains(&share), "{protocol} {address}: {share}");
            }
            assert_eq!(carried.turns[1], vec!["[fd00::2]:80".parse().unwrap(); TURNS]);
            assert_eq!(carried.bridges, ["docker0"]);
        }
    }

    #[test]
    fn an_address_by_ipv6_besides_is_used_where_the_host_can_do_it_and_is_in_nobodys_way() {
        let mut both = wanted(":8080", Protocol::Tcp, &["172.17.0.2:80", "[fd00::2]:80"]);
        both.endpoints[1].besides = true;
        let carried = plan(&both, &facts()).unwrap();
        assert_eq!(carried.turns[1], vec!["[fd00::2]:80".parse().unwrap(); TURNS]);
        let no_v6 = Facts { family: [None, Some("no forwarding".to_owned())], ..facts() };
        let carried = plan(&both, &no_v6).unwrap();
        assert_eq!((carried.turns[0].len(), carried.turns[1].len()), (TURNS, 0));
        both.endpoints[1].address = "[fd09::2]:80".parse().unwrap();
        assert_eq!(plan(&both, &facts()).unwrap().turns[1], []);
        assert_eq!(not_transparent(&both, &facts()), None);
    }

    #[test]
    fn datagrams_of_those_that_stay_keep_their_turns() {
        let turns = |endpoints: &[&str]| {
            plan(&wanted(":53", Protocol::Udp, endpoints), &facts()).unwrap().turns[0].clone()
        };
        let before = turns(&["172.17.0.2:53", "172.17.0.3:53", "172.17.0.4:53"]);
        let after = turns(&["172.17.0.2:53", "172.17.0.4:53"]);
        let left: SocketAddr = "172.17.0.3:53".parse().unwrap();
        for (before, after) in before.iter().zip(&after) {
            assert!(*before == left || before == after);
        }
        assert!(turns(&[]).is_empty());
    }

    #[test]
    fn what_the_kernel_can_not_carry_is_said_with_the_reason() {
        let near = wanted(":8080", Protocol::Tcp, &["172.17.0.2:80"]);
        let without = Facts { nothing: Some("no nft".to_owned()), ..facts() };
        let no_v4 = Facts { family: [Some("no forwarding".to_owned()), None], ..facts() };
        let cases = [
            (wanted("127.0.0.1:8080", Protocol::Tcp, &["172.17.0.2:80"]), facts(), "loopback"),
            (
                wanted(":8080", Protocol::Tcp, &["10.0.0.9:80"]),
                facts(),
                "web-10.0.0.9:80 at 10.0.0.9 is on no bridge",
            ),
            (near.clone(), without, "no nft"),
            (near, no_v4, "no forwarding"),
        ];
        for (wanted, facts, expected) in cases {
            let why = plan(&wanted, &facts).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }
}
