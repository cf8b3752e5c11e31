//! Where the connection to an endpoint comes from, and where it goes afterwards.

use std::io::ErrorKind;
use std::sync::Arc;

use portolan_config::tls::Scheme;
use tokio::net::TcpStream;

use crate::balancer::{Full, Running, Tried, has_another, take};
use crate::deadline::{Moment, timeout_at};
use crate::http::Reason;
use crate::http::pool::Care;
use crate::http::roads::{self, Had, Made, Need, Road};
use crate::limits::CONNECT_PATIENCE;
use crate::stream::Stream;
use crate::table::{Target, Upstream};
use crate::worker::Worker;

use super::Exchange;

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
    /// Its place among those that its target may have, where that is limited.
    pub(crate) running: Option<Running>,
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
    /// There is no place for it at present.
    Full(Reason),
    /// This target does not accept connections.
    Failed(Arc<Target>, Reason),
}

impl From<Full> for Unobtainable {
    fn from(full: Full) -> Self {
        Self::Full(match full {
            Full::Service => Reason::ServiceLimit,
            Full::Endpoints => Reason::EndpointLimit,
        })
    }
}

impl Carrier<'_> {
    pub(super) async fn obtain(
        &mut self,
        upstream: &Upstream,
        request: &Exchange,
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
        let taken = take(upstream, request.asker, tried, false);
        let (target, running) = taken.map_err(Unobtainable::from)?.ok_or(Unobtainable::Exhausted)?;
        let by = ConnectedBy::of(&target, has_another(upstream, &target, tried));
        self.lead_to(target, running, upstream, request, care, by, worker).await
    }

    /// A connection to this target, which has been given the request.
    #[allow(clippy::too_many_arguments)] // all that is known of an attempt
    pub(super) async fn lead_to(
        &mut self,
        target: Arc<Target>,
        running: Option<Running>,
        upstream: &Upstream,
        request: &Exchange,
        care: Care,
        by: ConnectedBy,
        worker: &Worker,
    ) -> Result<Leg, Unobtainable> {
        let had = match self {
            Self::Pooled if roads::may_be_spoken(&target) => {
                Box::pin(share_or_take(&target, upstream, request, care, by, worker)).await
            }
            Self::Pooled => take_or_connect(&target, upstream, care, by, worker).await,
            // Published ports are passed on unread: there it is the client who speaks TLS, or nobody.
            Self::Pinned(_) => {
                Box::pin(connect(&target, upstream, by, worker)).await.map(|endpoint| (endpoint, false))
            }
        };
        match had {
            Ok((endpoint, reused)) => Ok(Leg { target, endpoint, reused, running }),
            Err(reason) => Err(Unobtainable::Failed(target, reason)),
        }
    }

    /// Takes a connection back whose answer was read to its end.
    pub(in crate::http) fn give_back(&mut self, leg: Leg, worker: &Worker) {
        match self {
            Self::Pooled => match leg.endpoint {
                Stream::Lane(lane) => lane.into_inner().finish(),
                endpoint => worker.pool.put(&leg.target, endpoint),
            },
            Self::Pinned(slot) => {
                **slot = Some(Pinned { target: leg.target, endpoint: leg.endpoint, running: None });
            }
        }
    }
}

/// Opens a connection to a target, in the clear.
pub(crate) async fn connect(
    target: &Target,
    upstream: &Upstream,
    by: ConnectedBy,
    worker: &Worker,
) -> Result<Stream, Reason> {
    worker.unless_left(target, upstream, connect_tcp(target, by.connected)).await.map(Stream::from)
}

/// By when a target is to be had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectedBy {
    /// The connection: sooner, where there is another target that may be reached.
    pub(crate) connected: Moment,
    /// Whatever is to be agreed on over it.
    pub(crate) ready: Moment,
}

impl ConnectedBy {
    pub(crate) fn of(target: &Target, there_is_another: bool) -> Self {
        let (now, whole) = (Moment::now(), target.reach.connect);
        let patience = if there_is_another { whole.min(CONNECT_PATIENCE) } else { whole };
        Self { connected: now + patience, ready: now + whole }
    }
}

/// A connection by HTTP/1.1, and whether it served a request before.
async fn take_or_connect(
    target: &Target,
    upstream: &Upstream,
    care: Care,
    by: ConnectedBy,
    worker: &Worker,
) -> Result<(Stream, bool), Reason> {
    if let Some(endpoint) = worker.pool.take(target, care) {
        return Ok((endpoint, true));
    }
    // Seldom, and large.
    let connecting = Box::pin(connect_by_scheme(target, upstream, false, by, worker));
    let (endpoint, _) = connecting.await?;
    Ok((endpoint, false))
}

/// The same, or a stream of a connection by HTTP/2, for a target that may speak that.
async fn share_or_take(
    target: &Target,
    upstream: &Upstream,
    request: &Exchange,
    care: Care,
    by: ConnectedBy,
    worker: &Worker,
) -> Result<(Stream, bool), Reason> {
    let need = match request.upgrade {
        false => Need::Answer,
        true if request.asks_for_websocket() => Need::WebSocket,
        // Nothing else is switched to over HTTP/2.
        true => return take_or_connect(target, upstream, care, by, worker).await,
    };
    let make = async || make(target, upstream, by, worker).await;
    match worker.roads.obtain(target, need, care, by.ready, make).await? {
        Had::Stream(endpoint, reused) => return Ok((endpoint, reused)),
        Had::None => {}
    }
    if need == Need::WebSocket || target.scheme == Scheme::H2c || worker.roads.requires_http1(target) {
        return take_or_connect(target, upstream, care, by, worker).await;
    }
    if let Some(endpoint) = worker.pool.take(target, care) {
        return Ok((endpoint, true));
    }
    // It chose HTTP/1.1 before, and may choose anew.
    match make().await? {
        Made::Stream(endpoint) => Ok((endpoint, false)),
        Made::Road(road) => {
            let lane = worker.roads.add(target, road).ok_or(Reason::EndpointReset)?;
            Ok((Stream::lane(lane), false))
        }
    }
}

/// Makes a connection for as many requests as the target takes on one.
async fn make(
    target: &Target,
    upstream: &Upstream,
    by: ConnectedBy,
    worker: &Worker,
) -> Result<Made, Reason> {
    let (endpoint, chose_http2) = connect_by_scheme(target, upstream, true, by, worker).await?;
    if chose_http2 || target.scheme == Scheme::H2c {
        let begun = Road::begin(endpoint, target, by.ready, &worker.buffers);
        return worker.unless_left(target, upstream, begun).await.map(Made::Road);
    }
    Ok(Made::Stream(endpoint))
}

/// Opens a connection to a target, in the way it is spoken to. Gives whether it chose HTTP/2.
async fn connect_by_scheme(
    target: &Target,
    upstream: &Upstream,
    offer_http2: bool,
    by: ConnectedBy,
    worker: &Worker,
) -> Result<(Stream, bool), Reason> {
    let tcp = worker.unless_left(target, upstream, connect_tcp(target, by.connected)).await?;
    if target.scheme != Scheme::Https {
        return Ok((tcp.into(), false));
    }
    let Some(speaker) = worker.tls().speaker(&upstream.name).cloned() else {
        return Err(Reason::EndpointTls);
    };
    let connecting = speaker.connect(tcp, &target.host, target.address.ip(), offer_http2);
    let shaken = async {
        match timeout_at(by.ready, Box::pin(connecting)).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => {
                tracing::debug!(
                    %error, upstream = upstream.name, endpoint = target.endpoint,
                    "no TLS handshake with the endpoint"
                );
                Err(Reason::EndpointTls)
            }
            Err(_) => Err(Reason::ConnectTimeout),
        }
    };
    worker.unless_left(target, upstream, shaken).await
}

/// Opens a connection to a target, to be spoken to in whatever way. Notes whether it was reached.
pub(crate) async fn connect_tcp(target: &Target, deadline: Moment) -> Result<TcpStream, Reason> {
    let unreached = || {
        target.load.unreached();
        Err(Reason::ConnectTimeout)
    };
    match timeout_at(deadline, TcpStream::connect(target.address)).await {
        Ok(Ok(endpoint)) => {
            target.load.reached();
            let _ = endpoint.set_nodelay(true);
            Ok(endpoint)
        }
        Ok(Err(error)) if error.kind() == ErrorKind::TimedOut => unreached(),
        // Nobody has the address, or nobody knows the way.
        Ok(Err(error))
            if matches!(error.kind(), ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) =>
        {
            target.load.unreached();
            Err(Reason::ConnectRefused)
        }
        // Somebody is there, and says no.
        Ok(Err(_)) => {
            target.load.reached();
            Err(Reason::ConnectRefused)
        }
        Err(_) => unreached(),
    }
}
