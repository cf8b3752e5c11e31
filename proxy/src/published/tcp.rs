//! One client connection to a published TCP port: it is given to an endpoint, connection by connection.
//!
//! Bytes pass unread, in both directions from the start, so that protocols in which the server speaks first work. If
//! the client speaks first and it is HTTP/1, the connection is followed request by request instead ([`super::follow`]):
//! still the same bytes to the same endpoint, but when that endpoint leaves, the connection survives it.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use portolan_config::Protocol;
use portolan_config::settings::Observability;
use tokio::io::AsyncWriteExt;

use super::{Listening, follow};
use crate::balancer::{Asker, Tried};
use crate::census::Counted;
use crate::deadline::{Moment, sleep_until, timeout_at};
use crate::ended::{Ended, Why};
use crate::http::{Pinned, Reason};
use crate::limits::RECOGNITION_TIMEOUT;
use crate::stream::Stream;
use crate::table::{Target, Upstream};
use crate::tcp::{self, establish};
use crate::worker::{Buffer, End, Pace, Worker};

/// Serves a client for as long as it stays.
pub(crate) async fn serve(
    client: Stream,
    peer: SocketAddr,
    _counted: Option<Counted>,
    port: Rc<Listening>,
    worker: Rc<Worker>,
) {
    let began = Instant::now();
    let _open = port.scope.open();
    let Some(upstream) = port.upstream_of_new(&worker) else { return };
    let _open_at_service = upstream.scope.open();
    let course = lead(client, &port, upstream, &worker).await;
    let ended = Ended {
        protocol: Protocol::Tcp,
        entry_point: &port.scope,
        observability: Observability::default(),
        client: peer,
        tls: None,
        server_name: "",
        router: None,
        service: Some(&course.upstream.scope),
        target: course.target.as_deref(),
        received: course.received,
        sent: course.sent,
        took: began.elapsed(),
        why: course.why,
    };
    ended.note(&worker);
}

/// What became of a connection.
pub(super) struct Course {
    pub(super) upstream: Arc<Upstream>,
    /// The endpoint that had it last.
    pub(super) target: Option<Arc<Target>>,
    /// Bytes from the client, and to it.
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) why: Why,
}

impl Course {
    /// One of which nothing was passed on.
    fn silent(upstream: Arc<Upstream>, target: Option<Arc<Target>>, why: Why) -> Self {
        Self { upstream, target, received: 0, sent: 0, why }
    }

    /// The same and what came after it, as one.
    pub(super) fn then(&self, next: Self) -> Self {
        Self {
            target: next.target.or_else(|| self.target.clone()),
            received: self.received + next.received,
            sent: self.sent + next.sent,
            ..next
        }
    }
}

/// Leads a client to an endpoint, and passes on what they say.
async fn lead(mut client: Stream, port: &Listening, mut upstream: Arc<Upstream>, worker: &Worker) -> Course {
    let mut tried = Tried::default();
    let mut silent: Option<Pinned> = None;
    let opening = port.opening(&client, worker);
    loop {
        let asker = asker(&client, &upstream);
        let established = establish(&upstream, asker, &opening, &mut tried, worker).await;
        let pinned = match (established, silent.take()) {
            (Ok(pinned), _) => pinned,
            // Nobody else is there. What the last one did is passed on as it is, be it a close or half of one.
            (Err(_), Some(last)) => {
                return pass(client, last, Early::none(worker), port, upstream, worker).await;
            }
            (Err(reason), None) => {
                worker.metrics.refused(port.scope.name(), reason);
                let why =
                    if reason == Reason::NoEndpoint { upstream.why_unavailable() } else { String::new() };
                tracing::debug!(reason = reason.as_str(), why, port = port.scope.name(), "connection closed");
                return Course::silent(upstream, None, Why::Refused(reason));
            }
        };
        let idle = port.limits(worker).idle.map_or(Moment::NEVER, |idle| Moment::now() + idle);
        let Ok(speaker) = timeout_at(idle, first_words(&mut client, &pinned, worker)).await else {
            worker.metrics.refused(port.scope.name(), Reason::ClientIdle);
            return Course::silent(upstream, Some(pinned.target), Why::Refused(Reason::ClientIdle));
        };
        match speaker {
            // A replica that was told who the client is was told it for the connection, which it then stays with; and
            // requests of several clients would share connections, which leave with one address each.
            // What the kernel carries nobody reads, and where a replica's connections are counted, one stays one.
            Speaker::Http(inbound) if opening.is_plain() && !port.is_by_sockmap(worker) => {
                return follow::serve(client, pinned, inbound, port, upstream, worker).await;
            }
            Speaker::Http(inbound) | Speaker::Client(inbound) => {
                let early = Early { to_client: None, to_endpoint: inbound };
                return pass(client, pinned, early, port, upstream, worker).await;
            }
            Speaker::Endpoint => {
                return pass(client, pinned, Early::none(worker), port, upstream, worker).await;
            }
            Speaker::Nobody => {
                return Course::silent(upstream, Some(pinned.target), Why::Passed(End::ClientReset));
            }
            // It left before anything was said, say because it stops. The client need not know: it is given to another.
            Speaker::EndpointLeft => {
                tried.add(&pinned.target);
                silent = Some(pinned);
                upstream = port.upstream(worker).unwrap_or(upstream);
            }
        }
    }
}

/// What there is to choose an endpoint by.
pub(super) fn asker(client: &Stream, upstream: &Upstream) -> Asker {
    let by_hash = upstream.plan.hashes().is_some();
    // A client that is gone already is as good as any other.
    let at = by_hash.then(|| address_of(client)).flatten();
    at.map_or_else(Asker::default, Asker::at)
}

pub(super) fn address_of(client: &Stream) -> Option<IpAddr> {
    client.with_tcp(|tcp| tcp.peer_addr().ok()).flatten().map(|at| at.ip())
}

/// Who spoke first.
enum Speaker {
    /// The client, in HTTP/1.
    Http(Buffer),
    /// The client, in anything else.
    Client(Buffer),
    /// The endpoint.
    Endpoint,
    /// Nobody: the endpoint closed the connection, or half of it.
    EndpointLeft,
    /// Nobody: the client left.
    Nobody,
}

async fn first_words(client: &mut Stream, pinned: &Pinned, worker: &Worker) -> Speaker {
    tokio::select! {
        biased;
        peeked = pinned.endpoint.heard() => return match peeked {
            Ok(true) => Speaker::Endpoint,
            Ok(false) | Err(_) => Speaker::EndpointLeft,
        },
        ready = client.readable() => if ready.is_err() { return Speaker::Nobody },
    }
    let mut inbound = worker.buffers.take();
    let mut endpoint_listens = true;
    let deadline = Moment::now() + RECOGNITION_TIMEOUT;
    loop {
        tokio::select! {
            biased;
            read = inbound.read_from(client) => match read {
                Ok(1..) => {}
                // It said all it had to say; the endpoint may answer yet.
                Ok(0) => return Speaker::Client(inbound),
                Err(_) => return Speaker::Nobody,
            },
            peeked = pinned.endpoint.heard(), if endpoint_listens => match peeked {
                Ok(true) => return Speaker::Client(inbound),
                // Should the rest turn out to be HTTP, it goes to another endpoint.
                Ok(false) | Err(_) => endpoint_listens = false,
            },
            () = sleep_until(deadline) => return Speaker::Client(inbound),
        }
        match follow::recognize(inbound.filled()) {
            follow::Recognized::Http => return Speaker::Http(inbound),
            follow::Recognized::Other => return Speaker::Client(inbound),
            follow::Recognized::NotYet => {}
        }
    }
}

/// What was received before a connection was passed on unread.
pub(super) struct Early {
    pub(super) to_client: Option<Buffer>,
    pub(super) to_endpoint: Buffer,
}

impl Early {
    fn none(worker: &Worker) -> Self {
        Self { to_client: None, to_endpoint: worker.buffers.take() }
    }
}

/// Passes everything on, unread.
pub(super) async fn pass(
    mut client: Stream,
    Pinned { target, mut endpoint, running: _running }: Pinned,
    early: Early,
    port: &Listening,
    upstream: Arc<Upstream>,
    worker: &Worker,
) -> Course {
    let received = early.to_endpoint.filled().len() as u64;
    let mut sent = 0;
    let broken = |upstream, end| Course::silent(upstream, Some(target.clone()), Why::Passed(end));
    if let Some(words) = &early.to_client {
        sent = words.filled().len() as u64;
        if client.write_all(words.filled()).await.is_err() {
            return broken(upstream, End::ClientReset);
        }
    }
    if endpoint.write_all(early.to_endpoint.filled()).await.is_err() {
        return broken(upstream, End::EndpointReset);
    }
    drop(early);
    let pace = Pace { idle: port.limits(worker).idle, half_closed: None };
    let by_kernel = port.is_by_sockmap(worker);
    let relayed = tcp::pass(client, endpoint, by_kernel, pace, port.scope.name(), worker).await;
    let (received, sent) = (received + relayed.received, sent + relayed.sent);
    if relayed.end != End::Done {
        tracing::debug!(end = ?relayed.end, port = port.scope.name(), service = upstream.name, "connection broken off");
    }
    for scope in [&port.scope, &upstream.scope] {
        scope.count_bytes(received, sent);
    }
    Course { upstream, target: Some(target), received, sent, why: Why::Passed(relayed.end) }
}
