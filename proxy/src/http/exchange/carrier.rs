//! Where the connection to an endpoint comes from, and where it goes afterwards.

use std::sync::Arc;

use tokio::net::TcpStream;

use crate::balancer::{Tried, pick};
use crate::deadline::timeout;
use crate::http::Reason;
use crate::http::pool::Care;
use crate::limits::CONNECT_TIMEOUT;
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
    pub(super) target: Arc<Target>,
    pub(super) endpoint: Stream,
    /// Whether it served an earlier request, so that its endpoint may have closed it meanwhile.
    pub(super) reused: bool,
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
        tried: &Tried,
        care: Care,
        worker: &Worker,
    ) -> Result<Leg, Unobtainable> {
        if let Self::Pinned(slot) = self
            && let Some(mut pinned) = slot.take()
            && upstream.available.iter().any(|target| target.id == pinned.target.id)
            && care.finds_silent(&mut pinned.endpoint)
        {
            return Ok(Leg { target: pinned.target, endpoint: pinned.endpoint, reused: true });
        }
        let target = pick(upstream, tried).ok_or(Unobtainable::Exhausted)?;
        if let Self::Pooled = self
            && let Some(endpoint) = worker.pool.take(&target, care)
        {
            return Ok(Leg { target, endpoint, reused: true });
        }
        match connect(&target).await {
            Ok(endpoint) => Ok(Leg { target, endpoint, reused: false }),
            Err(reason) => Err(Unobtainable::Failed(target, reason)),
        }
    }

    /// Takes a connection back whose answer was read to its end.
    pub(super) fn give_back(&mut self, leg: Leg, worker: &Worker) {
        match self {
            Self::Pooled => worker.pool.put(&leg.target, leg.endpoint),
            Self::Pinned(slot) => **slot = Some(Pinned { target: leg.target, endpoint: leg.endpoint }),
        }
    }
}

/// Opens a connection to a target.
pub(crate) async fn connect(target: &Target) -> Result<Stream, Reason> {
    match timeout(CONNECT_TIMEOUT, TcpStream::connect(target.address)).await {
        Ok(Ok(endpoint)) => {
            let _ = endpoint.set_nodelay(true);
            Ok(endpoint.into())
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::TimedOut => Err(Reason::ConnectTimeout),
        Ok(Err(_)) => Err(Reason::ConnectRefused),
        Err(_) => Err(Reason::ConnectTimeout),
    }
}
