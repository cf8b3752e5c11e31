//! From a snapshot to a table. Pure but for the ledger, which remembers what must outlive a table.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

use portolan_config::dynamic::service::{LoadBalancer, Panic};
use portolan_config::settings::EntryPoint;
use portolan_config::tls::Scheme;
use portolan_config::{Fault, ListenAddress, Protocol};
use portolan_discovery::{self as discovery, Snapshot, State};

use super::chains::Chains;
use super::composite;
use super::redirections;
use super::secure::{self, Choice, Wishes};
use super::{Entry, Near, Port, Published, Reach, Route, Routes, Table, Target, Upstream, datagrams, tcp};
use crate::balancer::{Plan, hash};
use crate::budget::Allowance;
use crate::health::Subject;
use crate::health::outlier::{Judge, Tally, Tell};
use crate::ledger::{Kept, Ledger};
use crate::middleware::{Chain, Step};
use crate::places::Bounds;
use crate::sticky::{Place, Sticky};

/// Compiles the table for these entry points. What can't be compiled is left out and reported.
pub fn compile(snapshot: &Snapshot, entry_points: &[EntryPoint], ledger: &Ledger) -> (Table, Vec<Fault>) {
    let mut faults = Vec::new();
    let is_complete = snapshot.sources.iter().all(|source| source.last_sync.is_some());
    let mut table = Table { generation: snapshot.generation, is_complete, ..Table::default() };
    for upstream in &snapshot.upstreams {
        let compiled =
            ledger.upstream(upstream, snapshot.generation, |kept| compile_upstream(upstream, kept));
        let destination = ledger.destination(&compiled);
        table.upstreams.insert(upstream.name.clone(), compiled);
        table.destinations.insert(upstream.name.clone(), destination);
    }
    let chains = Chains::new(snapshot, ledger);
    let left_out = composite::compile(snapshot, ledger, &chains, &mut table.destinations);
    let for_tcp = entry_points.iter().filter(|entry_point| entry_point.protocol == Protocol::Tcp);
    let redirections = redirections::of(entry_points);
    let any_default = for_tcp.clone().any(|entry_point| entry_point.as_default);
    let mut entries: Vec<Draft> =
        for_tcp.clone().map(|settings| Draft::new(settings, any_default, &chains, &mut faults)).collect();
    let nowhere = (!redirections.is_empty()).then(|| {
        let drawn = redirections::nowhere();
        ledger.upstream(&drawn, snapshot.generation, |kept| compile_upstream(&drawn, kept))
    });
    let nowhere = nowhere.map(|upstream| ledger.destination(&upstream));
    let own = redirections.iter().map(|redirection| (&redirection.router, Some(redirection)));
    let mut routers: Vec<_> = snapshot.routers.iter().map(|router| (router, None)).chain(own).collect();
    routers.sort_by(|(a, _), (b, _)| (Reverse(a.priority), &a.name).cmp(&(Reverse(b.priority), &b.name)));
    for (rank, (router, own)) in routers.into_iter().enumerate() {
        if let (Some(redirection), Some(nowhere)) = (own, &nowhere) {
            let chain = redirection.chain.clone();
            let route = ledger.router(router, nowhere, chain, table.generation);
            for draft in entries.iter_mut().filter(|draft| router.entry_points.contains(&draft.settings.name))
            {
                draft.file(rank as u32, router, &route, snapshot, &mut faults);
            }
            continue;
        }
        let Some(destination) = table.destinations.get(&router.upstream) else {
            let why = left_out.get(&router.upstream);
            faults.extend(why.map(|why| without_service(router, why)));
            continue;
        };
        let chain = match chains.of(router) {
            Ok(chain) => chain,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        let route = ledger.router(router, destination, chain, table.generation);
        for draft in &mut entries {
            if draft.takes(router) {
                draft.add(rank as u32, router, &route, snapshot, &mut faults);
            }
        }
        say_unknown(router, entry_points, &mut faults);
    }
    let services = tcp::services(
        &snapshot.layer_four,
        ledger,
        |upstream| {
            let compiled =
                ledger.upstream(upstream, snapshot.generation, |kept| compile_upstream(upstream, kept));
            table.upstreams.insert(upstream.name.clone(), compiled.clone());
            compiled
        },
        &mut faults,
    );
    let connections = tcp::compile(snapshot, for_tcp, &services, ledger, &mut faults);
    table.tcp_services = services;
    for (draft, connections) in entries.into_iter().zip(connections) {
        let name = draft.settings.name.clone();
        table.entry_points.insert(name, Entry { connections, ..draft.finish(&mut faults) });
    }
    for publication in &snapshot.publications {
        let port = Port {
            address: ListenAddress { ip: publication.publish.ip, port: publication.publish.host_port },
            protocol: publication.publish.protocol,
        };
        let published = Published {
            upstream: publication.upstream.clone(),
            origin: publication.origin.clone(),
            data_path: publication.data_path,
            proxy_protocol: publication.proxy_protocol,
            limits: publication.limits,
            census: (port.protocol == Protocol::Tcp)
                .then(|| ledger.census(&port.address.to_string(), publication.limits)),
        };
        table.publications.insert(port, published);
    }
    let udp_upstream = |drawn: discovery::Upstream| {
        let drawn = Arc::new(drawn);
        ledger.upstream(&drawn, snapshot.generation, |kept| compile_upstream(&drawn, kept))
    };
    table.datagrams = datagrams::compile(&snapshot.layer_four, entry_points, udp_upstream, &mut faults);
    ledger.close_unused(snapshot.generation);
    (table, faults)
}

fn without_service(router: &discovery::Router, why: &str) -> Fault {
    let name = router.name.split('@').next().unwrap_or_default();
    Fault::new(
        router.origin.clone(),
        format!("http.routers.{name}.service"),
        format!("{why}; router `{name}` is left out"),
    )
}

fn compile_upstream(upstream: &discovery::Upstream, kept: Kept) -> Upstream {
    let reach = Reach::of(&upstream.transport);
    let mut available = Vec::with_capacity(upstream.targets.len());
    let mut here = Vec::new();
    let mut states: Vec<(&'static str, usize)> = Vec::new();
    let whoever = upstream.balancing.panic == Panic::Any
        && !upstream.targets.iter().any(|target| serves(&target.endpoint, false) && target.weight > 0);
    for (target, account) in upstream.targets.iter().zip(kept.targets) {
        let endpoint = &target.endpoint;
        let word = if target.weight == 0 { "without weight" } else { endpoint.state.as_str() };
        match states.iter_mut().find(|(state, _)| *state == word) {
            Some((_, count)) => *count += 1,
            None => states.push((word, 1)),
        }
        let may_serve = serves(endpoint, whoever) && target.weight > 0;
        let Some(address) = endpoint.address().filter(|_| may_serve) else {
            account.load.cool();
            continue;
        };
        let compiled = Arc::new(Target {
            id: account.id,
            address: SocketAddr::new(address, target.port),
            by_v6: endpoint
                .ipv6
                .filter(|_| address.is_ipv4())
                .map(|ip| SocketAddr::new(ip.into(), target.port)),
            scheme: target.scheme,
            host: target.host.clone(),
            path_prefix: target.path_prefix.clone(),
            weight: target.weight,
            key: key(target),
            load: account.load,
            judge: judge(upstream, target, account.tally, kept.tell.as_ref()),
            endpoint: endpoint.instance.name.clone(),
            reach,
            counters: account.counters,
        });
        if upstream.balancing.prefer_local && endpoint.instance.node.as_ref().is_none_or(|node| node.here) {
            here.push(compiled.clone());
        }
        available.push(compiled);
    }
    Upstream {
        name: upstream.name.clone(),
        sticky: sticky(upstream, &available),
        plan: Plan::new(&upstream.balancing, &available),
        near: near(&upstream.balancing, here, &available),
        available,
        states,
        pass_host_header: upstream.pass_host_header,
        cursor: kept.cursor,
        budget: kept.budget,
        allowance: Allowance::of(upstream.balancing.retry_budget),
        bounds: Bounds::of(&upstream.balancing),
        places: kept.places,
        scope: kept.scope,
    }
}

/// Those on this machine, where they are preferred and there are others besides.
fn near(balancing: &LoadBalancer, here: Vec<Arc<Target>>, available: &[Arc<Target>]) -> Option<Near> {
    let some = balancing.prefer_local && !here.is_empty() && here.len() < available.len();
    some.then(|| Near { plan: Plan::new(balancing, &here), targets: here })
}

/// Who judges a target by its answers, where that is asked for.
fn judge(
    upstream: &discovery::Upstream,
    target: &discovery::Target,
    tally: Arc<Tally>,
    tell: Option<&Tell>,
) -> Option<Arc<Judge>> {
    let policy = upstream.balancing.passive_health_check?;
    let endpoint = target.endpoint.key.clone();
    let subject = Subject { service: upstream.name.as_str().into(), endpoint, port: target.port };
    let name = target.endpoint.instance.name.clone();
    Some(Arc::new(Judge { subject, name, policy, tally, tell: tell.cloned() }))
}

/// Whether an endpoint is given work; where `whoever` runs is better than nobody, also one that is not healthy.
fn serves(endpoint: &discovery::Endpoint, whoever: bool) -> bool {
    let unhealthy = endpoint.state == State::Unhealthy && endpoint.address().is_some();
    endpoint.is_available() || (whoever && unhealthy)
}

/// The cookie of an upstream, where it has one. It stands for the instance, except where a URL was written that stands for
/// one target alone.
fn sticky(upstream: &discovery::Upstream, available: &[Arc<Target>]) -> Option<Sticky> {
    let cookie = upstream.balancing.sticky.as_ref()?.cookie.as_ref()?;
    let place = |target: &Arc<Target>| {
        let drawn = upstream.targets.iter().find(|drawn| key(drawn) == target.key)?;
        let written = &*drawn.url;
        let alone = !written.is_empty()
            && upstream.targets.iter().filter(|other| *other.url == *written).count() == 1;
        let scheme = match target.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::H2c => "h2c",
        };
        let reached = format!("{scheme}://{}", target.address);
        let mut also = vec![identity(drawn), reached];
        if !written.is_empty() {
            also.push(written.to_owned());
        }
        let text = if alone { written.to_owned() } else { identity(drawn) };
        Some(Place { number: target.id, text, also })
    };
    Some(Sticky::new(cookie, &upstream.name, available.iter().filter_map(place).collect()))
}

/// What hashes know a target by: the instance and the port, whichever life it is in and wherever it is reached.
fn key(target: &discovery::Target) -> u64 {
    hash::of(identity(target).as_bytes())
}

fn identity(target: &discovery::Target) -> String {
    let discovery::EndpointKey { provider, instance, .. } = &target.endpoint.key;
    format!("{provider}/{instance}:{}", target.port)
}

/// An entry point while its routes are filed.
struct Draft<'s> {
    settings: &'s EntryPoint,
    plain: Routes,
    secure: Routes,
    choice: Choice,
    wishes: Wishes<'s>,
    /// Whether routers that name no entry point are here.
    is_default: bool,
    /// What comes before the middlewares of every router; none where that can't be had.
    front: Option<Vec<Arc<Step>>>,
}

impl<'s> Draft<'s> {
    fn new(settings: &'s EntryPoint, any_default: bool, chains: &Chains, faults: &mut Vec<Fault>) -> Self {
        let front = chains.front(settings).map_err(|fault| faults.push(fault)).ok();
        let choice = Choice::new(settings);
        Self {
            settings,
            plain: Routes::default(),
            secure: Routes::default(),
            choice,
            wishes: Wishes::default(),
            is_default: settings.as_default || !any_default,
            front,
        }
    }

    /// Whether a router is here.
    fn takes(&self, router: &discovery::Router) -> bool {
        match router.entry_points.as_slice() {
            [] => self.is_default,
            names => names.contains(&self.settings.name),
        }
    }

    /// Files a route, behind what the entry point puts before all of them.
    fn add(
        &mut self,
        rank: u32,
        router: &'s discovery::Router,
        route: &Arc<Route>,
        snapshot: &Snapshot,
        faults: &mut Vec<Fault>,
    ) {
        match &self.front {
            None => {}
            Some(front) if front.is_empty() => self.file(rank, router, route, snapshot, faults),
            Some(front) => {
                let chain = Chain::behind(front, route.chain.as_ref());
                let behind = Arc::new(Route { chain, ..Route::clone(route) });
                self.file(rank, router, &behind, snapshot, faults);
            }
        }
    }

    /// Files a route as it is. One that can't have its options of TLS is left out: those may be what keeps strangers away.
    fn file(
        &mut self,
        rank: u32,
        router: &'s discovery::Router,
        route: &Arc<Route>,
        snapshot: &Snapshot,
        faults: &mut Vec<Fault>,
    ) {
        let Some(options) = secure::wanted(router, self.settings) else { return self.plain.add(rank, route) };
        match self.wishes.add(options, router, &self.choice, snapshot) {
            Ok(()) => self.secure.add(rank, route),
            Err(why) => faults.push(Fault::new(router.origin.clone(), secure::key(router), why)),
        }
    }

    fn finish(mut self, faults: &mut Vec<Fault>) -> Entry {
        self.wishes.settle(&mut self.choice, self.settings, faults);
        Entry { plain: self.plain, secure: self.secure, options: self.choice, ..Entry::default() }
    }
}

/// Names the entry points that a router asks for and that do not exist.
fn say_unknown(router: &discovery::Router, entry_points: &[EntryPoint], faults: &mut Vec<Fault>) {
    for name in &router.entry_points {
        let mut for_tcp = entry_points.iter().filter(|entry_point| entry_point.protocol == Protocol::Tcp);
        if for_tcp.clone().any(|entry_point| entry_point.name == *name) {
            continue;
        }
        let mut known: Vec<&str> = for_tcp.by_ref().map(|entry_point| entry_point.name.as_str()).collect();
        known.sort_unstable();
        let router_name = router.name.split('@').next().unwrap_or_default();
        faults.push(Fault::new(
            router.origin.clone(),
            format!("http.routers.{router_name}.entrypoints"),
            format!("there is no entry point `{name}`: known are {}", known.join(", ")),
        ));
    }
}
