//! From services of services, as drawn, to destinations.

use std::collections::HashMap;
use std::sync::Arc;

use portolan_config::dynamic::service::{ServiceKind, WeightedChild};
use portolan_discovery::{Composite, Snapshot};

use super::chains::Chains;
use super::destination::{Child, Destination, Mirrors, Weighted};
use super::{Cursor, Errors, Map};
use crate::balancer::hash;
use crate::ledger::Ledger;
use crate::middleware::Chain;
use crate::sticky::{Place, Sticky};

/// Services within services, at most: the chart refuses circles, and this whoever else draws one.
const DEPTH_MAX: usize = 16;

/// A service within another: what it is, and the middlewares that it has of its own.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    destination: Arc<Destination>,
    chain: Option<Arc<Chain>>,
}

impl Part {
    /// Whether these are the same.
    pub(crate) fn are_same(some: &[Self], others: &[Self]) -> bool {
        let is_same = |(a, b): (&Self, &Self)| {
            Arc::ptr_eq(&a.destination, &b.destination) && Chain::is_same(a.chain.as_ref(), b.chain.as_ref())
        };
        some.len() == others.len() && some.iter().zip(others).all(is_same)
    }

    fn has_middlewares(&self) -> bool {
        self.chain.is_some() || self.destination.has_middlewares()
    }

    /// What requests go to.
    fn entrance(&self) -> Arc<Destination> {
        match &self.chain {
            None => self.destination.clone(),
            Some(chain) => Arc::new(Destination::Through(chain.clone(), self.destination.clone())),
        }
    }
}

/// Adds the snapshot's services of services to those that are there. Gives those that can't be, and why.
pub(super) fn compile(
    snapshot: &Snapshot,
    ledger: &Ledger,
    chains: &Chains<'_>,
    destinations: &mut Map<String, Arc<Destination>>,
) -> HashMap<String, String> {
    let drawn: HashMap<&str, &Arc<Composite>> =
        snapshot.composites.iter().map(|composite| (composite.name.as_str(), composite)).collect();
    let mut left_out = HashMap::new();
    for composite in &snapshot.composites {
        let mut maker =
            Maker { drawn: &drawn, ledger, chains, generation: snapshot.generation, destinations };
        if let Err(why) = maker.make(&composite.name, 0) {
            left_out.insert(composite.name.clone(), why);
        }
    }
    left_out
}

struct Maker<'a> {
    drawn: &'a HashMap<&'a str, &'a Arc<Composite>>,
    ledger: &'a Ledger,
    chains: &'a Chains<'a>,
    generation: u64,
    destinations: &'a mut Map<String, Arc<Destination>>,
}

impl Maker<'_> {
    /// The destination of this name, with all below it.
    fn make(&mut self, name: &str, depth: usize) -> Result<Arc<Destination>, String> {
        if let Some(made) = self.destinations.get(name) {
            return Ok(made.clone());
        }
        let composite = *self.drawn.get(name).ok_or_else(|| format!("there is no service `{name}`"))?;
        if depth > DEPTH_MAX {
            return Err(format!("service `{name}` leads back to itself"));
        }
        let mut parts = Vec::new();
        for (_, child) in composite.kind.children() {
            let destination = self.make(child, depth + 1)?;
            // Without one of them it might be open to strangers.
            let chain = self.chains.of_service(child).map_err(|why| format!("service `{child}`: {why}"))?;
            let part = Part { destination, chain };
            if matches!(composite.kind, ServiceKind::Mirroring(_)) && part.has_middlewares() {
                return Err(format!(
                    "copies of requests go through no middlewares, and service `{child}` has some: give them to the service `{name}`"
                ));
            }
            parts.push(part);
        }
        let made = self.ledger.composite(composite, &parts, self.generation, |cursor| {
            let children: Vec<_> = parts.iter().map(Part::entrance).collect();
            assemble(composite, &children, cursor)
        });
        self.destinations.insert(name.to_owned(), made.clone());
        Ok(made)
    }
}

/// `children` are in the order in which the kind names them.
fn assemble(composite: &Composite, children: &[Arc<Destination>], cursor: Arc<Cursor>) -> Destination {
    match &composite.kind {
        ServiceKind::Weighted(weighted) => {
            let chosen = with_weight(&weighted.services, children);
            let cookie = weighted.sticky.as_ref().and_then(|sticky| sticky.cookie.as_ref());
            let sticky = cookie.map(|cookie| {
                let places = chosen.iter().zip(0..).map(|((_, name), number)| place(composite, name, number));
                Sticky::new(cookie, &composite.name, places.collect())
            });
            let children = chosen.into_iter().map(|(child, _)| child).collect();
            Destination::Weighted(Weighted::new(children, cursor, sticky))
        }
        ServiceKind::HighestRandomWeight(hashed) => Destination::Hashed(
            with_weight(&hashed.services, children).into_iter().map(|(child, _)| child).collect(),
        ),
        ServiceKind::Failover(failover) if children.len() == 2 => {
            let errors = failover.errors.as_ref().map(|errors| Arc::new(Errors::of(errors)));
            Destination::Failover(children[0].clone(), children[1].clone(), errors)
        }
        ServiceKind::Mirroring(mirroring) if children.len() == mirroring.mirrors.len() + 1 => {
            let each =
                children[1..].iter().cloned().zip(mirroring.mirrors.iter().map(|mirror| mirror.percent));
            let mirrors = Mirrors::new(each, mirroring.mirror_body, mirroring.max_body_size);
            Destination::Mirrored(children[0].clone(), mirrors)
        }
        // What else is drawn is no service of services.
        ServiceKind::Mirroring(_) | ServiceKind::Failover(_) | ServiceKind::LoadBalancer(_) => {
            let only = children.iter().take(1);
            Destination::Hashed(
                only.map(|child| Child { destination: child.clone(), weight: 1, key: 0 }).collect(),
            )
        }
    }
}

/// Those that get anything, with their names.
fn with_weight<'n>(named: &'n [WeightedChild], destinations: &[Arc<Destination>]) -> Vec<(Child, &'n str)> {
    let child = |(named, destination): (&'n WeightedChild, &Arc<Destination>)| {
        let key = hash::of(named.name.as_bytes());
        (Child { destination: destination.clone(), weight: named.weight, key }, named.name.as_str())
    };
    named.iter().zip(destinations).map(child).filter(|(child, _)| child.weight > 0).collect()
}

/// A child as its cookies say it: Traefik hashes its name as written, which is without the provider where that is the
/// same.
fn place(composite: &Composite, child: &str, number: u64) -> Place {
    let provider = |name: &str| name.rsplit_once('@').map(|(_, provider)| provider.to_owned());
    let bare = child.rsplit_once('@').map_or(child, |(name, _)| name).to_owned();
    if provider(child) == provider(&composite.name) {
        Place { number, text: bare, also: vec![child.to_owned()] }
    } else {
        Place { number, text: child.to_owned(), also: vec![bare] }
    }
}
