//! Where datagrams go: the routers and services of UDP, compiled. It opens no socket and reads no clock.
//!
//! Which target a client has follows from its address and port alone (rendezvous hashing, [`hash::pull`]), so that it is
//! the same for every worker, and the same again for a client whose session was forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use portolan_config::settings::EntryPoint;
use portolan_config::{Fault, Protocol};
use portolan_discovery::{self as discovery, LayerFour, UdpUpstream};

use super::{Map, Target, Upstream};
use crate::balancer::hash;

/// Where the datagrams of a port or an entry point go.
#[derive(Debug)]
pub(crate) enum Datagrams {
    /// To one of these targets.
    Targets(Arc<Upstream>),
    /// To one of these services.
    Weighted(Vec<Share>),
}

/// Where an entry point leads, and by which router.
#[derive(Clone, Debug)]
pub(crate) struct Led {
    /// The router's qualified name.
    pub(crate) router: Arc<str>,
    pub(crate) to: Arc<Datagrams>,
}

/// One of the services that others are spread over.
#[derive(Debug)]
pub(crate) struct Share {
    key: u64,
    weight: u32,
    to: Arc<Datagrams>,
}

/// A target, and what it was chosen from.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) target: Arc<Target>,
    pub(crate) upstream: Arc<Upstream>,
}

impl Datagrams {
    /// The target for this client; another than `avoid`, where there is another.
    pub(crate) fn choose(&self, client: SocketAddr, avoid: Option<u64>) -> Option<Chosen> {
        let client = hash_of(client);
        self.find(client, avoid).or_else(|| self.find(client, None))
    }

    fn find(&self, client: u64, avoid: Option<u64>) -> Option<Chosen> {
        match self {
            Self::Targets(upstream) => {
                let mut best: Option<(f64, &Arc<Target>)> = None;
                for target in upstream.available.iter().filter(|target| Some(target.id) != avoid) {
                    let pull = hash::pull(client, target.key, target.weight);
                    if best.is_none_or(|(strongest, _)| pull > strongest) {
                        best = Some((pull, target));
                    }
                }
                let (_, target) = best?;
                Some(Chosen { target: target.clone(), upstream: upstream.clone() })
            }
            Self::Weighted(shares) => {
                let mut drawn: Vec<(f64, &Share)> = shares
                    .iter()
                    .filter(|share| share.weight > 0)
                    .map(|share| (hash::pull(client, share.key, share.weight), share))
                    .collect();
                drawn.sort_unstable_by(|(a, _), (b, _)| b.total_cmp(a));
                // A service that has nobody at present is passed over.
                drawn.into_iter().find_map(|(_, share)| share.to.find(client, avoid))
            }
        }
    }

    /// Whether this target may be given work.
    pub(crate) fn offers(&self, target: u64) -> bool {
        match self {
            Self::Targets(upstream) => upstream.available.iter().any(|other| other.id == target),
            Self::Weighted(shares) => shares.iter().any(|share| share.weight > 0 && share.to.offers(target)),
        }
    }
}

/// A client by its address and port. What came in IPv6's clothes is the same client.
fn hash_of(client: SocketAddr) -> u64 {
    let port = client.port().to_be_bytes();
    let mut bytes = [0; 18];
    let length = match client.ip().to_canonical() {
        IpAddr::V4(ip) => {
            bytes[..4].copy_from_slice(&ip.octets());
            4
        }
        IpAddr::V6(ip) => {
            bytes[..16].copy_from_slice(&ip.octets());
            16
        }
    };
    bytes[length..length + 2].copy_from_slice(&port);
    hash::of(&bytes[..length + 2])
}

/// Compiles where each UDP entry point leads. `upstream` compiles targets under a name.
pub(super) fn compile(
    drawn: &LayerFour,
    entry_points: &[EntryPoint],
    mut upstream: impl FnMut(discovery::Upstream) -> Arc<Upstream>,
    faults: &mut Vec<Fault>,
) -> Map<String, Led> {
    let mut services = Services { drawn, done: BTreeMap::new(), upstream: &mut upstream };
    let mut led: Map<String, Led> = Map::default();
    for router in &drawn.udp_routers {
        let key = |option: &str| {
            format!("udp.routers.{}.{option}", router.name.split('@').next().unwrap_or_default())
        };
        let to = match services.compile(&router.upstream, &mut BTreeSet::new()) {
            Ok(to) => to,
            Err(message) => {
                faults.push(Fault::new(router.origin.clone(), key("service"), message));
                continue;
            }
        };
        for entry_point in asked_for(&router.entry_points, entry_points) {
            let name = match entry_point {
                Ok(name) => name,
                Err(message) => {
                    faults.push(Fault::new(router.origin.clone(), key("entrypoints"), message));
                    continue;
                }
            };
            match led.get(name) {
                None => {
                    let router = Arc::from(router.name.as_str());
                    led.insert(name.to_owned(), Led { router, to: to.clone() });
                }
                Some(Led { router: first, .. }) => {
                    let message = format!(
                        "entry point `{name}` leads to one router only, and {first} has it: datagrams have no \
                         name that could tell them apart"
                    );
                    faults.push(Fault::new(router.origin.clone(), key("entrypoints"), message));
                }
            }
        }
    }
    led
}

/// The entry points that a router asks for; where it names none, the default ones.
fn asked_for<'a>(names: &'a [String], entry_points: &'a [EntryPoint]) -> Vec<Result<&'a str, String>> {
    let udp = || entry_points.iter().filter(|entry_point| entry_point.protocol == Protocol::Udp);
    if names.is_empty() {
        let any_default = udp().any(|entry_point| entry_point.as_default);
        return udp()
            .filter(|entry_point| entry_point.as_default || !any_default)
            .map(|entry_point| Ok(entry_point.name.as_str()))
            .collect();
    }
    let asked = |name: &'a String| match entry_points.iter().find(|entry_point| entry_point.name == *name) {
        Some(entry_point) if entry_point.protocol == Protocol::Udp => Ok(name.as_str()),
        Some(_) => Err(format!("entry point `{name}` is not for UDP: write its address with `/udp`")),
        None => {
            let known: Vec<&str> = udp().map(|entry_point| entry_point.name.as_str()).collect();
            Err(format!("there is no entry point `{name}`: known for UDP are {}", known.join(", ")))
        }
    };
    names.iter().map(asked).collect()
}

struct Services<'a> {
    drawn: &'a LayerFour,
    done: BTreeMap<String, Arc<Datagrams>>,
    upstream: &'a mut dyn FnMut(discovery::Upstream) -> Arc<Upstream>,
}

impl Services<'_> {
    /// Compiles a service and all below it. `above` are those that lead here.
    fn compile(&mut self, name: &str, above: &mut BTreeSet<String>) -> Result<Arc<Datagrams>, String> {
        if let Some(done) = self.done.get(name) {
            return Ok(done.clone());
        }
        let Some(drawn) = self.drawn.udp_upstreams.get(name) else {
            return Err(format!("there is no UDP service `{name}`"));
        };
        let compiled = match &**drawn {
            // Its series must not be mixed with those of an HTTP service of that name.
            UdpUpstream::Targets(targets) => {
                let upstream = discovery::Upstream::new(format!("{name}/udp"), targets.clone());
                Datagrams::Targets((self.upstream)(upstream))
            }
            UdpUpstream::Weighted(weighted) => {
                if !above.insert(name.to_owned()) {
                    return Err(format!("UDP service `{name}` leads to itself"));
                }
                let mut shares = Vec::with_capacity(weighted.services.len());
                for child in &weighted.services {
                    let to = self.compile(&child.name, above)?;
                    shares.push(Share { key: hash::of(child.name.as_bytes()), weight: child.weight, to });
                }
                above.remove(name);
                Datagrams::Weighted(shares)
            }
        };
        let compiled = Arc::new(compiled);
        self.done.insert(name.to_owned(), compiled.clone());
        Ok(compiled)
    }
}

#[cfg(test)]
mod tests {
    use portolan_config::dynamic::service::WeightedChild;
    use portolan_config::dynamic::tcp::LayerFourWeighted;
    use portolan_discovery::UdpRouter;

    use super::*;
    use crate::table::tests::upstream;

    fn client(number: u16) -> SocketAddr {
        ([10, 0, 0, 1], 1000 + number).into()
    }

    fn udp(name: &str, as_default: bool) -> EntryPoint {
        let plain = EntryPoint::plain(name, "127.0.0.1:0".parse().unwrap());
        EntryPoint { protocol: Protocol::Udp, as_default, ..plain }
    }

    fn router(name: &str, entry_points: &[&str], upstream: &str) -> Arc<UdpRouter> {
        Arc::new(UdpRouter {
            name: name.to_owned(),
            entry_points: entry_points.iter().map(|name| (*name).to_owned()).collect(),
            upstream: upstream.to_owned(),
            origin: "a test".to_owned(),
        })
    }

    fn weighted(children: &[(&str, u32)]) -> Arc<UdpUpstream> {
        let child =
            |(name, weight): &(&str, u32)| WeightedChild { name: (*name).to_owned(), weight: *weight };
        let services = children.iter().map(child).collect();
        Arc::new(UdpUpstream::Weighted(LayerFourWeighted { services, health_check: None }))
    }

    /// Compiles with one target for each service of targets; gives where entry points lead, and the faults.
    fn compiled(
        drawn: &LayerFour,
        entry_points: &[EntryPoint],
    ) -> (Map<String, Arc<Datagrams>>, Vec<String>) {
        let mut faults = Vec::new();
        let one = |drawn: discovery::Upstream| Arc::new(Upstream { name: drawn.name, ..upstream(&[true]) });
        let led = compile(drawn, entry_points, one, &mut faults);
        let led = led.into_iter().map(|(name, led)| (name, led.to)).collect();
        (led, faults.into_iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect())
    }

    #[test]
    fn a_client_has_the_same_target_until_that_is_gone_and_the_others_keep_theirs() {
        let four = Datagrams::Targets(Arc::new(upstream(&[true, true, true, true])));
        let three = Datagrams::Targets(Arc::new(upstream(&[true, true, false, true])));
        let mut moved = 0;
        for number in 0..400 {
            let before = four.choose(client(number), None).unwrap().target.id;
            assert_eq!(four.choose(client(number), None).unwrap().target.id, before);
            let after = three.choose(client(number), None).unwrap().target.id;
            assert!(before == 2 || after == before, "client {number}");
            moved += u32::from(before != after);
        }
        assert!((60..140).contains(&moved), "a quarter of them moves: {moved}");
        assert!(!three.offers(2) && three.offers(3));
    }

    #[test]
    fn one_that_refused_is_avoided_where_there_is_another() {
        let two = Datagrams::Targets(Arc::new(upstream(&[true, true])));
        let first = two.choose(client(1), None).unwrap().target.id;
        assert_eq!(two.choose(client(1), Some(first)).unwrap().target.id, 1 - first);
        let one = Datagrams::Targets(Arc::new(upstream(&[true])));
        assert_eq!(one.choose(client(1), Some(0)).unwrap().target.id, 0);
        assert!(Datagrams::Targets(Arc::new(upstream(&[false]))).choose(client(1), None).is_none());
    }

    #[test]
    fn services_share_by_weight_and_one_that_has_nobody_is_passed_over() {
        let share = |name: &str, weight, available: &[bool]| Share {
            key: hash::of(name.as_bytes()),
            weight,
            to: Arc::new(Datagrams::Targets(Arc::new(Upstream {
                name: name.to_owned(),
                ..upstream(available)
            }))),
        };
        let chosen = |datagrams: &Datagrams| {
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            for number in 0..1000 {
                let upstream = datagrams.choose(client(number), None).unwrap().upstream;
                *counts.entry(upstream.name.clone()).or_default() += 1;
            }
            counts
        };
        let three = Datagrams::Weighted(vec![
            share("much", 3, &[true]),
            share("little", 1, &[true]),
            share("none", 0, &[true]),
        ]);
        let counts = chosen(&three);
        assert!((680..820).contains(&counts["much"]), "{counts:?}");
        assert_eq!(counts.len(), 2);
        let dead = Datagrams::Weighted(vec![share("much", 3, &[false]), share("little", 1, &[true])]);
        assert_eq!(chosen(&dead), BTreeMap::from([("little".to_owned(), 1000)]));
    }

    #[test]
    fn routers_are_on_the_entry_points_they_name_or_on_the_default_ones() {
        let drawn = LayerFour {
            udp_routers: vec![
                router("any@file", &[], "a@file"),
                router("named@file", &["game"], "both@file"),
            ],
            udp_upstreams: BTreeMap::from([
                ("a@file".to_owned(), Arc::new(UdpUpstream::Targets(Vec::new()))),
                ("both@file".to_owned(), weighted(&[("a@file", 1)])),
            ]),
            ..LayerFour::default()
        };
        let (led, faults) = compiled(&drawn, &[udp("game", false), udp("voice", true)]);
        assert_eq!(faults, [""; 0]);
        assert!(matches!(&*led["voice"], Datagrams::Targets(upstream) if upstream.name == "a@file/udp"));
        assert!(matches!(&*led["game"], Datagrams::Weighted(shares) if shares.len() == 1));
        // Without a default one, all are: there the first router has what the second asks for as well.
        let (led, faults) = compiled(&drawn, &[udp("game", false)]);
        assert!(matches!(&*led["game"], Datagrams::Targets(_)));
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].starts_with("udp.routers.named.entrypoints: entry point `game` leads to one router")
        );
    }

    #[test]
    fn what_can_not_be_done_is_said_and_costs_that_router() {
        let drawn = LayerFour {
            udp_routers: vec![
                router("lost@file", &["nowhere"], "a@file"),
                router("ring@file", &["game"], "ring@file"),
                router("web@file", &["web"], "a@file"),
                router("worse@file", &["game"], "missing@file"),
            ],
            udp_upstreams: BTreeMap::from([
                ("a@file".to_owned(), Arc::new(UdpUpstream::Targets(Vec::new()))),
                ("missing@file".to_owned(), weighted(&[("gone@file", 1)])),
                ("ring@file".to_owned(), weighted(&[("ring@file", 1)])),
            ]),
            ..LayerFour::default()
        };
        let web = EntryPoint::plain("web", "127.0.0.1:0".parse().unwrap());
        let (led, faults) = compiled(&drawn, &[udp("game", false), web]);
        assert!(led.is_empty());
        let expected = [
            "udp.routers.lost.entrypoints: there is no entry point `nowhere`: known for UDP are game",
            "udp.routers.ring.service: UDP service `ring@file` leads to itself",
            "udp.routers.web.entrypoints: entry point `web` is not for UDP: write its address with `/udp`",
            "udp.routers.worse.service: there is no UDP service `gone@file`",
        ];
        assert_eq!(faults, expected);
    }
}
