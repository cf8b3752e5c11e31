//! Connections that the kernel is to carry once they are established (sockmap): of which published ports and TCP services, and
//! what is in the way. This knows the table and what the host can do, and no connection.

use std::collections::BTreeMap;

use portolan_config::tls::Scheme;
use portolan_config::{DataPath, Fault, Protocol};

use super::{Travels, stays};
use crate::sockmap;
use crate::table::Table;
use crate::table::tcp::{By, Places, Service};

/// How the bytes of a TCP service travel, where the kernel was to carry them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Established {
    /// The qualified name.
    pub(crate) service: String,
    pub(crate) by: DataPath,
    /// Why not as was asked for, or not all of them.
    pub(crate) why: Option<String>,
}

/// The ports whose connections the kernel is to carry one by one, whether it can, and what is to be said where not.
pub(super) fn ports(table: &Table) -> (Vec<Travels>, Vec<Fault>) {
    let (mut travels, mut faults) = (Vec::new(), Vec::new());
    let asking = table.publications.iter();
    for (port, published) in asking.filter(|(_, published)| published.data_path == Some(DataPath::Sockmap)) {
        let why = match port.protocol {
            Protocol::Tcp => sockmap::available().err(),
            Protocol::Udp => Some("only connections of TCP can go by sockmap".to_owned()),
        };
        faults.extend(why.as_ref().map(|why| stays(&published.origin, *port, why)));
        let by = if why.is_none() { DataPath::Sockmap } else { DataPath::UserSpace };
        travels.push(Travels { port: *port, by, why });
    }
    (travels, faults)
}

/// The same of the services of TCP routers.
pub(crate) fn services(table: &Table) -> (Vec<Established>, Vec<Fault>) {
    let asked = |places: &Places| places.data_path.unwrap_or(table.data_path);
    let asking: Vec<(&String, &Places)> = table
        .tcp_services
        .iter()
        .filter_map(|(name, service)| match &**service {
            Service::Places(places) => Some((name, places)),
            Service::Weighted { .. } => None,
        })
        .filter(|(_, places)| matches!(asked(places), DataPath::Sockmap | DataPath::Auto))
        .collect();
    if asking.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let host = sockmap::available();
    let leading = leading(table);
    let (mut travels, mut faults) = (Vec::new(), Vec::new());
    for (name, places) in asking {
        let led = leading.get(places.upstream.name.as_str());
        let (by, why) = match &host {
            Err(why) => (DataPath::UserSpace, Some(why.clone())),
            Ok(()) => path(places, led),
        };
        if by == DataPath::UserSpace
            && let Some(why) = why.as_ref().filter(|_| asked(places) == DataPath::Sockmap)
        {
            let base = name.split('@').next().unwrap_or_default();
            faults.push(Fault::new(
                format!("service {name}"),
                format!("tcp.services.{base}.loadBalancer.dataPath"),
                format!("its connections go through Portolan itself: {why}"),
            ));
        }
        travels.push(Established { service: name.clone(), by, why });
    }
    (travels, faults)
}

/// The routers that lead to a service.
#[derive(Default)]
struct Leading<'t> {
    /// Those whose TLS ends here.
    ending: Vec<&'t str>,
    /// Whether there is any other.
    passing: bool,
}

/// Who leads to each service, by the name of its upstream.
fn leading(table: &Table) -> BTreeMap<&str, Leading<'_>> {
    let mut found: BTreeMap<&str, Leading<'_>> = BTreeMap::new();
    for entry in table.entry_points.values() {
        let (secure, plain) = entry.connections.all();
        for route in secure.into_iter().chain(plain) {
            for places in route.service.places() {
                let leading = found.entry(&places.upstream.name).or_default();
                if matches!(route.tls, Some(By::Options(_))) {
                    leading.ending.push(&route.router.name);
                } else {
                    leading.passing = true;
                }
            }
        }
    }
    for leading in found.values_mut() {
        leading.ending.sort_unstable();
        leading.ending.dedup();
    }
    found
}

/// How the bytes of a service travel on a host that can do it: those that are encrypted here are not the kernel's.
fn path(places: &Places, led: Option<&Leading<'_>>) -> (DataPath, Option<String>) {
    let targets = &places.upstream.available;
    if !targets.is_empty() && targets.iter().all(|target| target.scheme == Scheme::Https) {
        return (DataPath::UserSpace, Some("its servers are spoken to by TLS".to_owned()));
    }
    match led {
        Some(Leading { ending, passing }) if !ending.is_empty() => {
            let names = ending.join(", ");
            let by = if *passing { DataPath::Sockmap } else { DataPath::UserSpace };
            let only = if *passing { "but for " } else { "" };
            (by, Some(format!("{only}connections whose TLS ends here ({names})")))
        }
        _ => (DataPath::Sockmap, None),
    }
}
