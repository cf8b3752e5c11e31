//! Scripts for `nft`: the whole table, or what changed of it. Pure text.
//!
//! Each port has a chain and, for each family, a map from turns to endpoints. Ports come and go with the whole table;
//! endpoints change elements of maps only. Either is one transaction: no packet sees half of it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use portolan_config::Protocol;

use super::plan::{Carried, TURNS};

/// The table's name, in the family `inet`.
pub(super) const TABLE: &str = "portolan";

/// What of a port's traffic is counted.
pub(super) const COUNTED: [&str; 3] = ["connections", "received", "sent"];

/// Removes the table, whether or not there is one.
pub(super) fn remove() -> String {
    format!("add table inet {TABLE}\ndelete table inet {TABLE}\n")
}

/// Makes the table anew.
pub(super) fn whole(ports: &[Carried]) -> String {
    let mut script = remove();
    let _ = writeln!(script, "table inet {TABLE} {{");
    // Before Docker's and everybody's own translation (-100), as the port is ours. The kernel's data path is for those
    // who come from elsewhere: who is on a bridge with an endpoint would get its answer from an address it did not ask,
    // and the loopback address means another host to an endpoint.
    script.push_str(
        "set inside { type ifname; }\n\
         map anywhere { type inet_proto . inet_service : verdict; }\n\
         map at4 { type ipv4_addr . inet_proto . inet_service : verdict; }\n\
         map at6 { type ipv6_addr . inet_proto . inet_service : verdict; }\n",
    );
    for protocol in ["tcp", "udp"] {
        for counted in COUNTED {
            let _ = writeln!(script, "map {counted}-{protocol} {{ type inet_service : counter; }}");
        }
    }
    for (protocol, port) in numbers(ports) {
        for counted in COUNTED {
            let _ = writeln!(script, "counter {protocol}-{port}-{counted} {{ }}");
        }
    }
    for carried in ports {
        chain(&mut script, carried);
    }
    script.push_str(
        "chain choose {\n\
         ip daddr . meta l4proto . th dport vmap @at4\n\
         ip6 daddr . meta l4proto . th dport vmap @at6\n\
         meta l4proto . th dport vmap @anywhere\n}\n\
         chain prerouting {\ntype nat hook prerouting priority -105; policy accept;\n\
         iifname @inside return\nfib daddr type local jump choose\n}\n\
         chain output {\ntype nat hook output priority -105; policy accept;\n\
         oif lo ip daddr 127.0.0.0/8 return\noif lo ip6 daddr ::1 return\nfib daddr type local jump choose\n}\n",
    );
    // All packets of a connection pass one of these; only its first passes the chains above.
    for (chain, hook, counted) in [
        (
            "received",
            "postrouting priority 110",
            &[("original ct state new", "connections"), ("original", "received")][..],
        ),
        ("sent", "prerouting priority -140", &[("reply", "sent")]),
    ] {
        let _ = writeln!(script, "chain {chain} {{\ntype filter hook {hook}; policy accept;");
        for protocol in ["tcp", "udp"] {
            for (direction, counted) in counted {
                let _ = writeln!(
                    script,
                    "ct status dnat ct direction {direction} meta l4proto {protocol} counter name ct original \
                     proto-dst map @{counted}-{protocol}"
                );
            }
        }
        script.push_str("}\n");
    }
    script.push_str("}\n");
    for (protocol, port) in numbers(ports) {
        for counted in COUNTED {
            let _ = writeln!(
                script,
                "add element inet {TABLE} {counted}-{protocol} {{ {port} : \"{protocol}-{port}-{counted}\" }}"
            );
        }
    }
    for carried in ports {
        elements(&mut script, carried);
    }
    inside(&mut script, ports);
    script
}

/// Changes the endpoints of ports that are there: from these to those.
pub(super) fn change(before: &[Carried], after: &[Carried]) -> String {
    let mut script = String::new();
    for (old, new) in before.iter().zip(after) {
        for (family, (old_turns, new_turns)) in [4, 6].into_iter().zip(old.turns.iter().zip(&new.turns)) {
            if old_turns != new_turns {
                let _ = writeln!(script, "flush map inet {TABLE} {}-{family}", name(new));
                turns(&mut script, &name(new), family, new_turns);
            }
        }
    }
    let bridges =
        |ports: &[Carried]| all_bridges(ports).collect::<Vec<_>>() != all_bridges(before).collect::<Vec<_>>();
    if bridges(after) {
        let _ = writeln!(script, "flush set inet {TABLE} inside");
        inside(&mut script, after);
    }
    script
}

/// The ports as they are counted: those of several addresses are counted together.
pub(super) fn numbers(ports: &[Carried]) -> BTreeSet<(Protocol, u16)> {
    ports.iter().map(|carried| (carried.port.protocol, carried.port.address.port)).collect()
}

/// What a port's chain and maps are called.
pub(super) fn name(carried: &Carried) -> String {
    let address = match carried.port.address.ip {
        Some(IpAddr::V4(ip)) if !ip.is_unspecified() => format!("-{:08x}", ip.to_bits()),
        Some(IpAddr::V6(ip)) if !ip.is_unspecified() => format!("-{:032x}", ip.to_bits()),
        _ => String::new(),
    };
    let Carried { port, .. } = carried;
    format!("{}-{}{address}", port.protocol, port.address.port)
}

fn chain(script: &mut String, carried: &Carried) {
    let (name, protocol) = (name(carried), carried.port.protocol);
    for (family, address) in [(4, "ip daddr"), (6, "ip6 daddr")] {
        let _ = writeln!(
            script,
            "map {name}-{family} {{ typeof numgen inc mod {TURNS} : {address} . {protocol} dport; }}"
        );
    }
    let _ = writeln!(script, "chain {name} {{");
    for (family, ip) in [(4, "ip"), (6, "ip6")] {
        let turn = if protocol == Protocol::Tcp {
            format!("numgen inc mod {TURNS}")
        } else {
            format!("jhash {ip} saddr . udp sport mod {TURNS} seed 0x706f7274")
        };
        let nfproto = if family == 4 { "ipv4" } else { "ipv6" };
        let _ = writeln!(
            script,
            "meta nfproto {nfproto} meta l4proto {protocol} dnat {ip} to {turn} map @{name}-{family}"
        );
    }
    script.push_str("}\n");
}

fn elements(script: &mut String, carried: &Carried) {
    let (name, Carried { port, .. }) = (name(carried), carried);
    let key = format!("{} . {}", port.protocol, port.address.port);
    let add = match port.address.ip {
        Some(IpAddr::V4(ip)) if !ip.is_unspecified() => format!("at4 {{ {ip} . {key} : goto {name} }}"),
        Some(IpAddr::V6(ip)) if !ip.is_unspecified() => format!("at6 {{ {ip} . {key} : goto {name} }}"),
        _ => format!("anywhere {{ {key} : goto {name} }}"),
    };
    let _ = writeln!(script, "add element inet {TABLE} {add}");
    for (family, of_family) in [4, 6].into_iter().zip(&carried.turns) {
        turns(script, &name, family, of_family);
    }
}

fn turns(script: &mut String, name: &str, family: u8, turns: &[SocketAddr]) {
    if turns.is_empty() {
        return;
    }
    let _ = write!(script, "add element inet {TABLE} {name}-{family} {{ ");
    for (turn, endpoint) in turns.iter().enumerate() {
        let _ = write!(script, "{turn} : {} . {}, ", endpoint.ip(), endpoint.port());
    }
    script.push_str("}\n");
}

fn inside(script: &mut String, ports: &[Carried]) {
    let bridges: Vec<String> = all_bridges(ports).map(|name| format!("\"{name}\"")).collect();
    if !bridges.is_empty() {
        let _ = writeln!(script, "add element inet {TABLE} inside {{ {} }}", bridges.join(", "));
    }
}

fn all_bridges(ports: &[Carried]) -> impl Iterator<Item = &String> {
    let all: BTreeSet<&String> = ports.iter().flat_map(|port| &port.bridges).collect();
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use super::super::plan::plan;
    use super::super::plan::tests::{facts, wanted};
    use super::*;

    fn carried(at: &str, protocol: Protocol, endpoints: &[&str]) -> Carried {
        plan(&wanted(at, protocol, endpoints), &facts()).unwrap()
    }

    #[test]
    fn a_port_of_one_address_is_another_than_the_port_of_all() {
        let ports = [":8080", "10.0.0.1:8080", "[fd00::5]:8080"].map(|at| carried(at, Protocol::Tcp, &[]));
        let script = whole(&ports);
        for line in [
            "anywhere { tcp . 8080 : goto tcp-8080 }",
            "at4 { 10.0.0.1 . tcp . 8080 : goto tcp-8080-0a000001 }",
            "at6 { fd00::5 . tcp . 8080 : goto tcp-8080-fd000000000000000000000000000005 }",
        ] {
            assert!(script.contains(&format!("add element inet portolan {line}\n")), "{line}: {script}");
        }
        assert_eq!(script.matches("counter tcp-8080-received {").count(), 1, "they are counted together");
    }

    #[test]
    fn when_endpoints_come_and_go_only_elements_change() {
        let (one, two) = (["172.17.0.2:80"], ["172.17.0.2:80", "172.17.0.3:80"]);
        let before = [carried(":8080", Protocol::Tcp, &one), carried(":53", Protocol::Udp, &one)];
        let after = [carried(":8080", Protocol::Tcp, &two), carried(":53", Protocol::Udp, &one)];
        let script = change(&before, &after);
        let lines: Vec<&str> = script.lines().collect();
        assert_eq!(lines.len(), 2, "{script}");
        assert_eq!(lines[0], "flush map inet portolan tcp-8080-4");
        assert!(lines[1].starts_with("add element inet portolan tcp-8080-4 { 0 : 172.17.0."));
        assert_eq!(change(&after, &after), "");
        let none = [carried(":8080", Protocol::Tcp, &[]), carried(":53", Protocol::Udp, &[])];
        assert!(change(&before, &none).ends_with("flush set inet portolan inside\n"));
    }
}
