//! One request of an HTTP/2 connection: routed, passed on or turned away, counted and logged.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};

use super::answer::{date, edited, unless_gone};
use super::body::Incoming;
use super::client::Http2;
use super::grpc;
use super::reply::Reply;
use super::request::{self, Known, Text};
use super::websocket::{self, Handshake};
use super::{Open, Shared};
use crate::access_log::Asked;
use crate::deadline::{Moment, timeout};
use crate::http::asker::{Bound, bind};
use crate::http::body::Framing;
use crate::http::cleaning::Cleaned;
use crate::http::entry_point::earlier;
use crate::http::exchange::{Carrier, Copies, Exchange, Outcome, attempt, course};
use crate::http::head::Refused;
use crate::http::routing::{Arrived, Unrouted};
use crate::http::{Method, Reason, response};
use crate::limits::HTTP2_BODY_BEGIN;
use crate::middleware::{self, Keep, OwnAnswer, Passage};
use crate::table::{Choice, Route};

/// A request that was understood and routed.
struct Admitted {
    exchange: Exchange,
    route: Arc<Route>,
    /// Its way through the middlewares of the route, where there are any.
    passage: Option<Box<Passage>>,
}

/// Serves one request.
pub(super) async fn serve((open, request, respond): (Open, Request<RecvStream>, SendResponse<Bytes>)) {
    let shared = open.0.clone();
    let mut stream = Stream {
        reply: Reply::new(respond, shared.memory.clone()),
        started: Instant::now(),
        asked: None,
        method: Method::Other,
        grpc: grpc::is_spoken(request.headers()),
        own: None,
        shared,
    };
    let (parts, body) = request.into_parts();
    stream.serve(&parts, Incoming::new(body)).await;
}

struct Stream {
    shared: Rc<Shared>,
    reply: Reply,
    started: Instant,
    method: Method,
    /// What was asked, where there is a log.
    asked: Option<Box<Asked>>,
    /// Whether refusals are told in gRPC's way.
    grpc: bool,
    /// What the client is to be told where no endpoint answered, as middlewares left it.
    own: Option<Box<OwnAnswer>>,
}

impl Stream {
    async fn serve(&mut self, parts: &Parts, mut body: Incoming) {
        // What was taken back together with the request never reaches an endpoint.
        if self.reply.poll_gone(&mut Context::from_waker(Waker::noop())).is_ready() {
            self.taken_back();
            return self.log(499, Some(Reason::ClientGone), None);
        }
        if parts.method == http::Method::CONNECT {
            return self.connect(parts, body).await;
        }
        let mut known = body.gather();
        let unfinished = (known == Known::Begun && !body.is_begun()).then(|| self.shared.begin_unfinished());
        if unfinished.is_some() && !self.shared.allows_unfinished() {
            // One that never comes is not worth a request at an endpoint, nor is one that was broken off.
            if let Ok(Err(reason)) = timeout(HTTP2_BODY_BEGIN, body.begins()).await {
                return self.turn_away(reason, "", None);
            }
            known = body.gather();
        }
        self.route(parts, body, known).await;
        drop(unfinished);
    }

    /// Opens a tunnel, if it is one for a WebSocket (RFC 8441).
    async fn connect(&mut self, parts: &Parts, mut body: Incoming) {
        self.method = Method::Connect;
        let handshake =
            Some(parts).filter(|parts| websocket::is_asked_for(parts)).and_then(|_| Handshake::new());
        let Some(handshake) = handshake else {
            return self.turn_away(Reason::NotImplemented, "CONNECT", None);
        };
        let Admitted { mut exchange, route, passage } =
            match self.admit(parts, Known::Whole(0), Some(&handshake)) {
                Ok(admitted) => admitted,
                Err(refused) => return self.turn_away(refused.reason, refused.detail, None),
            };
        let worker = self.shared.worker.clone();
        if let Some(passage) = passage
            && self.enter(passage, &mut exchange, &route, &mut body).await.is_none()
        {
            return;
        }
        let mut client = Http2 { body: None, reply: &mut self.reply, handshake: Some(&handshake) };
        let mut outcome = if exchange.passage.is_some() {
            Box::pin(course(&mut client, &mut exchange, &mut Carrier::Pooled, &worker)).await
        } else {
            attempt(&mut client, &exchange, &mut Carrier::Pooled, &worker).await
        };
        if let Some(answer) = outcome.here.take() {
            return self.answer_own(&answer, &route);
        }
        self.own = outcome.own.take();
        drop(exchange);
        let tunnel = outcome.tunnel.take();
        self.finish(&route, &outcome);
        let Some(tunnel) = tunnel else { return };
        let upstream = outcome.upstream.clone();
        let _open = upstream.as_ref().map(|upstream| upstream.scope.open());
        let passed = websocket::pass_through(&mut body, &mut self.reply, tunnel, &worker.buffers).await;
        if passed.failure == Some(Reason::TunnelIdle) {
            self.shared.account().refused(Reason::TunnelIdle);
        }
        self.shared.entry_point.scope.count_bytes(passed.received, passed.sent);
        if let Some(upstream) = upstream {
            upstream.scope.count_bytes(passed.received, passed.sent);
        }
    }

    async fn route(&mut self, parts: &Parts, mut body: Incoming, known: Known) {
        let Admitted { mut exchange, route, passage } = match self.admit(parts, known, None) {
            Ok(admitted) => admitted,
            Err(refused) => return self.turn_away(refused.reason, refused.detail, None),
        };
        let mut received = 0;
        if let Some(passage) = passage {
            match self.enter(passage, &mut exchange, &route, &mut body).await {
                Some(gathered) => received = gathered,
                None => return,
            }
        }
        let worker = self.shared.worker.clone();
        let mut is_whole = known != Known::Begun;
        let keep = exchange.keeps();
        if let (Some(keep), false) = (&keep, is_whole) {
            let gathered = Box::pin(body.gather_up_to(keep.bytes, exchange.deadlines.request));
            match unless_gone(&mut self.reply, gathered).await {
                Ok(Ok(gathered)) => is_whole = gathered,
                Ok(Err(reason)) | Err(reason) => return self.turn_away(reason, "", None),
            }
        }
        if exchange.framing == Framing::Empty && exchange.passage.is_some() {
            // Without a body from the beginning, or another request by now.
            is_whole = true;
        } else if is_whole {
            let content = body.take_whole();
            received = content.len() as u64;
            let taken = match &keep {
                _ if received > exchange.body_bytes_max => Err(Reason::BodyTooLarge),
                Some(keep) => exchange.take_whole(&content, &framed(&content, exchange.framing), keep),
                None => {
                    exchange.head.put(&content);
                    Ok(())
                }
            };
            if let Err(reason) = taken {
                return self.turn_away(reason, "", None);
            }
        } else if keep.is_some_and(|keep| keep.is_text) {
            return self.turn_away(Reason::BodyTooLarge, "", None);
        }
        // It may wait for long, and in company.
        exchange.head.shrink();
        let _held = self.shared.memory.hold(received as usize);
        let copies = (!exchange.mirrors.is_empty()).then(|| Copies::of(&mut exchange, &worker));
        let mut client =
            Http2 { body: (!is_whole).then_some(&mut body), reply: &mut self.reply, handshake: None };
        let mut outcome = if exchange.passage.is_some() {
            Box::pin(course(&mut client, &mut exchange, &mut Carrier::Pooled, &worker)).await
        } else {
            attempt(&mut client, &exchange, &mut Carrier::Pooled, &worker).await
        };
        outcome.received += received;
        outcome.told = exchange.told.take();
        drop(exchange);
        if let Some(copies) = copies.filter(|_| outcome.failure != Some(Reason::ClientGone)) {
            copies.send(&worker);
        }
        if let Some(answer) = outcome.here.take() {
            return self.answer_own(&answer, &route);
        }
        self.own = outcome.own.take();
        if let Some(own) = &self.own {
            outcome.told = self.shared.account().told(own);
        }
        self.finish(&route, &outcome);
    }

    /// Understands the head and routes it.
    fn admit(
        &mut self,
        parts: &Parts,
        known: Known,
        handshake: Option<&Handshake>,
    ) -> Result<Admitted, Refused> {
        let (mut text, mut room) = (Text::default(), Vec::new());
        self.method = Method::parse(parts.method.as_str());
        let head = request::read(parts, known, handshake, &mut text, &mut room)?;
        let worker = &self.shared.worker;
        if let Some(log) = worker.log() {
            self.asked = Some(Box::new(log.asked(&head).by("HTTP/2.0")));
        }
        let mut cleaned = Cleaned::default();
        let (entry_point, peer) = (&self.shared.entry_point, &self.shared.peer);
        let (cleaning, settings) = (entry_point.cleaning.as_ref(), &entry_point.settings);
        let arrived = Arrived::of(&head, cleaning, settings.cleaning.sanitize_path, &mut cleaned)?;
        let table = worker.table();
        let may_ask = |host: &str, choice: &Choice| {
            self.shared.secured.as_ref().is_none_or(|secured| secured.may_ask_for(host, choice))
        };
        let route = arrived
            .route(&table, settings, peer, may_ask)
            .map_err(|Unrouted { reason, .. }| Refused { reason, detail: "" })?;
        let Arrived { head, path, .. } = &arrived;
        let limits = &self.shared.entry_point.limits;
        if matches!(head.framing, Framing::Length(length) if length > limits.body_bytes_max) {
            return Err(Refused { reason: Reason::BodyTooLarge, detail: "" });
        }
        let mut out = worker.buffers.take();
        let Some(Bound { upstream, asker, cookies, mirrors, way }) =
            bind(&route.destination, head, path, peer)
        else {
            return Err(Refused { reason: Reason::NoEndpoint, detail: "" });
        };
        let keep_host = upstream.pass_host_header;
        let host_at = crate::http::request::write(head, path, keep_host, peer, &worker.host_name, &mut out);
        let mut deadlines = limits.deadlines();
        if let Some(timeout) = self.grpc.then(|| grpc::timeout(&parts.headers)).flatten() {
            deadlines.answer = Some(earlier(Moment::now() + timeout, deadlines.answer));
        }
        let exchange = Exchange {
            method: head.method,
            framing: head.framing,
            is_http10: false,
            keep_alive: true,
            upgrade: head.upgrade,
            expects_continue: head.expects_continue,
            verbatim: false,
            deadlines,
            body_bytes_max: limits.body_bytes_max,
            head: out,
            host_at,
            upstream,
            asker,
            cookies,
            gathered: 0,
            told: worker.log().and_then(|log| log.told()),
            mirrors,
            passage: None,
        };
        let passage = Passage::along(route.chain.as_ref(), way, || {
            middleware::Draft::of(head, exchange.head.filled(), peer)
        });
        Ok(Admitted { exchange, route: route.clone(), passage })
    }

    /// Takes a request through its middlewares. Gives how many bytes of its body they have gathered, if it is to go on: one
    /// of them may have answered it, or its client may have taken it back meanwhile.
    async fn enter(
        &mut self,
        passage: Box<Passage>,
        exchange: &mut Exchange,
        route: &Route,
        body: &mut Incoming,
    ) -> Option<u64> {
        let worker = self.shared.worker.clone();
        let mut received = 0;
        let entering = Box::pin(exchange.enter(passage, self.asked.as_deref_mut(), &worker));
        let mut entered = unless_gone(&mut self.reply, entering).await;
        loop {
            match entered {
                Ok(Ok(None)) => return Some(received),
                Ok(Ok(Some(keep))) => match self.gather(&keep, exchange, body).await {
                    Ok(gathered) => received += gathered,
                    Err(reason) => {
                        self.turn_away(reason, "", None);
                        return None;
                    }
                },
                Ok(Err(answer)) => {
                    self.answer_own(&answer, route);
                    return None;
                }
                Err(reason) => {
                    self.turn_away(reason, "", None);
                    return None;
                }
            }
            let entering = Box::pin(exchange.go_further_in(self.asked.as_deref_mut(), &worker));
            entered = unless_gone(&mut self.reply, entering).await;
        }
    }

    /// Gathers the body that a middleware asks with. Gives its length, or nothing where it is longer.
    async fn gather(
        &mut self,
        keep: &Keep,
        exchange: &mut Exchange,
        body: &mut Incoming,
    ) -> Result<u64, Reason> {
        let gathered = Box::pin(body.gather_up_to(keep.bytes, exchange.deadlines.request));
        unless_gone(&mut self.reply, gathered).await??;
        if !body.is_whole_within(keep.bytes) {
            return if keep.is_text { Err(Reason::BodyTooLarge) } else { Ok(0) };
        }
        let content = body.take_whole();
        let length = content.len() as u64;
        if length > exchange.body_bytes_max {
            return Err(Reason::BodyTooLarge);
        }
        exchange.take_whole(&content, b"", keep)?;
        Ok(length)
    }

    /// Sends the answer of a middleware.
    fn answer_own(&mut self, answer: &OwnAnswer, route: &Route) {
        let sent = self.send_own(answer);
        let account = self.shared.account();
        let (bytes, asked) = (*sent.as_ref().unwrap_or(&0), self.asked.as_deref());
        account.answered_here(route, self.method, answer, bytes, asked, self.started);
        if sent.is_err() {
            self.reply.reset(h2::Reason::INTERNAL_ERROR);
        }
        self.shared.completed();
    }

    fn send_own(&mut self, answer: &OwnAnswer) -> Result<u64, Reason> {
        let mut head = edited(&answer.head)?;
        let length = answer.body.len();
        if response::may_have_length(answer.head.status) {
            head.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
        }
        let without_body = self.method == Method::Head || length == 0;
        self.reply.head(head, without_body)?;
        if !without_body {
            self.reply.data(answer.body.clone(), true)?;
        }
        Ok(length as u64)
    }

    /// Keeps account of an exchange, and answers where no endpoint did.
    fn finish(&mut self, route: &Arc<Route>, outcome: &Outcome) {
        let took = self.started.elapsed();
        let Some(status) = outcome.status else {
            let reason = outcome.failure.unwrap_or(Reason::NoEndpoint);
            let account = self.shared.account();
            account.count(route, self.method, outcome, reason.status().0, took);
            let detail = account.explain(reason, outcome);
            return self.turn_away(reason, &detail, Some((route, outcome)));
        };
        let account = self.shared.account();
        if let Some(reason) = outcome.failure {
            account.refused(reason);
        }
        account.count_answer(Some(route), self.method, status, took, (outcome.received, outcome.sent));
        account.count(route, self.method, outcome, status, took);
        self.log(status, outcome.failure, Some((route, outcome)));
        match outcome.failure {
            None => self.shared.completed(),
            Some(reason) => self.reply.reset(broken_off(reason, outcome.broken_by)),
        }
    }

    /// Answers in Portolan's own name.
    fn turn_away(&mut self, reason: Reason, detail: &str, tried: Option<(&Route, &Outcome)>) {
        self.shared.account().refused(reason);
        let (status, _) = reason.status();
        self.log(status, Some(reason), tried);
        if reason == Reason::ClientGone {
            self.reply.reset(h2::Reason::CANCEL);
            return self.taken_back();
        }
        tracing::debug!(
            reason = reason.as_str(), detail, client = %self.shared.peer.address(),
            entry_point = self.shared.entry_point.settings.name, "turned away"
        );
        let route = tried.map(|(route, _)| route);
        self.shared.account().count_answer(route, self.method, status, self.started.elapsed(), (0, 0));
        let broken_by = tried.and_then(|(_, outcome)| outcome.broken_by);
        let status = grpc::status(reason, broken_by);
        let sent =
            if self.grpc { self.refuse_grpc(reason, detail, status) } else { self.refuse(reason, detail) };
        match sent {
            Ok(bytes) => self.shared.account().entry_point.scope.count_bytes(0, bytes),
            Err(_) => self.reply.reset(h2::Reason::INTERNAL_ERROR),
        }
        self.shared.completed();
    }

    fn refuse(&mut self, reason: Reason, detail: &str) -> Result<u64, Reason> {
        if let Some(answer) = self.own.take() {
            return self.send_own(&answer);
        }
        let body = response::refusal_text(reason, detail);
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::from_u16(reason.status().0).unwrap_or(StatusCode::BAD_GATEWAY);
        let headers = head.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        headers.insert(http::header::CONTENT_LENGTH, body.len().into());
        if let Some(seconds) = reason.retry_after() {
            headers.insert(http::header::RETRY_AFTER, seconds.into());
        }
        date(headers);
        let without_body = self.method == Method::Head;
        self.reply.head(head, without_body)?;
        let bytes = body.len() as u64;
        if !without_body {
            self.reply.data(body.into(), true)?;
        }
        Ok(bytes)
    }

    /// A client of gRPC looks for the outcome in fields of its own; the HTTP status says that an answer is there.
    fn refuse_grpc(&mut self, reason: Reason, detail: &str, status: u16) -> Result<u64, Reason> {
        let mut head = Response::new(());
        let headers = head.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", status.into());
        let message = response::refusal_text(reason, detail);
        if let Ok(message) = HeaderValue::from_str(message.trim_end()) {
            headers.insert("grpc-message", message);
        }
        date(headers);
        self.reply.head(head, true)?;
        Ok(0)
    }

    fn taken_back(&self) {
        self.shared.taken_back(self.started.elapsed(), self.reply.is_begun());
    }

    fn log(&self, status: u16, reason: Option<Reason>, routed: Option<(&Route, &Outcome)>) {
        self.shared.account().log(self.asked.as_deref(), status, reason, self.started, routed);
    }
}

/// What a client is told of an answer that comes to no end (RFC 9113 §7). Most of what an endpoint says is about the
/// connection with it.
fn broken_off(reason: Reason, by: Option<h2::Reason>) -> h2::Reason {
    match by {
        Some(said @ (h2::Reason::CANCEL | h2::Reason::ENHANCE_YOUR_CALM | h2::Reason::CONNECT_ERROR)) => said,
        _ if reason.is_clients() || reason == Reason::AnswerTimeout => h2::Reason::CANCEL,
        _ => h2::Reason::INTERNAL_ERROR,
    }
}

/// Content as a body by HTTP/1.1.
fn framed(content: &[u8], framing: Framing) -> Vec<u8> {
    match framing {
        Framing::Chunked if content.is_empty() => b"0\r\n\r\n".to_vec(),
        Framing::Chunked => {
            [format!("{:x}\r\n", content.len()).as_bytes(), content, b"\r\n0\r\n\r\n"].concat()
        }
        _ => content.to_vec(),
    }
}
