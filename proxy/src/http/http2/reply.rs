//! The answering half of a stream: one answer to a client, piece by piece, no faster than the client takes it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::{HeaderMap, Response};

use super::memory::{Held, Memory};
use crate::deadline::{Moment, timeout_at};
use crate::http::Reason;
use crate::http::entry_point::{earlier, is_over};
use crate::limits::BODY_IDLE;

/// An answer on its way.
pub(super) struct Reply {
    respond: SendResponse<Bytes>,
    /// There once the head was sent.
    stream: Option<SendStream<Bytes>>,
    ended: bool,
    memory: Rc<Memory>,
    /// What was handed over and may not have left yet.
    unsent: Option<Held>,
}

impl Reply {
    pub(super) fn new(respond: SendResponse<Bytes>, memory: Rc<Memory>) -> Self {
        Self { respond, stream: None, ended: false, memory, unsent: None }
    }

    /// How much of the answer is read of the endpoint at a time.
    pub(super) fn appetite(&self) -> usize {
        self.memory.appetite()
    }

    /// Whether the head was sent.
    pub(super) fn is_begun(&self) -> bool {
        self.stream.is_some()
    }

    /// Ready when the client wants the answer no longer, or is gone.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.stream {
            Some(stream) => stream.poll_reset(context).map(|_| ()),
            None => self.respond.poll_reset(context).map(|_| ()),
        }
    }

    /// Sends an interim answer.
    pub(super) fn interim(&mut self, head: Response<()>) -> Result<(), Reason> {
        self.respond.send_informational(head).map_err(|_| Reason::ClientGone)
    }

    /// Sends the head; `ends` where nothing is to follow.
    pub(super) fn head(&mut self, head: Response<()>, ends: bool) -> Result<(), Reason> {
        let stream = self.respond.send_response(head, ends).map_err(|_| Reason::ClientGone)?;
        self.stream = Some(stream);
        self.ended = ends;
        Ok(())
    }

    /// Hands a piece of the body over. What the client has no room for yet waits in the stack: ask for
    /// [`Reply::room`] before the next one is read.
    pub(super) fn data(&mut self, bytes: Bytes, ends: bool) -> Result<(), Reason> {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.ended) else { return Ok(()) };
        if bytes.is_empty() && !ends {
            return Ok(());
        }
        let count = bytes.len();
        stream.send_data(bytes, ends).map_err(|_| Reason::ClientGone)?;
        self.unsent = Some(self.memory.hold(count));
        self.ended = ends;
        Ok(())
    }

    /// Ends the answer with these fields.
    pub(super) fn trailers(&mut self, fields: HeaderMap) -> Result<(), Reason> {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.ended) else { return Ok(()) };
        stream.send_trailers(fields).map_err(|_| Reason::ClientGone)?;
        self.ended = true;
        Ok(())
    }

    /// Waits until the client takes more of the body, but not beyond `limit`.
    pub(super) async fn room(&mut self, limit: Option<Moment>) -> Result<(), Reason> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        stream.reserve_capacity(1);
        if stream.capacity() > 0 {
            self.unsent = None;
            return Ok(());
        }
        let _waiting = self.memory.wait();
        let deadline = earlier(Moment::now() + BODY_IDLE, limit);
        match timeout_at(deadline, poll_fn(|context| stream.poll_capacity(context))).await {
            Ok(Some(Ok(_))) => {
                self.unsent = None;
                Ok(())
            }
            Ok(Some(Err(_)) | None) => Err(Reason::ClientGone),
            Err(_) if is_over(limit) => Err(Reason::AnswerTimeout),
            Err(_) => Err(Reason::BodyIdle),
        }
    }

    /// Tells the client that this stream came to nothing.
    pub(super) fn reset(&mut self, reason: h2::Reason) {
        if !self.ended {
            self.respond.send_reset(reason);
            self.ended = true;
        }
    }
}
