//! What the requests of a router go through: the middlewares that it and its service name, in their order.

use std::collections::HashMap;
use std::sync::Arc;

use portolan_config::Fault;
use portolan_discovery::{Router, Snapshot};

use crate::ledger::Ledger;
use crate::middleware::Chain;

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
