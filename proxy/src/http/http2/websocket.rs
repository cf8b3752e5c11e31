//! WebSocket over HTTP/2 (RFC 8441): a stream that is a tunnel, to an endpoint that is asked for an upgrade in HTTP/1.1.

use std::cell::Cell;
use std::fmt::Write;

use aws_lc_rs::{digest, rand};
use h2::ext::Protocol;
use http::request::Parts;
use tokio::io::AsyncWriteExt;

use super::body::{Incoming, Piece};
use super::reply::Reply;
use crate::deadline::{Moment, sleep_until};
use crate::http::Reason;
use crate::http::exchange::Tunnel;
use crate::limits::TUNNEL_IDLE_TIMEOUT;
use crate::stream::{ReadHalf, WriteHalf};
use crate::worker::{Buffer, Buffers};
use std::rc::Rc;

/// What a server puts behind the key before it hashes it (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A handshake with the endpoint. Over HTTP/2 there are no keys: they are made here.
#[derive(Debug)]
pub(in crate::http) struct Handshake {
    /// `Sec-WebSocket-Key`
    pub(super) key: String,
    /// The `Sec-WebSocket-Accept` that proves that the endpoint has read it.
    pub(super) accept: String,
}

/// Whether a CONNECT asks for a WebSocket.
pub(super) fn is_asked_for(parts: &Parts) -> bool {
    parts.extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
}

impl Handshake {
    /// One with a key that nobody guesses. `None` where the system has no randomness.
    pub(super) fn new() -> Option<Self> {
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).ok()?;
        Some(Self::of(&nonce))
    }

    fn of(nonce: &[u8]) -> Self {
        let key = base64(nonce);
        Self { accept: accept(key.as_bytes()), key }
    }
}

/// What proves that a key was read (RFC 6455 §4.2.2).
pub(in crate::http) fn accept(key: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, [key, GUID.as_bytes()].concat().as_slice());
    base64(hash.as_ref())
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for digit in 0..4 {
            if digit <= group.len() {
                let at = bits >> (18 - 6 * digit) & 0x3f;
                let _ = text.write_char(DIGITS[at as usize] as char);
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// What passed through a tunnel, and how it ended.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) failure: Option<Reason>,
}

/// Passes bytes on both ways, until both sides are done or nothing moves for too long.
pub(super) async fn pass_through(
    body: &mut Incoming,
    reply: &mut Reply,
    tunnel: Tunnel,
    buffers: &Rc<Buffers>,
) -> Passed {
    let Tunnel { mut endpoint, early, running: _running, held: _held } = tunnel;
    let (received, sent) = (Cell::new(0), Cell::new(0));
    let moved = Cell::new(Moment::now());
    let ended = {
        let (mut from_endpoint, mut to_endpoint) = endpoint.split();
        let both = async {
            tokio::try_join!(
                upwards(body, &mut to_endpoint, &received, &moved),
                downwards(&mut from_endpoint, reply, early, &sent, &moved, buffers),
            )
        };
        tokio::select! {
            ended = both => ended.map(|_| ()),
            () = idled(&moved) => Err(Reason::TunnelIdle),
        }
    };
    if ended.is_err() {
        endpoint.break_off();
        reply.reset(h2::Reason::CANCEL);
    }
    Passed { received: received.get(), sent: sent.get(), failure: ended.err() }
}

async fn upwards(
    body: &mut Incoming,
    endpoint: &mut WriteHalf<'_>,
    count: &Cell<u64>,
    moved: &Cell<Moment>,
) -> Result<(), Reason> {
    while let Piece::Data(bytes) = body.next_whenever().await? {
        if endpoint.write_all(&bytes).await.is_err() {
            // It listens no longer; its last words may still be on their way.
            return Ok(());
        }
        count.set(count.get() + bytes.len() as u64);
        moved.set(Moment::now());
    }
    let _ = endpoint.shutdown().await;
    Ok(())
}

async fn downwards(
    endpoint: &mut ReadHalf<'_>,
    reply: &mut Reply,
    early: Buffer,
    count: &Cell<u64>,
    moved: &Cell<Moment>,
    buffers: &Rc<Buffers>,
) -> Result<(), Reason> {
    let mut buffer = early;
    loop {
        if !buffer.is_empty() {
            count.set(count.get() + buffer.filled().len() as u64);
            moved.set(Moment::now());
            reply.data(bytes::Bytes::copy_from_slice(buffer.filled()), false)?;
            buffer.clear();
            buffer.rest();
            reply.room(None).await?;
        }
        let read = async {
            endpoint.readable().await?;
            let mut buffer = buffers.take();
            Ok((buffer.read_now(endpoint).await.transpose()?, buffer))
        };
        let read: std::io::Result<_> = super::answer::unless_gone(reply, read).await?;
        match read.map_err(|_| Reason::ResponseTruncated)? {
            (Some(0), _) => return reply.data(bytes::Bytes::new(), true),
            (_, read) => buffer = read,
        }
    }
}

/// Resolves when nothing moved for too long.
async fn idled(moved: &Cell<Moment>) {
    loop {
        let deadline = moved.get() + TUNNEL_IDLE_TIMEOUT;
        if deadline <= Moment::now() {
            return;
        }
        sleep_until(deadline).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    /// The example of RFC 6455 §1.3.
    #[test]
    fn a_key_is_answered_as_the_standard_has_it() {
        let handshake = Handshake::of(b"the sample nonce");
        assert_eq!(handshake.key, "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
