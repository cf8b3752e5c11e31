//! Draws the chart: from instances, each with its own labels, to services, routers, upstreams and publications.
//!
//! Pure: the same instances under the same policy give the same chart, in whatever order they were observed. What
//! can't be drawn as written becomes a fault; it costs the router or the port it is about and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_config::{Fault, Labels, ListenAddress, Protocol};

use crate::instance::{Instance, ServiceKey, State};
use crate::provider::ProviderName;
use crate::snapshot::{Endpoint, Publication, Router, Service, Upstream};

mod endpoint;
mod fault;
mod http;
mod publish;

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

/// An instance with its labels read, as the registry keeps it.
#[derive(Clone, Debug)]
pub struct Known {
    /// What was observed.
    pub instance: Arc<Instance>,
    /// What its labels say.
    pub labels: Arc<Labels>,
}

/// The drawn parts of a snapshot.
#[derive(Debug, Default)]
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

/// An instance on its way onto the chart.
struct Mark<'a> {
    known: &'a Known,
    provider: &'a ProviderName,
    /// The qualified name of its service.
    service: String,
    endpoint: Arc<Endpoint>,
}

impl Mark<'_> {
    fn origin(&self) -> String {
        format!("container {}", self.known.instance.name)
    }

    fn is_stopped(&self) -> bool {
        self.known.instance.state == State::Stopped
    }

    fn qualify(&self, name: &str) -> String {
        if name.contains('@') { name.to_owned() } else { format!("{name}@{}", self.provider) }
    }
}

/// Draws everything that `instances` are and ask for.
pub fn draw<'a>(instances: impl Iterator<Item = (&'a ProviderName, &'a Known)>, policy: &Policy) -> Chart {
    let mut faults = fault::Faults::default();
    let mut marks: Vec<Mark> =
        instances.map(|(provider, known)| mark(provider, known, policy, &mut faults)).collect();
    // Of two that claim the same thing, a running one keeps it before a stopped one, then the elder.
    marks.sort_by(|a, b| precedence(a).cmp(&precedence(b)));
    let services = group(&marks);
    let (routers, mut upstreams) = http::draw(&marks, policy, &mut faults);
    let publications = publish::draw(&marks, &services, policy, &mut upstreams, &mut faults);
    Chart {
        services: services.into_values().map(Arc::new).collect(),
        routers,
        upstreams: upstreams.into_values().map(Arc::new).collect(),
        publications,
        faults: faults.into_vec(),
    }
}

fn mark<'a>(
    provider: &'a ProviderName,
    known: &'a Known,
    policy: &Policy,
    faults: &mut fault::Faults,
) -> Mark<'a> {
    let service = format!("{}@{provider}", known.instance.service.name());
    let origin = format!("container {}", known.instance.name);
    for fault in &known.labels.faults {
        faults.add(&service, &origin, &fault.label, &fault.message);
    }
    let endpoint = endpoint::draw(provider, known, policy, |label, message| {
        faults.add(&service, &origin, label, &message);
    });
    Mark { known, provider, service, endpoint: Arc::new(endpoint) }
}

fn precedence<'a>(mark: &'a Mark) -> (bool, std::time::SystemTime, &'a str) {
    (mark.is_stopped(), mark.known.instance.created, &mark.known.instance.name)
}

/// The services, by qualified name. Should two keys give one name, the later one's name says what it is as well.
fn group(marks: &[Mark]) -> BTreeMap<String, Service> {
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    for mark in marks {
        let service = services.entry(mark.service.clone()).or_insert_with(|| Service {
            name: mark.service.clone(),
            key: mark.known.instance.service.clone(),
            provider: mark.provider.clone(),
            endpoints: Vec::new(),
        });
        prefer_key(&mut service.key, &mark.known.instance.service);
        service.endpoints.push(mark.endpoint.clone());
    }
    for service in services.values_mut() {
        service.endpoints.sort_by(|a, b| a.instance.name.cmp(&b.instance.name));
    }
    services
}

/// A service keeps the key of the strongest kind, so that it does not depend on the order of its instances.
fn prefer_key(kept: &mut ServiceKey, other: &ServiceKey) {
    if other < kept {
        *kept = other.clone();
    }
}

#[cfg(test)]
mod tests;
