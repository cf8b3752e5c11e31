//! A connection that a TCP router took: its TLS, its endpoint, and its bytes until both sides are done.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_config::{DataPath, Protocol};
use tokio::io::AsyncWriteExt;

use super::arrive::{Client, Taken};
use super::terminate::terminate;
use super::{Opening, establish, pass};
use crate::access_log::Agreed;
use crate::balancer::{Asker, Tried};
use crate::census::Counted;
use crate::deadline::{Moment, sleep_until};
use crate::ended::{Ended, Why};
use crate::http::{EntryPoint, Pinned, Reason};
use crate::metrics::OpenGuard;
use crate::proxy_protocol::Introduction;
use crate::stream::Stream;
use crate::table::tcp::{By, Places};
use crate::table::{Target, Upstream};
use crate::worker::{End, Pace, Worker};

/// A connection that was taken.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    taken: Taken,
}

/// A connection with its endpoint.
struct Pair {
    client: Stream,
    pinned: Pinned,
    upstream: Arc<Upstream>,
    pace: Pace,
    /// Whether the kernel is to carry it.
    by_kernel: bool,
    /// Bytes that the endpoint was given already.
    received: u64,
    /// What middlewares and the service count.
    _counted: Vec<Counted>,
    _open_at_service: OpenGuard,
}

impl Session {
    pub(super) fn new(client: Client, taken: Taken) -> Self {
        Self { client, taken }
    }

    /// Serves the client for as long as it stays.
    pub(super) async fn serve(self, worker: Rc<Worker>) {
        let began = Instant::now();
        let (entry_point, peer) = (self.client.entry_point.clone(), self.client.peer);
        let route = self.taken.route.clone();
        let server_name =
            self.taken.hello.as_ref().map_or_else(String::new, |hello| hello.server_name.clone());
        let _open = entry_point.scope.open();
        let mut course = Course::default();
        let Client { tcp, told_to, counted: _counted, .. } = self.client;
        let name = &entry_point.settings.name;
        // What comes before the first byte is on the heap only for as long as it takes.
        let begun =
            Box::pin(begin(tcp, (peer, told_to), self.taken, &entry_point, &mut course.upstream, &worker))
                .await;
        let why = match begun {
            Ok(Some(pair)) => course.run(pair, &entry_point, &worker).await,
            Ok(None) => Why::Passed(End::ClientReset),
            Err(reason) => {
                worker.metrics.refused(name, reason);
                tracing::debug!(
                    reason = reason.as_str(), router = route.router.name, client = %peer, "connection closed"
                );
                Why::Refused(reason)
            }
        };
        let ended = Ended {
            protocol: Protocol::Tcp,
            entry_point: &entry_point.scope,
            observability: entry_point.settings.observability,
            client: peer,
            tls: course.tls,
            server_name: &server_name,
            router: Some(&route.router.name),
            service: course.upstream.as_ref().map(|upstream| &*upstream.scope),
            target: course.target.as_deref(),
            received: course.received,
            sent: course.sent,
            took: began.elapsed(),
            why,
        };
        ended.note(&worker);
    }
}

/// What became of a connection.
#[derive(Default)]
struct Course {
    upstream: Option<Arc<Upstream>>,
    target: Option<Arc<Target>>,
    tls: Option<Agreed>,
    received: u64,
    sent: u64,
}

impl Course {
    /// Passes on what both sides say, until they are done. Gives why that ended.
    async fn run(&mut self, pair: Pair, entry_point: &EntryPoint, worker: &Worker) -> Why {
        let scope = pair.upstream.scope.clone();
        self.tls = worker.is_logging().then(|| pair.client.agreed()).flatten();
        let Pinned { target, endpoint, running: _running } = pair.pinned;
        self.target = Some(target);
        let name = &entry_point.settings.name;
        let relayed = pass(pair.client, endpoint, pair.by_kernel, pair.pace, name, worker).await;
        (self.received, self.sent) = (pair.received + relayed.received, relayed.sent);
        for scope in [&entry_point.scope, &*scope] {
            scope.count_bytes(self.received, self.sent);
        }
        Why::Passed(relayed.end)
    }
}

/// Everything up to the first byte that the endpoint gets. `None` is a client that left.
async fn begin(
    tcp: tokio::net::TcpStream,
    (peer, told_to): (SocketAddr, Option<SocketAddr>),
    taken: Taken,
    entry_point: &EntryPoint,
    led_to: &mut Option<Arc<Upstream>>,
    worker: &Rc<Worker>,
) -> Result<Option<Pair>, Reason> {
    let Taken { route, mut early, hello, start_tls } = taken;
    let mut counted = route.let_in(peer.ip())?;
    let mut opening = Opening { by_scheme: true, start_tls, ..Opening::default() };
    let server_name = hello.as_ref().map_or_else(String::new, |hello| hello.server_name.clone());
    let client = match (&route.tls, hello) {
        (Some(By::Options(options)), Some(hello)) => {
            // The endpoint is spoken to in the clear, unless it is to be spoken to by TLS: then in the same way.
            let secured = terminate(tcp, early, &hello, options, &entry_point.settings.name, worker).await?;
            early = worker.buffers.take();
            secured
        }
        _ => tcp.into(),
    };
    let Some(places) = route.service.next() else { return Err(Reason::NoEndpoint) };
    *led_to = Some(places.upstream.clone());
    let open = places.upstream.scope.open();
    if let Some(census) = &places.census {
        counted.push(census.count_anybody()?);
    }
    let asker = Asker::at(peer.ip());
    opening.keep_alive = places.keep_alive;
    opening.endpoint_max = places.per_endpoint_max;
    opening.introduction = places.proxy_protocol.map(|version| {
        let own = || client.with_tcp(|tcp| tcp.local_addr().ok()).flatten();
        let to = told_to.or_else(own).unwrap_or(peer);
        let (alpn, tls) = (client.alpn(), client.agreed().map(|agreed| agreed.version));
        Introduction { client: peer, to, server_name, alpn, tls }.header(version)
    });
    opening.start_tls &= route.tls == Some(By::Passthrough);
    let idle = places.idle.or(entry_point.settings.limits.tcp_idle).filter(|idle| !idle.is_zero());
    let Some(mut pinned) = meet(&client, early.is_empty(), places, asker, &opening, idle, worker).await?
    else {
        return Ok(None);
    };
    if pinned.endpoint.write_all(early.filled()).await.is_err() {
        return Err(Reason::EndpointReset);
    }
    let received = early.filled().len() as u64;
    let pace = Pace { idle, half_closed: places.termination_delay };
    let path = places.data_path.unwrap_or(worker.table().data_path);
    let by_kernel = matches!(path, DataPath::Sockmap | DataPath::Auto);
    let upstream = places.upstream.clone();
    Ok(Some(Pair {
        client,
        pinned,
        upstream,
        pace,
        by_kernel,
        received,
        _counted: counted,
        _open_at_service: open,
    }))
}

/// Finds an endpoint that stays. One that accepts, and leaves before anybody has said anything, is about to stop: the
/// client need not know, and is given to another.
async fn meet(
    client: &Stream,
    silent: bool,
    places: &Places,
    asker: Asker,
    opening: &Opening,
    idle: Option<Duration>,
    worker: &Worker,
) -> Result<Option<Pinned>, Reason> {
    let mut tried = Tried::default();
    let mut left: Option<Pinned> = None;
    loop {
        let pinned =
            match (establish(&places.upstream, asker, opening, &mut tried, worker).await, left.take()) {
                (Ok(pinned), _) => pinned,
                // Nobody else is there. What the last one did is passed on as it is.
                (Err(_), Some(last)) => return Ok(Some(last)),
                (Err(reason), None) => return Err(reason),
            };
        if !silent {
            return Ok(Some(pinned));
        }
        tokio::select! {
            biased;
            heard = pinned.endpoint.heard() => match heard {
                Ok(true) => return Ok(Some(pinned)),
                Ok(false) | Err(_) => {
                    tried.add(&pinned.target);
                    left = Some(pinned);
                }
            },
            spoken = spoken(client) => return Ok(spoken.is_ok().then_some(pinned)),
            () = sleep_until(idle.map_or(Moment::NEVER, |idle| Moment::now() + idle)) => {
                return Err(Reason::ClientIdle);
            }
        }
    }
}

/// Resolves when the client has said something, or ended.
async fn spoken(client: &Stream) -> io::Result<()> {
    if client.is_secure() {
        return client.readable().await;
    }
    // A new connection may look as if it had something to read.
    client.heard().await.map(|_| ())
}
