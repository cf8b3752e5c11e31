//! One request and its answer: chooses an endpoint, sends, waits, sends back; and tries another endpoint where that is
//! safe.
//!
//! A request is sent again only when no byte of an answer came back, and when either no byte of it was sent (the
//! connection failed) or doing it twice is as good as once (RFC 9110 §9.2.2) and its body is still at hand.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::body::{Body, Framing};
use super::entry_point::{Deadlines, is_over, within};
use super::head::{fields, parse_request};
use super::pool::Care;
use super::{Method, Reason};
use crate::access_log::Told;
use crate::balancer::{Asker, Tried};
use crate::deadline::{Moment, timeout};
use crate::limits::{ATTEMPTS_MAX, BODY_IDLE, BUFFER_BYTES, SPLICE_BYTES_MIN};
use crate::middleware::Passage;
use crate::stream::{ReadHalf, Stream, WriteHalf};
use crate::table::{Mirror, Target, Upstream};
use crate::worker::{Buffer, Pipe, Worker};

mod again;
mod altered;
mod answer;
mod carrier;
mod cookies;
mod course;
mod gather;
mod mirror;
mod outcome;
mod pending;
mod turn;

use again::goes_on;
pub(super) use altered::FromHttp1;
pub(super) use answer::{Delivery, discard};
pub(super) use carrier::Leg;
pub(crate) use carrier::{Carrier, ConnectedBy, Pinned, connect_tcp};
pub(crate) use cookies::Cookies;
pub(super) use course::course;
pub(super) use gather::gather;
pub(super) use mirror::Copies;
pub(super) use outcome::{Answered, Failure, both, conclude};
pub(crate) use outcome::{Outcome, Tunnel};

/// A request that is ready to be sent.
pub(crate) struct Exchange {
    /// Its method.
    pub(crate) method: Method,
    /// How its body ends.
    pub(crate) framing: Framing,
    /// Whether the client speaks HTTP/1.0.
    pub(crate) is_http10: bool,
    /// Whether the client would go on with this connection.
    pub(crate) keep_alive: bool,
    /// Whether it asks for another protocol.
    pub(crate) upgrade: bool,
    /// Whether the client waits to be told to go on (`Expect: 100-continue`) before it sends the body.
    pub(crate) expects_continue: bool,
    /// Whether heads are passed on as they came.
    pub(crate) verbatim: bool,
    /// By when it and its answer must be done.
    pub(crate) deadlines: Deadlines,
    /// Bytes its body may have.
    pub(crate) body_bytes_max: u64,
    /// The head as the endpoint gets it.
    pub(crate) head: Buffer,
    /// Where the server's own host is to be put into it, unless the client's is in it.
    pub(crate) host_at: Option<usize>,
    /// Where it goes.
    pub(crate) upstream: Arc<Upstream>,
    /// Its way through middlewares, where there are any.
    pub(crate) passage: Option<Rc<Passage>>,
    /// What an endpoint there is chosen by.
    pub(crate) asker: Asker,
    /// The cookies that the answer sets besides its own.
    pub(crate) cookies: Cookies,
    /// Bytes of its body that were gathered, and stand behind the head.
    pub(crate) gathered: u64,
    /// Who else gets a copy.
    pub(crate) mirrors: Vec<Mirror>,
    /// Where the fields of its answer are noted, if there is a log of them.
    pub(crate) told: Option<Rc<Told>>,
}

impl Exchange {
    /// A request that goes to this service, and of which nothing more is to be said.
    pub(crate) fn plain(method: Method, framing: Framing, head: Buffer, upstream: Arc<Upstream>) -> Self {
        Self {
            method,
            framing,
            is_http10: false,
            keep_alive: true,
            upgrade: false,
            expects_continue: false,
            verbatim: false,
            deadlines: Deadlines::default(),
            body_bytes_max: u64::MAX,
            head,
            host_at: None,
            upstream,
            passage: None,
            asker: Asker::default(),
            cookies: Cookies::default(),
            gathered: 0,
            mirrors: Vec::new(),
            told: None,
        }
    }

    /// The last of its answer is about to leave.
    fn is_ending(&self) {
        if let Some(passage) = &self.passage {
            passage.let_go();
        }
    }

    /// Its passage, where that holds anything.
    pub(super) fn holding(&self) -> Option<Rc<Passage>> {
        self.passage.clone().filter(|passage| passage.holds())
    }

    /// Whether the other protocol that it asks for is a WebSocket.
    fn asks_for_websocket(&self) -> bool {
        let mut room = fields();
        let head = parse_request(self.head.filled(), &mut room).ok().flatten();
        head.is_some_and(|head| {
            head.fields.iter().any(|field| {
                field.name.eq_ignore_ascii_case("upgrade") && field.value.eq_ignore_ascii_case(b"websocket")
            })
        })
    }

    /// The head for this target, where that is another than for the others.
    pub(super) fn addressed_to(&self, target: &Target, worker: &Worker) -> Option<Buffer> {
        let mut rest = self.head.filled();
        if self.host_at.is_none() && target.path_prefix.is_empty() {
            return None;
        }
        let mut head = worker.buffers.take();
        let mut host_at = self.host_at;
        // A target that is no path is left as it is: `*`.
        if let Some(path_at) = memchr::memmem::find(rest, b" /").filter(|_| !target.path_prefix.is_empty()) {
            head.put(&rest[..=path_at]);
            head.put(target.path_prefix.trim_end_matches('/').as_bytes());
            rest = &rest[path_at + 1..];
            host_at = host_at.map(|at| at - path_at - 1);
        }
        if let Some(host_at) = host_at {
            let (before, after) = rest.split_at(host_at);
            head.put(before);
            if target.host.is_empty() {
                head.put(target.address.to_string().as_bytes());
            } else {
                head.put(target.host.as_bytes());
            }
            rest = after;
        }
        head.put(rest);
        Some(head)
    }
}

/// The client's side of an exchange, in whatever protocol it speaks.
pub(in crate::http) trait Client {
    /// Whether the body is at hand, whole or what is left of it being nothing: then the request can be sent again.
    fn has_whole_body(&self) -> bool;

    /// Nobody is to have what is left of the body.
    fn leave_body(&mut self);

    /// Resolves when the client waits for an answer no longer.
    async fn gone(&mut self);

    /// Sends the request over this connection and its answer back.
    async fn send(
        &mut self,
        request: &Exchange,
        leg: Leg,
        carrier: &mut Carrier<'_>,
        worker: &Worker,
    ) -> Result<Outcome, Failure>;
}

/// A client that speaks HTTP/1.
struct Http1<'a> {
    client: &'a mut Stream,
    /// What it sent behind the head.
    inbound: &'a mut Buffer,
    body: Body,
}

impl Client for Http1<'_> {
    fn has_whole_body(&self) -> bool {
        self.body.is_done()
    }

    fn leave_body(&mut self) {
        self.body = Body::new(Framing::Empty);
    }

    async fn gone(&mut self) {
        let (_, client) = self.client.split();
        client.broken_off().await;
    }

    async fn send(
        &mut self,
        request: &Exchange,
        leg: Leg,
        carrier: &mut Carrier<'_>,
        worker: &Worker,
    ) -> Result<Outcome, Failure> {
        send(self.client, self.inbound, request, &mut self.body, leg, carrier, worker).await
    }
}

/// Exchanges one request for its answer. `inbound` holds what the client sent behind the head; what is left in it
/// afterwards is the next request's.
pub(crate) async fn exchange(
    client: &mut Stream,
    inbound: &mut Buffer,
    mut request: Exchange,
    carrier: &mut Carrier<'_>,
    worker: &Worker,
) -> Outcome {
    let mut body = Body::new(request.framing);
    let received = take_inline(&mut request, &mut body, inbound);
    let mut client = Http1 { client, inbound, body };
    let mut outcome = if request.passage.is_some() {
        Box::pin(course(&mut client, &mut request, carrier, worker)).await
    } else {
        attempt(&mut client, &request, carrier, worker).await
    };
    if outcome.status.is_some() {
        outcome.received += received;
    }
    outcome.told = request.told.take();
    outcome
}

/// Sends a request to one endpoint after another, until one answers or it is not safe to go on.
pub(super) async fn attempt(
    client: &mut impl Client,
    request: &Exchange,
    carrier: &mut Carrier<'_>,
    worker: &Worker,
) -> Outcome {
    let mut upstream = request.upstream.clone();
    let mut tried = Tried::default();
    let mut last_failure = Reason::NoEndpoint;
    let (mut last_target, mut retries, mut broken_by) = (None, 0, None);
    // A connection that waited in the pool may be dead: that is no failure of its target, so it is not counted as one.
    for _ in 0..ATTEMPTS_MAX * 2 {
        let may_repeat = request.method.is_idempotent() && client.has_whole_body();
        let care = if may_repeat { Care::Usual } else { Care::Utmost };
        let mut obtained = carrier.obtain(&upstream, request, &tried, care, worker).await;
        if let Err(carrier::Unobtainable::Full(reason)) = obtained {
            let wait = pending::wait(reason, client, &mut upstream, request, carrier, &tried, care, worker);
            obtained = Box::pin(wait).await;
        }
        let leg = match obtained {
            Ok(leg) => leg,
            Err(carrier::Unobtainable::Exhausted) => break,
            Err(carrier::Unobtainable::Full(reason)) => {
                last_failure = reason;
                break;
            }
            Err(carrier::Unobtainable::Failed(target, reason)) => {
                last_failure = reason;
                // Who left meanwhile is not to be blamed.
                let left = reason == Reason::NoEndpoint;
                if !left {
                    target.counters.failures.inc();
                    target.judge.iter().for_each(|judge| judge.failed(reason.as_str()));
                }
                // Nor does it cost an attempt: what is known by now has it no more.
                if !left {
                    tried.add(&target);
                }
                last_target = Some(target);
                // One that refuses was not given anything to do, nor one that is not reached: it is not tried again soon.
                let free = left || matches!(reason, Reason::ConnectRefused | Reason::ConnectTimeout);
                if !goes_on(&mut upstream, &tried, free, worker) {
                    break;
                }
                retries += 1;
                continue;
            }
        };
        let target = leg.target.clone();
        let reused = leg.reused;
        if let Some(sticky) = &upstream.sticky {
            let is_known = request.asker.stuck == Some(target.id) && !request.asker.outdated;
            request.cookies.is_sent_to(if is_known { None } else { sticky.set(target.id) });
        }
        target.counters.requests.inc();
        last_target = Some(target.clone());
        match client.send(request, leg, carrier, worker).await {
            Ok(outcome) => {
                return Outcome { upstream: Some(upstream), target: last_target, retries, ..outcome };
            }
            Err(failure) => {
                last_failure = failure.reason;
                if failure.reason.is_clients() {
                    break;
                }
                worker.pool.forget(&target);
                worker.roads.forget_dead(&target);
                broken_by = failure.broken_by;
                // It takes it in another way, and said so.
                let otherwise = broken_by == Some(h2::Reason::HTTP_1_1_REQUIRED);
                if !reused && !otherwise {
                    if let Some(judge) = &target.judge {
                        judge.failed(last_failure.as_str());
                    }
                    target.counters.failures.inc();
                    tried.add(&target);
                }
                if !failure.may_retry || !goes_on(&mut upstream, &tried, otherwise, worker) {
                    break;
                }
                retries += 1;
            }
        }
    }
    Outcome {
        failure: Some(last_failure),
        upstream: Some(upstream),
        target: last_target,
        retries,
        broken_by,
        ..Outcome::default()
    }
}

/// Puts a body that is here already, whole, behind the head: it is sent in one piece, and can be sent again.
fn take_inline(request: &mut Exchange, body: &mut Body, inbound: &mut Buffer) -> u64 {
    let Framing::Length(length) = request.framing else { return 0 };
    let Ok(length) = usize::try_from(length) else { return 0 };
    if length > BUFFER_BYTES || inbound.filled().len() < length {
        return 0;
    }
    request.head.put(&inbound.filled()[..length]);
    inbound.consume(length);
    *body = Body::new(Framing::Empty);
    length as u64
}

/// How far a request got.
pub(super) struct Upload {
    /// Whether all of it was sent.
    pub(super) whole: Cell<bool>,
    /// Whether it can be sent again: its body, if it has one, stands behind its head.
    pub(super) is_at_hand: bool,
    /// Whether any of a body that can't be sent again was.
    pub(super) begun: Cell<bool>,
    /// Bytes of its body.
    pub(super) received: Cell<u64>,
    /// When a byte of it was sent last.
    pub(super) moved: Cell<Moment>,
    /// Whether the endpoint's machine was seen not to acknowledge it.
    pub(super) unacknowledged: Cell<bool>,
    /// Whether it is as good to send it to another endpoint then.
    may_go_elsewhere: bool,
    /// Whether the client has no reason to wait with its body.
    pub(super) invited: Cell<bool>,
    /// How long after that the head of the answer is waited for.
    pub(super) answered_within: Duration,
}

impl Upload {
    pub(super) fn new(whole: bool, request: &Exchange, target: &Target) -> Self {
        Self {
            whole: Cell::new(whole),
            is_at_hand: whole,
            begun: Cell::new(false),
            received: Cell::new(0),
            moved: Cell::new(Moment::now()),
            unacknowledged: Cell::new(false),
            may_go_elsewhere: whole && request.method.is_idempotent(),
            invited: Cell::new(!request.expects_continue),
            answered_within: target.reach.response_head,
        }
    }

    /// Whether nobody is at the other end any more, as far as TCP can tell, of what was sent there and is waited for: then
    /// another endpoint is tried.
    pub(super) fn is_lost(&self, endpoint: &ReadHalf<'_>) -> bool {
        let lost = self.may_go_elsewhere && !endpoint.is_acknowledged();
        self.unacknowledged.set(lost);
        lost
    }

    /// The client was told to go on.
    pub(super) fn invite(&self) {
        if !self.invited.replace(true) {
            self.moved.set(Moment::now());
        }
    }
}

/// Sends the request over this connection and its answer back.
async fn send(
    client: &mut Stream,
    inbound: &mut Buffer,
    request: &Exchange,
    body: &mut Body,
    mut leg: carrier::Leg,
    carrier: &mut Carrier<'_>,
    worker: &Worker,
) -> Result<Outcome, Failure> {
    let upload = Upload::new(body.is_done(), request, &leg.target);
    let delivery = answer::Delivery::of(&mut leg);
    let answered = {
        let (mut from_endpoint, mut to_endpoint) = leg.endpoint.split();
        let (mut from_client, mut to_client) = client.split();
        let addressed = request.addressed_to(&leg.target, worker);
        let head = addressed.as_ref().unwrap_or(&request.head);
        let written = timeout(BODY_IDLE, to_endpoint.write_all(head.filled())).await;
        drop(addressed);
        // A failed write is not yet the end: the endpoint may have answered before it stopped reading.
        let mut pumping = !upload.whole.get() && matches!(written, Ok(Ok(())));
        let mut pump =
            pin!(pump(&mut from_client, inbound, body, &mut to_endpoint, request, &upload, worker));
        let mut answer =
            pin!(answer::answer(&mut from_endpoint, &mut to_client, request, &upload, &delivery, worker));
        let answered = both(answer.as_mut(), pump.as_mut(), &mut pumping).await;
        // The client was not told to stop, and the endpoint may read on.
        if request.verbatim && pumping && answered.as_ref().is_ok_and(|answered| answered.keep_alive) {
            let _ = pump.as_mut().await;
        }
        answered
    };
    if answered.is_err() && delivery.begun.get() && delivery.ends_with_connection.get() {
        // The end of the connection would be taken for the end of the answer.
        client.break_off();
    }
    conclude(answered, request, leg, carrier, (&upload, delivery), worker)
}

pub(super) enum PumpError {
    /// The client can't go on, or must not.
    Client(Reason),
    /// The endpoint takes no more.
    Endpoint,
}

/// Passes the request's body on as it comes. Whenever it is given up, what `inbound` holds was not sent.
async fn pump(
    client: &mut ReadHalf<'_>,
    inbound: &mut Buffer,
    body: &mut Body,
    endpoint: &mut WriteHalf<'_>,
    request: &Exchange,
    upload: &Upload,
    worker: &Worker,
) -> Result<(), PumpError> {
    let mut content = 0_u64;
    while !body.is_done() {
        // Much was there, and more is to come: the kernel moves it.
        if inbound.is_empty()
            && inbound.is_crowded()
            && body.ahead() >= SPLICE_BYTES_MIN
            && content.saturating_add(body.ahead()) <= request.body_bytes_max
            && let (Some(from), Some(to)) = (client.in_the_clear(), endpoint.in_the_clear())
            && let Some(pipe) = worker.pipes.take()
        {
            content += pump_unseen(from, to, pipe, body, request, upload).await?;
            inbound.clear();
            continue;
        }
        if inbound.is_empty() {
            let limit = within(BODY_IDLE, request.deadlines.request);
            match timeout(limit, inbound.read_bulk_from(client)).await {
                Ok(Ok(1..)) => upload.invited.set(true),
                Ok(Ok(0) | Err(_)) => return Err(PumpError::Client(Reason::ClientGone)),
                Err(_) if is_over(request.deadlines.request) => {
                    return Err(PumpError::Client(Reason::RequestTimeout));
                }
                // It is the endpoint that is waited for, or was until just now.
                Err(_) if !upload.invited.get() || Moment::now() < upload.moved.get() + BODY_IDLE => continue,
                Err(_) => return Err(PumpError::Client(Reason::BodyIdle)),
            }
        }
        let scanned = body
            .scan_payload(inbound.filled(), |piece| content += piece.len() as u64)
            .map_err(|_| PumpError::Client(Reason::BadRequest))?;
        if content > request.body_bytes_max {
            return Err(PumpError::Client(Reason::BodyTooLarge));
        }
        upload.begun.set(true);
        let mut left = scanned.length;
        while left > 0 {
            match timeout(BODY_IDLE, endpoint.write(&inbound.filled()[..left])).await {
                Ok(Ok(count @ 1..)) => {
                    inbound.consume(count);
                    left -= count;
                    upload.received.set(upload.received.get() + count as u64);
                    upload.moved.set(Moment::now());
                }
                Ok(Ok(0) | Err(_)) | Err(_) => return Err(PumpError::Endpoint),
            }
        }
    }
    // Not when its end was seen, but when that was sent: what is behind it is the next request only then.
    upload.whole.set(true);
    Ok(())
}

/// Passes on what is ahead of the body without looking at it, for as long as much comes at a time. Gives how much it was.
async fn pump_unseen(
    client: &TcpStream,
    endpoint: &TcpStream,
    mut pipe: Pipe<'_>,
    body: &mut Body,
    request: &Exchange,
    upload: &Upload,
) -> Result<u64, PumpError> {
    let before = upload.received.get();
    while body.ahead() > 0 {
        let limit = within(BODY_IDLE, request.deadlines.request);
        let count = match timeout(limit, pipe.fill(client, body.ahead())).await {
            Ok(Ok(count @ 1..)) => count,
            Ok(Ok(0) | Err(_)) => return Err(PumpError::Client(Reason::ClientGone)),
            Err(_) if is_over(request.deadlines.request) => {
                return Err(PumpError::Client(Reason::RequestTimeout));
            }
            Err(_) => return Err(PumpError::Client(Reason::BodyIdle)),
        };
        upload.invited.set(true);
        upload.begun.set(true);
        body.pass_over(count as u64);
        while pipe.held() > 0 {
            match timeout(BODY_IDLE, pipe.drain(endpoint)).await {
                Ok(Ok(count @ 1..)) => {
                    upload.received.set(upload.received.get() + count as u64);
                    upload.moved.set(Moment::now());
                }
                Ok(Ok(0) | Err(_)) | Err(_) => return Err(PumpError::Endpoint),
            }
        }
        if count < BUFFER_BYTES {
            break;
        }
    }
    Ok(upload.received.get() - before)
}

#[cfg(test)]
mod half_sent;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod timing;
