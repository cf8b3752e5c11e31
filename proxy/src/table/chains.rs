//! What the requests of a router go through: the middlewares that it and its service name, in their order.

use std::collections::HashMap;
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

fn fault(router: &Router, middleware: &str, why: &str) -> Fault {
    let name = router.name.split('@').next().unwrap_or_default();
    Fault::new(
        router.origin.clone(),
        format!("http.routers.{name}.middlewares"),
        format!("middleware `{middleware}`: {why}; router `{name}` is left out"),
    )
}
