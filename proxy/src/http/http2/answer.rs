//! Reads the answer of an endpoint that speaks HTTP/1.1, and passes it on to a client that speaks HTTP/2.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::header::{DATE, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SET_COOKIE};
use http::{HeaderMap, Response, StatusCode};

use super::altered::ToHttp2;
use super::reply::Reply;
use super::websocket::Handshake;
use crate::deadline::{Moment, timeout_at};
use crate::http::altered::{self, Passed};
use crate::http::body::{Body, Framing};
use crate::http::entry_point::{earlier, is_over};
use crate::http::exchange::{Answered, Delivery, Exchange, FromHttp1, Upload, discard};
use crate::http::head::{ResponseHead, fields, parse_response};
use crate::http::{Reason, date, response, trailers};
use crate::limits::{ACKNOWLEDGED_WITHIN, TUNNEL_IDLE_TIMEOUT};
use crate::middleware::{Alteration, AnswerHead, Arrival, FieldList, Verdict};
use crate::stream::ReadHalf;
use crate::worker::{Buffer, Worker};

/// What matters of a head once it is translated.
struct Head {
    length: usize,
    status: u16,
    framing: Framing,
    reusable: bool,
    response: Response<()>,
    /// What middlewares have to say to it, besides the head.
    verdict: Option<Course>,
}

/// What middlewares have to say to an answer besides its head.
enum Course {
    /// Its body changes on the way.
    Altered(AnswerHead, Box<Alteration>),
    /// They want something else.
    Withheld(Box<Verdict>),
}

/// Passes the answer on. Bytes of the body are sent as they come; nothing waits for more.
pub(super) async fn answer(
    endpoint: &mut ReadHalf<'_>,
    reply: &mut Reply,
    request: &Exchange,
    upload: &Upload,
    delivery: &Delivery,
    handshake: Option<&Handshake>,
    worker: &Worker,
) -> Result<Answered, Reason> {
    let mut input = worker.buffers.take();
    let head = loop {
        let head = read_head(endpoint, reply, &mut input, request, upload).await?;
        input.consume(head.length);
        if head.status >= 200 || head.status == 101 {
            break head;
        }
        delivery.begun.set(true);
        reply.interim(head.response)?;
        if head.status == 100 {
            upload.invite();
        }
    };
    if let Some(handshake) = handshake {
        match head.status {
            101 if is_accepted(&head.response, handshake) => {
                let mut response = head.response;
                *response.status_mut() = StatusCode::OK;
                response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
                delivery.begun.set(true);
                delivery.head_came(200);
                reply.head(response, false)?;
                return Ok(Answered::tunnel(input));
            }
            // Over HTTP/2, either would say that the tunnel is there.
            101 | 200..300 => return Err(Reason::BadResponse),
            _ => {}
        }
    }
    match head.verdict {
        None => {}
        Some(Course::Withheld(verdict)) => {
            let reusable = discard(endpoint, &mut input, head.framing).await && head.reusable;
            return Ok(Answered { keep_alive: true, reusable, tunnel: None, withheld: Some(verdict) });
        }
        Some(Course::Altered(written, alteration)) => {
            let mut source = FromHttp1::new(endpoint, &mut input, head.framing);
            let mut sink = ToHttp2 { reply, delivery, limit: request.deadlines.answer };
            let is_stream = !matches!(head.framing, Framing::Length(_));
            let passed = altered::pass(&mut source, &mut sink, written, alteration, is_stream).await?;
            let too_large =
                (passed == Passed::TooLarge).then(|| Box::new(Verdict::Refuse(Reason::AnswerTooLarge)));
            let reusable = head.reusable && input.is_empty() && too_large.is_none();
            return Ok(Answered { keep_alive: true, reusable, tunnel: None, withheld: too_large });
        }
    }
    delivery.begun.set(true);
    delivery.head_came(head.status);
    let ends = head.framing == Framing::Empty && !endpoint.may_say_more();
    reply.head(head.response, ends)?;
    if !ends {
        pass_body(endpoint, reply, &mut input, head.framing, request.deadlines.answer, delivery).await?;
    }
    let reusable = head.reusable && input.is_empty();
    Ok(Answered { keep_alive: true, reusable, tunnel: None, withheld: None })
}

fn is_accepted(response: &Response<()>, handshake: &Handshake) -> bool {
    response
        .headers()
        .get(SEC_WEBSOCKET_ACCEPT)
        .is_some_and(|accept| accept.as_bytes() == handshake.accept.as_bytes())
}

/// Waits for `work`, unless the client loses interest first.
pub(super) async fn unless_gone<T>(reply: &mut Reply, work: impl Future<Output = T>) -> Result<T, Reason> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => reply.poll_gone(context).map(|()| Err(Reason::ClientGone)),
    })
    .await
}

async fn read_head(
    endpoint: &mut ReadHalf<'_>,
    reply: &mut Reply,
    input: &mut Buffer,
    request: &Exchange,
    upload: &Upload,
) -> Result<Head, Reason> {
    let mut looked = false;
    loop {
        if !input.is_empty()
            && let Some(head) = translate(input.filled(), request, upload)?
        {
            return Ok(head);
        }
        let moved = upload.moved.get();
        let last = moved + upload.answered_within;
        let deadline = if looked { last } else { last.min(moved + ACKNOWLEDGED_WITHIN) };
        let limit = request.deadlines.answer;
        match unless_gone(
            reply,
            timeout_at(earlier(deadline, limit), input.read_sparingly_from(endpoint, reply.appetite())),
        )
        .await?
        {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) if input.is_empty() => return Err(Reason::EndpointReset),
            Ok(Ok(0) | Err(_)) => return Err(Reason::BadResponse),
            Err(_) if is_over(limit) => return Err(Reason::AnswerTimeout),
            // A slow request that makes progress is waited for.
            Err(_) if upload.moved.get() > moved => {}
            Err(_) if !looked && input.is_empty() && upload.is_lost(endpoint) => {
                return Err(Reason::EndpointReset);
            }
            Err(_) if !looked && deadline < last => looked = true,
            Err(_) => return Err(Reason::ResponseTimeout),
        }
    }
}

fn translate(input: &[u8], request: &Exchange, upload: &Upload) -> Result<Option<Head>, Reason> {
    let mut room = fields();
    let parsed = parse_response(input, &mut room, request.method).map_err(|refused| {
        tracing::debug!(detail = refused.detail, upstream = request.upstream.name, "unreadable answer");
        refused.reason
    })?;
    let Some(head) = parsed else { return Ok(None) };
    if head.status == 101 && !(request.upgrade && upload.whole.get()) {
        return Err(Reason::BadResponse);
    }
    let is_final = head.status >= 200 || head.status == 101;
    let told = request.told.as_ref().filter(|_| is_final);
    if let Some(told) = told {
        told.came(head.fields.iter().map(|field| (field.name, field.value)));
    }
    let (status, response, verdict) = match request.passage.as_ref().filter(|_| is_final) {
        None => {
            let mut response = to_response(&head, input)?;
            if is_final {
                set_cookies(request, &mut response);
            }
            if let Some(told) = told {
                told.leaves(response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
            }
            (head.status, response, None)
        }
        Some(passage) => {
            let mut answer = to_edit(&head);
            request.cookies.each(|cookie| answer.fields.add("Set-Cookie", cookie.as_bytes()));
            let may_repeat = upload.is_at_hand;
            let arrival = Arrival { failure: None, length: head.framing.length(), may_repeat };
            let verdict = passage.go_out(&mut answer, &arrival);
            if let Some(told) = told {
                told.leaves(answer.fields.iter());
            }
            match verdict {
                Verdict::Pass(None) => (answer.status, edited(&answer)?, None),
                Verdict::Pass(Some(alteration)) => {
                    (answer.status, Response::new(()), Some(Course::Altered(answer, alteration)))
                }
                verdict => (answer.status, Response::new(()), Some(Course::Withheld(Box::new(verdict)))),
            }
        }
    };
    Ok(Some(Head {
        length: head.length,
        status,
        framing: head.framing,
        reusable: head.keep_alive && head.framing != Framing::UntilClose,
        response,
        verdict,
    }))
}

/// The head for the client. `input` is what it was read from: one copy of it serves all fields.
fn to_response(head: &ResponseHead, input: &[u8]) -> Result<Response<()>, Reason> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).map_err(|_| Reason::BadResponse)?;
    let copy = Bytes::copy_from_slice(&input[..head.length]);
    let headers = response.headers_mut();
    headers.reserve(head.fields.len());
    for field in head.fields {
        if !response::passes_to_http2(head, field.name) {
            continue;
        }
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Reason::BadResponse)?;
        let at = field.value.as_ptr() as usize - input.as_ptr() as usize;
        let value = HeaderValue::from_maybe_shared(copy.slice(at..at + field.value.len()))
            .map_err(|_| Reason::BadResponse)?;
        headers.append(name, value);
    }
    if head.status >= 200 {
        date(headers);
    }
    Ok(response)
}

/// Says when an answer was made, unless it does so itself (RFC 9110 §6.6.1).
pub(super) fn date(headers: &mut HeaderMap) {
    if !headers.contains_key(DATE)
        && let Some(now) = date::now()
    {
        headers.insert(DATE, now);
    }
}

/// Adds the cookies that are ours.
fn set_cookies(request: &Exchange, response: &mut Response<()>) {
    request.cookies.each(|cookie| {
        // They are made of what a field may hold.
        if let Ok(value) = HeaderValue::from_str(cookie) {
            response.headers_mut().append(SET_COOKIE, value);
        }
    });
}

/// The head as middlewares edit it.
fn to_edit(head: &ResponseHead) -> AnswerHead {
    let mut fields = FieldList::with_capacity(head.fields.len() + 12, head.length + 256);
    for field in head.fields {
        if response::passes_to_http2(head, field.name) {
            fields.add(field.name, field.value);
        }
    }
    AnswerHead { status: head.status, phrase: String::new(), fields }
}

/// The head for the client, as middlewares left it.
pub(super) fn edited(head: &AnswerHead) -> Result<Response<()>, Reason> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).map_err(|_| Reason::BadResponse)?;
    let headers = response.headers_mut();
    headers.reserve(head.fields.len());
    for (name, value) in head.fields.iter() {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Reason::BadResponse)?;
        headers.append(name, HeaderValue::from_bytes(value).map_err(|_| Reason::BadResponse)?);
    }
    date(headers);
    Ok(response)
}

async fn pass_body(
    endpoint: &mut ReadHalf<'_>,
    reply: &mut Reply,
    input: &mut Buffer,
    framing: Framing,
    limit: Option<Moment>,
    delivery: &Delivery,
) -> Result<(), Reason> {
    let mut body = Body::new(framing);
    let mut section = Vec::new();
    loop {
        let piece = take_content(&mut body, input, &mut section)?;
        delivery.sent.set(delivery.sent.get() + piece.len() as u64);
        if body.is_done() {
            let fields = trailers::read(&section).map_err(|_| Reason::ResponseTruncated)?;
            return match fields {
                None if endpoint.may_say_more() => {
                    reply.data(piece, false)?;
                    pass_trailers(endpoint, reply, limit).await
                }
                None => reply.data(piece, true),
                Some(fields) => reply.data(piece, false).and_then(|()| reply.trailers(fields)),
            };
        }
        if !piece.is_empty() {
            reply.data(piece, false)?;
            input.rest();
            // Not read before it can be passed on: what waits here is at most one piece.
            reply.room(limit).await?;
        }
        let deadline = earlier(Moment::now() + TUNNEL_IDLE_TIMEOUT, limit);
        let read = timeout_at(deadline, input.read_sparingly_from(endpoint, reply.appetite()));
        match unless_gone(reply, read).await? {
            Ok(Ok(1..)) => {}
            Ok(Ok(0)) if body.ends_with_connection() => return reply.data(Bytes::new(), true),
            Ok(Ok(0) | Err(_)) => return Err(Reason::ResponseTruncated),
            Err(_) if is_over(limit) => return Err(Reason::AnswerTimeout),
            Err(_) => return Err(Reason::ResponseTimeout),
        }
    }
}

/// Ends an answer as its endpoint does, which has said all of its content.
async fn pass_trailers(
    endpoint: &mut ReadHalf<'_>,
    reply: &mut Reply,
    limit: Option<Moment>,
) -> Result<(), Reason> {
    let deadline = earlier(Moment::now() + TUNNEL_IDLE_TIMEOUT, limit);
    match unless_gone(reply, timeout_at(deadline, endpoint.trailers())).await? {
        Ok(Ok(fields)) => match trailers::allowed(fields) {
            Some(fields) => reply.trailers(fields),
            None => reply.data(Bytes::new(), true),
        },
        Ok(Err(_)) => Err(Reason::ResponseTruncated),
        Err(_) if is_over(limit) => Err(Reason::AnswerTimeout),
        Err(_) => Err(Reason::ResponseTimeout),
    }
}

/// Takes the content off what was read.
fn take_content(body: &mut Body, input: &mut Buffer, trailers: &mut Vec<u8>) -> Result<Bytes, Reason> {
    let mut content = BytesMut::new();
    let scanned = body
        .scan_parts(
            input.filled(),
            |bytes| {
                if content.capacity() == 0 {
                    content.reserve(input.filled().len());
                }
                content.extend_from_slice(bytes);
            },
            |byte| trailers.push(byte),
        )
        .map_err(|_| Reason::ResponseTruncated)?;
    input.consume(scanned.length);
    Ok(content.freeze())
}
