//! HTTP/1 over a published port, so that a connection can outlive its endpoint.
//!
//! The bytes are passed on as they came, to one endpoint; what is followed is only where each message ends. An HTTP
//! client keeps its connection and sends request after request. Without following, an endpoint that stops takes the
//! connection with it, and with that the request that was just on its way. Followed, the next request goes to another
//! endpoint, and one that got no byte of an answer is sent again where that is safe. What can't be followed is passed
//! on unread from there.

use std::sync::Arc;

use super::Listening;
use super::tcp::{Course, Early, asker, pass};
use crate::deadline::{Moment, sleep_until, timeout};
use crate::ended::Why;
use crate::http::{Carrier, Exchange, Pinned, exchange, fields, linger, parse_request};
use crate::limits::CLIENT_IDLE_TIMEOUT;
use crate::stream::Stream;
use crate::table::Upstream;
use crate::worker::{Buffer, End, Worker};

/// What the first bytes of a client are.
pub(super) enum Recognized {
    Http,
    Other,
    NotYet,
}

/// Says whether bytes are the head of an HTTP/1 request.
pub(super) fn recognize(bytes: &[u8]) -> Recognized {
    const METHODS: [&[u8]; 8] =
        [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE "];
    let begins = METHODS.iter().any(|method| {
        let common = method.len().min(bytes.len());
        method[..common] == bytes[..common]
    });
    if !begins {
        return Recognized::Other;
    }
    match parse_request(bytes, &mut fields()) {
        Ok(Some(_)) => Recognized::Http,
        Ok(None) => Recognized::NotYet,
        Err(_) => Recognized::Other,
    }
}

/// Serves a client whose first request is in `inbound`.
pub(super) async fn serve(
    mut client: Stream,
    pinned: Pinned,
    mut inbound: Buffer,
    port: &Listening,
    upstream: Arc<Upstream>,
    worker: &Worker,
) -> Course {
    let target = Some(pinned.target.clone());
    let mut slot = Some(pinned);
    let mut course = Course { upstream, target, received: 0, sent: 0, why: Why::Passed(End::Done) };
    loop {
        let request = match next_request(&mut client, &mut inbound, port, worker).await {
            Next::Request(request) => request,
            Next::NotHttp => {
                let Some(pinned) = slot else { return course };
                let early = Early { to_client: None, to_endpoint: inbound };
                return course.then(pass(client, pinned, early, port, course.upstream.clone(), worker).await);
            }
            Next::Gone => return course,
        };
        let upstream = request.upstream.clone();
        let received = request.head.filled().len() as u64;
        let mut carrier = Carrier::Pinned(&mut slot);
        let outcome = exchange(&mut client, &mut inbound, request, &mut carrier, worker).await;
        let received = received + outcome.received;
        port.scope.count_bytes(received, outcome.sent);
        upstream.scope.count_bytes(received, outcome.sent);
        let why = outcome.failure.map_or(Why::Passed(End::Done), Why::Refused);
        course = course.then(Course { upstream, target: outcome.target, received, sent: outcome.sent, why });
        if let Some(reason) = outcome.failure {
            worker.metrics.refused(port.scope.name(), reason);
            tracing::debug!(reason = reason.as_str(), port = port.scope.name(), "connection closed");
        }
        if let Some(tunnel) = outcome.tunnel {
            let early = Early { to_client: Some(tunnel.early), to_endpoint: inbound };
            let Some(target) = course.target.clone() else { return course };
            let pinned = Pinned { target, endpoint: tunnel.endpoint, running: None };
            return course.then(pass(client, pinned, early, port, course.upstream.clone(), worker).await);
        }
        if outcome.still_sending && outcome.failure.is_none() {
            linger(&mut client, &worker.buffers).await;
            return course;
        }
        if !outcome.keep_alive || !wait_for_next(&mut client, &mut inbound, &mut slot, worker).await {
            return course;
        }
    }
}

#[allow(clippy::large_enum_variant)] // it lives for a moment
enum Next {
    Request(Exchange),
    NotHttp,
    Gone,
}

/// Reads until the head of the next request is whole.
async fn next_request(client: &mut Stream, inbound: &mut Buffer, port: &Listening, worker: &Worker) -> Next {
    loop {
        match parse_request(inbound.filled(), &mut fields()) {
            Ok(Some(head)) => {
                let Some(upstream) = port.upstream(worker) else { return Next::Gone };
                let mut sent_on = worker.buffers.take();
                sent_on.put(&inbound.filled()[..head.length]);
                let length = head.length;
                let request = Exchange {
                    keep_alive: head.keep_alive,
                    upgrade: true,
                    expects_continue: head.expects_continue,
                    // Nothing is translated for the client, whichever version it speaks: it is the endpoint who speaks to it.
                    verbatim: true,
                    asker: asker(client, &upstream),
                    ..Exchange::plain(head.method, head.framing, sent_on, upstream)
                };
                inbound.consume(length);
                return Next::Request(request);
            }
            Ok(None) => {}
            Err(_) => return Next::NotHttp,
        }
        match timeout(CLIENT_IDLE_TIMEOUT, inbound.read_from(client)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) | Err(_) => return Next::Gone,
        }
    }
}

/// Waits until the client speaks again; `false` when it should not be waited for any longer.
///
/// The endpoint may close its side meanwhile, because it stops or because it waited long enough. That is not the
/// client's concern: its next request goes to another endpoint. Without an endpoint it is waited for only so long.
async fn wait_for_next(
    client: &mut Stream,
    inbound: &mut Buffer,
    slot: &mut Option<Pinned>,
    worker: &Worker,
) -> bool {
    if !inbound.is_empty() {
        return true;
    }
    inbound.rest();
    let mut alone_until = Moment::now() + CLIENT_IDLE_TIMEOUT;
    loop {
        tokio::select! {
            biased;
            _ = client.readable() => match inbound.read_now(client).await {
                Some(read) => return matches!(read, Ok(1..)),
                None => {
                    inbound.rest();
                    continue;
                }
            },
            () = worker.drained() => return false,
            () = left(slot.as_mut()), if slot.is_some() => {}
            () = sleep_until(alone_until), if slot.is_none() => return false,
        }
        *slot = None;
        alone_until = Moment::now() + CLIENT_IDLE_TIMEOUT;
    }
}

/// Resolves when the endpoint has closed its side, or says what nobody asked for.
async fn left(pinned: Option<&mut Pinned>) {
    let Some(Pinned { endpoint, .. }) = pinned else { return };
    loop {
        let _ = endpoint.readable().await;
        if !endpoint.is_silent() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_from_what_only_looks_like_it() {
        for (bytes, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "http"),
            ("GE", "not yet"),
            ("GET / HTTP/1.1\r\nHost", "not yet"),
            // Redis takes commands in lines; HTTP/2 begins with a preface; TLS and SSH are neither.
            ("GET key\r\n", "other"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "other"),
            ("\x16\x03\x01", "other"),
            ("SSH-2.0-x\r\n", "other"),
            ("GETKEY", "other"),
        ] {
            let found = match recognize(bytes.as_bytes()) {
                Recognized::Http => "http",
                Recognized::Other => "other",
                Recognized::NotYet => "not yet",
            };
            assert_eq!(found, expected, "{bytes:?}");
        }
    }
}
