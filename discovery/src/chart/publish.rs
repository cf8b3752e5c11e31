//! The layer 4 side of the chart: host ports in front of services.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_config::{ListenAddress, Publish};

use super::fault::Faults;
use super::{Mark, Policy};
use crate::snapshot::{Publication, Service, Target, Upstream};

/// Draws the publications, by port, and adds their upstreams.
pub(super) fn draw(
    marks: &[Mark],
    services: &BTreeMap<String, Service>,
    policy: &Policy,
    upstreams: &mut BTreeMap<String, Upstream>,
    faults: &mut Faults,
) -> Vec<Arc<Publication>> {
    let mut drawn: Vec<Publication> = Vec::new();
    for mark in marks {
        for publish in &mark.known.labels.publish {
            match claim(mark, publish, &drawn, policy) {
                Claim::Free => drawn.push(publication(mark, publish, services, upstreams)),
                Claim::Shared => {}
                // What has stopped gives its port up without a word.
                Claim::Taken(_) if mark.is_stopped() => {}
                Claim::Taken(by) => {
                    let message = format!(
                        "host port {}/{} is already taken by {by}",
                        publish.host_port, publish.protocol
                    );
                    faults.add(&mark.service, &mark.origin(), "portolan.publish", &message);
                }
            }
        }
    }
    drawn.sort_by(|a, b| (&a.publish, &a.service).cmp(&(&b.publish, &b.service)));
    drawn.into_iter().map(Arc::new).collect()
}

enum Claim {
    /// Nobody has the port.
    Free,
    /// Another replica of the same service asked for the very same.
    Shared,
    /// Somebody else has it.
    Taken(String),
}

fn claim(mark: &Mark, publish: &Publish, drawn: &[Publication], policy: &Policy) -> Claim {
    let wanted = address(publish);
    let reserved = policy
        .reserved
        .iter()
        .find(|reserved| reserved.protocol == publish.protocol && reserved.address.clashes_with(wanted));
    if let Some(reserved) = reserved {
        return Claim::Taken(format!("{} ({})", reserved.name, reserved.address));
    }
    let other = drawn.iter().find(|other| {
        other.publish.protocol == publish.protocol && address(&other.publish).clashes_with(wanted)
    });
    match other {
        None => Claim::Free,
        Some(other) if other.service == mark.service && other.publish == *publish => Claim::Shared,
        Some(other) => {
            Claim::Taken(format!("service {} ({}, {})", other.service, other.origin, other.publish))
        }
    }
}

fn address(publish: &Publish) -> ListenAddress {
    ListenAddress { ip: publish.ip, port: publish.host_port }
}

fn publication(
    mark: &Mark,
    publish: &Publish,
    services: &BTreeMap<String, Service>,
    upstreams: &mut BTreeMap<String, Upstream>,
) -> Publication {
    let (service, provider) = mark.service.rsplit_once('@').unwrap_or((&mark.service, ""));
    let name = format!("{service}:{}/{}@{provider}", publish.target_port, publish.protocol);
    upstreams.entry(name.clone()).or_insert_with(|| Upstream {
        name: name.clone(),
        targets: services[&mark.service]
            .endpoints
            .iter()
            .map(|endpoint| Target { endpoint: endpoint.clone(), port: publish.target_port })
            .collect(),
    });
    Publication {
        publish: publish.clone(),
        service: mark.service.clone(),
        upstream: name,
        origin: mark.origin(),
    }
}
