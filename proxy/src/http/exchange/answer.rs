//! Reads an endpoint's answer and passes it on to the client.

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::Exchange;
use crate::http::body::{Body, Framing};
use crate::http::head::{fields, parse_response};
use crate::http::response::{self, Manner};
use crate::http::{Method, Reason};
use crate::limits::{BODY_IDLE, RESPONSE_HEAD_TIMEOUT, TUNNEL_IDLE_TIMEOUT};
use crate::worker::{Buffer, Worker};

/// An answer that was passed on whole.
pub(super) struct Answered {
    pub(super) status: u16,
    /// Bytes sent to the client.
    pub(super) sent: u64,
    /// Whether the client's connection can go on.
    pub(super) keep_alive: bool,
    /// Whether the endpoint's connection can.
    pub(super) reusable: bool,
    /// It is HTTP no longer; this came behind the head.
    pub(super) tunnel: Option<Buffer>,
}

/// An answer that did not come, or not whole.
pub(super) struct Unanswered {
    pub(super) reason: Reason,
    /// Whether anything was sent to the client.
    pub(super) begun: bool,
    /// The status that was sent to it, unless only interim ones were.
    pub(super) status: Option<u16>,
    pub(super) sent: u64,
}

impl Unanswered {
    pub(super) fn because(reason: Reason) -> Self {
        Self { reason, begun: false, status: None, sent: 0 }
    }
}

/// What matters of a head once it is written.
struct Head {
    length: usize,
    status: u16,
    framing: Framing,
    reusable: bool,
    manner: Manner,
}

/// Passes the answer on. Bytes of the body are sent as they come; nothing waits for more.
pub(super) async fn answer(
    endpoint: &mut ReadHalf<'_>,
    client: &mut WriteHalf<'_>,
    request: &Exchange,
    worker: &Worker,
) -> Result<Answered, Unanswered> {
    let mut input = worker.buffers.take();
    let mut output = worker.buffers.take();
    let mut sent = 0;
    let mut begun = false;
    let fail = |reason, begun, sent| Unanswered { reason, begun, status: None, sent };
    let head = loop {
        let head = match read_head(endpoint, &mut input, &mut output, request, worker).await {
            Ok(head) => head,
            // Not HTTP after all, and nobody asked us to judge: it is passed on as it is.
            Err(Reason::BadResponse) if request.verbatim => {
                return Ok(Answered {
                    status: 0,
                    sent,
                    keep_alive: false,
                    reusable: false,
                    tunnel: Some(input),
                });
            }
            Err(reason) => return Err(fail(reason, begun, sent)),
        };
        input.consume(head.length);
        let interim = (100..200).contains(&head.status) && head.status != 101;
        if !interim {
            break head;
        }
        // HTTP/1.0 knows no interim answers (RFC 9110 §15.2).
        if !request.is_http10 {
            begun = true;
            sent += write(client, output.filled()).await.map_err(|reason| fail(reason, begun, sent))?;
        }
        output.clear();
    };
    if head.status == 101 {
        sent += write(client, output.filled()).await.map_err(|reason| fail(reason, true, sent))?;
        return Ok(Answered { status: 101, sent, keep_alive: false, reusable: false, tunnel: Some(input) });
    }
    let fail = |reason, sent| Unanswered { reason, begun: true, status: Some(head.status), sent };
    let body = pass_body(endpoint, client, &mut input, &mut output, &head).await;
    match body {
        Ok(length) => Ok(Answered {
            status: head.status,
            sent: sent + length,
            keep_alive: !head.manner.close,
            reusable: head.reusable && input.is_empty(),
            tunnel: None,
        }),
        Err((reason, length)) => Err(fail(reason, sent + length)),
    }
}

/// Reads until the head is whole, and writes it as the client gets it into `output`.
async fn read_head(
    endpoint: &mut ReadHalf<'_>,
    input: &mut Buffer,
    output: &mut Buffer,
    request: &Exchange,
    worker: &Worker,
) -> Result<Head, Reason> {
    loop {
        if !input.is_empty()
            && let Some(head) = translate(input.filled(), output, request, worker.is_draining())?
        {
            return Ok(head);
        }
        match timeout(RESPONSE_HEAD_TIMEOUT, input.read_from(endpoint)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) if input.is_empty() => return Err(Reason::EndpointReset),
            Ok(Ok(0) | Err(_)) => return Err(Reason::BadResponse),
            Err(_) => return Err(Reason::ResponseTimeout),
        }
    }
}

fn translate(
    input: &[u8],
    output: &mut Buffer,
    request: &Exchange,
    draining: bool,
) -> Result<Option<Head>, Reason> {
    let mut room = fields();
    let parsed = parse_response(input, &mut room, request.method).map_err(|refused| {
        tracing::debug!(detail = refused.detail, upstream = request.upstream.name, "unreadable answer");
        refused.reason
    })?;
    let Some(head) = parsed else { return Ok(None) };
    if head.status == 101 && !request.upgrade {
        return Err(Reason::BadResponse);
    }
    let ends_with_connection = head.framing == Framing::UntilClose
        || (request.is_http10 && head.framing == Framing::Chunked && request.method != Method::Head);
    // Passed on as it is, the endpoint's own word on the connection reaches the client too.
    let told_to_close = request.verbatim && !head.keep_alive;
    let manner = Manner {
        close: !request.keep_alive || draining || ends_with_connection || told_to_close,
        is_http10: request.is_http10,
    };
    if request.verbatim {
        output.put(&input[..head.length]);
    } else {
        response::write(&head, manner, output);
    }
    Ok(Some(Head {
        length: head.length,
        status: head.status,
        framing: head.framing,
        reusable: head.keep_alive && head.framing != Framing::UntilClose,
        manner,
    }))
}

/// Passes the body on behind the head in `output`; gives the bytes sent, also when it fails.
async fn pass_body(
    endpoint: &mut ReadHalf<'_>,
    client: &mut WriteHalf<'_>,
    input: &mut Buffer,
    output: &mut Buffer,
    head: &Head,
) -> Result<u64, (Reason, u64)> {
    let mut body = Body::new(head.framing);
    let strip_chunks = head.manner.is_http10 && head.framing == Framing::Chunked;
    let mut sent = 0;
    loop {
        let scanned = if strip_chunks {
            body.scan_payload(input.filled(), |content| output.put(content))
        } else {
            body.scan(input.filled())
        };
        let length = scanned.map_err(|_| (Reason::ResponseTruncated, sent))?.length;
        if !strip_chunks && !output.is_empty() {
            // The head, and with it the first of the body, leave in one piece.
            output.put(&input.filled()[..length]);
        }
        let bytes = if output.is_empty() { &input.filled()[..length] } else { output.filled() };
        sent += write(client, bytes).await.map_err(|reason| (reason, sent))?;
        output.clear();
        input.consume(length);
        if body.is_done() {
            return Ok(sent);
        }
        // Streams (server-sent events among them) may be silent for long.
        match timeout(TUNNEL_IDLE_TIMEOUT, input.read_from(endpoint)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0)) if body.ends_with_connection() => return Ok(sent),
            Ok(Ok(0) | Err(_)) => return Err((Reason::ResponseTruncated, sent)),
            Err(_) => return Err((Reason::ResponseTimeout, sent)),
        }
    }
}

async fn write(client: &mut WriteHalf<'_>, bytes: &[u8]) -> Result<u64, Reason> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match timeout(BODY_IDLE, client.write_all(bytes)).await {
        Ok(Ok(())) => Ok(bytes.len() as u64),
        Ok(Err(_)) | Err(_) => Err(Reason::ClientGone),
    }
}
