//! Where a request goes: a service with its endpoints, or with the services in it.

use std::net::SocketAddr;

use portolan_config::dynamic::service::ServiceKind;
use portolan_discovery::{TcpUpstream, Upstream};
use serde::Serialize;

use super::Known;

/// Services within services, at most.
const DEPTH_MAX: usize = 16;

/// A service, and who of it would be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// The qualified name.
    pub name: String,
    /// Which kind: `loadBalancer`, `weighted`, …
    pub kind: &'static str,
    /// Its share, where it is one of several.
    pub weight: Option<u64>,
    /// Whether anything of it may be given work.
    pub can_serve: bool,
    /// The services in it.
    pub services: Vec<Served>,
    /// Its endpoints.
    pub endpoints: Vec<Place>,
}

/// An endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Where it is; none while it has no address.
    pub address: Option<String>,
    /// Its state.
    pub state: &'static str,
    /// Why it is in that.
    pub reason: String,
    /// Its share.
    pub weight: u32,
    /// Whether it may be given this request.
    pub given: bool,
}

/// An HTTP service, or what a published port leads to.
pub(super) fn of(known: Known<'_>, name: &str) -> Option<Served> {
    made(known, name, 0)
}

fn made(known: Known<'_>, name: &str, depth: usize) -> Option<Served> {
    if let Some(drawn) = known.snapshot.upstreams.iter().find(|upstream| upstream.name == name) {
        return Some(balanced(known, name, drawn));
    }
    let composite = known.snapshot.composites.iter().find(|composite| composite.name == name)?;
    if depth > DEPTH_MAX {
        return None;
    }
    let weights: Vec<Option<u64>> = match &composite.kind {
        ServiceKind::Weighted(it) => it.services.iter().map(|child| Some(child.weight.into())).collect(),
        ServiceKind::HighestRandomWeight(it) => {
            it.services.iter().map(|child| Some(child.weight.into())).collect()
        }
        _ => Vec::new(),
    };
    let children = composite.kind.children().into_iter().enumerate();
    let services = children
        .filter_map(|(index, (_, child))| {
            let weight = weights.get(index).copied().flatten();
            Some(Served { weight, ..made(known, child, depth + 1)? })
        })
        .collect();
    Some(Served {
        name: name.to_owned(),
        kind: composite.kind.name(),
        can_serve: known.table.destinations.get(name).is_some_and(|destination| destination.can_serve()),
        services,
        ..Served::default()
    })
}

/// A TCP service.
pub(super) fn of_tcp(known: Known<'_>, name: &str) -> Option<Served> {
    made_tcp(known, name, 0)
}

fn made_tcp(known: Known<'_>, name: &str, depth: usize) -> Option<Served> {
    match &**known.snapshot.layer_four.tcp_upstreams.get(name)? {
        TcpUpstream::Targets { upstream, .. } => Some(balanced(known, name, upstream)),
        TcpUpstream::Weighted(_) if depth > DEPTH_MAX => None,
        TcpUpstream::Weighted(weighted) => {
            let child = |child: &portolan_config::dynamic::service::WeightedChild| {
                Some(Served { weight: Some(child.weight.into()), ..made_tcp(known, &child.name, depth + 1)? })
            };
            let services: Vec<Served> = weighted.services.iter().filter_map(child).collect();
            Some(Served {
                name: name.to_owned(),
                kind: "weighted",
                can_serve: services.iter().any(|service| service.can_serve && service.weight != Some(0)),
                services,
                ..Served::default()
            })
        }
    }
}

/// One of servers. Who of them may be given work, the table says.
fn balanced(known: Known<'_>, name: &str, drawn: &Upstream) -> Served {
    let compiled = known.table.upstreams.get(&drawn.name);
    let endpoints: Vec<Place> = drawn
        .targets
        .iter()
        .map(|target| {
            let address = target.endpoint.address().map(|ip| SocketAddr::new(ip, target.port));
            let given = compiled.is_some_and(|compiled| {
                compiled.available.iter().any(|available| {
                    Some(available.address) == address && available.endpoint == target.endpoint.instance.name
                })
            });
            Place {
                name: target.endpoint.instance.name.clone(),
                address: address.map(|address| address.to_string()),
                state: target.endpoint.state.as_str(),
                reason: target.endpoint.reason.clone(),
                weight: target.weight,
                given,
            }
        })
        .collect();
    Served {
        name: name.to_owned(),
        kind: "loadBalancer",
        can_serve: endpoints.iter().any(|endpoint| endpoint.given),
        endpoints,
        ..Served::default()
    }
}
