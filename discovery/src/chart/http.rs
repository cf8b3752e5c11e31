//! The HTTP side of the chart: routers and what they send to.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use portolan_config::Labels;
use portolan_config::labels::RouterLabels;
use portolan_config::rule::{HostPattern, Rule};

use super::fault::Faults;
use super::{Named, Sketch, endpoint};
use crate::snapshot::{Router, Target, Upstream};

/// The upstreams that this instance is a target of: those its labels name, or the one named after its service.
pub(super) fn targets(labels: &Labels, sketch: &mut Sketch) -> Vec<(String, u16)> {
    let default_port = endpoint::default_http_port(&sketch.instance);
    let mut targets = Vec::new();
    if labels.services.is_empty() {
        match default_port {
            Some(port) => targets.push((sketch.service.clone(), port)),
            // An unlabelled container without ports is no web server, and nobody said it was.
            None if labels.routers.is_empty() && labels.enable != Some(true) => {}
            None => sketch.fault("http", NO_PORT),
        }
    }
    for (name, service) in &labels.services {
        match service.port.or(default_port) {
            Some(port) => targets.push((sketch.qualify(name), port)),
            None => sketch.fault(format!("http.services.{name}.loadbalancer.server.port"), NO_PORT),
        }
    }
    targets
}

const NO_PORT: &str = "the image exposes no TCP port: say which one with \
                       `traefik.http.services.NAME.loadbalancer.server.port`";

/// The routers that this instance's labels ask for, each with its label; the default one when they name none.
pub(super) fn routers(labels: &Labels, sketch: &mut Sketch) -> Vec<(Arc<Router>, String)> {
    let only_service = match labels.services.len() {
        0 => Some(sketch.service.clone()),
        1 => labels.services.keys().next().map(|name| sketch.qualify(name)),
        _ => None,
    };
    let default = RouterLabels::default();
    let default_name = sketch.instance.service.name();
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
        let named = router.service.as_ref().map(|service| sketch.qualify(service));
        let Some(upstream) = named.or(only_service.clone()) else {
            let message = format!("several services and none chosen: say which with `{label}.service`");
            sketch.fault(label, message);
            continue;
        };
        let (rule, length) = match &router.rule {
            Some((rule, text)) => (rule.clone(), text.len()),
            None => default_rule(&default_name),
        };
        let router = Router {
            name: sketch.qualify(name),
            rule,
            priority: router.priority.unwrap_or(length as i64),
            entry_points: router.entry_points.clone(),
            tls: None,
            upstream,
            origin: sketch.origin(),
        };
        routers.push((Arc::new(router), label));
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

/// Puts the sketches' routers and targets together. The routers are sorted by name.
pub(super) fn merge(sketches: &[&Sketch], faults: &mut Faults) -> (Vec<Arc<Router>>, Named<Upstream>) {
    let upstreams = merge_targets(sketches);
    let mut routers: HashMap<&str, &Arc<Router>> = HashMap::new();
    for sketch in sketches {
        for (router, label) in &sketch.routers {
            if upstreams.contains_key(&router.upstream) {
                add_router(sketch, router, label, &mut routers, faults);
            } else if router.upstream != sketch.service {
                let message = format!("there is no service `{}`", router.upstream);
                faults.add(&sketch.service, &sketch.origin(), &format!("{label}.service"), &message);
            }
            // A container that offers no port was told so already, or never asked for HTTP.
        }
    }
    let mut routers: Vec<Arc<Router>> = routers.into_values().cloned().collect();
    routers.sort_by(|a, b| a.name.cmp(&b.name));
    (routers, upstreams)
}

fn merge_targets(sketches: &[&Sketch]) -> Named<Upstream> {
    let mut upstreams: Named<Upstream> = HashMap::new();
    for sketch in sketches {
        for (name, port) in &sketch.targets {
            let upstream = match upstreams.get_mut(name) {
                Some(upstream) => upstream,
                None => {
                    upstreams.entry(name.clone()).or_insert_with(|| Upstream::new(name.clone(), Vec::new()))
                }
            };
            upstream.targets.push(Target::new(sketch.endpoint.clone(), *port));
        }
    }
    for upstream in upstreams.values_mut() {
        upstream
            .targets
            .sort_by(|a, b| (&a.endpoint.instance.name, a.port).cmp(&(&b.endpoint.instance.name, b.port)));
    }
    upstreams
}

/// Adds a router, unless an earlier instance says otherwise under the same name.
fn add_router<'a>(
    sketch: &Sketch,
    router: &'a Arc<Router>,
    label: &str,
    routers: &mut HashMap<&'a str, &'a Arc<Router>>,
    faults: &mut Faults,
) {
    match routers.entry(&router.name) {
        Entry::Vacant(entry) => {
            entry.insert(router);
        }
        Entry::Occupied(entry) => {
            let kept = entry.get();
            let same = kept.rule == router.rule
                && kept.priority == router.priority
                && kept.entry_points == router.entry_points
                && kept.upstream == router.upstream;
            if !same && !sketch.is_stopped() {
                let message = format!("{} says otherwise under the same name, and keeps it", kept.origin);
                faults.add(&sketch.service, &sketch.origin(), label, &message);
            }
        }
    }
}
