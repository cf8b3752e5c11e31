//! The hosts of routers, as names that lead to this host: so that `app.example.com` is the same inside as outside.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::RecordType;
use portolan_config::settings::Dns;
use portolan_discovery::Router;

use super::book::{Asker, Book, Claim, Rank, What};
use crate::key::Key;
use crate::names::{self, MAX_NAME};
use crate::records::{About, Node, addresses};

/// Who claims them: nobody's number.
const BY: u32 = u32::MAX - 1;

/// Which hosts have names at present.
#[derive(Debug)]
pub(super) struct RouterHosts {
    /// What each name has; `None` where none is asked for.
    node: Option<Arc<Node>>,
    asker: Arc<Asker>,
    routers: Vec<Arc<Router>>,
    /// The names below the zone, and elsewhere.
    held: [BTreeSet<Key>; 2],
    /// Whether there is a wildcard below the zone, and elsewhere.
    pub(super) wildcards: [bool; 2],
}

impl RouterHosts {
    pub(super) fn new(settings: &Dns) -> Self {
        let ips: &[IpAddr] = &settings.options.router_hosts;
        let ttl = u32::try_from(settings.ttl.as_secs()).unwrap_or(u32::MAX);
        let set = |kind| addresses(kind, ips.iter().copied(), ttl, Some(0));
        let node = (!ips.is_empty())
            .then(|| Arc::new(Node::new([set(RecordType::A), set(RecordType::AAAA)], About::Nothing)));
        let asker = Asker::nobody(BY);
        Self { node, asker, routers: Vec::new(), held: Default::default(), wildcards: [false; 2] }
    }

    /// Takes the names of hosts that came, and gives back those of hosts that went.
    pub(super) fn follow(
        &mut self,
        routers: &[Arc<Router>],
        origin: &[u8],
        below: &mut Book,
        elsewhere: &mut Book,
    ) {
        let Some(node) = &self.node else { return };
        let same = self.routers.len() == routers.len()
            && self.routers.iter().zip(routers).all(|(one, other)| Arc::ptr_eq(one, other));
        if same {
            return;
        }
        self.routers = routers.to_vec();
        let mut wanted: [BTreeSet<Key>; 2] = Default::default();
        for host in routers.iter().flat_map(|router| router.rule.hosts()) {
            let Some((key, is_elsewhere)) = key(&host, origin) else { continue };
            wanted[usize::from(is_elsewhere)].insert(key);
        }
        for ((wanted, held), book) in wanted.iter().zip(&self.held).zip([below, elsewhere]) {
            for gone in held.difference(wanted) {
                book.withdraw(gone, BY, Rank::Router..=Rank::Router);
            }
            for come in wanted.difference(held) {
                let (asker, what) = (Arc::clone(&self.asker), What::Node(Arc::clone(node)));
                book.claim(come, Claim { rank: Rank::Router, at: 0, asker, what });
            }
        }
        self.wildcards = std::array::from_fn(|at| wanted[at].iter().any(|key| key.starts_with(b"\x01*")));
        self.held = wanted;
    }
}

/// The key of a host, and whether it is outside the zone; `None` for what is no name, such as an address.
fn key(host: &str, origin: &[u8]) -> Option<(Key, bool)> {
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let (wildcard, rest) = match host.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, host),
    };
    let rest = names::key(rest.trim_end_matches('.'), MAX_NAME - 3).ok()?;
    let whole = if wildcard { Key::join(b"\x01*", &rest) } else { rest };
    let zone = &origin[..origin.len() - 1];
    match whole.strip_suffix(zone) {
        // The zone's own name is not a router's to give.
        Some([]) => None,
        Some(below) if names::is_below(&[&whole, &[0][..]].concat(), origin) => Some((below.into(), false)),
        _ => Some((whole, true)),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordType::{A, AAAA};
    use portolan_config::Rule;

    use super::*;
    use crate::test_support::{container, data, settings, snapshot, verdict};
    use crate::zone::Compiler;

    #[test]
    fn a_routers_host_leads_to_this_host_for_as_long_as_it_has_one() {
        let mut settings = settings();
        settings.options.router_hosts = vec!["192.0.2.7".parse().unwrap()];
        let mut compiler = Compiler::new(&settings);
        let mut world = snapshot([container("web", "10.0.0.1")]);
        let router =
            |name: &str, rule: &str| Arc::new(Router::new(name, Rule::parse(rule).unwrap(), "web@docker"));
        world.routers = vec![
            router("a", "Host(`App.Example.com`) && PathPrefix(`/x`) || Host(`other.portolan.internal`)"),
            router("b", "Host(`web.portolan.internal`) || Host(`192.0.2.1`) || Host(`portolan.internal`)"),
        ];
        let (zone, faults) = compiler.compile(&world);
        assert_eq!(faults, []);
        assert_eq!(zone.get("app.example.com.", A), ["192.0.2.7"]);
        assert_eq!(verdict(&zone.ask("app.example.com.", AAAA)), "NoError SOA");
        assert_eq!(verdict(&zone.ask("www.example.com.", A)), "Refused", "others' names stay others'");
        assert_eq!(zone.get("other", A), ["192.0.2.7"]);
        assert_eq!(zone.get("web", A), ["10.0.0.1"], "a service is more entitled");
        let serial = zone.serial();

        world.generation += 1;
        assert_eq!(compiler.compile(&world).0.serial(), serial, "nothing is new");
        world.routers.remove(0);
        world.generation += 1;
        let zone = compiler.compile(&world).0;
        assert_eq!(verdict(&zone.ask("app.example.com.", A)), "Refused");
        assert_eq!(verdict(&zone.ask("other", A)), "NXDomain SOA");
        assert!(zone.serial() > serial);
        assert_eq!(data(&zone.ask("web", A).answers), ["10.0.0.1"]);
    }
}
