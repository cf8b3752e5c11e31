//! Draws the chart: from instances, each with its own labels, to services, routers, upstreams and publications.
//!
//! In three steps. A [`Sketch`] holds what follows from one instance alone, and is made once, when the instance is
//! observed; `draw_part` puts sketches together that have to do with each other, by the names that they claim or lean
//! on; and [`Whole`] keeps the chart of all parts, of which it draws anew only those that changed.
//!
//! Pure: the same instances under the same policy give the same chart, in whatever order they were observed. What
//! can't be drawn as written becomes a fault; it costs the router or the port it is about and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use portolan_config::dynamic::middleware::Middleware;
use portolan_config::dynamic::tcp::TcpTransport;
use portolan_config::tls::{ServersTransport, Tls};
use portolan_config::{Constraints, Fault, ListenAddress, Protocol, Template};

use crate::snapshot::{Composite, LayerFour, Publication, Router, Service, Target, Upstream};

mod claims;
mod document;
mod endpoint;
mod fault;
mod http;
mod known;
mod labelled;
mod layer_four;
mod publish;
mod sketch;
mod ties;
mod tls;
pub(crate) mod virtual_host;
mod whole;
mod wish;

pub use document::{Addresses, Document};
pub use sketch::Sketch;
pub use whole::{At, Drawable, Whole};

use claims::Asker;
use known::Known;
use wish::Wishes;

/// What the operator decided for all instances.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether an instance without `enable` is reachable by HTTP.
    pub exposed_by_default: bool,
    /// The network whose address is used where labels name none.
    pub network: Option<String>,
    /// The rule of routers without one; Portolan's own unless written.
    pub default_rule: Option<Arc<Template>>,
    /// Which instances are reachable by HTTP, TCP and UDP at all; all of them unless written.
    pub constraints: Option<Arc<Constraints>>,
    /// Whether the address and port that a port is bound to on its host are used.
    pub use_bind_port_ip: bool,
    /// Whether `VIRTUAL_HOST` and its like, as nginx-proxy reads them, are read.
    pub virtual_hosts: bool,
    /// What connections to the servers of HTTP services are like, where no transport is named.
    pub transport: Arc<ServersTransport>,
    /// What connections to the servers of TCP services are like, where no transport is named.
    pub tcp_transport: Arc<TcpTransport>,
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
    /// By qualified name.
    pub composites: Vec<Arc<Composite>>,
    /// By qualified name.
    pub middlewares: Arc<BTreeMap<String, Arc<Middleware>>>,
    /// Who wrote each of those.
    pub middleware_origins: Arc<BTreeMap<String, String>>,
    /// The TCP and UDP side.
    pub layer_four: Arc<LayerFour>,
    /// What clients that speak TLS are shown.
    pub tls: Arc<Tls>,
    /// By port.
    pub publications: Vec<Arc<Publication>>,
    /// What could not be drawn.
    pub faults: Vec<Fault>,
}

/// One source of what is asked for.
struct Source<'a> {
    wishes: &'a Wishes,
    asker: Asker<'a>,
}

/// Draws what sketches and documents show together, as one part. Things that are as they were in `previous` are the same
/// `Arc`s, so that whoever steers by the chart has to look only at what changed.
pub fn draw<'a>(
    sketches: impl Iterator<Item = &'a Sketch> + Clone,
    documents: impl Iterator<Item = &'a Document> + Clone,
    policy: &Policy,
    previous: &Chart,
) -> Chart {
    let mut known = Known::default();
    for document in documents.clone() {
        known.enter(&document.wishes);
    }
    for sketch in sketches.clone() {
        known.enter(&sketch.wishes);
    }
    let (mut chart, faults) = draw_part(sketches, documents, policy, &known, previous);
    chart.faults = faults.into_values().collect();
    chart
}

/// Draws what has to do with each other, where these names are known on the whole chart; and says what is wrong with it.
fn draw_part<'a>(
    sketches: impl Iterator<Item = &'a Sketch>,
    documents: impl Iterator<Item = &'a Document>,
    policy: &Policy,
    known: &Known,
    previous: &Chart,
) -> (Chart, BTreeMap<fault::Key, Fault>) {
    let mut sketches: Vec<&Sketch> = sketches.collect();
    // Of two that claim the same thing, a running one keeps it before a stopped one, then the elder.
    sketches.sort_by(|a, b| precedence(a).cmp(&precedence(b)));
    let mut faults = fault::Faults::default();
    let mut sources = Vec::with_capacity(sketches.len());
    for document in documents {
        for fault in &document.faults {
            faults.add("", &fault.origin, &fault.key, &fault.message);
        }
        sources.push(Source { wishes: &document.wishes, asker: Asker { service: "", stopped: false } });
    }
    for sketch in &sketches {
        for (label, message) in &sketch.faults {
            faults.add(&sketch.service, &sketch.origin(), label, message);
        }
        let asker = Asker { service: &sketch.service, stopped: sketch.is_stopped() };
        sources.push(Source { wishes: &sketch.wishes, asker });
    }
    let services = group(&sketches);
    let tls_options = tls::options(&sources, &mut faults);
    let tls = tls::merge(&sources, &tls_options, &previous.tls, &mut faults);
    let http = http::merge(&sources, &tls_options, &policy.transport, known, &previous.routers, &mut faults);
    let mut upstreams = http.upstreams;
    let publications = publish::merge(&sketches, &services, policy, &mut upstreams, &mut faults);
    let chart = Chart {
        services: keep(services, &previous.services, |new, old| {
            new.key == old.key && all_same(&new.endpoints, &old.endpoints, Arc::ptr_eq)
        }),
        routers: http.routers,
        upstreams: keep(upstreams, &previous.upstreams, same_upstream),
        composites: http.composites,
        middlewares: if *previous.middlewares == http.middlewares {
            previous.middlewares.clone()
        } else {
            Arc::new(http.middlewares)
        },
        middleware_origins: Arc::new(http.middleware_origins),
        layer_four: Arc::new(layer_four::merge(
            &sources,
            &policy.tcp_transport,
            known,
            &previous.layer_four,
            &mut faults,
        )),
        tls,
        publications,
        faults: Vec::new(),
    };
    (chart, faults.into_map())
}

fn same_upstream(new: &Upstream, old: &Upstream) -> bool {
    all_same(&new.targets, &old.targets, |new: &Target, old: &Target| {
        Arc::ptr_eq(&new.endpoint, &old.endpoint)
            && new.port == old.port
            && new.scheme == old.scheme
            && new.weight == old.weight
            && new.path_prefix == old.path_prefix
            && new.host == old.host
            && new.url == old.url
    }) && new.middlewares == old.middlewares
        && (Arc::ptr_eq(&new.balancing, &old.balancing) || new.balancing == old.balancing)
        && (Arc::ptr_eq(&new.transport, &old.transport) || new.transport == old.transport)
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
    let kept = |part: T| match previous.binary_search_by(|old| old.name().cmp(part.name())) {
        Ok(at) if same(&part, &previous[at]) => previous[at].clone(),
        _ => Arc::new(part),
    };
    parts.into_iter().map(kept).collect()
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

impl HasName for Router {
    fn name(&self) -> &str {
        &self.name
    }
}

impl HasName for Composite {
    fn name(&self) -> &str {
        &self.name
    }
}

fn all_same<T>(new: &[T], old: &[T], same: impl Fn(&T, &T) -> bool) -> bool {
    new.len() == old.len() && new.iter().zip(old).all(|(new, old)| same(new, old))
}

#[cfg(test)]
mod tests;
