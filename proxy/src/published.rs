//! Published ports: a host port in front of every available replica of a service.

mod follow;
mod tcp;
mod transparent;

pub(crate) use tcp::serve as serve_tcp;
pub(crate) use transparent::{connect_from, may_have};

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_config::{DataPath, PublishLimits};

use crate::census::Counted;
use crate::http::Reason;
use crate::limits::TCP_KEEP_ALIVE;
use crate::metrics::{Scope, published_name};
use crate::proxy_protocol::Introduction;
use crate::stream::Stream;
use crate::table::{Port, Published, Upstream};
use crate::tcp::Opening;
use crate::worker::Worker;

/// A published port that is served.
#[derive(Debug)]
pub(crate) struct Listening {
    port: Port,
    /// What it counts into.
    scope: Scope,
    /// Where it led last.
    last: RefCell<Option<Arc<Upstream>>>,
}

impl Listening {
    /// A port that leads to `first` to begin with.
    pub(crate) fn new(port: Port, first: Option<Arc<Upstream>>, worker: &Worker) -> Self {
        let name = published_name(port.address.port, port.protocol);
        Self { port, scope: worker.metrics.entry_point(&name), last: RefCell::new(first) }
    }

    /// The name of an entry point's place in metrics.
    pub(crate) fn name(&self) -> &str {
        self.scope.name()
    }

    /// Counts a connection of this client, or says which limit it would break.
    pub(crate) fn count(&self, client: IpAddr, worker: &Worker) -> Result<Option<Counted>, Reason> {
        let census = worker.table().publications.get(&self.port).and_then(|port| port.census.clone());
        census.map(|census| census.count(client)).transpose()
    }

    /// How much the port takes.
    fn limits(&self, worker: &Worker) -> PublishLimits {
        worker.table().publications.get(&self.port).map_or_else(PublishLimits::default, |port| port.limits)
    }

    /// Whether endpoints are to see the client's own address.
    fn is_transparent(&self, worker: &Worker) -> bool {
        worker.table().publications.get(&self.port).is_some_and(Published::is_transparent)
    }

    /// Whether the kernel is to carry established connections.
    fn is_by_sockmap(&self, worker: &Worker) -> bool {
        let table = worker.table();
        let path = table.publications.get(&self.port).and_then(|published| published.data_path);
        path == Some(DataPath::Sockmap)
    }

    /// Where the port leads now.
    fn upstream(&self, worker: &Worker) -> Option<Arc<Upstream>> {
        let table = worker.table();
        let published = table.publications.get(&self.port)?;
        table.upstreams.get(&published.upstream).cloned()
    }

    /// How a connection to a replica begins for this client.
    fn opening(&self, client: &Stream, worker: &Worker) -> Opening {
        let version = {
            let table = worker.table();
            table.publications.get(&self.port).and_then(|published| published.proxy_protocol)
        };
        let introduction = version.and_then(|version| {
            let (client, to) =
                client.with_tcp(|tcp| Some((tcp.peer_addr().ok()?, tcp.local_addr().ok()?)))??;
            let unread = Introduction { client, to, server_name: String::new(), alpn: Vec::new(), tls: None };
            Some(unread.header(version))
        });
        let from = self.is_transparent(worker).then(|| tcp::address_of(client)).flatten();
        let endpoint_max = self.limits(worker).per_endpoint_max;
        Opening { introduction, from, endpoint_max, keep_alive: Some(TCP_KEEP_ALIVE), ..Opening::default() }
    }

    /// Where a new connection goes. One that the kernel took before the port was withdrawn still goes where the port led:
    /// it was accepted as far as its client knows.
    fn upstream_of_new(&self, worker: &Worker) -> Option<Arc<Upstream>> {
        let now = self.upstream(worker);
        let mut last = self.last.borrow_mut();
        if now.is_some() {
            last.clone_from(&now);
            return now;
        }
        let last = last.as_ref()?;
        worker.table().upstreams.get(&last.name).or(Some(last)).cloned()
    }
}
