//! Draws the chart: from instances, each with its own labels, to services, routers, upstreams and publications.
//!
//! In two steps. A [`Sketch`] holds what follows from one instance alone, and is made once, when the instance is
//! observed; [`draw`] puts the sketches together, and is done for every snapshot.
//!
//! Pure: the same instances under the same policy give the same chart, in whatever order they were observed. What
//! can't be drawn as written becomes a fault; it costs the router or the port it is about and nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use portolan_config::{Fault, ListenAddress, Protocol};

use crate::snapshot::{Publication, Router, Service, Target, Upstream};

mod endpoint;
mod fault;
mod http;
mod publish;
mod sketch;

pub use sketch::Sketch;

/// What the operator decided for all instances.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether an instance without `enable` is reachable by HTTP.
    pub exposed_by_default: bool,
    /// The network whose address is used where labels name none.
    pub network: Option<String>,
    /// The listening places that no label can have, each with its name: entry points, the admin address, DNS.
    pub reserved: Vec<Reserved>,
}

/// A listening place of Portolan's own.
#[derive(Clone, Debug)]
pub struct Reserved {
    /// What listens there: `entry point web`.
    pub name: String,
    /// Where.
    pub address: ListenAddress,
    /// On which transport.
    pub protocol: Protocol,
}

/// The drawn parts of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// By qualified name.
    pub services: Vec<Arc<Service>>,
    /// By qualified name.
    pub routers: Vec<Arc<Router>>,
    /// By qualified name.
    pub upstreams: Vec<Arc<Upstream>>,
    /// By port.
    pub publications: Vec<Arc<Publication>>,
    /// What could not be drawn.
    pub faults: Vec<Fault>,
}

/// Draws what the sketches show together. Parts that are as they were in `previous` are the same `Arc`s, so that
/// whoever steers by the chart has to look only at what changed.
pub fn draw<'a>(sketches: impl Iterator<Item = &'a Sketch>, policy: &Policy, previous: &Chart) -> Chart {
    let mut sketches: Vec<&Sketch> = sketches.collect();
    // Of two that claim the same thing, a running one keeps it before a stopped one, then the elder.
    sketches.sort_by(|a, b| precedence(a).cmp(&precedence(b)));
    let mut faults = fault::Faults::default();
    for sketch in &sketches {
        for (label, message) in &sketch.faults {
            faults.add(&sketch.service, &sketch.origin(), label, message);
        }
    }
    let services = group(&sketches);
    let (routers, mut upstreams) = http::merge(&sketches, &mut faults);
    let publications = publish::merge(&sketches, &services, policy, &mut upstreams, &mut faults);
    Chart {
        services: keep(services, &previous.services, |new, old| {
            new.key == old.key && all_same(&new.endpoints, &old.endpoints, Arc::ptr_eq)
        }),
        routers,
        upstreams: keep(upstreams, &previous.upstreams, |new, old| {
            let same = |new: &Target, old: &Target| {
                new.port == old.port && Arc::ptr_eq(&new.endpoint, &old.endpoint)
            };
            all_same(&new.targets, &old.targets, same)
        }),
        publications,
        faults: faults.into_vec(),
    }
}

fn precedence(sketch: &Sketch) -> (bool, SystemTime, &str) {
    (sketch.is_stopped(), sketch.instance.created, &sketch.instance.name)
}

/// Parts on their way onto the chart, by qualified name.
type Named<T> = HashMap<String, T>;

/// The services.
fn group(sketches: &[&Sketch]) -> Named<Service> {
    let mut services: Named<Service> = HashMap::new();
    for sketch in sketches {
        let service = match services.get_mut(&sketch.service) {
            Some(service) => service,
            None => services.entry(sketch.service.clone()).or_insert_with(|| Service {
                name: sketch.service.clone(),
                key: sketch.instance.service.clone(),
                provider: sketch.provider.clone(),
                endpoints: Vec::new(),
            }),
        };
        // Should two kinds of key give one name, the strongest kind is kept, whichever came first.
        if sketch.instance.service < service.key {
            service.key = sketch.instance.service.clone();
        }
        service.endpoints.push(sketch.endpoint.clone());
    }
    for service in services.values_mut() {
        service.endpoints.sort_by(|a, b| a.instance.name.cmp(&b.instance.name));
    }
    services
}

/// Sorts parts by name, and takes those that are as before from before.
fn keep<T>(parts: Named<T>, previous: &[Arc<T>], same: impl Fn(&T, &T) -> bool) -> Vec<Arc<T>>
where
    T: HasName,
{
    let mut parts: Vec<T> = parts.into_values().collect();
    parts.sort_by(|a, b| a.name().cmp(b.name()));
    let mut previous = previous.iter().peekable();
    parts
        .into_iter()
        .map(|part| {
            while previous.next_if(|old| old.name() < part.name()).is_some() {}
            match previous.next_if(|old| old.name() == part.name()) {
                Some(old) if same(&part, old) => old.clone(),
                _ => Arc::new(part),
            }
        })
        .collect()
}

trait HasName {
    fn name(&self) -> &str;
}

impl HasName for Service {
    fn name(&self) -> &str {
        &self.name
    }
}

impl HasName for Upstream {
    fn name(&self) -> &str {
        &self.name
    }
}

fn all_same<T>(new: &[T], old: &[T], same: impl Fn(&T, &T) -> bool) -> bool {
    new.len() == old.len() && new.iter().zip(old).all(|(new, old)| same(new, old))
}

#[cfg(test)]
mod tests;
