//! Published ports: a host port in front of every available replica of a service.

mod follow;
mod tcp;
mod udp;

pub(crate) use tcp::serve as serve_tcp;
pub(crate) use udp::serve as serve_udp;

use std::sync::Arc;

use portolan_config::{ListenAddress, Protocol};

use crate::metrics::{Metrics, Scope, published_name};
use crate::table::Upstream;
use crate::worker::Worker;

/// A published port, by where it listens. Which service that is for at the moment, the table says: it can pass from
/// one to another without the socket being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Port {
    pub(crate) address: ListenAddress,
    pub(crate) protocol: Protocol,
}

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
