//! From a snapshot to a table. Pure but for the ledger, which remembers what must outlive a table.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

use portolan_config::{Fault, ListenAddress};
use portolan_discovery::{self as discovery, Snapshot, State};

use super::{Port, Published, Routes, Table, Target, Upstream};
use crate::ledger::{Kept, Ledger};

/// Compiles the table for these entry points. What can't be compiled is left out and reported.
pub fn compile(snapshot: &Snapshot, entry_points: &[String], ledger: &Ledger) -> (Table, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut table = Table { generation: snapshot.generation, ..Table::default() };
    for upstream in &snapshot.upstreams {
        let compiled =
            ledger.upstream(upstream, snapshot.generation, |kept| compile_upstream(upstream, kept));
        table.upstreams.insert(upstream.name.clone(), compiled);
    }
    for name in entry_points {
        table.entry_points.insert(name.clone(), Routes::default());
    }
    let mut routers: Vec<&Arc<discovery::Router>> = snapshot.routers.iter().collect();
    routers.sort_by(|a, b| (Reverse(a.priority), &a.name).cmp(&(Reverse(b.priority), &b.name)));
    for (rank, router) in routers.into_iter().enumerate() {
        add_route(&mut table, rank as u32, router, ledger, &mut faults);
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
    ledger.close_unused(snapshot.generation);
    (table, faults)
}

fn compile_upstream(upstream: &discovery::Upstream, kept: Kept) -> Upstream {
    let mut available = Vec::with_capacity(upstream.targets.len());
    let mut states: Vec<(State, usize)> = Vec::new();
    for (target, account) in upstream.targets.iter().zip(kept.targets) {
        let endpoint = &target.endpoint;
        match states.iter_mut().find(|(state, _)| *state == endpoint.state) {
            Some((_, count)) => *count += 1,
            None => states.push((endpoint.state, 1)),
        }
        let Some(address) = endpoint.address().filter(|_| endpoint.is_available()) else { continue };
        available.push(Arc::new(Target {
            id: account.id,
            address: SocketAddr::new(address, target.port),
            endpoint: endpoint.instance.name.clone(),
            counters: account.counters,
        }));
    }
    Upstream { name: upstream.name.clone(), available, states, cursor: kept.cursor, scope: kept.scope }
}

fn add_route(
    table: &mut Table,
    rank: u32,
    router: &Arc<discovery::Router>,
    ledger: &Ledger,
    faults: &mut Vec<Fault>,
) {
    let Some(upstream) = table.upstreams.get(&router.upstream) else { return };
    let route = ledger.router(router, upstream, table.generation);
    if router.entry_points.is_empty() {
        for routes in table.entry_points.values_mut() {
            routes.add(rank, &route);
        }
    }
    for name in &router.entry_points {
        if let Some(routes) = table.entry_points.get_mut(name) {
            routes.add(rank, &route);
            continue;
        }
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
