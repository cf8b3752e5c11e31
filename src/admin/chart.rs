//! The chart as JSON, for `/api/snapshot` and `portolan ps`.

use std::time::{SystemTime, UNIX_EPOCH};

use portolan_config::{DataPath, Publish};
use portolan_discovery::{Endpoint, Service, Snapshot};
use serde_json::{Value, json};

use crate::steer::Status;

/// Everything that is in place now.
pub fn snapshot(status: &Status) -> Value {
    let snapshot = status.snapshot.load();
    let not_ready = status.not_ready();
    json!({
        "generation": snapshot.generation,
        "ready": not_ready.is_empty(),
        "notReady": not_ready,
        "sources": sources(&snapshot),
        "entryPoints": status.entry_points.load().iter().map(|entry_point| json!({
            "name": entry_point.name,
            "address": entry_point.address.to_string(),
        })).collect::<Vec<_>>(),
        "services": snapshot.services.iter().map(|item| service(item)).collect::<Vec<_>>(),
        "routers": snapshot.routers.iter().map(|router| json!({
            "name": router.name,
            "rule": router.rule.to_string(),
            "priority": router.priority,
            "entryPoints": router.entry_points,
            "service": router.upstream,
        })).collect::<Vec<_>>(),
        "publications": snapshot.publications.iter().map(|publication| json!({
            "ip": publication.publish.ip,
            "hostPort": publication.publish.host_port,
            "targetPort": publication.publish.target_port,
            "protocol": publication.publish.protocol.as_str(),
            "service": publication.service,
            "dataPath": data_path(&publication.publish, status),
        })).collect::<Vec<_>>(),
        "tcpServices": snapshot.layer_four.tcp_upstreams.keys().map(|name| json!({
            "name": name,
            "dataPath": service_path(name, status),
        })).collect::<Vec<_>>(),
        "orders": snapshot.orders.standing().iter().map(|order| json!({
            "target": order.subject.to_string(),
            "since": seconds(order.since),
            "reason": order.why,
        })).collect::<Vec<_>>(),
        "faults": status.faults.load().iter().map(|fault| json!({
            "origin": fault.origin,
            "label": fault.key,
            "message": fault.message,
        })).collect::<Vec<_>>(),
    })
}

/// How its bytes travel, and why not by the kernel, where that was asked for.
fn data_path(publish: &Publish, status: &Status) -> Value {
    let paths = status.paths.load();
    let found = paths.iter().find(|path| {
        (path.address.ip, path.address.port, path.protocol)
            == (publish.ip, publish.host_port, publish.protocol)
    });
    json!({
        "path": found.map_or(DataPath::UserSpace, |found| found.path).as_str(),
        "reason": found.and_then(|found| found.why.as_deref()),
    })
}

/// The same of a TCP service.
fn service_path(name: &str, status: &Status) -> Value {
    let paths = status.service_paths.load();
    let found = paths.iter().find(|path| path.service == name);
    json!({
        "path": found.map_or(DataPath::UserSpace, |found| found.path).as_str(),
        "reason": found.and_then(|found| found.why.as_deref()),
    })
}

fn sources(snapshot: &Snapshot) -> Vec<Value> {
    snapshot
        .sources
        .iter()
        .map(|source| {
            json!({
                "provider": &*source.provider.0,
                "lastSync": source.last_sync.map(seconds),
                "lost": source.lost,
                "keptSince": source.kept.map(seconds),
            })
        })
        .collect()
}

fn service(service: &Service) -> Value {
    json!({
        "name": service.name,
        "dnsNames": service.key.dns_names(),
        "endpoints": service.endpoints.iter().map(|item| endpoint(item)).collect::<Vec<_>>(),
    })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    json!({
        "name": endpoint.instance.name,
        "id": endpoint.instance.id.short(),
        "attachment": &*endpoint.key.attachment,
        "ipv4": endpoint.ipv4,
        "ipv6": endpoint.ipv6,
        "ports": endpoint.ports.iter().map(|port| json!({
            "number": port.number,
            "protocol": port.protocol.as_str(),
            "name": port.name,
        })).collect::<Vec<_>>(),
        "state": endpoint.state.as_str(),
        "reason": endpoint.reason,
        "since": seconds(endpoint.instance.since),
    })
}

/// Seconds since the epoch, with their fraction.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
