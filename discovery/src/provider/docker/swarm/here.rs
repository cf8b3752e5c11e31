//! Where this process is: which networks it has an address on.
//!
//! The kernel says from which address it would send to a network. Nothing is sent, and it takes no time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::model::Network;
use super::task::without_prefix;

/// A port to ask the kernel about; which one makes no difference (discard, RFC 863).
const PORT: u16 = 9;

/// Whether this process has an address on the network.
pub(super) fn is_attached(network: &Network) -> bool {
    network.ipam.config.iter().any(|range| {
        let first = without_prefix(&range.gateway).or_else(|| without_prefix(&range.subnet));
        let own = first.and_then(own_address);
        own.is_some_and(|own| contains(&range.subnet, own))
    })
}

/// Whether this address is of this machine, as this process sees it.
pub(super) fn is_own(address: IpAddr) -> bool {
    own_address(address) == Some(address)
}

/// The address that this process would send from to `there`.
fn own_address(there: IpAddr) -> Option<IpAddr> {
    let any = match there {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(there, PORT)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether a subnet, `10.0.1.0/24`, has this address.
fn contains(subnet: &str, ip: IpAddr) -> bool {
    let Some((network, length)) = subnet.split_once('/') else { return false };
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) if length <= 32 => {
            let differ = network.to_bits() ^ ip.to_bits();
            differ.checked_shr(32 - length).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) if length <= 128 => {
            let differ = network.to_bits() ^ ip.to_bits();
            differ.checked_shr(128 - length).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_subnet_alone() {
        let cases = [
            ("10.0.1.0/24", "10.0.1.9", true),
            ("10.0.1.0/24", "10.0.2.9", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("10.0.1.7/32", "10.0.1.7", true),
            ("10.0.1.7/32", "10.0.1.8", false),
            ("fd00:1::/64", "fd00:1::5", true),
            ("fd00:1::/64", "fd00:2::5", false),
            ("10.0.1.0/24", "fd00::1", false),
            ("10.0.1.0/40", "10.0.1.1", false),
            ("10.0.1.0", "10.0.1.0", false),
        ];
        for (subnet, ip, expected) in cases {
            assert_eq!(contains(subnet, ip.parse().unwrap()), expected, "{subnet} {ip}");
        }
    }

    #[test]
    fn the_loopback_is_here_and_a_documentation_network_is_not() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(!is_own("192.0.2.1".parse().unwrap()));
    }
}
