//! Published ports: a host port in front of every available replica of a service.

mod follow;
mod tcp;
mod udp;

pub(crate) use tcp::serve as serve_tcp;
pub(crate) use udp::serve as serve_udp;

use std::sync::Arc;

use crate::metrics::{Metrics, Scope, published_name};
use crate::table::{Port, Upstream};
use crate::worker::Worker;

/// A published port that is served.
#[derive(Debug)]
pub(crate) struct Listening {
    port: Port,
    /// What it counts into.
    scope: Scope,
}

impl Listening {
    pub(crate) fn new(port: Port, metrics: &Metrics) -> Self {
        let name = published_name(port.address.port, port.protocol);
        Self { port, scope: metrics.entry_point(&name) }
    }

    /// Where the port leads now.
    fn upstream(&self, worker: &Worker) -> Option<Arc<Upstream>> {
        let table = worker.table();
        let published = table.publications.get(&self.port)?;
        table.upstreams.get(&published.upstream).cloned()
    }
}
