//! What this host can do for the kernel's data path. It looks, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{SockProtocol, SockaddrLike, SockaddrStorage};

use super::netlink::{DUMP, Netlink, REQUEST, attribute};
use super::nft::Nft;
use super::plan::Facts;

/// `CAP_NET_ADMIN`, by its number (capabilities(7)).
const NET_ADMIN: u32 = 12;

/// Looks at everything; gives the program that makes changes, where there is one.
pub(super) fn look() -> (Facts, Option<Nft>) {
    let nft = Nft::find();
    let mut facts = Facts { bridges: bridges(), ..Facts::default() };
    if !has_capability(NET_ADMIN) {
        facts.nothing = Some("Portolan has not the capability NET_ADMIN here".to_owned());
        return (facts, None);
    }
    let Some(nft) = nft else {
        facts.nothing = Some("there is no program `nft` here: install nftables".to_owned());
        return (facts, None);
    };
    match nft.ask(&["list", "chains"]) {
        Err(why) => facts.nothing = Some(why),
        Ok(chains) => {
            for (family, (name, switch)) in
                [("ip", "net/ipv4/ip_forward"), ("ip6", "net/ipv6/conf/all/forwarding")]
                    .into_iter()
                    .enumerate()
            {
                facts.family[family] = if is_on(switch) {
                    drops_forwarded(&chains, name, &nft)
                } else {
                    Some(format!("the kernel does not forward: {} is 0", switch.replace('/', ".")))
                };
            }
        }
    }
    (facts, Some(nft))
}

/// The program that makes changes, where this process may make any.
pub(super) fn changer() -> Option<Nft> {
    Nft::find().filter(|_| has_capability(NET_ADMIN))
}

fn is_on(switch: &str) -> bool {
    fs::read_to_string(Path::new("/proc/sys").join(switch)).is_ok_and(|text| text.trim() != "0")
}

/// Whether this thread has a capability (proc_pid_status(5)).
fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|set| set & (1 << number) != 0)
}

/// Why forwarded packets would be dropped. Docker's chain does that to all that it did not publish itself; what lets
/// others through belongs into its chain `DOCKER-USER`, and whoever has put something there is taken to have done so.
fn drops_forwarded(chains: &str, family: &str, nft: &Nft) -> Option<String> {
    let (table, chain) = dropping_chain(chains, family)?;
    let user = nft.ask(&["list", "chain", family, &table, "DOCKER-USER"]).unwrap_or_default();
    if user.contains("accept") {
        return None;
    }
    let tables = if family == "ip" { "iptables" } else { "ip6tables" };
    Some(format!(
        "the chain {chain} of the table {family} {table} drops what is sent on to containers; to let it through: \
         {tables} -I DOCKER-USER -m conntrack --ctstate DNAT -j ACCEPT"
    ))
}

/// The first chain for forwarded packets of this family that drops what nobody accepted, and its table.
fn dropping_chain(chains: &str, family: &str) -> Option<(String, String)> {
    let (mut table, mut chain) = (None, "");
    for line in chains.lines() {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["table", of, name, "{"] => table = (*of == family || *of == "inet").then_some(*name),
            ["chain", name, "{"] => chain = name,
            words if words.contains(&"forward") && words.windows(2).any(|two| two == ["policy", "drop;"]) => {
                if let Some(table) = table {
                    return Some((table.to_owned(), chain.to_owned()));
                }
            }
            _ => {}
        }
    }
    None
}

/// The bridges of this host with the networks in which it has an address: who is on one sends its answers this way.
fn bridges() -> Vec<(String, Vec<IpNet>)> {
    let names = names_of_bridges().unwrap_or_default();
    let mut found: BTreeMap<String, Vec<IpNet>> = BTreeMap::new();
    let Ok(addresses) = getifaddrs() else { return Vec::new() };
    for address in addresses.filter(|address| names.contains(&address.interface_name)) {
        let ip = address.address.as_ref().and_then(ip_of);
        let mask = address.netmask.as_ref().and_then(ip_of);
        if let (Some(ip), Some(mask)) = (ip, mask)
            && let Ok(network) = IpNet::with_netmask(ip, mask)
        {
            found.entry(address.interface_name).or_default().push(network.trunc());
        }
    }
    found.into_iter().collect()
}

/// Asks for all links, and what kind each is (rtnetlink(7)). `/sys` may be of another network than ours.
fn names_of_bridges() -> io::Result<BTreeSet<String>> {
    const GET_LINK: u16 = 18;
    const NAME: u16 = 3;
    const INFO: u16 = 18;
    const INFO_KIND: u16 = 1;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let mut names = BTreeSet::new();
    Netlink::open(SockProtocol::NetlinkRoute)?.ask(GET_LINK, REQUEST | DUMP, &[0; 16], &[], |link| {
        let kind = attribute(link, INFO).and_then(|info| attribute(info, INFO_KIND)).map(text);
        if kind.is_some_and(|kind| kind == "bridge") {
            names.extend(attribute(link, NAME).map(text));
        }
    })?;
    Ok(names)
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    match address.family()? {
        nix::sys::socket::AddressFamily::Inet => address.as_sockaddr_in().map(|v4| v4.ip().into()),
        nix::sys::socket::AddressFamily::Inet6 => address.as_sockaddr_in6().map(|v6| v6.ip().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_drops_what_is_forwarded_is_found_in_its_own_family() {
        let chains = "table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy drop;\n\
                      \t}\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n\
                      table ip6 filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy \
                      accept;\n\t}\n}\n";
        assert_eq!(dropping_chain(chains, "ip"), Some(("filter".to_owned(), "FORWARD".to_owned())));
        assert_eq!(dropping_chain(chains, "ip6"), None);
        let firewall =
            "table inet fw {\n\tchain fwd {\n\t\ttype filter hook forward priority 0; policy drop;\n\t}\n}\n";
        assert_eq!(dropping_chain(firewall, "ip6"), Some(("fw".to_owned(), "fwd".to_owned())));
    }
}
