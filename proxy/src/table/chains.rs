//! What the requests of a router go through: the middlewares that it and its service name, in their order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use portolan_config::Fault;
use portolan_config::dynamic::middleware::Middleware;
use portolan_config::settings::EntryPoint;
use portolan_discovery::{Router, Snapshot};

use crate::ledger::Ledger;
use crate::middleware::{Chain, Step};

/// How deep chains may stand in chains.
const CHAIN_DEPTH_MAX: usize = 16;

/// The middlewares of a snapshot, as routers ask for them.
pub(super) struct Chains<'s> {
    snapshot: &'s Snapshot,
    ledger: &'s Ledger,
    /// What services name, where they name any.
    services: HashMap<&'s str, &'s [String]>,
}

impl<'s> Chains<'s> {
    pub(super) fn new(snapshot: &'s Snapshot, ledger: &'s Ledger) -> Self {
        let upstreams = snapshot.upstreams.iter().map(|upstream| (&upstream.name, &upstream.middlewares));
        let composites =
            snapshot.composites.iter().map(|composite| (&composite.name, &composite.middlewares));
        let services = upstreams
            .chain(composites)
            .filter(|(_, middlewares)| !middlewares.is_empty())
            .map(|(name, middlewares)| (name.as_str(), middlewares.as_slice()))
            .collect();
        Self { snapshot, ledger, services }
    }

    /// What an entry point puts before the chains of its routers: its `http.middlewares`. The error costs all of its routers.
    pub(super) fn front(&self, entry_point: &EntryPoint) -> Result<Vec<Arc<Step>>, Fault> {
        let mut steps: Vec<Arc<Step>> = Vec::new();
        for name in &entry_point.middlewares {
            self.flatten(name, 0, &mut steps).map_err(|why| {
                Fault::new(
                    format!("entry point {}", entry_point.name),
                    format!("entryPoints.{}.http.middlewares", entry_point.name),
                    format!("middleware `{name}`: {why}; its routers are left out"),
                )
            })?;
        }
        Ok(steps)
    }

    fn flatten(&self, name: &str, depth: usize, steps: &mut Vec<Arc<Step>>) -> Result<(), String> {
        match self.snapshot.middlewares.get(name).map(|written| (written, &**written)) {
            None => Err("there is no such middleware".to_owned()),
            Some(_) if depth > CHAIN_DEPTH_MAX => Err("it leads back to itself".to_owned()),
            Some((_, Middleware::Chain(chain))) => {
                chain.middlewares.iter().try_for_each(|name| self.flatten(name, depth + 1, steps))
            }
            Some((written, _)) => {
                steps.push(self.ledger.step(name, written, self.snapshot.generation)?);
                Ok(())
            }
        }
    }

    /// The chain of a router. One of which a part is missing costs the router: without it, it might be open to strangers.
    pub(super) fn of(&self, router: &Router) -> Result<Option<Arc<Chain>>, Fault> {
        let of_service = self.services.get(router.upstream.as_str()).copied().unwrap_or_default();
        if router.middlewares.is_empty() && of_service.is_empty() {
            return Ok(None);
        }
        let mut steps = Vec::with_capacity(router.middlewares.len() + of_service.len());
        for name in router.middlewares.iter().chain(of_service) {
            let step = match self.snapshot.middlewares.get(name) {
                Some(written) => self.ledger.step(name, written, self.snapshot.generation),
                None => Err("there is no such middleware".to_owned()),
            };
            steps.push(step.map_err(|why| fault(router, name, &why))?);
        }
        Ok(Chain::of(steps))
    }
}

impl Chains<'_> {
    /// The chain of a service that stands within another.
    pub(super) fn of_service(&self, name: &str) -> Result<Option<Arc<Chain>>, String> {
        let names = self.services.get(name).copied().unwrap_or_default();
        let mut steps = Vec::with_capacity(names.len());
        for name in names {
            self.flatten(name, 0, &mut steps).map_err(|why| format!("middleware `{name}`: {why}"))?;
        }
        Ok(Chain::of(steps))
    }
}

/// What can't be done of middlewares that no router asks for, which nothing else would tell. Nobody is looked up for it.
pub fn faults_of_unused(snapshot: &Snapshot) -> Vec<Fault> {
    let upstreams = snapshot.upstreams.iter().flat_map(|upstream| &upstream.middlewares);
    let composites = snapshot.composites.iter().flat_map(|composite| &composite.middlewares);
    let routers = snapshot.routers.iter().flat_map(|router| &router.middlewares);
    let used: HashSet<&String> = upstreams.chain(composites).chain(routers).collect();
    let unused = snapshot.middlewares.iter().filter(|(name, _)| !used.contains(name));
    let of_one = |(name, written): (&String, &Arc<Middleware>)| {
        if matches!(**written, Middleware::Chain(_) | Middleware::ForwardAuth(_)) {
            return None;
        }
        let why = Step::compile(written, None).err()?;
        let bare = name.split('@').next().unwrap_or_default();
        let origin = snapshot.middleware_origins.get(name).cloned().unwrap_or_default();
        Some(Fault::new(
            origin,
            format!("http.middlewares.{bare}"),
            format!("{why}; no router asks for it yet"),
        ))
    };
    unused.filter_map(of_one).collect()
}

fn fault(router: &Router, middleware: &str, why: &str) -> Fault {
    let name = router.name.split('@').next().unwrap_or_default();
    Fault::new(
        router.origin.clone(),
        format!("http.routers.{name}.middlewares"),
        format!("middleware `{middleware}`: {why}; router `{name}` is left out"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::tests::written;

    #[test]
    fn what_no_router_asks_for_is_judged_too() {
        let mut snapshot = Snapshot::default();
        let all = [
            ("fine@file", "addPrefix: {prefix: /x}"),
            ("plain@file", "basicAuth: {users: ['joe:secret']}"),
            ("used@file", "basicAuth: {users: ['joe:secret']}"),
            ("asks@file", "forwardAuth: {address: 'http://auth.test'}"),
        ];
        let middlewares = all.map(|(name, yaml)| (name.to_owned(), Arc::new(written(yaml))));
        snapshot.middlewares = Arc::new(middlewares.into());
        snapshot.middleware_origins = Arc::new([("plain@file".to_owned(), "file f:3".to_owned())].into());
        let rule = portolan_config::Rule::parse("Host(`a`)").unwrap();
        let router =
            Router { middlewares: vec!["used@file".to_owned()], ..Router::new("r@file", rule, "s@file") };
        snapshot.routers.push(Arc::new(router));
        let told = faults_of_unused(&snapshot);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].origin.as_str(), told[0].key.as_str()), ("file f:3", "http.middlewares.plain"));
        assert!(told[0].message.contains("htpasswd"), "{told:?}");
    }
}
