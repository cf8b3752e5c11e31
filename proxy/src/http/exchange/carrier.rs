//! Where the connection to an endpoint comes from, and where it goes afterwards.

use std::sync::Arc;

use portolan_config::tls::Scheme;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::balancer::{Asker, Running, Tried, pick};
use crate::http::Reason;
use crate::http::pool::Care;
use crate::stream::Stream;
use crate::table::{Target, Upstream};
use crate::worker::Worker;

/// How connections to endpoints are had.
pub(crate) enum Carrier<'a> {
    /// From the worker's pool; each request may go to another endpoint.
    Pooled,
    /// The client connection's own; it stays with its endpoint for as long as that may be given work.
    Pinned(&'a mut Option<Pinned>),
}

/// A connection that belongs to one client connection.
#[derive(Debug)]
pub(crate) struct Pinned {
    /// Where it leads.
    pub(crate) target: Arc<Target>,
    /// The connection.
    pub(crate) endpoint: Stream,
}

/// A connection to use for one request.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(in crate::http) target: Arc<Target>,
    pub(in crate::http) endpoint: Stream,
    /// Whether it served an earlier request, so that its endpoint may have closed it meanwhile.
    pub(super) reused: bool,
    /// What its target has to do with it, where that is counted.
    pub(super) running: Option<Running>,
}

/// Why there is none.
pub(super) enum Unobtainable {
    /// No target is left to try.
    Exhausted,
    /// This target does not accept connections.
    Failed(Arc<Target>, Reason),
}

impl Carrier<'_> {
    pub(super) async fn obtain(
        &mut self,
        upstream: &Upstream,
        asker: Asker,
        tried: &Tried,
        care: Care,
        worker: &Worker,
    ) -> Result<Leg, Unobtainable> {
        if let Self::Pinned(slot) = self
            && let Some(mut pinned) = slot.take()
            && upstream.available.iter().any(|target| target.id == pinned.target.id)
            && care.finds_silent(&mut pinned.endpoint)
        {
            let running = pinned.target.begin(upstream);
            return Ok(Leg { target: pinned.target, endpoint: pinned.endpoint, reused: true, running });
        }
        let target = pick(upstream, asker, tried).ok_or(Unobtainable::Exhausted)?;
        let running = target.begin(upstream);
        if let Self::Pooled = self
            && let Some(endpoint) = worker.pool.take(&target, care)
        {
            return Ok(Leg { target, endpoint, reused: true, running });
        }
        // Published ports are passed on unread: there it is the client who speaks TLS, or nobody.
        let connected = match self {
            Self::Pooled => connect_by_scheme(&target, &upstream.name, worker).await,
            Self::Pinned(_) => connect(&target).await,
        };
        match connected {
            Ok(endpoint) => Ok(Leg { target, endpoint, reused: false, running }),
            Err(reason) => Err(Unobtainable::Failed(target, reason)),
        }
    }

    /// Takes a connection back whose answer was read to its end.
    pub(in crate::http) fn give_back(&mut self, leg: Leg, worker: &Worker) {
        match self {
            Self::Pooled => worker.pool.put(&leg.target, leg.endpoint),
            Self::Pinned(slot) => **slot = Some(Pinned { target: leg.target, endpoint: leg.endpoint }),
        }
    }
}

/// Opens a connection to a target, in the clear.
pub(crate) async fn connect(target: &Target) -> Result<Stream, Reason> {
    let deadline = Instant::now() + target.reach.connect;
    connect_tcp(target, deadline).await.map(Stream::from)
}

/// Opens a connection to a target, in the way it is spoken to. A handshake must be done by the same deadline.
async fn connect_by_scheme(target: &Target, upstream: &str, worker: &Worker) -> Result<Stream, Reason> {
    if target.scheme != Scheme::Https {
        return connect(target).await;
    }
    let deadline = Instant::now() + target.reach.connect;
    let Some(speaker) = worker.tls().speaker(upstream).cloned() else { return Err(Reason::EndpointTls) };
    let tcp = connect_tcp(target, deadline).await?;
    match timeout_at(deadline, Box::pin(speaker.connect(tcp, &target.host, target.address.ip()))).await {
        Ok(Ok(endpoint)) => Ok(endpoint),
        Ok(Err(error)) => {
            tracing::debug!(%error, upstream, endpoint = target.endpoint, "no TLS handshake with the endpoint");
            Err(Reason::EndpointTls)
        }
        Err(_) => Err(Reason::ConnectTimeout),
    }
}

async fn connect_tcp(target: &Target, deadline: Instant) -> Result<TcpStream, Reason> {
    match timeout_at(deadline, TcpStream::connect(target.address)).await {
        Ok(Ok(endpoint)) => {
            let _ = endpoint.set_nodelay(true);
            Ok(endpoint)
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::TimedOut => Err(Reason::ConnectTimeout),
        Ok(Err(_)) => Err(Reason::ConnectRefused),
        Err(_) => Err(Reason::ConnectTimeout),
    }
}
