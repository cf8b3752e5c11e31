//! A connection to an endpoint, and to another one where that fails: nothing of the client's was sent yet.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_config::tls::Scheme;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::postgres;
use crate::balancer::{Asker, Running, Tried, has_another, pick};
use crate::deadline::timeout_at;
use crate::http::{ConnectedBy, Pinned, Reason, connect_tcp};
use crate::limits::ATTEMPTS_MAX;
use crate::published::connect_from;
use crate::stream::Stream;
use crate::table::{Target, Upstream};
use crate::worker::Worker;

/// How a connection to an endpoint begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opening {
    /// Whether TLS is spoken where the target asks for it. Published ports are passed on unread: there it is the client
    /// who speaks TLS, or nobody.
    pub(crate) by_scheme: bool,
    /// Whether TLS, whoever speaks it, is asked for in PostgreSQL's way first.
    pub(crate) start_tls: bool,
    /// What the endpoint is told of the client before anything else, by the PROXY protocol.
    pub(crate) introduction: Option<Vec<u8>>,
    /// The client's address, where the endpoint is to see it as the one that the connection comes from.
    pub(crate) from: Option<IpAddr>,
    /// Between the probes of an idle connection; `None` for no probes.
    pub(crate) keep_alive: Option<Duration>,
    /// Connections that one endpoint may have; `None` for any number.
    pub(crate) endpoint_max: Option<usize>,
}

impl Opening {
    /// Whether one endpoint of a client is as good as the next, request by request.
    pub(crate) fn is_plain(&self) -> bool {
        self.introduction.is_none() && self.from.is_none() && self.endpoint_max.is_none()
    }
}

/// Connects to the next endpoint in turn that accepts. Those that did not are added to `tried`.
pub(crate) async fn establish(
    upstream: &Upstream,
    asker: Asker,
    opening: &Opening,
    tried: &mut Tried,
    worker: &Worker,
) -> Result<Pinned, Reason> {
    let mut last = Reason::NoEndpoint;
    // Those that have all they may have were asked nothing, nor those that left meanwhile: they cost no attempt.
    let mut free = 0;
    // What is known by now, once that may be more than when the client came.
    let mut newest: Option<Arc<Upstream>> = None;
    loop {
        let upstream = newest.as_deref().unwrap_or(upstream);
        if tried.count() - free >= ATTEMPTS_MAX {
            break;
        }
        let Some(target) = pick(upstream, asker, tried) else { break };
        let running = match place(&target, opening) {
            Ok(running) => running,
            Err(reason) => {
                (last, free) = (reason, free + 1);
                tried.add(&target);
                continue;
            }
        };
        if tried.count() > free {
            worker.metrics.retried(&upstream.name);
        }
        let by = ConnectedBy::of(&target, has_another(upstream, &target, tried));
        match open(&target, upstream, opening, by, worker).await {
            Ok(endpoint) => {
                target.counters.connections.inc();
                return Ok(Pinned { target, endpoint, running });
            }
            Err(reason) => {
                last = reason;
                // Who left is not to be blamed.
                if reason == Reason::NoEndpoint {
                    free += 1;
                } else {
                    target.counters.failures.inc();
                }
                tried.add(&target);
                newest = worker.table().upstreams.get(&upstream.name).cloned().or(newest);
            }
        }
    }
    Err(last)
}

/// A place among the connections that a target may have, where that is limited.
fn place(target: &Target, opening: &Opening) -> Result<Option<Running>, Reason> {
    let Some(most) = opening.endpoint_max else { return Ok(None) };
    // Counted first: two that come at once must not both find the last place free.
    let running = Running::begin(target.load.clone());
    if target.load.running() as usize > most { Err(Reason::EndpointLimit) } else { Ok(Some(running)) }
}

/// Opens a connection to a target. Everything before the first byte of the client's must be done by then.
async fn open(
    target: &Target,
    upstream: &Upstream,
    opening: &Opening,
    by: ConnectedBy,
    worker: &Worker,
) -> Result<Stream, Reason> {
    let kept = opening.from.and_then(|client| {
        let to = target.address_for(client);
        Some((worker.sources.of(client, to)?, to))
    });
    let connecting = async {
        match kept {
            Some((source, to)) => connect_from(source, to, target, by.connected).await,
            None => connect_tcp(target, by.connected).await,
        }
    };
    let mut tcp = worker.unless_left(target, upstream, connecting).await?;
    if let Some(every) = opening.keep_alive {
        probe(&tcp, every);
    }
    if let Some(introduction) = &opening.introduction {
        // A new connection has room for it.
        tcp.write_all(introduction).await.map_err(|_| Reason::EndpointReset)?;
    }
    let tls = opening.by_scheme && target.scheme == Scheme::Https;
    if !tls && !opening.start_tls {
        return Ok(tcp.into());
    }
    let begun = timeout_at(by.ready, Box::pin(begin(tcp, target, upstream, opening, tls, worker))).await;
    match begun {
        Ok(Ok(endpoint)) => Ok(endpoint),
        Ok(Err(error)) => {
            tracing::debug!(
                %error, upstream = upstream.name, endpoint = target.endpoint, "no TLS with the endpoint"
            );
            Err(Reason::EndpointTls)
        }
        Err(_) => Err(Reason::ConnectTimeout),
    }
}

async fn begin(
    mut tcp: TcpStream,
    target: &Target,
    upstream: &Upstream,
    opening: &Opening,
    tls: bool,
    worker: &Worker,
) -> io::Result<Stream> {
    if opening.start_tls {
        tcp.write_all(&postgres::SSL_REQUEST).await?;
        let mut answer = [0];
        tcp.read_exact(&mut answer).await?;
        if answer != [postgres::YES] {
            return Err(io::Error::other("the server takes no TLS"));
        }
    }
    if !tls {
        return Ok(tcp.into());
    }
    let speaker = worker.tls().speaker(&upstream.name).cloned();
    let speaker = speaker.ok_or_else(|| io::Error::other("it can't be spoken to as asked for"))?;
    Ok(speaker.connect(tcp, &target.host, target.address.ip(), false).await?.0)
}

/// Has the kernel find out whether the other side is there yet, while nothing is said. A connection without probes is
/// one all the same.
fn probe(tcp: &TcpStream, every: Duration) {
    let probes = TcpKeepalive::new().with_time(every).with_interval(every);
    let _ = SockRef::from(tcp).set_tcp_keepalive(&probes);
}
