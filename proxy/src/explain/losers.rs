//! The routers that do not take a request, and what of each is against it.

use std::sync::Arc;

use portolan_config::rule::{ConnectionView, RequestView};
use portolan_config::settings::EntryPoint;
use portolan_discovery::Router;
use serde::Serialize;

use super::drawn::Drawn;
use super::{Known, Taken};
use crate::table::{Entry, Route, tcp};

/// A router that does not take the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Loser {
    /// The qualified name.
    pub name: String,
    /// `http` or `tcp`.
    pub protocol: &'static str,
    /// Its rule; empty where that can't be read.
    pub rule: String,
    /// Its priority, where it has one.
    pub priority: Option<i64>,
    /// What is against it, each a sentence.
    pub why: Vec<String>,
    /// How near it comes: those that would take it but for one thing are shown first.
    #[serde(skip)]
    pub(super) distance: usize,
}

/// A request at an entry point.
pub(super) struct Asked<'a> {
    pub(super) known: Known<'a>,
    pub(super) entry: &'a Entry,
    pub(super) entry_point: &'a EntryPoint,
    pub(super) view: RequestView<'a>,
    pub(super) connection: ConnectionView<'a>,
    pub(super) secure: bool,
}

/// What is known of a router of either kind.
struct Candidate<'a> {
    drawn: Drawn<'a>,
    /// Whether it is asked here; and whether it is, for connections of the other kind.
    is_filed: bool,
    is_filed_otherwise: bool,
    unmet: Vec<String>,
}

impl Asked<'_> {
    /// All of them but the one that takes it.
    pub(super) fn losers(&self, winner: Option<&Taken>) -> Vec<Loser> {
        let is_winner = |drawn: &Drawn<'_>| {
            winner.is_some_and(|won| (won.name.as_str(), won.protocol) == (drawn.name, drawn.protocol))
        };
        let all = self.http().into_iter().chain(self.tcp());
        let lost = all.filter(|candidate| !is_winner(&candidate.drawn));
        let mut losers: Vec<Loser> = lost.map(|candidate| self.judge(&candidate, winner)).collect();
        losers.extend(self.not_drawn());
        losers.sort_by(|a, b| (a.distance, &a.name).cmp(&(b.distance, &b.name)));
        losers
    }

    fn http(&self) -> Vec<Candidate<'_>> {
        let own = self.entry.routes(self.secure).filed().all();
        let other = self.entry.routes(!self.secure).filed().all();
        let is_in = |routes: &[&Arc<Route>], name: &str| routes.iter().any(|route| route.router.name == name);
        let filed = own.iter().chain(&other).map(|route| &route.router);
        let mut routers: Vec<&Arc<Router>> = self.known.snapshot.routers.iter().chain(filed).collect();
        routers.sort_by(|a, b| a.name.cmp(&b.name));
        routers.dedup_by(|a, b| a.name == b.name);
        let candidate = |router: &'_ Arc<Router>| {
            (is_in(&own, &router.name), is_in(&other, &router.name), router.rule.unmet_by(&self.view))
        };
        routers
            .into_iter()
            .map(|router| {
                let (is_filed, is_filed_otherwise, unmet) = candidate(router);
                Candidate { drawn: (&**router).into(), is_filed, is_filed_otherwise, unmet }
            })
            .collect()
    }

    fn tcp(&self) -> Vec<Candidate<'_>> {
        let (secure, plain) = self.entry.connections.all();
        let (own, other) = if self.secure { (secure, plain) } else { (plain, secure) };
        let is_in =
            |routes: &[&Arc<tcp::Route>], name: &str| routes.iter().any(|route| route.router.name == name);
        let routers = self.known.snapshot.layer_four.tcp_routers.iter();
        routers
            .map(|router| Candidate {
                drawn: (&**router).into(),
                is_filed: is_in(&own, &router.name),
                is_filed_otherwise: is_in(&other, &router.name),
                unmet: router.rule.unmet_by(&self.connection),
            })
            .collect()
    }

    fn judge(&self, candidate: &Candidate<'_>, winner: Option<&Taken>) -> Loser {
        let mut why = Vec::new();
        if !candidate.is_filed {
            why.push(self.why_not_here(candidate));
        }
        why.extend(candidate.unmet.iter().map(|part| format!("{part} does not hold")));
        let drawn = &candidate.drawn;
        if why.is_empty() {
            why.push(outranked(drawn, winner));
        }
        Loser {
            name: drawn.name.to_owned(),
            protocol: drawn.protocol,
            rule: drawn.rule.to_string(),
            priority: Some(drawn.priority),
            distance: why.len() + usize::from(!candidate.unmet.is_empty()),
            why,
        }
    }

    /// Why a router is not asked for such a request at this entry point.
    fn why_not_here(&self, candidate: &Candidate<'_>) -> String {
        let here = &self.entry_point.name;
        if candidate.is_filed_otherwise {
            let only = if self.secure { "in the clear" } else { "by TLS" };
            return format!("it takes only what comes {only}");
        }
        let drawn = &candidate.drawn;
        if drawn.entry_points.contains(here) || drawn.entry_points.is_empty() {
            let faults = self.faults(drawn);
            if !faults.is_empty() {
                return format!("it is left out: {}", faults.join("; "));
            }
        }
        if drawn.entry_points.is_empty() {
            return format!("it names no entry point, and {here} is no default one (asDefault)");
        }
        if drawn.entry_points.contains(here) {
            return "it is left out".to_owned();
        }
        format!("it is on {} only", drawn.entry_points.join(", "))
    }

    /// What was wrong with a router.
    fn faults(&self, drawn: &Drawn<'_>) -> Vec<&str> {
        let bare = drawn.name.split('@').next().unwrap_or_default();
        let faults = self.known.faults.iter().filter(|fault| {
            fault.origin == drawn.origin
                && about(&fault.key) == Some((drawn.protocol.to_owned(), bare.to_owned()))
        });
        faults.map(|fault| fault.message.as_str()).collect()
    }

    /// Routers that were asked for, and are not there at all.
    fn not_drawn(&self) -> Vec<Loser> {
        let mut found: Vec<Loser> = Vec::new();
        for fault in self.known.faults {
            let Some((protocol, bare)) = about(&fault.key) else { continue };
            let protocol = if protocol == "http" { "http" } else { "tcp" };
            let bare_of = |name: &str| name.split('@').next().unwrap_or_default() == bare;
            let is_drawn = match protocol {
                "http" => self.known.snapshot.routers.iter().any(|router| bare_of(&router.name)),
                _ => self.known.snapshot.layer_four.tcp_routers.iter().any(|router| bare_of(&router.name)),
            };
            if is_drawn {
                continue;
            }
            let why = format!("it is left out: {}: {}", fault.origin, fault.message);
            match found.iter_mut().find(|loser| loser.name == bare && loser.protocol == protocol) {
                Some(loser) => loser.why.push(why),
                None => found.push(Loser {
                    name: bare,
                    protocol,
                    why: vec![why],
                    distance: 1,
                    ..Loser::default()
                }),
            }
        }
        found
    }
}

/// The router that a label or an option is about: `traefik.http.routers.web.rule` is about `web`.
fn about(key: &str) -> Option<(String, String)> {
    let mut parts =
        key.split('.').skip_while(|part| ["traefik", "portolan"].contains(&part.to_lowercase().as_str()));
    let protocol = parts.next()?.to_lowercase();
    if !["http", "tcp"].contains(&protocol.as_str()) || !parts.next()?.eq_ignore_ascii_case("routers") {
        return None;
    }
    Some((protocol, parts.next()?.to_owned()))
}

/// Why one whose rule holds is not the one.
fn outranked(lost: &Drawn<'_>, winner: Option<&Taken>) -> String {
    match winner {
        None => "the connection is not for it".to_owned(),
        Some(won) if won.protocol == "tcp" && lost.protocol == "http" => {
            format!("TCP router {} takes the connection before HTTP is read", won.name)
        }
        Some(won) if won.protocol != lost.protocol => {
            "an HTTP router for this host goes before TCP routers".to_owned()
        }
        Some(won) if won.priority == lost.priority => {
            format!("its rule holds; it has the same priority as {}, whose name comes first", won.name)
        }
        Some(won) => format!("its rule holds, and its priority is below {}", won.priority),
    }
}
