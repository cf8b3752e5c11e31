//! The layer 4 side of the chart: host ports in front of services.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_config::{ListenAddress, Protocol, Publish};

use super::fault::Faults;
use super::{Named, Policy, Sketch, endpoint};
use crate::snapshot::{Publication, Service, Upstream};

/// What was drawn so far, by port: only there can two be in each other's way.
type Drawn = BTreeMap<(u16, Protocol), Vec<Publication>>;

/// Puts the sketches' publications together, by port, and adds their upstreams.
pub(super) fn merge(
    sketches: &[&Sketch],
    services: &Named<Service>,
    policy: &Policy,
    upstreams: &mut Named<Upstream>,
    faults: &mut Faults,
) -> Vec<Arc<Publication>> {
    let mut drawn = Drawn::new();
    for sketch in sketches {
        for publish in &sketch.labels.publish {
            match claim(sketch, publish, &drawn, policy) {
                Claim::Free => {
                    let publication = publication(sketch, publish, services, upstreams);
                    drawn.entry((publish.host_port, publish.protocol)).or_default().push(publication);
                }
                Claim::Shared => {}
                // What has stopped gives its port up without a word.
                Claim::Taken(_) if sketch.is_stopped() => {}
                Claim::Taken(by) => {
                    let message = format!(
                        "host port {}/{} is already taken by {by}",
                        publish.host_port, publish.protocol
                    );
                    faults.add(&sketch.service, &sketch.origin(), "portolan.publish", &message);
                }
            }
        }
    }
    let mut drawn: Vec<Publication> = drawn.into_values().flatten().collect();
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

fn claim(sketch: &Sketch, publish: &Publish, drawn: &Drawn, policy: &Policy) -> Claim {
    let wanted = address(publish);
    let reserved = policy
        .reserved
        .iter()
        .find(|reserved| reserved.protocol == publish.protocol && reserved.address.clashes_with(wanted));
    if let Some(reserved) = reserved {
        return Claim::Taken(format!("{} ({})", reserved.name, reserved.address));
    }
    let others = drawn.get(&(publish.host_port, publish.protocol)).map_or(&[][..], Vec::as_slice);
    match others.iter().find(|other| address(&other.publish).clashes_with(wanted)) {
        None => Claim::Free,
        Some(other) if other.service == sketch.service && other.publish == *publish => Claim::Shared,
        Some(other) => {
            Claim::Taken(format!("service {} ({}, {})", other.service, other.origin, other.publish))
        }
    }
}

fn address(publish: &Publish) -> ListenAddress {
    ListenAddress { ip: publish.ip, port: publish.host_port }
}

fn publication(
    sketch: &Sketch,
    publish: &Publish,
    services: &Named<Service>,
    upstreams: &mut Named<Upstream>,
) -> Publication {
    let (service, provider) = sketch.service.rsplit_once('@').unwrap_or((&sketch.service, ""));
    let name = format!("{service}:{}/{}@{provider}", publish.target_port, publish.protocol);
    let target = |endpoint: &Arc<_>| endpoint::target(endpoint, publish.target_port, publish.protocol);
    upstreams.entry(name.clone()).or_insert_with(|| {
        Upstream::new(name.clone(), services[&sketch.service].endpoints.iter().map(target).collect())
    });
    Publication {
        publish: publish.clone(),
        service: sketch.service.clone(),
        upstream: name,
        origin: sketch.origin(),
        data_path: sketch.labels.data_path,
        proxy_protocol: sketch.labels.proxy_protocol,
        limits: sketch.labels.publish_limits,
    }
}
