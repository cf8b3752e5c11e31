//! Reads an endpoint's answer and passes it on to the client.

use std::cell::Cell;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::altered::{FromHttp1, ToHttp1};
use super::{Answered, Exchange, Leg, Upload};
use crate::balancer::Running;
use crate::deadline::{timeout, timeout_at};
use crate::health::outlier::Judge;
use crate::http::altered::{self, Passed};
use crate::http::body::{Body, Framing};
use crate::http::entry_point::{earlier, is_over, within};
use crate::http::head::{ResponseHead, fields, parse_response};
use crate::http::response::{self, Manner};
use crate::http::{Method, Reason};
use crate::limits::{
    ACKNOWLEDGED_WITHIN, BODY_IDLE, BUFFER_BYTES, CLIENT_WATCHED_AFTER, SPLICE_BYTES_MIN,
    TUNNEL_IDLE_TIMEOUT, WITHHELD_BYTES_MAX, WITHHELD_TIME,
};
use crate::middleware::{Alteration, AnswerHead, Arrival, Verdict};
use crate::stream::{ReadHalf, WriteHalf};
use crate::worker::{Buffer, Pipe, Worker};

/// How far an answer got, also when it was broken off.
#[derive(Default)]
pub(in crate::http) struct Delivery {
    /// Whether anything was sent to the client.
    pub(in crate::http) begun: Cell<bool>,
    /// The status that was sent to it, unless only interim ones were.
    pub(in crate::http) status: Cell<Option<u16>>,
    /// Bytes that were sent to it.
    pub(in crate::http) sent: Cell<u64>,
    /// Whether the client takes the end of the connection for the end of the answer.
    pub(in crate::http) ends_with_connection: Cell<bool>,
    /// What the endpoint has to do with it, where that is counted.
    pub(in crate::http) running: Option<Running>,
    /// Who judges the endpoint by its answers, where anybody does.
    judge: Option<Arc<Judge>>,
}

impl Delivery {
    /// Of what comes over this connection.
    pub(in crate::http) fn of(leg: &mut Leg) -> Self {
        let judge = leg.target.judge.clone();
        Self { running: leg.running.take(), judge, ..Self::default() }
    }

    /// The head came, with this status.
    pub(in crate::http) fn head_came(&self, status: u16) {
        self.status.set(Some(status));
        if let Some(running) = &self.running {
            running.answered();
        }
        if let Some(judge) = &self.judge {
            judge.answered(status);
        }
    }

    /// Sends these bytes to the client.
    pub(super) async fn send(
        &self,
        client: &mut WriteHalf<'_>,
        mut bytes: &[u8],
        request: &Exchange,
    ) -> Result<(), Reason> {
        while !bytes.is_empty() {
            self.begun.set(true);
            let limit = within(BODY_IDLE, request.deadlines.answer);
            match timeout(limit, client.write(bytes)).await {
                Ok(Ok(count @ 1..)) => {
                    self.sent.set(self.sent.get() + count as u64);
                    bytes = &bytes[count..];
                }
                Ok(Ok(0) | Err(_)) => return Err(Reason::ClientGone),
                Err(_) if is_over(request.deadlines.answer) => return Err(Reason::AnswerTimeout),
                Err(_) => return Err(Reason::BodyIdle),
            }
        }
        Ok(())
    }
}

/// What matters of a head once it is written.
struct Head {
    length: usize,
    status: u16,
    framing: Framing,
    reusable: bool,
    manner: Manner,
    ends_with_connection: bool,
    /// What middlewares have to say to it.
    course: Course,
}

/// What middlewares have to say to an answer.
enum Course {
    /// It goes on as it is written.
    Written,
    /// It is not written yet: its body changes on the way.
    Altered(AnswerHead, Box<Alteration>),
    /// They want something else.
    Withheld(Box<Verdict>),
}

/// Passes the answer on. Bytes of the body are sent as they come; nothing waits for more.
pub(super) async fn answer(
    endpoint: &mut ReadHalf<'_>,
    client: &mut WriteHalf<'_>,
    request: &Exchange,
    upload: &Upload,
    delivery: &Delivery,
    worker: &Worker,
) -> Result<Answered, Reason> {
    let mut input = worker.buffers.take();
    let mut output = worker.buffers.take();
    let head = loop {
        let head = match read_head(endpoint, client, &mut input, &mut output, request, upload, worker).await {
            Ok(head) => head,
            // Not HTTP after all, and nobody asked us to judge: it is passed on as it is.
            Err(Reason::BadResponse) if request.verbatim => {
                delivery.status.set(Some(0));
                return Ok(Answered::tunnel(input));
            }
            Err(reason) => return Err(reason),
        };
        input.consume(head.length);
        let interim = (100..200).contains(&head.status) && head.status != 101;
        if !interim {
            break head;
        }
        // HTTP/1.0 knows no interim answers (RFC 9110 §15.2).
        if !request.is_http10 {
            delivery.send(client, output.filled(), request).await?;
        }
        if head.status == 100 {
            upload.invite();
        }
        output.clear();
    };
    match head.course {
        Course::Written => {}
        Course::Withheld(verdict) => {
            let reusable = discard(endpoint, &mut input, head.framing).await && head.reusable;
            return Ok(Answered { keep_alive: false, reusable, tunnel: None, withheld: Some(verdict) });
        }
        Course::Altered(written, alteration) => {
            let mut source = FromHttp1::new(endpoint, &mut input, head.framing);
            let (manner, out) = (head.manner, &mut output);
            let mut sink = ToHttp1 { client, request, delivery, out, manner, is_chunked: false };
            let is_stream = !matches!(head.framing, Framing::Length(_));
            let passed = altered::pass(&mut source, &mut sink, written, alteration, is_stream).await?;
            let too_large =
                (passed == Passed::TooLarge).then(|| Box::new(Verdict::Refuse(Reason::AnswerTooLarge)));
            let keep_alive = !sink.manner.close;
            let reusable = head.reusable && input.is_empty() && too_large.is_none();
            return Ok(Answered { keep_alive, reusable, tunnel: None, withheld: too_large });
        }
    }
    delivery.head_came(head.status);
    delivery.ends_with_connection.set(head.ends_with_connection);
    if head.status == 101 {
        delivery.send(client, output.filled(), request).await?;
        return Ok(Answered::tunnel(input));
    }
    pass_body(endpoint, client, &mut input, &mut output, &head, request, delivery, worker).await?;
    let reusable = head.reusable && input.is_empty();
    Ok(Answered { keep_alive: !head.manner.close, reusable, tunnel: None, withheld: None })
}

/// Reads an answer off that nobody is to see. Gives whether its end was read.
pub(in crate::http) async fn discard(
    endpoint: &mut ReadHalf<'_>,
    input: &mut Buffer,
    framing: Framing,
) -> bool {
    let mut body = Body::new(framing);
    if framing.length().is_some_and(|length| length > WITHHELD_BYTES_MAX) {
        return false;
    }
    let read = async {
        let mut left = WITHHELD_BYTES_MAX as usize;
        loop {
            let Ok(scanned) = body.scan(input.filled()) else { return false };
            input.consume(scanned.length);
            left = left.saturating_sub(scanned.length);
            if body.is_done() || left == 0 {
                return body.is_done() && input.is_empty();
            }
            let Ok(1..) = input.read_from(endpoint).await else { return false };
        }
    };
    timeout(WITHHELD_TIME, read).await.unwrap_or(false)
}

/// Reads until the head is whole, and writes it as the client gets it into `output`.
async fn read_head(
    endpoint: &mut ReadHalf<'_>,
    client: &WriteHalf<'_>,
    input: &mut Buffer,
    output: &mut Buffer,
    request: &Exchange,
    upload: &Upload,
    worker: &Worker,
) -> Result<Head, Reason> {
    let mut watched = false;
    loop {
        // Who can't be told that this connection ends may stay until it has to.
        let ends = worker.is_draining() || (worker.is_leaving() && !request.verbatim);
        if !input.is_empty()
            && let Some(head) = translate(input.filled(), output, request, upload, ends)?
        {
            return Ok(head);
        }
        let moved = upload.moved.get();
        let last = earlier(moved + upload.answered_within, request.deadlines.answer);
        let soon = moved + CLIENT_WATCHED_AFTER.min(ACKNOWLEDGED_WITHIN);
        let deadline = if watched { last } else { last.min(soon) };
        let read = tokio::select! {
            biased;
            read = timeout_at(deadline, input.read_from(endpoint)) => read,
            // Whoever still sends is read from, and seen to break off by that.
            () = client.broken_off(), if watched && upload.whole.get() => return Err(Reason::ClientGone),
        };
        match read {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) if input.is_empty() => return Err(Reason::EndpointReset),
            Ok(Ok(0) | Err(_)) => return Err(Reason::BadResponse),
            Err(_) if is_over(request.deadlines.answer) => return Err(Reason::AnswerTimeout),
            // A slow request that makes progress is waited for.
            Err(_) if upload.moved.get() > moved => {}
            Err(_) if !watched && input.is_empty() && upload.is_lost(endpoint) => {
                return Err(Reason::EndpointReset);
            }
            Err(_) if !watched => watched = true,
            Err(_) => return Err(Reason::ResponseTimeout),
        }
    }
}

fn translate(
    input: &[u8],
    output: &mut Buffer,
    request: &Exchange,
    upload: &Upload,
    draining: bool,
) -> Result<Option<Head>, Reason> {
    let request_is_whole = upload.whole.get();
    let mut room = fields();
    let parsed = parse_response(input, &mut room, request.method).map_err(|refused| {
        tracing::debug!(detail = refused.detail, upstream = request.upstream.name, "unreadable answer");
        refused.reason
    })?;
    let Some(head) = parsed else { return Ok(None) };
    // Before the request is whole, nobody can tell its body from the new protocol.
    if head.status == 101 && !(request.upgrade && request_is_whole) {
        return Err(Reason::BadResponse);
    }
    let ends_with_connection = head.framing == Framing::UntilClose
        || (request.is_http10 && head.framing == Framing::Chunked && request.method != Method::Head);
    let told_to_close = if request.verbatim {
        // Passed on as it is, the endpoint's own word on the connection reaches the client too.
        !head.keep_alive
    } else {
        // Who answers early need not read the rest; then it must not be waited for here.
        !request_is_whole
    };
    let manner = Manner {
        close: !request.keep_alive || draining || ends_with_connection || told_to_close,
        is_http10: request.is_http10,
    };
    let (mut status, mut course) = (head.status, Course::Written);
    if request.verbatim {
        output.put(&input[..head.length]);
    } else {
        (status, course) = write_head(&head, manner, request, upload.is_at_hand, output);
    }
    Ok(Some(Head {
        length: head.length,
        status,
        framing: head.framing,
        reusable: head.keep_alive && head.framing != Framing::UntilClose,
        manner,
        ends_with_connection,
        course,
    }))
}

/// Writes the head as the client gets it, if middlewares let it go. Gives its status.
fn write_head(
    head: &ResponseHead,
    manner: Manner,
    request: &Exchange,
    may_repeat: bool,
    output: &mut Buffer,
) -> (u16, Course) {
    let is_final = head.status >= 200 || head.status == 101;
    let told = request.told.as_ref().filter(|_| is_final);
    if let Some(told) = told {
        told.came(head.fields.iter().map(|field| (field.name, field.value)));
    }
    let Some(passage) = request.passage.as_ref().filter(|_| is_final) else {
        if let Some(told) = told {
            let mut answer = response::to_edit(head, manner);
            request.cookies.each(|cookie| answer.fields.add("Set-Cookie", cookie.as_bytes()));
            told.leaves(answer.fields.iter());
        }
        response::write(head, manner, &request.cookies, output);
        return (head.status, Course::Written);
    };
    let mut answer = response::to_edit(head, manner);
    request.cookies.each(|cookie| answer.fields.add("Set-Cookie", cookie.as_bytes()));
    let arrival = Arrival { failure: None, length: head.framing.length(), may_repeat };
    let verdict = passage.go_out(&mut answer, &arrival);
    if let Some(told) = told {
        told.leaves(answer.fields.iter());
    }
    match verdict {
        Verdict::Pass(None) => {
            response::write_edited(&answer, manner, output);
            (answer.status, Course::Written)
        }
        Verdict::Pass(Some(alteration)) => (answer.status, Course::Altered(answer, alteration)),
        verdict => (answer.status, Course::Withheld(Box::new(verdict))),
    }
}

/// Passes the body on behind the head in `output`.
#[allow(clippy::too_many_arguments)] // two sides, their buffers, and what is known of the answer
async fn pass_body(
    endpoint: &mut ReadHalf<'_>,
    client: &mut WriteHalf<'_>,
    input: &mut Buffer,
    output: &mut Buffer,
    head: &Head,
    request: &Exchange,
    delivery: &Delivery,
    worker: &Worker,
) -> Result<(), Reason> {
    let mut body = Body::new(head.framing);
    let mut watched = false;
    let strip_chunks = head.manner.is_http10 && head.framing == Framing::Chunked;
    loop {
        let scanned = if strip_chunks {
            body.scan_payload(input.filled(), |content| output.put(content))
        } else {
            body.scan(input.filled())
        };
        let length = scanned.map_err(|_| Reason::ResponseTruncated)?.length;
        if !strip_chunks && !output.is_empty() {
            // The head, and with it the first of the body, leave in one piece.
            output.put(&input.filled()[..length]);
        }
        let bytes = if output.is_empty() { &input.filled()[..length] } else { output.filled() };
        if body.is_done() {
            request.is_ending();
        }
        delivery.send(client, bytes, request).await?;
        output.clear();
        input.consume(length);
        if body.is_done() {
            return Ok(());
        }
        // Much was there, and more is to come: the kernel moves it.
        if input.is_crowded()
            && !strip_chunks
            && body.ahead() >= SPLICE_BYTES_MIN
            && let (Some(from), Some(to)) = (endpoint.in_the_clear(), client.in_the_clear())
            && let Some(pipe) = worker.pipes.take()
            && pass_unseen(from, to, pipe, &mut body, request, delivery).await?
        {
            return Ok(());
        }
        // Streams (server-sent events among them) may be silent for long.
        let read = loop {
            let limit = if watched { TUNNEL_IDLE_TIMEOUT } else { CLIENT_WATCHED_AFTER };
            let limit = within(limit, request.deadlines.answer);
            let read = tokio::select! {
                biased;
                read = timeout(limit, input.read_bulk_from(endpoint)) => read,
                () = client.broken_off(), if watched => return Err(Reason::ClientGone),
            };
            match read {
                Err(_) if !watched => watched = true,
                read => break read,
            }
        };
        match read {
            Ok(Ok(1..)) => {}
            Ok(Ok(0)) if body.ends_with_connection() => return Ok(()),
            Ok(Ok(0) | Err(_)) => return Err(Reason::ResponseTruncated),
            Err(_) if is_over(request.deadlines.answer) => return Err(Reason::AnswerTimeout),
            Err(_) => return Err(Reason::ResponseTimeout),
        }
    }
}

/// Passes on what is ahead of the body without looking at it, for as long as much comes at a time. Gives whether the body
/// is over.
async fn pass_unseen(
    endpoint: &TcpStream,
    client: &TcpStream,
    mut pipe: Pipe<'_>,
    body: &mut Body,
    request: &Exchange,
    delivery: &Delivery,
) -> Result<bool, Reason> {
    while body.ahead() > 0 {
        let limit = within(CLIENT_WATCHED_AFTER, request.deadlines.answer);
        let count = match timeout(limit, pipe.fill(endpoint, body.ahead())).await {
            Ok(Ok(count @ 1..)) => count,
            Ok(Ok(0)) if body.ends_with_connection() => return Ok(true),
            Ok(Ok(0) | Err(_)) => return Err(Reason::ResponseTruncated),
            Err(_) if is_over(request.deadlines.answer) => return Err(Reason::AnswerTimeout),
            // Who has to wait for longer looks after the client meanwhile.
            Err(_) => break,
        };
        body.pass_over(count as u64);
        if body.is_done() {
            request.is_ending();
        }
        while pipe.held() > 0 {
            let limit = within(BODY_IDLE, request.deadlines.answer);
            match timeout(limit, pipe.drain(client)).await {
                Ok(Ok(count @ 1..)) => delivery.sent.set(delivery.sent.get() + count as u64),
                Ok(Ok(0) | Err(_)) => return Err(Reason::ClientGone),
                Err(_) if is_over(request.deadlines.answer) => return Err(Reason::AnswerTimeout),
                Err(_) => return Err(Reason::BodyIdle),
            }
        }
        if count < BUFFER_BYTES {
            break;
        }
    }
    Ok(body.is_done())
}
