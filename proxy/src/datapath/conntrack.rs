//! Takes entries out of the kernel's connection tracking, by netlink (`linux/netfilter/nfnetlink_conntrack.h`): a flow
//! that was sent to an endpoint stays with it until its entry is gone, and a UDP client that keeps talking would never
//! let it run out.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::sys::socket::{AddressFamily, SockProtocol};
use portolan_config::Protocol;

use super::netlink::{ACKNOWLEDGE, DUMP, Netlink, REQUEST, attribute, attributes};
use crate::table::Port;

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
/// Attributes of an entry.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ZONE: u16 = 18;

/// A flow that was translated: to which port clients sent it, and where it was sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    pub(super) endpoint: SocketAddr,
}

/// Removes the entries of these flows; gives how many there were.
pub(super) fn remove(flows: &[Flow]) -> io::Result<u64> {
    let netlink = Netlink::open(SockProtocol::NetlinkNetFilter)?;
    let mut removed = 0;
    for family in [libc_family(false), libc_family(true)] {
        let is_v6 = family == libc_family(true);
        if !flows.iter().any(|flow| flow.endpoint.is_ipv6() == is_v6) {
            continue;
        }
        let mut doomed = Vec::new();
        // What nfnetlink puts before attributes: the family, a version, and nothing.
        let header = [family, 0, 0, 0];
        netlink.ask(GET, REQUEST | DUMP, &header, &[], |entry| {
            if flows.iter().any(|flow| is_of(entry, *flow)) {
                doomed.push(names_of(entry));
            }
        })?;
        for entry in doomed {
            // One that has ended meanwhile is as good as removed.
            if netlink.ask(DELETE, REQUEST | ACKNOWLEDGE, &header, &entry, |_| {}).is_ok() {
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// The flows to these ports that are sent on, whoever began to: those of a Portolan that was killed, or of the one before. A
/// port of one address has those that asked for that.
pub(super) fn sent_on(ports: &[Port]) -> io::Result<Vec<Flow>> {
    let netlink = Netlink::open(SockProtocol::NetlinkNetFilter)?;
    let mut found = Vec::new();
    for is_v6 in [false, true] {
        let header = [libc_family(is_v6), 0, 0, 0];
        netlink.ask(GET, REQUEST | DUMP, &header, &[], |entry| {
            found.extend(ports.iter().find_map(|port| of_port(entry, *port)));
        })?;
    }
    Ok(found)
}

/// The flow of an entry, if it is one to this port that is sent on.
fn of_port(entry: &[u8], port: Port) -> Option<Flow> {
    let (protocol, _, asked) = tuple(attribute(entry, ORIGINAL)?)?;
    let (_, answers, _) = tuple(attribute(entry, REPLY)?)?;
    let is_meant = protocol == number(port.protocol)
        && asked.port() == port.address.port
        && port.address.ip.is_none_or(|ip| ip.is_unspecified() || ip == asked.ip())
        && answers != asked;
    is_meant.then_some(Flow { protocol: port.protocol, port: port.address.port, endpoint: answers })
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}

fn libc_family(v6: bool) -> u8 {
    (if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet }) as u8
}

/// Protocol, source and destination of a direction.
fn tuple(bytes: &[u8]) -> Option<(u8, SocketAddr, SocketAddr)> {
    let (ip, ports) = (attribute(bytes, 1)?, attribute(bytes, 2)?);
    let address = |v4: u16, v6: u16| -> Option<IpAddr> {
        if let Some(bytes) = attribute(ip, v4) {
            return Some(IpAddr::from(*bytes.first_chunk::<4>()?));
        }
        Some(IpAddr::from(*attribute(ip, v6)?.first_chunk::<16>()?))
    };
    let port = |kind: u16| Some(u16::from_be_bytes(*attribute(ports, kind)?.first_chunk()?));
    let protocol = *attribute(ports, 1)?.first()?;
    Some((protocol, (address(1, 3)?, port(2)?).into(), (address(2, 4)?, port(3)?).into()))
}

fn is_of(entry: &[u8], flow: Flow) -> bool {
    let directions = attribute(entry, ORIGINAL).and_then(tuple).zip(attribute(entry, REPLY).and_then(tuple));
    directions.is_some_and(|((protocol, _, asked), (_, answers, _))| {
        protocol == number(flow.protocol) && asked.port() == flow.port && answers == flow.endpoint
    })
}

/// What names the entry: its original direction, and its zone.
fn names_of(entry: &[u8]) -> Vec<u8> {
    let mut names = Vec::new();
    for (_, _, whole) in attributes(entry).filter(|(kind, ..)| [ORIGINAL, ZONE].contains(kind)) {
        names.extend(whole);
        names.resize(names.len().next_multiple_of(4), 0);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::netlink::NESTED;
    use super::super::netlink::tests::attribute_of;
    use super::*;

    fn direction(kind: u16, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Vec<u8> {
        let ip = [attribute_of(1, &from.0), attribute_of(2, &to.0)].concat();
        let ports = [
            attribute_of(1, &[17]),
            attribute_of(2, &from.1.to_be_bytes()),
            attribute_of(3, &to.1.to_be_bytes()),
        ];
        let tuple = [attribute_of(1 | NESTED, &ip), attribute_of(2 | NESTED, &ports.concat())].concat();
        attribute_of(kind | NESTED, &tuple)
    }

    #[test]
    fn only_flows_of_that_port_to_that_endpoint_are_meant() {
        let (client, host, endpoint) = (([10, 0, 0, 9], 4000), ([10, 0, 0, 1], 53), ([172, 17, 0, 2], 5353));
        let entry = [
            direction(ORIGINAL, client, host),
            direction(REPLY, endpoint, client),
            attribute_of(7, &[0, 0, 0, 9]),
            attribute_of(ZONE, &[0, 3]),
        ]
        .concat();
        let flow = Flow { protocol: Protocol::Udp, port: 53, endpoint: "172.17.0.2:5353".parse().unwrap() };
        assert!(is_of(&entry, flow));
        assert!(!is_of(&entry, Flow { protocol: Protocol::Tcp, ..flow }));
        assert!(!is_of(&entry, Flow { port: 54, ..flow }));
        assert!(!is_of(&entry, Flow { endpoint: "172.17.0.3:5353".parse().unwrap(), ..flow }));
        let port = |at: &str| Port { address: at.parse().unwrap(), protocol: Protocol::Udp };
        for (at, expected) in [
            (":53", Some(flow)),
            ("0.0.0.0:53", Some(flow)),
            ("10.0.0.1:53", Some(flow)),
            ("10.0.0.2:53", None),
            (":54", None),
        ] {
            assert_eq!(of_port(&entry, port(at)), expected, "{at}");
        }
        let untouched = [direction(ORIGINAL, client, host), direction(REPLY, host, client)].concat();
        assert_eq!(of_port(&untouched, port(":53")), None, "it is not sent on");
        let names = names_of(&entry);
        assert_eq!(attributes(&names).map(|(kind, ..)| kind).collect::<Vec<_>>(), [ORIGINAL, ZONE]);
    }
}
