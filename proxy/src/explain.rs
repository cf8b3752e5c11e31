//! Who would take a request, and why nobody else: asked of the table that traffic is served by, with the code that serves
//! it. Nothing is sent, counted or changed.
//!
//! It knows the table, and the snapshot that it was compiled from. How it is shown, others know.

use std::net::{IpAddr, SocketAddr};

use portolan_config::rule::{ConnectionView, RequestView};
use portolan_config::settings::EntryPoint;
use portolan_config::{Fault, ListenAddress, Protocol};
use portolan_discovery::Snapshot;
use serde::Serialize;

use crate::http::{Cleaned, Cleaning, Peer, Reason, fields, parse_request, path_of, view};
use crate::table::tcp::Taker;
use crate::table::{Entry, Table, path_at, routing_host, rule_path};

mod ask;
mod losers;
mod service;
#[cfg(test)]
mod tests;

pub use ask::Ask;
pub use losers::Loser;
pub use service::{Place, Served};

/// The protocols that a client offers by TLS, as browsers do.
const OFFERED: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What is explained from.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What is steered by.
    pub table: &'a Table,
    /// What it was compiled from.
    pub snapshot: &'a Snapshot,
    /// The entry points.
    pub entry_points: &'a [EntryPoint],
    /// What could not be done as it was written.
    pub faults: &'a [Fault],
}

/// Who would take a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The request, as rules see it.
    pub request: Seen,
    /// The name of the entry point that it comes to; none where it comes to a published port, or nowhere.
    pub entry_point: Option<String>,
    /// The address of that, or the published port.
    pub address: Option<String>,
    /// Why that one, where it does not follow from the port.
    pub note: Option<String>,
    /// Who takes it.
    pub router: Option<Taken>,
    /// What it goes through, in order.
    pub middlewares: Vec<Through>,
    /// Where it goes.
    pub service: Option<Served>,
    /// Whether somebody would answer it: not Portolan itself, for want of anybody.
    pub is_served: bool,
    /// What Portolan answers itself, with the status: `404 no_route`.
    pub refusal: Option<String>,
    /// The routers that do not take it, and why: first those that come nearest.
    pub losers: Vec<Loser>,
}

/// A request, as rules see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The host: lower case, without port.
    pub host: String,
    /// The path, cleaned and decoded.
    pub path: String,
    /// The query.
    pub query: String,
    /// The client's address.
    pub client: String,
    /// Whether it comes by TLS.
    pub tls: bool,
}

/// The router that takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// The qualified name.
    pub name: String,
    /// `http`, or `tcp` where the connection is taken before a request is read.
    pub protocol: &'static str,
    /// Its rule.
    pub rule: String,
    /// Its priority.
    pub priority: i64,
    /// Who wrote it.
    pub origin: String,
}

/// A middleware on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Through {
    /// The qualified name.
    pub name: String,
    /// Which it is: `basicAuth`.
    pub kind: &'static str,
    /// Who names it: `entry point`, `router`, `service`.
    pub of: &'static str,
}

/// Explains what would become of a request. The error says what of the question makes no sense.
pub fn explain(known: Known<'_>, ask: &Ask) -> Result<Explanation, String> {
    let (candidates, note) = match entry_points(known, ask)? {
        Arrives::At(candidates, note) => (candidates, note),
        Arrives::AtPort(address, upstream) => {
            let service = service::of(known, &upstream);
            let is_served = service.as_ref().is_some_and(|service| service.can_serve);
            return Ok(Explanation {
                address: Some(address.to_string()),
                note: Some("a published port: all that comes there goes to one service".to_owned()),
                is_served,
                refusal: (!is_served).then(|| refusal(Reason::NoEndpoint)),
                service,
                ..Explanation::default()
            });
        }
    };
    let mut first = None;
    for entry_point in candidates {
        let explained = Explanation { note: note.clone(), ..at(known, entry_point, ask)? };
        if explained.router.is_some() {
            return Ok(explained);
        }
        first.get_or_insert(explained);
    }
    first.ok_or_else(|| "there is no entry point for TCP".to_owned())
}

/// Where a request arrives.
enum Arrives<'a> {
    At(Vec<&'a EntryPoint>, Option<String>),
    /// A published port, which leads to an upstream.
    AtPort(ListenAddress, String),
}

fn entry_points<'a>(known: Known<'a>, ask: &Ask) -> Result<Arrives<'a>, String> {
    let for_tcp: Vec<&EntryPoint> =
        known.entry_points.iter().filter(|entry_point| entry_point.protocol == Protocol::Tcp).collect();
    let names = || {
        let names = for_tcp.iter().map(|one| format!("{} ({})", one.name, one.address));
        names.collect::<Vec<_>>().join(", ")
    };
    if let Some(name) = &ask.entry_point {
        let found = for_tcp.iter().find(|entry_point| entry_point.name == *name);
        return found
            .map(|found| Arrives::At(vec![*found], None))
            .ok_or_else(|| format!("there is no entry point `{name}` for TCP: known are {}", names()));
    }
    let at_port: Vec<&EntryPoint> =
        for_tcp.iter().copied().filter(|entry_point| entry_point.address.port == ask.port).collect();
    if !at_port.is_empty() {
        return Ok(Arrives::At(at_port, None));
    }
    let published = known
        .table
        .publications
        .iter()
        .find(|(port, _)| port.protocol == Protocol::Tcp && port.address.port == ask.port);
    if let Some((port, published)) = published {
        return Ok(Arrives::AtPort(port.address, published.upstream.clone()));
    }
    if ask.port_is_written {
        return Err(format!("nothing listens on port {}: entry points are {}", ask.port, names()));
    }
    let note = format!("no entry point listens on port {}: all of them were asked", ask.port);
    Ok(Arrives::At(for_tcp, Some(note)))
}

fn refusal(reason: Reason) -> String {
    format!("{} {}", reason.status().0, reason.as_str())
}

/// What becomes of it at one entry point.
fn at(known: Known<'_>, entry_point: &EntryPoint, ask: &Ask) -> Result<Explanation, String> {
    let nothing = Entry::default();
    let entry = known.table.entry_points.get(&entry_point.name).unwrap_or(&nothing);
    let mut explained = Explanation {
        entry_point: Some(entry_point.name.clone()),
        address: Some(entry_point.address.to_string()),
        ..Explanation::default()
    };
    let server_name = routing_host(&ask.server_name);
    let connection = ConnectionView {
        server_name: if ask.secure { &server_name } else { "" },
        alpn: if ask.secure { &OFFERED } else { &[] },
        client: ask.client,
    };
    let peer = Peer::new(SocketAddr::new(ask.client, 0), ask.secure, &entry_point.forwarded);
    let mut room = fields();
    let head = match parse_request(&ask.head, &mut room) {
        Ok(Some(head)) => head,
        Ok(None) => return Err("that is no whole request".to_owned()),
        Err(refused) => {
            explained.refusal = Some(format!("{}: {}", refusal(refused.reason), refused.detail));
            return Ok(explained);
        }
    };
    let taker =
        if ask.secure { entry.taker_of_tls(&connection) } else { entry.taker_in_the_clear(ask.client) };
    let (cleaning, mut cleaned) = (Cleaning::of(&entry_point.cleaning), Cleaned::default());
    let head = match (&taker, &cleaning) {
        (Taker::Http, Some(cleaning)) => match cleaning.clean(&head, &mut cleaned) {
            Ok(head) => head,
            Err(refused) => {
                explained.refusal = Some(refusal(refused.reason));
                return Ok(explained);
            }
        },
        // A TCP router does not look into what passes.
        _ => head,
    };
    let host = routing_host(head.authority);
    let path = path_at(entry_point.cleaning.sanitize_path, path_of(head.target));
    let ruled = rule_path(&path);
    let view = view(&head, &host, &ruled, &peer);
    explained.request = seen(&view, ask);
    let asked = losers::Asked { known, entry, entry_point, view, connection, secure: ask.secure };
    match taker {
        Taker::Tcp(route) => {
            let router = &route.router;
            explained.router = Some(Taken {
                name: router.name.clone(),
                protocol: "tcp",
                rule: router.rule.to_string(),
                priority: router.priority,
                origin: router.origin.clone(),
            });
            explained.middlewares = through_tcp(known, &router.middlewares);
            explained.service = service::of_tcp(known, &router.upstream);
            explained.is_served = route.service.can_serve();
        }
        Taker::Http => match entry.routes(ask.secure).find(&view) {
            Some(route) => {
                let router = &route.router;
                explained.router = Some(Taken {
                    name: router.name.clone(),
                    protocol: "http",
                    rule: router.rule.to_string(),
                    priority: router.priority,
                    origin: router.origin.clone(),
                });
                // A router of the entry point's own, which sends everybody elsewhere, has nothing before or behind it.
                let own = router.name.ends_with("@internal") && router.upstream == "noop@internal";
                if own {
                    explained.note = Some("the entry point's redirection answers".to_owned());
                } else {
                    explained.middlewares =
                        through(known, entry_point, &router.middlewares, &router.upstream);
                    explained.service = service::of(known, &router.upstream);
                }
                explained.is_served = own || route.destination.can_serve();
                let misdirected = ask.secure
                    && host != server_name
                    && entry.options.of(Some(&host)) != entry.options.of(Some(&server_name));
                if misdirected {
                    explained.is_served = false;
                    explained.refusal = Some(refusal(Reason::Misdirected));
                }
            }
            None => {
                let needs_tls = !ask.secure && entry_point.tls.is_some();
                explained.refusal =
                    Some(refusal(if needs_tls { Reason::NeedsTls } else { known.table.no_route() }));
            }
        },
    }
    if !explained.is_served && explained.refusal.is_none() {
        explained.refusal = Some(refusal(Reason::NoEndpoint));
    }
    explained.losers = asked.losers(explained.router.as_ref());
    Ok(explained)
}

fn seen(view: &RequestView<'_>, ask: &Ask) -> Seen {
    let client: IpAddr = view.client;
    Seen {
        method: view.method.to_owned(),
        host: view.host.to_owned(),
        path: view.path.to_owned(),
        query: view.query.to_owned(),
        client: client.to_canonical().to_string(),
        tls: ask.secure,
    }
}

/// What comes before a service: what the entry point names, then the router, then the service.
fn through(known: Known<'_>, entry_point: &EntryPoint, of_router: &[String], upstream: &str) -> Vec<Through> {
    let upstreams = known.snapshot.upstreams.iter().map(|one| (&one.name, &one.middlewares));
    let composites = known.snapshot.composites.iter().map(|one| (&one.name, &one.middlewares));
    let of_service = upstreams.chain(composites).find(|(name, _)| *name == upstream);
    let of_service = of_service.map_or(&[][..], |(_, middlewares)| middlewares.as_slice());
    let named =
        [("entry point", entry_point.middlewares.as_slice()), ("router", of_router), ("service", of_service)];
    let through = |of: &'static str, name: &String| Through {
        name: name.clone(),
        kind: known.snapshot.middlewares.get(name).map_or("", |written| written.name()),
        of,
    };
    named.into_iter().flat_map(|(of, names)| names.iter().map(move |name| through(of, name))).collect()
}

fn through_tcp(known: Known<'_>, names: &[String]) -> Vec<Through> {
    use portolan_config::dynamic::tcp::TcpMiddleware;
    let kind = |name: &String| match known.snapshot.layer_four.tcp_middlewares.get(name).map(|one| &**one) {
        Some(TcpMiddleware::InFlightConn(_)) => "inFlightConn",
        Some(_) => "ipAllowList",
        None => "",
    };
    names.iter().map(|name| Through { name: name.clone(), kind: kind(name), of: "router" }).collect()
}
