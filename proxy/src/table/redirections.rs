//! `http.redirections.entryPoint`: a router of an entry point's own that sends everybody elsewhere.

use std::sync::Arc;

use portolan_config::dynamic::middleware::{Middleware, RedirectScheme};
use portolan_config::settings::EntryPoint;
use portolan_config::{Protocol, Rule};
use portolan_discovery::{Router, Upstream};

use crate::middleware::{Chain, Step};

/// Such a router, and what it answers with.
pub(super) struct Redirection {
    pub(super) router: Arc<Router>,
    pub(super) chain: Option<Arc<Chain>>,
}

/// Where their requests would go: nowhere, as each is answered before.
pub(super) fn nowhere() -> Arc<Upstream> {
    Arc::new(Upstream::new("noop@internal".to_owned(), Vec::new()))
}

/// Those of all entry points.
pub(super) fn of(entry_points: &[EntryPoint]) -> Vec<Redirection> {
    let for_tcp = entry_points.iter().filter(|entry_point| entry_point.protocol == Protocol::Tcp);
    for_tcp.filter_map(redirection).collect()
}

fn redirection(entry_point: &EntryPoint) -> Option<Redirection> {
    let written = entry_point.redirection.as_ref()?;
    let middleware = Middleware::RedirectScheme(RedirectScheme {
        scheme: written.scheme.clone(),
        port: written.port.to_string(),
        permanent: written.permanent,
    });
    let steps = vec![Arc::new(Step::compile(&middleware, None).ok()?), Arc::new(Step::Nothing)];
    let router = Router {
        priority: written.priority,
        entry_points: vec![entry_point.name.clone()],
        origin: format!("entry point {}", entry_point.name),
        ..Router::new(
            format!("{}-to-{}@internal", entry_point.name, written.to.trim_start_matches(':')),
            Rule::parse("PathPrefix(`/`)").ok()?,
            "noop@internal",
        )
    };
    Some(Redirection { router: Arc::new(router), chain: Chain::of(steps) })
}
