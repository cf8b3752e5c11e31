//! What TCP routers send to: endpoints, or other services by weight.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portolan_config::dynamic::tcp::{LayerFourWeighted, ProxyVersion};
use portolan_config::dynamic::value::Span;
use portolan_config::{DataPath, Fault, PublishLimits};
use portolan_discovery::{LayerFour, TcpUpstream};

use crate::census::Census;
use crate::ledger::Ledger;
use crate::table::{Cursor, Upstream};

/// Services within services, at most; whoever has more has a circle.
const DEPTH_MAX: usize = 16;

/// Turns of a weighted service until it begins anew, at most: weights are rounded to fit.
const TURNS_MAX: usize = 1000;

/// The TCP services, by qualified name.
pub(crate) type Services = BTreeMap<String, Arc<Service>>;

/// What a TCP router sends to.
#[derive(Debug)]
pub(crate) enum Service {
    Places(Places),
    Weighted {
        children: Vec<Arc<Service>>,
        /// Whose turn it is, one after the other; indices of children.
        turns: Box<[u16]>,
        cursor: Arc<Cursor>,
    },
}

/// Endpoints, and what connections to them are like.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) upstream: Arc<Upstream>,
    /// Between the probes of an idle connection; `None` for no probes.
    pub(crate) keep_alive: Option<Duration>,
    /// How long the second direction may stand still after the first has ended; `None` for as long as it likes.
    pub(crate) termination_delay: Option<Duration>,
    /// Whether endpoints are told who the client is, and how.
    pub(crate) proxy_protocol: Option<ProxyVersion>,
    /// Who counts its connections, where there may be only so many.
    pub(crate) census: Option<Arc<Census>>,
    /// Connections that one endpoint may have; `None` for any number.
    pub(crate) per_endpoint_max: Option<usize>,
    /// How long nothing may move, where the service says so; zero for any time.
    pub(crate) idle: Option<Duration>,
    /// How its bytes are to travel, where the service says so.
    pub(crate) data_path: Option<DataPath>,
}

impl Service {
    /// Where the next connection goes: to a service in turn that has an endpoint to give it to; to any in turn where
    /// none has.
    pub(crate) fn next(&self) -> Option<&Places> {
        match self {
            Self::Places(places) => Some(places),
            Self::Weighted { children, turns, cursor } => {
                if turns.is_empty() {
                    return None;
                }
                let start = cursor.next() % turns.len();
                let (before, from) = turns.split_at(start);
                let child = |turn: &u16| &children[usize::from(*turn)];
                let in_turn = from.iter().chain(before).map(child);
                in_turn.clone().find(|service| service.can_serve()).or_else(|| in_turn.clone().next())?.next()
            }
        }
    }

    /// All the endpoints that it may send to.
    pub(crate) fn places(&self) -> Vec<&Places> {
        match self {
            Self::Places(places) => vec![places],
            Self::Weighted { children, .. } => children.iter().flat_map(|child| child.places()).collect(),
        }
    }

    /// Whether it has an endpoint that may be given work.
    pub(crate) fn can_serve(&self) -> bool {
        match self {
            Self::Places(places) => !places.upstream.available.is_empty(),
            Self::Weighted { children, turns, .. } => {
                turns.iter().any(|turn| children[usize::from(*turn)].can_serve())
            }
        }
    }
}

/// Compiles every service. One that leans on what is not there is left out, and said. `compiled` gives the upstream of
/// targets.
pub(in crate::table) fn compile(
    drawn: &LayerFour,
    ledger: &Ledger,
    mut compiled: impl FnMut(&Arc<portolan_discovery::Upstream>) -> Arc<Upstream>,
    faults: &mut Vec<Fault>,
) -> Services {
    let mut services = Services::new();
    for (name, upstream) in &drawn.tcp_upstreams {
        if let TcpUpstream::Targets { upstream, transport, balancing } = &**upstream {
            let connections_max = balancing.connections_max();
            let limits = PublishLimits { connections_max, ..PublishLimits::default() };
            let places = Places {
                upstream: compiled(upstream),
                keep_alive: transport.keep_alive,
                termination_delay: transport.termination_delay,
                proxy_protocol: transport.proxy_protocol,
                census: connections_max.map(|_| ledger.census(name, limits)),
                per_endpoint_max: balancing.per_endpoint_max(),
                idle: balancing.idle_timeout.map(Span::duration),
                data_path: balancing.data_path,
            };
            services.insert(name.clone(), Arc::new(Service::Places(places)));
        }
    }
    // From the endpoints up, until no further service has all that it sends to.
    let mut weighted: Vec<(&String, &LayerFourWeighted)> = drawn
        .tcp_upstreams
        .iter()
        .filter_map(|(name, upstream)| match &**upstream {
            TcpUpstream::Weighted(weighted) => Some((name, weighted)),
            TcpUpstream::Targets { .. } => None,
        })
        .collect();
    for _ in 0..DEPTH_MAX {
        weighted.retain(|(name, weighted)| {
            let service = spread(weighted, &services, || ledger.turns(name));
            let left = service.is_none();
            services.extend(service.map(|service| ((*name).clone(), Arc::new(service))));
            left
        });
    }
    for (name, weighted) in weighted {
        let missing = weighted.services.iter().find(|child| !services.contains_key(&child.name));
        let missing = missing.map_or("", |child| child.name.as_str());
        let base = name.split('@').next().unwrap_or_default();
        faults.push(Fault::new(
            format!("service {name}"),
            format!("tcp.services.{base}.weighted.services"),
            format!(
                "there is no service `{missing}`, or it leads back here; what leads to `{name}` is left out"
            ),
        ));
    }
    services
}

/// A weighted service, if all that it sends to is there.
fn spread(
    weighted: &LayerFourWeighted,
    services: &Services,
    cursor: impl FnOnce() -> Arc<Cursor>,
) -> Option<Service> {
    let children: Option<Vec<Arc<Service>>> =
        weighted.services.iter().map(|child| services.get(&child.name).cloned()).collect();
    let weights: Vec<usize> = weighted.services.iter().map(|child| child.weight as usize).collect();
    Some(Service::Weighted { children: children?, turns: turns(&weights), cursor: cursor() })
}

/// Spreads turns by weight, each weight's as evenly as can be: always to whoever lags behind the most.
fn turns(weights: &[usize]) -> Box<[u16]> {
    let divisor = weights.iter().fold(0, |a, b| gcd(a, *b)).max(1);
    let total: usize = weights.iter().map(|weight| weight / divisor).sum();
    let shrink = total.div_ceil(TURNS_MAX).max(1);
    let weights: Vec<i64> = weights
        .iter()
        .map(|weight| match weight / divisor {
            0 => 0,
            weight => (weight / shrink).max(1) as i64,
        })
        .collect();
    let total: i64 = weights.iter().sum();
    let mut credit = vec![0; weights.len()];
    let mut turns = Vec::with_capacity(total.unsigned_abs() as usize);
    for _ in 0..total {
        for (credit, weight) in credit.iter_mut().zip(&weights) {
            *credit += weight;
        }
        // The first of those that have the most.
        let next = (0..weights.len()).rev().max_by_key(|index| credit[*index]).unwrap_or_default();
        credit[next] -= total;
        turns.push(next as u16);
    }
    turns.into()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_even_and_in_proportion() {
        assert_eq!(*turns(&[3, 1]), [0, 0, 1, 0]);
        assert_eq!(*turns(&[50, 50]), [0, 1]);
        assert_eq!(*turns(&[0, 7]), [1]);
        assert!(turns(&[0, 0]).is_empty() && turns(&[]).is_empty());
        let many = turns(&[1_000_003, 1]);
        assert!(many.len() <= TURNS_MAX + 1 && many.iter().filter(|turn| **turn == 1).count() == 1);
    }
}
