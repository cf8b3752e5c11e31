//! HTTP/1 over a published port, so that a connection can outlive its endpoint.
//!
//! The bytes are passed on as they came, to one endpoint; what is followed is only where each message ends. An HTTP
//! client keeps its connection and sends request after request. Without following, an endpoint that stops takes the
//! connection with it, and with that the request that was just on its way. Followed, the next request goes to another
//! endpoint, and one that got no byte of an answer is sent again where that is safe. What can't be followed is passed
//! on unread from there.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Listening;
use crate::http::{Carrier, Exchange, Pinned, exchange, fields, parse_request};
use crate::limits::CLIENT_IDLE_TIMEOUT;
use crate::worker::{Buffer, Worker, relay};

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
    mut client: TcpStream,
    pinned: Pinned,
    mut inbound: Buffer,
    port: &Listening,
    worker: &Worker,
) {
    let mut slot = Some(pinned);
    loop {
        let request = match next_request(&mut client, &mut inbound, port, worker).await {
            Next::Request(request) => request,
            Next::NotHttp => return pass(&mut client, slot, &inbound).await,
            Next::Gone => return,
        };
        let scope = request.upstream.scope.clone();
        let received = request.head.filled().len() as u64;
        let mut carrier = Carrier::Pinned(&mut slot);
        let outcome = exchange(&mut client, &mut inbound, request, &mut carrier, worker).await;
        port.scope.count_bytes(received + outcome.received, outcome.sent);
        scope.count_bytes(received + outcome.received, outcome.sent);
        if let Some(reason) = outcome.failure {
            worker.metrics.refused(port.scope.name(), reason);
            tracing::debug!(reason = reason.as_str(), port = port.scope.name(), "connection closed");
        }
        if let Some(mut tunnel) = outcome.tunnel {
            let early = client.write_all(tunnel.early.filled()).await;
            let late = tunnel.endpoint.write_all(inbound.filled()).await;
            if early.and(late).is_ok() {
                relay(&mut client, &mut tunnel.endpoint, None).await;
            }
            return;
        }
        if !outcome.keep_alive || !wait_for_next(&client, &inbound, &mut slot, worker).await {
            return;
        }
    }
}

enum Next {
    Request(Exchange),
    NotHttp,
    Gone,
}

/// Reads until the head of the next request is whole.
async fn next_request(
    client: &mut TcpStream,
    inbound: &mut Buffer,
    port: &Listening,
    worker: &Worker,
) -> Next {
    loop {
        match parse_request(inbound.filled(), &mut fields()) {
            Ok(Some(head)) => {
                let Some(upstream) = port.upstream(worker) else { return Next::Gone };
                let mut sent_on = worker.buffers.take();
                sent_on.put(&inbound.filled()[..head.length]);
                let length = head.length;
                let request = Exchange {
                    method: head.method,
                    framing: head.framing,
                    // Nothing is translated for the client: it is the endpoint who speaks to it.
                    is_http10: false,
                    keep_alive: head.keep_alive,
                    upgrade: true,
                    verbatim: true,
                    head: sent_on,
                    upstream,
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
    client: &TcpStream,
    inbound: &Buffer,
    slot: &mut Option<Pinned>,
    worker: &Worker,
) -> bool {
    if !inbound.is_empty() {
        return true;
    }
    if let Some(pinned) = slot {
        tokio::select! {
            biased;
            ready = client.readable() => return ready.is_ok(),
            () = worker.drained() => return false,
            _ = pinned.endpoint.readable() => {}
        }
    }
    *slot = None;
    tokio::select! {
        biased;
        ready = timeout(CLIENT_IDLE_TIMEOUT, client.readable()) => matches!(ready, Ok(Ok(()))),
        () = worker.drained() => false,
    }
}

/// Passes on unread what turned out not to be HTTP/1.
async fn pass(client: &mut TcpStream, slot: Option<Pinned>, inbound: &Buffer) {
    let Some(mut pinned) = slot else { return };
    if pinned.endpoint.write_all(inbound.filled()).await.is_ok() {
        relay(client, &mut pinned.endpoint, None).await;
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
