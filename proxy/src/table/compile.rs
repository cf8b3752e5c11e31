//! From a snapshot to a table. Pure but for the ledger, which remembers what must outlive a table.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

use portolan_config::{Fault, ListenAddress};
use portolan_discovery::{self as discovery, Snapshot, State};

use super::{Published, Route, Table, Target, Upstream};
use crate::ledger::{InUse, Ledger, TargetKey};
use crate::published::Port;

/// Compiles the table for these entry points. What can't be compiled is left out and reported.
pub fn compile(snapshot: &Snapshot, entry_points: &[String], ledger: &Ledger) -> (Table, Vec<Fault>) {
    let mut in_use = InUse::default();
    let mut faults = Vec::new();
    let mut table = Table { generation: snapshot.generation, ..Table::default() };
    for upstream in &snapshot.upstreams {
        let compiled = Arc::new(compile_upstream(upstream, ledger, &mut in_use));
        table.upstreams.insert(upstream.name.clone(), compiled);
    }
    for name in entry_points {
        table.entry_points.insert(name.clone(), super::Routes::default());
    }
    let mut routers: Vec<&Arc<discovery::Router>> = snapshot.routers.iter().collect();
    routers.sort_by(|a, b| (Reverse(a.priority), &a.name).cmp(&(Reverse(b.priority), &b.name)));
    for (rank, router) in routers.into_iter().enumerate() {
        add_route(&mut table, rank as u32, router, ledger, &mut in_use, &mut faults);
    }
    for publication in &snapshot.publications {
        let port = Port {
            address: ListenAddress { ip: publication.publish.ip, port: publication.publish.host_port },
            protocol: publication.publish.protocol,
        };
        let published =
            Published { upstream: publication.upstream.clone(), origin: publication.origin.clone() };
        table.publications.insert(port, published);
    }
    ledger.close_unused(&in_use);
    (table, faults)
}

fn compile_upstream(upstream: &discovery::Upstream, ledger: &Ledger, in_use: &mut InUse) -> Upstream {
    let account = ledger.upstream(&upstream.name);
    in_use.upstreams.insert(upstream.name.clone());
    let mut available = Vec::with_capacity(upstream.targets.len());
    let mut states: Vec<(State, usize)> = Vec::new();
    for target in &upstream.targets {
        let endpoint = &target.endpoint;
        let key =
            TargetKey { upstream: upstream.name.clone(), endpoint: endpoint.key.clone(), port: target.port };
        let kept = ledger.target(&key, &endpoint.instance.name);
        in_use.targets.insert(kept.id);
        match states.iter_mut().find(|(state, _)| *state == endpoint.state) {
            Some((_, count)) => *count += 1,
            None => states.push((endpoint.state, 1)),
        }
        let Some(address) = endpoint.address().filter(|_| endpoint.is_available()) else { continue };
        available.push(Arc::new(Target {
            id: kept.id,
            address: SocketAddr::new(address, target.port),
            endpoint: endpoint.instance.name.clone(),
            counters: kept.counters,
        }));
    }
    Upstream { name: upstream.name.clone(), available, states, cursor: account.cursor, scope: account.scope }
}

fn add_route(
    table: &mut Table,
    rank: u32,
    router: &discovery::Router,
    ledger: &Ledger,
    in_use: &mut InUse,
    faults: &mut Vec<Fault>,
) {
    let Some(upstream) = table.upstreams.get(&router.upstream) else { return };
    let route = Arc::new(Route {
        name: router.name.clone(),
        rule: router.rule.clone(),
        upstream: upstream.clone(),
        scope: ledger.router(&router.name),
    });
    in_use.routers.insert(router.name.clone());
    if router.entry_points.is_empty() {
        for routes in table.entry_points.values_mut() {
            routes.add(rank, &route);
        }
    }
    for name in &router.entry_points {
        match table.entry_points.get_mut(name) {
            Some(routes) => routes.add(rank, &route),
            None => {
                let mut known: Vec<&str> = table.entry_points.keys().map(String::as_str).collect();
                known.sort_unstable();
                let router_name = router.name.split('@').next().unwrap_or_default();
                faults.push(Fault::new(
                    router.origin.clone(),
                    format!("http.routers.{router_name}.entrypoints"),
                    format!("there is no entry point `{name}`: known are {}", known.join(", ")),
                ));
            }
        }
    }
}
