//! Who would take a request, and why nobody else: asked of the table that traffic is served by, with the code that serves
//! it. Nothing is sent, counted or changed.
//!
//! It knows the table, and the snapshot that it was compiled from. How it is shown, others know.

use std::net::{IpAddr, SocketAddr};

use portolan_config::dynamic::middleware::Middleware;
use portolan_config::rule::{ConnectionView, RequestView};
use portolan_config::settings::EntryPoint;
use portolan_config::{Fault, ListenAddress, Protocol};
use portolan_discovery::Snapshot;
use serde::Serialize;

use crate::http::{Arrived, Cleaned, Cleaning, Peer, Reason, Unrouted, fields, parse_request};
use crate::middleware::{Draft, Foreseen};
use crate::table::tcp::{self, Taker};
use crate::table::{Choice, Destination, Entry, Route, Table, routing_host};

mod ask;
mod drawn;
mod losers;
mod service;
#[cfg(test)]
mod tests;

pub use ask::Ask;
use drawn::Drawn;
pub use losers::Loser;
pub use service::{Place, Served};

/// How deep chains may stand in chains, for whoever lists them.
const CHAIN_DEPTH_MAX: usize = 16;

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
    /// Path and query as they arrive at an endpoint, and the host where that is not each server's own; none where nothing
    /// is sent on.
    pub arrives: Option<SentOn>,
    /// What a middleware answers, where one does.
    pub answer: Option<Answered>,
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

/// A request as an endpoint gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SentOn {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The host; none where it is that of the server.
    pub host: Option<String>,
    /// Whether that is otherwise than the client wrote it.
    pub edited: bool,
}

/// What a middleware answers itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// Where the client is sent.
    pub location: Option<String>,
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
    /// What it would do to this request; empty where that is nothing.
    pub does: String,
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
    // A TCP router does not look into what passes.
    let cleaning = Cleaning::of(&entry_point.cleaning).filter(|_| matches!(taker, Taker::Http));
    let mut cleaned = Cleaned::default();
    let sanitizes = entry_point.cleaning.sanitize_path;
    let arrived = match Arrived::of(&head, cleaning.as_ref(), sanitizes, &mut cleaned) {
        Ok(arrived) => arrived,
        Err(refused) => {
            explained.refusal = Some(refusal(refused.reason));
            return Ok(explained);
        }
    };
    let ruled = arrived.ruled();
    let view = arrived.view(&ruled, &peer);
    explained.request = seen(&view, ask);
    match taker {
        Taker::Tcp(route) => explained.take_tcp(known, &route),
        Taker::Http => {
            let may_ask = |host: &str, options: &Choice| {
                host == server_name || options.of(Some(host)) == options.of(Some(&server_name))
            };
            match arrived.route(known.table, entry_point, &peer, may_ask) {
                Ok(route) => explained.take_http(known, entry_point, route, (&arrived, &peer)),
                Err(Unrouted { reason, route }) => {
                    if let Some(route) = route {
                        explained.take_http(known, entry_point, route, (&arrived, &peer));
                        (explained.arrives, explained.answer) = (None, None);
                    }
                    explained.is_served = false;
                    explained.refusal = Some(refusal(reason));
                }
            }
        }
    }
    if !explained.is_served && explained.refusal.is_none() {
        explained.refusal = Some(refusal(Reason::NoEndpoint));
    }
    let asked = losers::Asked { known, entry, entry_point, view, connection, secure: ask.secure };
    explained.losers = asked.losers(explained.router.as_ref());
    Ok(explained)
}

impl Explanation {
    fn take_tcp(&mut self, known: Known<'_>, route: &tcp::Route) {
        let router = &route.router;
        self.router = Some(Drawn::from(&**router).into());
        self.middlewares = through_tcp(known, &router.middlewares);
        self.service = service::of_tcp(known, &router.upstream);
        self.is_served = route.service.can_serve();
    }

    fn take_http(
        &mut self,
        known: Known<'_>,
        entry_point: &EntryPoint,
        route: &Route,
        (arrived, peer): (&Arrived<'_>, &Peer),
    ) {
        let router = &route.router;
        self.router = Some(Drawn::from(&**router).into());
        // A router of the entry point's own, which sends everybody elsewhere, has nothing before or behind it.
        let own = router.name.ends_with("@internal") && router.upstream == "noop@internal";
        if own {
            self.note = Some("the entry point's redirection answers".to_owned());
        } else {
            self.middlewares = through(known, entry_point, &router.middlewares, &router.upstream);
            self.service = service::of(known, &router.upstream);
        }
        self.is_served = own || route.destination.can_serve();
        self.go_through(route, arrived.draft(peer));
    }

    /// Takes the request through the chain of its route, as far as what becomes of it is known.
    fn go_through(&mut self, route: &Route, mut draft: Draft) {
        let before = draft.clone();
        let foreseen = route.chain.as_ref().map(|chain| (chain.len(), chain.foresee(&mut draft)));
        if let Some((steps, Foreseen { steps: does, answer })) = foreseen {
            let reached = does.len();
            // Each step is one of those that are named, unless the table is of another moment.
            if steps == self.middlewares.len() {
                for (through, does) in self.middlewares.iter_mut().zip(does) {
                    through.does = does;
                }
                for through in self.middlewares.iter_mut().skip(reached) {
                    "is not reached".clone_into(&mut through.does);
                }
            }
            if let Some(answer) = answer {
                let location = Some(answer.head.fields.text("Location")).filter(|text| !text.is_empty());
                let status = answer.head.status;
                self.answer = Some(Answered { status, location: location.map(str::to_owned) });
                self.is_served = status < 400;
                let reason = answer.reason.map_or("", Reason::as_str);
                self.refusal = (!self.is_served).then(|| format!("{status} {reason}").trim().to_owned());
                return;
            }
        }
        if !self.is_served {
            return;
        }
        let (prefix, keeps_host) = match &*route.destination {
            Destination::Upstream(upstream) => {
                let mut prefixes =
                    upstream.available.iter().map(|target| target.path_prefix.trim_end_matches('/'));
                let first = prefixes.next().unwrap_or_default();
                (if prefixes.all(|other| other == first) { first } else { "" }, upstream.pass_host_header)
            }
            // Which of them it is shows when it is sent.
            _ => ("", true),
        };
        let target = |draft: &Draft| {
            format!("{}{}", if draft.path.is_empty() { "/" } else { &draft.path }, draft.query)
        };
        let arrives = SentOn {
            method: draft.method_text.clone(),
            target: format!("{prefix}{}", target(&draft)),
            host: keeps_host.then(|| draft.host.clone()),
            edited: false,
        };
        let edited = (&arrives.target, &arrives.host, &arrives.method)
            != (&target(&before), &Some(before.host), &before.method_text);
        self.arrives = Some(SentOn { edited, ..arrives });
    }
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
    let mut through = Vec::new();
    for (of, names) in named {
        for name in names {
            take_apart(known, of, name, 0, &mut through);
        }
    }
    through
}

/// A middleware, or those of a chain.
fn take_apart(known: Known<'_>, of: &'static str, name: &str, depth: usize, through: &mut Vec<Through>) {
    let written = known.snapshot.middlewares.get(name);
    match written.map(|written| &**written) {
        Some(Middleware::Chain(chain)) if depth < CHAIN_DEPTH_MAX => {
            for name in &chain.middlewares {
                take_apart(known, of, name, depth + 1, through);
            }
        }
        written => {
            let kind = written.map_or("", Middleware::name);
            through.push(Through { name: name.to_owned(), kind, of, does: String::new() });
        }
    }
}

fn through_tcp(known: Known<'_>, names: &[String]) -> Vec<Through> {
    use portolan_config::dynamic::tcp::TcpMiddleware;
    let kind = |name: &String| match known.snapshot.layer_four.tcp_middlewares.get(name).map(|one| &**one) {
        Some(TcpMiddleware::InFlightConn(_)) => "inFlightConn",
        Some(_) => "ipAllowList",
        None => "",
    };
    names
        .iter()
        .map(|name| Through { name: name.clone(), kind: kind(name), of: "router", does: String::new() })
        .collect()
}
