//! One client connection to an entry point: waits for requests, routes each, and answers what can't be passed on.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Instant;

use tokio::io::AsyncWriteExt;

use super::account::Account;
use super::arrive::speaks_http2;
use super::asker::{Bound, bind};
use super::body::Framing;
use super::cleaning::Cleaned;
use super::entry_point::EntryPoint;
use super::exchange::{Carrier, Copies, Exchange, Outcome, Tunnel, exchange};
use super::head::{Refused, fields, parse_request_within};
use super::peer::Peer;
use super::response::{self, Manner};
use super::routing::{Arrived, Unrouted};
use super::{Method, Reason, handshake, http2, request};
use crate::access_log::Asked;
use crate::census::Counted;
use crate::deadline::{Moment, Wait, timeout, timeout_at};
use crate::limits::{BODY_IDLE, DRAIN_FIRST_REQUEST, LINGER, PARK_AFTER, TUNNEL_IDLE_TIMEOUT};
use crate::metrics::{OpenGuard, Version};
use crate::middleware::{self, Passage};
use crate::stream::Stream;
use crate::table::{Choice, Route, Upstream};
use crate::worker::{self, Buffer, Buffers, End, Pace, Worker, relay};

mod enter;
mod turned;
mod waiting;

use enter::{Entered, take_body};
use turned::Turned;
pub(crate) use waiting::Waiting;

/// Serves a client for as long as it stays.
pub(crate) fn serve(
    client: Stream,
    peer: SocketAddr,
    entry_point: Rc<EntryPoint>,
    worker: Rc<Worker>,
    counted: Option<Counted>,
) -> impl Future<Output = ()> {
    begin(client, peer, entry_point, worker, counted).go_on()
}

/// The same for a client that has spoken: its first bytes are in `inbound`.
pub(crate) async fn serve_begun(
    client: Stream,
    mut inbound: Buffer,
    peer: SocketAddr,
    entry_point: Rc<EntryPoint>,
    worker: Rc<Worker>,
    counted: Option<Counted>,
) {
    let mut connection = begin(client, peer, entry_point, worker, counted);
    while let Some((next, rest)) = connection.serve(inbound).await {
        let Some(more) = rest else { return next.go_on().await };
        (connection, inbound) = (next, more);
    }
}

fn begin(
    client: Stream,
    peer: SocketAddr,
    entry_point: Rc<EntryPoint>,
    worker: Rc<Worker>,
    counted: Option<Counted>,
) -> Box<Connection> {
    let peer = Peer::new(peer, client.is_secure(), &entry_point.settings.forwarded);
    let since = if entry_point.limits.age_max.is_some() { Moment::now() } else { Moment::NEVER };
    let (open, requests) = (entry_point.scope.open(), 0);
    let history =
        History { peer, entry_point, requests, since, secured: None, _open: open, _counted: counted };
    Box::new(Connection { client, history, worker })
}

/// What requests are served in.
pub(crate) type Seats = worker::Seats<(Box<Connection>, Buffer), Served>;
/// The connection, where it goes on by HTTP/1, with what the client sent of the next request.
type Served = Option<(Box<Connection>, Option<Buffer>)>;

pub(crate) struct Connection {
    client: Stream,
    history: History,
    worker: Rc<Worker>,
}

/// What is known of a connection between its requests.
#[derive(Debug)]
pub(crate) struct History {
    peer: Peer,
    entry_point: Rc<EntryPoint>,
    /// How many requests came.
    requests: u32,
    /// When it was opened; never, where that does not matter.
    since: Moment,
    /// By what it is safe, unless it is in the clear.
    secured: Option<Box<handshake::Secured>>,
    _open: OpenGuard,
    _counted: Option<Counted>,
}

impl Deref for Connection {
    type Target = History;

    fn deref(&self) -> &History {
        &self.history
    }
}

/// How a wait ended.
enum Waited {
    Spoke(Buffer),
    /// There is nothing more to wait for.
    Ended,
    /// Nothing came for a while; it may be waited for until then.
    Silent(Moment),
}

/// A request that was understood and routed.
struct Admitted {
    exchange: Exchange,
    route: Arc<Route>,
    asked: Option<Box<Asked>>,
    /// Its way through the middlewares of the route, where there are any.
    passage: Option<Box<Passage>>,
}

impl Connection {
    /// Serves the client until it leaves, or has nothing to say for a while.
    async fn go_on(mut self: Box<Self>) {
        let mut rest = None;
        loop {
            let inbound = match self.wait_for_bytes(rest.take()).await {
                Waited::Spoke(inbound) => inbound,
                Waited::Ended => break,
                Waited::Silent(until) => return (*self).park(until),
            };
            match self.serve(inbound).await {
                Some(next) => (self, rest) = next,
                None => return,
            }
        }
        handshake::part(&mut self.client).await;
    }

    /// Makes of the client's first bytes, or the next, what they are.
    async fn take_up(mut self: Box<Self>, mut inbound: Buffer) -> Served {
        if self.begins_tls(&inbound) {
            return Box::pin(self.secure(inbound)).await.map(|secured| (secured, None));
        }
        let limit = self.entry_point.limits.head;
        if self.requests == 0 && speaks_http2(&mut self.client, &mut inbound, limit).await {
            Box::pin(self.serve_http2(inbound)).await;
            return None;
        }
        if let Some(rest) = self.serve_one(inbound).await {
            return Some((self, rest));
        }
        handshake::part(&mut self.client).await;
        None
    }

    /// The same in a seat, for as long as it takes: an idle connection keeps what waiting takes, and nothing else.
    async fn serve(self: Box<Self>, inbound: Buffer) -> Served {
        let worker = self.worker.clone();
        worker.seats.serve((self, inbound), |(connection, inbound)| connection.take_up(inbound)).await
    }

    fn begins_tls(&self, first: &Buffer) -> bool {
        self.requests == 0 && self.client.is_in_the_clear() && handshake::begins_handshake(first.filled())
    }

    /// Goes on by TLS. `None` is a handshake that failed.
    async fn secure(self: Box<Self>, first: Buffer) -> Option<Box<Self>> {
        let Self { client, history, worker } = *self;
        let client = client.into_tcp()?;
        let address = history.peer.address();
        let (client, secured) =
            handshake::secure(client, first, address, &history.entry_point, &worker).await?;
        let peer =
            Peer::new(address, true, &history.entry_point.settings.forwarded).showing(secured.client_chain());
        let history = History { peer, secured: Some(Box::new(secured)), ..history };
        Some(Box::new(Self { client, history, worker }))
    }

    /// Goes on by HTTP/2, until the client leaves.
    async fn serve_http2(self: Box<Self>, inbound: Buffer) {
        let Self { client, history, worker } = *self;
        let History { peer, entry_point, secured, _open, _counted, .. } = history;
        http2::serve(client, inbound, http2::Party { peer, secured, entry_point, worker }).await;
    }

    /// Serves one request. `None` ends the connection; otherwise it gives what the client sent of the next one.
    async fn serve_one(&mut self, mut inbound: Buffer) -> Option<Option<Buffer>> {
        let started = Instant::now();
        self.history.requests = self.requests.saturating_add(1);
        let go_on = match self.read_head(&mut inbound).await {
            Ok(None) => false,
            Ok(Some(admitted)) => self.pass_on(admitted, &mut inbound, started).await,
            Err(turned) => self.turn_away(&turned, started, None).await,
        };
        go_on.then(|| Some(inbound).filter(|inbound| !inbound.is_empty()))
    }

    /// Has a request answered by an endpoint. Gives whether the connection can take another one.
    async fn pass_on(&mut self, admitted: Admitted, inbound: &mut Buffer, started: Instant) -> bool {
        let Admitted { exchange: mut request, route, asked, passage } = admitted;
        let mut turned = Turned {
            reason: Reason::NoEndpoint,
            detail: String::new(),
            method: request.method,
            is_http10: request.is_http10,
            keep_alive: request.keep_alive && request.framing == Framing::Empty,
            asked,
            own: None,
        };
        let method = request.method;
        let mut entered = Entered::default();
        if passage.is_some() || !request.mirrors.is_empty() {
            let result = match passage {
                Some(passage) => {
                    Box::pin(self.enter(passage, &mut request, inbound, turned.asked.as_deref_mut())).await
                }
                None => Box::pin(self.gather(&mut request, inbound)).await,
            };
            entered = match result {
                Ok(entered) => entered,
                Err(answer) => {
                    turned.keep_alive |= request.keep_alive && take_body(request.framing, inbound);
                    // What it holds is free before its client can ask again.
                    drop(request);
                    return self.answer_own(&answer, &turned, started, &route).await;
                }
            };
        }
        let copies = (!request.mirrors.is_empty()).then(|| Copies::of(&mut request, &self.worker));
        let mut outcome =
            exchange(&mut self.client, inbound, request, &mut Carrier::Pooled, &self.worker).await;
        if let Some(copies) = copies.filter(|_| outcome.failure != Some(Reason::ClientGone)) {
            copies.send(&self.worker);
        }
        outcome.received += entered.received;
        outcome.still_sending |= entered.is_body_left;
        if let Some(answer) = outcome.here.take() {
            return self.answer_own(&answer, &turned, started, &route).await;
        }
        if let (Some(reason), None) = (outcome.failure, outcome.status) {
            tracing::debug!(
                reason = reason.as_str(), router = route.router.name, service = outcome.service(), client = %self.peer.address(),
                "no endpoint answered"
            );
            turned.reason = reason;
            turned.detail = self.account().explain(reason, &outcome);
            turned.own = outcome.own.take();
            if let Some(own) = &turned.own {
                outcome.told = self.account().told(own);
            }
            let go_on = self.turn_away(&turned, started, Some((&route, &outcome))).await;
            self.account().count(&route, method, &outcome, reason.status().0, started.elapsed());
            return go_on;
        }
        if let Some(reason) = outcome.failure {
            self.account().refused(reason);
        }
        let (status, took) = (outcome.status.unwrap_or(0), started.elapsed());
        let account = self.account();
        account.count_answer(Some(&route), method, status, took, (outcome.received, outcome.sent));
        account.count(&route, method, &outcome, status, took);
        account.log(turned.asked.as_deref(), status, outcome.failure, started, Some((&route, &outcome)));
        if let Some(tunnel) = outcome.tunnel.take() {
            self.pass_through(tunnel, inbound, outcome.upstream.as_deref()).await;
        } else if outcome.still_sending && outcome.failure.is_none() {
            linger(&mut self.client, &self.worker.buffers).await;
        }
        outcome.keep_alive
    }

    /// Waits for the first bytes of a request, holding no buffer meanwhile.
    async fn wait_for_bytes(&mut self, rest: Option<Buffer>) -> Waited {
        if let Some(rest) = rest {
            return Waited::Spoke(rest);
        }
        if self.requests > 0 {
            // What an endpoint has said unasked meanwhile must be known before a request comes that could be taken for its
            // answer: the kernel tells of both, in their order.
            self.client.watch();
        }
        let until = Moment::now() + self.entry_point.limits.idle;
        // What has not spoken yet will soon, and a session is more than a socket.
        let may_park = self.requests > 0 && self.client.is_in_the_clear();
        let mut wait = Wait::until(if may_park { until.min(Moment::now() + PARK_AFTER) } else { until });
        poll_fn(|context| {
            let mut inbound = self.worker.buffers.take();
            match inbound.poll_read_from(&mut self.client, context) {
                Poll::Ready(Ok(1..)) => return Poll::Ready(Waited::Spoke(inbound)),
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Waited::Ended),
                Poll::Pending => {}
            }
            if self.worker.is_draining() {
                // Nothing more is to be expected. But whoever connected before is given the time to send a first
                // request: it was promised to be served.
                if self.requests > 0 {
                    return Poll::Ready(Waited::Ended);
                }
                wait.at_most_until(Moment::now() + DRAIN_FIRST_REQUEST);
            }
            ready!(wait.poll(context));
            if may_park && until > Moment::now() {
                return Poll::Ready(Waited::Silent(until));
            }
            if !self.worker.is_draining() {
                self.worker.metrics.refused(&self.entry_point.settings.name, Reason::ClientIdle);
            }
            Poll::Ready(Waited::Ended)
        })
        .await
    }

    /// Reads until the head is whole, and routes it. `None` is a client that left between requests.
    async fn read_head(&mut self, inbound: &mut Buffer) -> Result<Option<Admitted>, Turned> {
        let deadline = Moment::now() + self.entry_point.limits.head;
        let mut fresh = 0;
        loop {
            skip_empty_lines(inbound);
            // A head ends with a line: without a new one there is nothing new to understand.
            let news = &inbound.filled()[fresh.min(inbound.filled().len())..];
            if (memchr::memchr(b'\n', news).is_some()
                || inbound.filled().len() >= self.entry_point.limits.head_bytes_max)
                && let Some((length, admitted)) = self.admit(inbound.filled())?
            {
                inbound.consume(length);
                return admitted.map(Some);
            }
            fresh = inbound.filled().len();
            match timeout_at(deadline, inbound.read_from(&mut self.client)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) if inbound.is_empty() => return Ok(None),
                Ok(Ok(0) | Err(_)) => return Err(Turned::unread(Reason::ClientGone, "")),
                Err(_) => return Err(Turned::unread(Reason::HeadTimeout, "")),
            }
        }
    }

    /// Understands a head and routes it, if it is whole. With its length, which is taken either way.
    #[allow(clippy::type_complexity)] // a named type would be used here alone
    fn admit(&self, bytes: &[u8]) -> Result<Option<(usize, Result<Admitted, Turned>)>, Turned> {
        let mut room = fields();
        let limits = &self.entry_point.limits;
        let head = match parse_request_within(limits.head_bytes_max, bytes, &mut room) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(None),
            Err(Refused { reason, detail }) => return Err(Turned::unread(reason, detail)),
        };
        let asked = self.worker.log().map(|log| Box::new(log.asked(&head)));
        let mut cleaned = Cleaned::default();
        let (cleaning, settings) = (self.entry_point.cleaning.as_ref(), &self.entry_point.settings);
        let arrived = match Arrived::of(&head, cleaning, settings.cleaning.sanitize_path, &mut cleaned) {
            Ok(arrived) => arrived,
            Err(Refused { reason, .. }) => {
                return Ok(Some((head.length, Err(Turned::unrouted(reason, &head, asked)))));
            }
        };
        let table = self.worker.table();
        let may_ask = |host: &str, choice: &Choice| {
            self.secured.as_ref().is_none_or(|secured| secured.may_ask_for(host, choice))
        };
        let routed = arrived.route(&table, settings, &self.peer, may_ask);
        let Arrived { head, path, .. } = &arrived;
        let route = match routed {
            Ok(route) => route,
            Err(Unrouted { reason, .. }) => {
                return Ok(Some((head.length, Err(Turned::unrouted(reason, head, asked)))));
            }
        };
        if matches!(head.framing, Framing::Length(length) if length > limits.body_bytes_max) {
            let turned = Turned::unrouted(Reason::BodyTooLarge, head, asked);
            return Ok(Some((head.length, Err(turned))));
        }
        let mut out = self.worker.buffers.take();
        let Some(Bound { upstream, asker, cookies, mirrors, way }) =
            bind(&route.destination, head, path, &self.peer)
        else {
            let turned = Turned::unrouted(Reason::NoEndpoint, head, asked);
            return Ok(Some((head.length, Err(turned))));
        };
        let keep_host = upstream.pass_host_header;
        let host_at = request::write(head, path, keep_host, &self.peer, &self.worker.host_name, &mut out);
        let exchange = Exchange {
            method: head.method,
            framing: head.framing,
            is_http10: head.is_http10,
            keep_alive: head.keep_alive && !self.is_spent(),
            upgrade: head.upgrade,
            expects_continue: head.expects_continue,
            verbatim: false,
            deadlines: limits.deadlines(),
            body_bytes_max: limits.body_bytes_max,
            head: out,
            host_at,
            upstream,
            asker,
            cookies,
            gathered: 0,
            told: self.worker.log().and_then(|log| log.told()),
            mirrors,
            passage: None,
        };
        let passage = Passage::along(route.chain.as_ref(), way, || {
            middleware::Draft::of(head, exchange.head.filled(), &self.peer)
        });
        Ok(Some((head.length, Ok(Admitted { exchange, route: route.clone(), asked, passage }))))
    }

    /// Whether this is the last request that the connection takes.
    fn is_spent(&self) -> bool {
        let limits = &self.entry_point.limits;
        let too_old = || limits.age_max.is_some_and(|max| self.since + max <= Moment::now());
        self.requests >= limits.requests_max || too_old()
    }

    /// Sends an answer of Portolan's own. Gives whether the connection can take another request.
    async fn turn_away(
        &mut self,
        turned: &Turned,
        started: Instant,
        tried: Option<(&Route, &Outcome)>,
    ) -> bool {
        self.account().refused(turned.reason);
        let (status, _) = turned.reason.status();
        self.account().log(turned.asked.as_deref(), status, Some(turned.reason), started, tried);
        if turned.reason == Reason::ClientGone {
            return false;
        }
        tracing::debug!(
            reason = turned.reason.as_str(), detail = turned.detail, client = %self.peer.address(),
            entry_point = self.entry_point.settings.name, "turned away"
        );
        let route = tried.map(|(route, _)| route);
        self.account().count_answer(route, turned.method, status, started.elapsed(), (0, 0));
        // After a failure on the way nobody can tell how much of the request was read.
        let understood = matches!(
            turned.reason,
            Reason::NoRoute | Reason::NotReady | Reason::NoEndpoint | Reason::Misdirected
        ) || turned.reason.is_overload();
        let keep_alive = turned.keep_alive && understood && !self.is_spent() && !self.worker.is_leaving();
        let mut out = self.worker.buffers.take();
        let manner = Manner { close: !keep_alive, is_http10: turned.is_http10 };
        let with_body = turned.method != Method::Head;
        match &turned.own {
            None => response::write_refusal(turned.reason, &turned.detail, manner, with_body, &mut out),
            Some(answer) => response::write_own(answer, manner, with_body, &mut out),
        }
        let written = timeout(BODY_IDLE, self.client.write_all(out.filled())).await;
        self.entry_point.scope.count_bytes(0, out.filled().len() as u64);
        if !keep_alive {
            linger(&mut self.client, &self.worker.buffers).await;
        }
        keep_alive && matches!(written, Ok(Ok(())))
    }

    fn account(&self) -> Account<'_> {
        Account {
            entry_point: &self.entry_point,
            peer: self.peer.address(),
            agreed: self.worker.is_logging().then(|| self.client.agreed()).flatten(),
            version: Version::Http1,
            worker: &self.worker,
        }
    }

    /// Goes on as a tunnel, until both sides are done.
    async fn pass_through(&mut self, tunnel: Tunnel, inbound: &mut Buffer, upstream: Option<&Upstream>) {
        let Tunnel { mut endpoint, early, running: _running, held: _held } = tunnel;
        let _open = upstream.map(|upstream| upstream.scope.open());
        if self.client.write_all(early.filled()).await.is_err()
            || endpoint.write_all(inbound.filled()).await.is_err()
        {
            return;
        }
        drop(early);
        inbound.clear();
        let pace = Pace { idle: Some(TUNNEL_IDLE_TIMEOUT), half_closed: None };
        let relayed = relay(&mut self.client, &mut endpoint, pace, &self.worker).await;
        if matches!(relayed.end, End::Idle | End::HalfClosed) {
            self.worker.metrics.refused(&self.entry_point.settings.name, Reason::TunnelIdle);
        }
        self.entry_point.scope.count_bytes(relayed.received, relayed.sent);
        if let Some(upstream) = upstream {
            upstream.scope.count_bytes(relayed.received, relayed.sent);
        }
    }
}

/// Empty lines before a request line are passed over (RFC 9112 §2.2).
fn skip_empty_lines(inbound: &mut Buffer) {
    while inbound.filled().starts_with(b"\r\n") {
        inbound.consume(2);
    }
}

/// Reads and drops what the client still sends, for a moment: closing a socket with unread bytes resets it, and the
/// reset can overtake the answer (RFC 9112 §9.6).
pub(crate) async fn linger(client: &mut Stream, buffers: &Rc<Buffers>) {
    let _ = client.shutdown().await;
    let deadline = Moment::now() + LINGER;
    let mut scrap = buffers.take();
    while let Ok(Ok(1..)) = timeout_at(deadline, scrap.read_from(client)).await {
        scrap.clear();
    }
}

#[cfg(test)]
mod reasons;
#[cfg(test)]
mod timing;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_waits_keeps_little() {
        let (worker, _drain) = Worker::alone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let peer = client.local_addr().unwrap();
        let entry_point = Rc::new(EntryPoint::alone(&worker));
        let bytes = size_of_val(&serve(client.into(), peer, entry_point, worker, None));
        let whole = bytes + size_of::<Connection>();
        assert!(whole <= 528, "{bytes} of {whole} bytes");
    }
}
