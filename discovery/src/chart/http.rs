//! The HTTP side of the chart: routers and what they send to.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use portolan_config::labels::RouterLabels;
use portolan_config::rule::{HostPattern, Rule};

use super::fault::Faults;
use super::{Mark, Policy, endpoint};
use crate::snapshot::{Router, Target, Upstream};

/// Draws the routers, by name, and the upstreams.
pub(super) fn draw(
    marks: &[Mark],
    policy: &Policy,
    faults: &mut Faults,
) -> (Vec<Arc<Router>>, BTreeMap<String, Upstream>) {
    let mut upstreams = BTreeMap::new();
    let mut routers: BTreeMap<String, (Router, String)> = BTreeMap::new();
    let enabled = |mark: &&Mark| mark.known.labels.enable.unwrap_or(policy.exposed_by_default);
    for mark in marks.iter().filter(enabled) {
        add_targets(mark, &mut upstreams, faults);
    }
    for mark in marks.iter().filter(enabled) {
        for (router, label) in routers_of(mark, faults) {
            add_router(mark, router, &label, &upstreams, &mut routers, faults);
        }
    }
    for upstream in upstreams.values_mut() {
        upstream
            .targets
            .sort_by(|a, b| (&a.endpoint.instance.name, a.port).cmp(&(&b.endpoint.instance.name, b.port)));
    }
    (routers.into_values().map(|(router, _)| Arc::new(router)).collect(), upstreams)
}

/// Adds this instance to each upstream that its labels name, or to the one named after its service.
fn add_targets(mark: &Mark, upstreams: &mut BTreeMap<String, Upstream>, faults: &mut Faults) {
    let labels = &mark.known.labels;
    let default_port = endpoint::default_http_port(mark.known);
    let mut add = |name: String, port: u16| {
        let upstream =
            upstreams.entry(name.clone()).or_insert_with(|| Upstream { name, targets: Vec::new() });
        upstream.targets.push(Target { endpoint: mark.endpoint.clone(), port });
    };
    if labels.services.is_empty() {
        match default_port {
            Some(port) => add(mark.service.clone(), port),
            // An unlabelled container without ports is no web server, and nobody said it was.
            None if labels.routers.is_empty() && labels.enable != Some(true) => {}
            None => faults.add(&mark.service, &mark.origin(), "http", NO_PORT),
        }
    }
    for (name, service) in &labels.services {
        if let Some(port) = service.port.or(default_port) {
            add(mark.qualify(name), port);
        } else {
            let label = format!("http.services.{name}.loadbalancer.server.port");
            faults.add(&mark.service, &mark.origin(), &label, NO_PORT);
        }
    }
}

const NO_PORT: &str = "the image exposes no TCP port: say which one with \
                       `traefik.http.services.NAME.loadbalancer.server.port`";

/// The routers that this instance's labels ask for, each with its label; the default one when they name none.
fn routers_of(mark: &Mark, faults: &mut Faults) -> Vec<(Router, String)> {
    let labels = &mark.known.labels;
    let only_service = match labels.services.len() {
        0 => Some(mark.service.clone()),
        1 => labels.services.keys().next().map(|name| mark.qualify(name)),
        _ => None,
    };
    let default = RouterLabels::default();
    let default_name = mark.known.instance.service.name();
    let asked: Vec<(&str, &RouterLabels)> = if labels.routers.is_empty() {
        vec![(default_name.as_str(), &default)]
    } else {
        labels.routers.iter().map(|(name, router)| (name.as_str(), router)).collect()
    };
    let mut routers = Vec::new();
    for (name, router) in asked {
        if labels.refused_routers.contains(name) {
            continue;
        }
        let label = format!("http.routers.{name}");
        let Some(upstream) =
            router.service.as_ref().map(|service| mark.qualify(service)).or(only_service.clone())
        else {
            let message = format!("several services and none chosen: say which with `{label}.service`");
            faults.add(&mark.service, &mark.origin(), &label, &message);
            continue;
        };
        let (rule, length) = match &router.rule {
            Some((rule, text)) => (rule.clone(), text.len()),
            None => default_rule(&default_name),
        };
        let router = Router {
            name: mark.qualify(name),
            rule,
            priority: router.priority.unwrap_or(length as i64),
            entry_points: router.entry_points.clone(),
            upstream,
            origin: mark.origin(),
        };
        routers.push((router, label));
    }
    routers
}

/// Traefik's default, ``Host(`name`)`` with its priority, and `name.localhost` besides: browsers and resolvers take
/// that to this machine (RFC 6761 §6.3), so that a new service can be looked at before any name is set up.
fn default_rule(name: &str) -> (Rule, usize) {
    let host = |name: String| Rule::Host(HostPattern::Exact(name.to_ascii_lowercase()));
    let rule = Rule::Or(Box::new(host(name.to_owned())), Box::new(host(format!("{name}.localhost"))));
    (rule, format!("Host(`{name}`)").len())
}

/// Adds a router, unless its upstream is missing or an earlier instance says otherwise under the same name.
fn add_router(
    mark: &Mark,
    router: Router,
    label: &str,
    upstreams: &BTreeMap<String, Upstream>,
    routers: &mut BTreeMap<String, (Router, String)>,
    faults: &mut Faults,
) {
    if !upstreams.contains_key(&router.upstream) {
        // A container that offers no port was told so already, or never asked for HTTP.
        if router.upstream != mark.service {
            let message = format!("there is no service `{}`", router.upstream);
            faults.add(&mark.service, &mark.origin(), &format!("{label}.service"), &message);
        }
        return;
    }
    match routers.entry(router.name.clone()) {
        Entry::Vacant(entry) => {
            entry.insert((router, mark.service.clone()));
        }
        Entry::Occupied(entry) => {
            let (kept, _) = entry.get();
            let same = kept.rule == router.rule
                && kept.priority == router.priority
                && kept.entry_points == router.entry_points
                && kept.upstream == router.upstream;
            if !same && !mark.is_stopped() {
                let message = format!("{} says otherwise under the same name, and keeps it", kept.origin);
                faults.add(&mark.service, &mark.origin(), label, &message);
            }
        }
    }
}
