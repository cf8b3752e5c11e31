//! What the transparent path needs of the kernel: that answers to clients' addresses, which come by here, are Portolan's.
//!
//! A connection to an endpoint leaves with its client's address; the endpoint's answers go to that, by way of this host.
//! A table of nftables marks those that belong to a socket of Portolan's, and a rule sends what is marked to this host's
//! own sockets (ip-rule(8); `Documentation/networking/tproxy.rst` of Linux).

use std::io;

use nix::libc::{EAFNOSUPPORT, EEXIST, ENOENT, EOPNOTSUPP, ESRCH};
use nix::sys::socket::{AddressFamily, SockProtocol};

use super::netlink::{ACKNOWLEDGE, Netlink, REQUEST};
use super::nft::{Nft, read_listing};
use super::{Endpoint, Wanted};

/// The table, in the family `inet`.
pub(super) const TABLE: &str = "portolan-transparent";
/// The mark, and the number of the routing table: `port` in ASCII, which nobody else is likely to have.
const MARK: u32 = 0x706f_7274;
/// Where the rule stands: before the main table (32766).
const PRIORITY: u32 = 100;

const V4: AddressFamily = AddressFamily::Inet;
const V6: AddressFamily = AddressFamily::Inet6;

const CREATE_ONLY: u16 = 0x400 | 0x200;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;

/// What was made of it.
#[derive(Debug, Default)]
pub(super) struct Transparent {
    /// The table as it was listed when it was made.
    listing: Option<String>,
    /// Why there is none of it for IPv6.
    no_v6: Option<String>,
}

impl Transparent {
    /// Makes what is not there. Gives whether something else had taken it away.
    pub(super) fn make(&mut self, nft: &Nft) -> Result<bool, String> {
        let list = || {
            let listing = nft.ask(&["-t", "list", "table", "inet", TABLE]);
            listing.map(|text| read_listing(&text).1)
        };
        let is_new = |done: io::Result<()>| match done {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(EEXIST) => Ok(false),
            Err(error) => Err(format!("a rule of routing can't be made: {error}")),
        };
        let before = self.listing.take();
        let mut repaired = is_new(route(NEW_ROUTE, V4))?;
        repaired |= is_new(rule(NEW_RULE, V4))?;
        // A kernel without IPv6 has no clients by it either.
        self.no_v6 = match is_new(route(NEW_ROUTE, V6)).and_then(|new| Ok(new | is_new(rule(NEW_RULE, V6))?))
        {
            Ok(new) => {
                repaired |= new;
                None
            }
            Err(why) => Some(why),
        };
        if before.is_none() || list().ok() != before {
            repaired = true;
            nft.run(&format!(
                "add table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\nchain prerouting {{\n\
                 type filter hook prerouting priority -150; policy accept;\n\
                 meta l4proto {{ tcp, udp }} socket transparent 1 meta mark set {MARK}\n}}\n}}\n"
            ))?;
            self.listing = Some(list()?);
        } else {
            self.listing.clone_from(&before);
        }
        Ok(repaired && before.is_some())
    }

    /// Whether it is there for IPv6, too.
    pub(super) fn has_v6(&self) -> bool {
        self.no_v6.is_none()
    }

    /// Why it is not there for a port whose endpoints are reached by IPv6, where that is so.
    pub(super) fn without(&self, wanted: &Wanted) -> Option<String> {
        let by_v6 = |endpoint: &Endpoint| endpoint.address.is_ipv6() && !endpoint.besides;
        self.no_v6.clone().filter(|_| wanted.endpoints.iter().any(by_v6))
    }

    /// Removes what was made.
    pub(super) fn remove(&mut self, nft: &Nft) {
        if self.listing.take().is_none() {
            return;
        }
        if let Err(why) = remove_table(nft).and(remove_routing().map(drop)) {
            tracing::warn!(why, "what the transparent path needed is not all removed");
        }
    }
}

/// Removes the table, whether or not there is one.
pub(super) fn remove_table(nft: &Nft) -> Result<(), String> {
    nft.run(&format!("add table inet {TABLE}\ndelete table inet {TABLE}\n"))
}

/// Removes the rules and the routes; gives whether there were any.
pub(super) fn remove_routing() -> Result<bool, String> {
    let mut any = false;
    for family in [V4, V6] {
        for done in [rule(DELETE_RULE, family), route(DELETE_ROUTE, family)] {
            match done {
                Ok(()) => any = true,
                Err(error) if is_nothing(&error) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
    Ok(any)
}

/// Whether it says that what was to be removed is not there: what it would have been for is not there either.
fn is_nothing(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| [ESRCH, ENOENT, EAFNOSUPPORT, EOPNOTSUPP].contains(&code))
}

/// The rule that what is marked goes by our table of routes (`linux/fib_rules.h`).
fn rule(kind: u16, family: AddressFamily) -> io::Result<()> {
    const TO_TABLE: u8 = 1;
    const RULE_PRIORITY: u16 = 6;
    const RULE_MARK: u16 = 10;
    const RULE_TABLE: u16 = 15;
    let header = [family as u8, 0, 0, 0, 0, 0, 0, TO_TABLE, 0, 0, 0, 0];
    let attributes =
        [number(RULE_PRIORITY, PRIORITY), number(RULE_MARK, MARK), number(RULE_TABLE, MARK)].concat();
    tell(kind, &header, &attributes)
}

/// The route in it: every address is this host's (`linux/rtnetlink.h`).
fn route(kind: u16, family: AddressFamily) -> io::Result<()> {
    const BY_ADMINISTRATOR: u8 = 4;
    const THIS_HOST: u8 = 254;
    const LOCAL: u8 = 2;
    const ROUTE_INTERFACE: u16 = 4;
    const ROUTE_TABLE: u16 = 15;
    const LOOPBACK: u32 = 1;
    let header = [family as u8, 0, 0, 0, 0, BY_ADMINISTRATOR, THIS_HOST, LOCAL, 0, 0, 0, 0];
    let attributes = [number(ROUTE_TABLE, MARK), number(ROUTE_INTERFACE, LOOPBACK)].concat();
    tell(kind, &header, &attributes)
}

fn tell(kind: u16, header: &[u8], attributes: &[u8]) -> io::Result<()> {
    let create = if [NEW_RULE, NEW_ROUTE].contains(&kind) { CREATE_ONLY } else { 0 };
    let route = Netlink::open(SockProtocol::NetlinkRoute)?;
    route.ask(kind, REQUEST | ACKNOWLEDGE | create, header, attributes, |_| {})
}

fn number(kind: u16, value: u32) -> [u8; 8] {
    let mut attribute = [0; 8];
    attribute[..2].copy_from_slice(&8_u16.to_ne_bytes());
    attribute[2..4].copy_from_slice(&kind.to_ne_bytes());
    attribute[4..].copy_from_slice(&value.to_ne_bytes());
    attribute
}
