//! From services of services, as drawn, to destinations.

use std::collections::HashMap;
use std::sync::Arc;

use portolan_config::dynamic::service::{ServiceKind, WeightedChild};
use portolan_discovery::{Composite, Snapshot};

use super::destination::{Child, Destination, Mirrors, Weighted};
use super::{Cursor, Map};
use crate::balancer::hash;
use crate::ledger::Ledger;
use crate::sticky::{Place, Sticky};

/// Services within services, at most: the chart refuses circles, and this whoever else draws one.
const DEPTH_MAX: usize = 16;

/// Adds the snapshot's services of services to those that are there.
pub(super) fn compile(
    snapshot: &Snapshot,
    ledger: &Ledger,
    destinations: &mut Map<String, Arc<Destination>>,
) {
    let drawn: HashMap<&str, &Arc<Composite>> =
        snapshot.composites.iter().map(|composite| (composite.name.as_str(), composite)).collect();
    for composite in &snapshot.composites {
        let mut maker = Maker { drawn: &drawn, ledger, generation: snapshot.generation, destinations };
        maker.make(&composite.name, 0);
    }
}

struct Maker<'a> {
    drawn: &'a HashMap<&'a str, &'a Arc<Composite>>,
    ledger: &'a Ledger,
    generation: u64,
    destinations: &'a mut Map<String, Arc<Destination>>,
}

impl Maker<'_> {
    /// The destination of this name, with all below it.
    fn make(&mut self, name: &str, depth: usize) -> Option<Arc<Destination>> {
        if let Some(made) = self.destinations.get(name) {
            return Some(made.clone());
        }
        let composite = *self.drawn.get(name)?;
        if depth > DEPTH_MAX {
            return None;
        }
        let children: Vec<Arc<Destination>> = composite
            .kind
            .children()
            .into_iter()
            .map(|(_, child)| self.make(child, depth + 1))
            .collect::<Option<_>>()?;
        let made = self.ledger.composite(composite, &children, self.generation, |cursor| {
            assemble(composite, &children, cursor)
        });
        self.destinations.insert(name.to_owned(), made.clone());
        Some(made)
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
        ServiceKind::Failover(_) if children.len() == 2 => {
            Destination::Failover(children[0].clone(), children[1].clone())
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
