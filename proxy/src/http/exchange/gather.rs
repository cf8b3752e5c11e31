//! A request's body, gathered before the request is sent on: where a middleware wants all of it, or to be able to send it
//! again.

use std::rc::Rc;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::Exchange;
use crate::deadline::timeout;
use crate::http::Reason;
use crate::http::body::{Body, Framing};
use crate::http::entry_point::{is_over, within};
use crate::limits::BODY_IDLE;
use crate::middleware::{Content, Keep, decode};
use crate::stream::Stream;
use crate::worker::Buffer;

impl Exchange {
    /// How much of the body is to be gathered, if any. What there may be of it at most holds from here on.
    pub(in crate::http) fn keeps(&mut self) -> Option<Keep> {
        if self.framing == Framing::Empty || (self.passage.is_none() && self.mirrors.is_empty()) {
            return None;
        }
        let mut keep = self.passage.as_ref().map(|passage| passage.keeps()).unwrap_or_default();
        self.mirrors.iter().for_each(|mirror| keep.at_least(mirror.body_bytes_max.unwrap_or(0)));
        self.bound_body(&keep);
        Some(keep).filter(|keep| keep.bytes > 0)
    }

    /// Has the bounds that middlewares set for the body.
    pub(in crate::http) fn bound_body(&mut self, keep: &Keep) {
        self.body_bytes_max = self.body_bytes_max.min(keep.bytes_max.unwrap_or(u64::MAX));
    }

    /// Puts a body that is here as a whole behind the head, which says now how long it is. `raw` is the body as it is framed
    /// by what the head says: without middlewares the head stays as it is.
    pub(in crate::http) fn take_whole(&mut self, body: &[u8], raw: &[u8], keep: &Keep) -> Result<(), Reason> {
        (self.expects_continue, self.gathered) = (false, body.len() as u64);
        if self.passage.is_none() {
            self.head.put(raw);
            self.framing = Framing::Empty;
            return Ok(());
        }
        let decoded = if keep.is_text { Some(decode(body).ok_or(Reason::BadRequest)?) } else { None };
        let body = decoded.as_deref().unwrap_or(body);
        if let Some(passage) = self.passage.as_mut().and_then(Rc::get_mut) {
            let draft = &mut passage.draft;
            draft.fields.remove("Transfer-Encoding");
            draft.fields.remove("Expect");
            draft.fields.set("Content-Length", body.len().to_string().as_bytes());
            if keep.is_asked_with {
                draft.content = Content::Whole(Bytes::copy_from_slice(body));
            }
            self.head.clear();
            self.host_at = draft.write(self.upstream.pass_host_header, &mut self.head);
        }
        self.head.put(body);
        self.framing = Framing::Empty;
        Ok(())
    }
}

/// Gathers the body of a client that speaks HTTP/1. One that is longer is left where it is, to be passed on as it comes.
/// Gives how many bytes were taken.
pub(in crate::http) async fn gather(
    client: &mut Stream,
    inbound: &mut Buffer,
    request: &mut Exchange,
    keep: &Keep,
) -> Result<u64, Reason> {
    let mut body = Body::new(request.framing);
    let (mut content, mut seen) = (Vec::new(), 0);
    let mut is_told = !request.expects_continue;
    loop {
        let scanned = body
            .scan_payload(&inbound.filled()[seen..], |piece| content.extend_from_slice(piece))
            .map_err(|_| Reason::BadRequest)?;
        seen += scanned.length;
        let length = content.len() as u64;
        if length > request.body_bytes_max {
            return Err(Reason::BodyTooLarge);
        }
        if body.is_done() {
            request.take_whole(&content, &inbound.filled()[..seen], keep)?;
            inbound.consume(seen);
            return Ok(seen as u64);
        }
        if length > keep.bytes || matches!(request.framing, Framing::Length(length) if length > keep.bytes) {
            return if keep.is_text { Err(Reason::BodyTooLarge) } else { Ok(0) };
        }
        if !is_told {
            // Who waits for the endpoint to ask for it would wait for ever.
            let written = timeout(BODY_IDLE, client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")).await;
            if !matches!(written, Ok(Ok(()))) {
                return Err(Reason::ClientGone);
            }
            is_told = true;
            request.expects_continue = false;
        }
        let limit = within(BODY_IDLE, request.deadlines.request);
        match timeout(limit, inbound.read_from(client)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Err(Reason::ClientGone),
            Err(_) if is_over(request.deadlines.request) => return Err(Reason::RequestTimeout),
            Err(_) => return Err(Reason::BodyIdle),
        }
    }
}
