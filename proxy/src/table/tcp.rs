//! Routes of connections: which go where by what is known of them before a byte is passed on.
//!
//! HTTP routers stand on the same entry points. Who gets a connection is decided as Traefik decides: by TLS, an HTTP
//! router that names the host goes before any TCP router, and one for any host before a TCP router that is a lone
//! ``HostSNI(`*`)``; in the clear, TCP routers go before HTTP ones.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_config::Fault;
use portolan_config::rule::{ConnectionView, HostPattern, TcpMatcher, TcpRule};
use portolan_config::settings::EntryPoint;
use portolan_discovery::{self as discovery, Snapshot};

use super::secure::DEFAULT;
use super::{Entry, Filed, filed};
use crate::census::Counted;
use crate::http::Reason;
use crate::ledger::Ledger;

mod gate;
mod service;

use gate::Gate;
pub(in crate::table) use service::compile as services;
pub(crate) use service::{Places, Service, Services};

/// One TCP router, ready to be asked.
#[derive(Debug)]
pub(crate) struct Route {
    /// The router as it was drawn: its name, and which connections it takes.
    pub(crate) router: Arc<discovery::TcpRouter>,
    /// Where they go.
    pub(crate) service: Arc<Service>,
    /// Who is let in, in order.
    gates: Vec<Gate>,
    /// How it takes TLS; `None` where it takes none.
    pub(crate) tls: Option<By>,
}

impl Route {
    /// Lets a client in, or says why not. What is given back is kept for as long as it stays.
    pub(crate) fn let_in(&self, client: IpAddr) -> Result<Vec<Counted>, Reason> {
        self.gates.iter().filter_map(|gate| gate.pass(client.to_canonical()).transpose()).collect()
    }
}

/// How a TCP router takes TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// It is left to the endpoint.
    Passthrough,
    /// It ends here, by the options of this name.
    Options(Arc<str>),
}

/// The TCP routers of one entry point.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// Those that take connections without TLS, or with TLS that nobody looks at.
    plain: Filed<Route>,
    /// Those that take TLS.
    secure: Filed<Route>,
}

/// Who gets a connection.
#[derive(Clone, Debug)]
pub(crate) enum Taker {
    /// The HTTP side, whatever it makes of it.
    Http,
    Tcp(Arc<Route>),
}

impl Connections {
    pub(crate) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.secure.is_empty()
    }

    /// All of them in rank, those that take TLS and those that do not, for whoever explains.
    pub(crate) fn all(&self) -> (Vec<&Arc<Route>>, Vec<&Arc<Route>>) {
        (self.secure.all(), self.plain.all())
    }

    /// Whether any of them takes TLS.
    pub(crate) fn takes_tls(&self) -> bool {
        !self.secure.is_empty()
    }

    /// The one that takes TLS with this name and these protocols.
    pub(crate) fn secure(&self, connection: &ConnectionView<'_>) -> Option<&Arc<Route>> {
        self.secure.find(connection.server_name, |route| route.router.rule.matches(connection))
    }

    /// The one that takes what is in the clear.
    pub(crate) fn plain(&self, client: IpAddr) -> Option<&Arc<Route>> {
        let connection = ConnectionView { server_name: "", alpn: &[], client };
        self.plain.find("", |route| route.router.rule.matches(&connection))
    }
}

impl Entry {
    /// The TCP router that takes a connection of which nothing was read: where nobody here takes TLS, it does not matter
    /// what the client says, and the endpoint may be the one to speak first.
    pub(crate) fn takes_unread(&self, client: IpAddr) -> Option<Arc<Route>> {
        if self.connections.takes_tls() || !self.secure.filed().is_empty() {
            return None;
        }
        self.connections.plain(client).cloned()
    }

    /// Who gets a connection that begins in the clear.
    pub(crate) fn taker_in_the_clear(&self, client: IpAddr) -> Taker {
        self.connections.plain(client).cloned().map_or(Taker::Http, Taker::Tcp)
    }

    /// Who gets a connection that begins with TLS.
    pub(crate) fn taker_of_tls(&self, connection: &ConnectionView<'_>) -> Taker {
        let https = self.secure.filed();
        if !connection.server_name.is_empty() && https.names(connection.server_name) {
            return Taker::Http;
        }
        match self.connections.secure(connection) {
            Some(route) if !route.router.rule.is_catch_all() || !https.has_any_host() => {
                Taker::Tcp(route.clone())
            }
            _ => Taker::Http,
        }
    }
}

/// Files the TCP routers of each of these entry points.
pub(super) fn compile<'s>(
    snapshot: &Snapshot,
    entry_points: impl Iterator<Item = &'s EntryPoint>,
    services: &Services,
    ledger: &Ledger,
    faults: &mut Vec<Fault>,
) -> Vec<Connections> {
    let mut routers: Vec<&Arc<discovery::TcpRouter>> = snapshot.layer_four.tcp_routers.iter().collect();
    routers.sort_by(|a, b| (Reverse(a.priority), &a.name).cmp(&(Reverse(b.priority), &b.name)));
    let entry_points: Vec<&EntryPoint> = entry_points.collect();
    let any_default = entry_points.iter().any(|entry_point| entry_point.as_default);
    let mut filed: Vec<Connections> = entry_points.iter().map(|_| Connections::default()).collect();
    for (rank, router) in routers.into_iter().enumerate() {
        say_unknown(router, &entry_points, faults);
        let Some(service) = services.get(&router.upstream) else { continue };
        let tls = match by(router, snapshot) {
            Ok(tls) => tls,
            Err(why) => {
                faults.push(Fault::new(router.origin.clone(), key(router, "tls.options"), why));
                continue;
            }
        };
        // The chart has none whose middlewares are missing.
        let middlewares = router.middlewares.iter();
        let gates = middlewares
            .filter_map(|name| Some(Gate::of(name, snapshot.layer_four.tcp_middlewares.get(name)?, ledger)))
            .collect();
        let route = Arc::new(Route { router: router.clone(), service: service.clone(), gates, tls });
        for (connections, entry_point) in filed.iter_mut().zip(&entry_points) {
            let is_default = entry_point.as_default || !any_default;
            let by_default = router.entry_points.is_empty() && is_default;
            if by_default || router.entry_points.contains(&entry_point.name) {
                match route.tls {
                    Some(_) => connections.secure.add(rank as u32, hosts(&router.rule), &route),
                    None => connections.plain.add(rank as u32, None, &route),
                }
            }
        }
    }
    filed
}

fn by(router: &discovery::TcpRouter, snapshot: &Snapshot) -> Result<Option<By>, String> {
    let Some(tls) = &router.tls else { return Ok(None) };
    if tls.passthrough {
        return Ok(Some(By::Passthrough));
    }
    let name = if tls.options.is_empty() { DEFAULT } else { &tls.options };
    if name != DEFAULT && !snapshot.tls.options.contains_key(name) {
        let known: Vec<&str> =
            std::iter::once(DEFAULT).chain(snapshot.tls.options.keys().map(String::as_str)).collect();
        return Err(format!(
            "there are no TLS options `{name}`: known are {}; the router is left out",
            known.join(", ")
        ));
    }
    Ok(Some(By::Options(name.into())))
}

/// Names the entry points that a router asks for and that do not exist.
fn say_unknown(router: &discovery::TcpRouter, entry_points: &[&EntryPoint], faults: &mut Vec<Fault>) {
    for name in &router.entry_points {
        if entry_points.iter().any(|entry_point| entry_point.name == *name) {
            continue;
        }
        let mut known: Vec<&str> = entry_points.iter().map(|entry_point| entry_point.name.as_str()).collect();
        known.sort_unstable();
        faults.push(Fault::new(
            router.origin.clone(),
            key(router, "entrypoints"),
            format!("there is no entry point `{name}` for TCP: known are {}", known.join(", ")),
        ));
    }
}

fn key(router: &discovery::TcpRouter, option: &str) -> String {
    format!("tcp.routers.{}.{option}", router.name.split('@').next().unwrap_or_default())
}

/// The names that a rule can hold for; `None` if it can hold for any, or for none at all.
fn hosts(rule: &TcpRule) -> Option<Vec<&HostPattern>> {
    filed::hosts(rule, &|matcher| match matcher {
        TcpMatcher::HostSni(pattern) => Some(pattern),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
