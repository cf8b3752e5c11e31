//! A request's body as it comes on a stream.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::HeaderMap;

use super::request::Known;
use crate::deadline::{Moment, timeout_at};
use crate::http::Reason;
use crate::http::entry_point::{earlier, is_over};
use crate::limits::{BODY_IDLE, BUFFER_BYTES};

/// What is left of a request's body.
pub(in crate::http) struct Incoming {
    stream: RecvStream,
    /// What was received and not taken.
    held: BytesMut,
    /// Whether all data has been received.
    ended: bool,
    trailers: Option<HeaderMap>,
}

/// A piece of a body.
pub(in crate::http) enum Piece {
    /// Some of the content.
    Data(Bytes),
    /// Its end, and what is said behind it.
    End(Option<HeaderMap>),
}

impl Incoming {
    pub(super) fn new(stream: RecvStream) -> Self {
        let ended = stream.is_end_stream();
        Self { stream, held: BytesMut::new(), ended, trailers: None }
    }

    /// Gathers what is here already; a small body is then known as a whole.
    pub(super) fn gather(&mut self) -> Known {
        let mut context = Context::from_waker(std::task::Waker::noop());
        while !self.ended && self.held.len() < BUFFER_BYTES {
            match self.poll_data(&mut context) {
                Poll::Ready(Ok(Some(bytes))) => self.held.extend_from_slice(&bytes),
                Poll::Ready(Ok(None)) => self.ended = true,
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        if self.ended
            && self.trailers.is_none()
            && let Poll::Ready(Ok(trailers)) = self.stream.poll_trailers(&mut context)
        {
            self.trailers = trailers;
        }
        if self.ended && self.trailers.is_none() { Known::Whole(self.held.len()) } else { Known::Begun }
    }

    /// Gathers the content, if it is no more than so many bytes. Gives whether all of it is here, and nothing behind it.
    pub(super) async fn gather_up_to(&mut self, bytes: u64, limit: Option<Moment>) -> Result<bool, Reason> {
        let mut gathered = BytesMut::new();
        while !self.ended && (self.held.len() + gathered.len()) as u64 <= bytes {
            match self.next(limit).await? {
                Piece::Data(piece) => gathered.extend_from_slice(&piece),
                Piece::End(trailers) => self.trailers = trailers,
            }
        }
        gathered.unsplit(self.held.split());
        self.held = gathered;
        Ok(self.ended && self.trailers.is_none() && self.held.len() as u64 <= bytes)
    }

    /// Whether all of the content is here, in so many bytes; what may be said behind it does not count.
    pub(super) fn is_whole_within(&self, bytes: u64) -> bool {
        self.ended && self.held.len() as u64 <= bytes
    }

    /// Whether any of the content is here.
    pub(super) fn is_begun(&self) -> bool {
        self.ended || !self.held.is_empty()
    }

    /// Whether all of it came, and nothing is said behind it.
    pub(super) fn is_over(&self) -> bool {
        self.held.is_empty() && self.trailers.is_none() && self.stream.is_end_stream()
    }

    /// Takes what was gathered of a body that is known as a whole.
    pub(super) fn take_whole(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Waits until some of the content is here, or its end.
    pub(super) async fn begins(&mut self) -> Result<(), Reason> {
        if self.is_begun() {
            return Ok(());
        }
        match poll_fn(|context| self.poll_data(context)).await.map_err(|_| Reason::ClientGone)? {
            Some(bytes) => self.held.extend_from_slice(&bytes),
            None => self.ended = true,
        }
        Ok(())
    }

    /// The next piece. Gives up beyond `limit`, and when nothing comes.
    pub(in crate::http) async fn next(&mut self, limit: Option<Moment>) -> Result<Piece, Reason> {
        if !self.held.is_empty() {
            return Ok(Piece::Data(self.held.split().freeze()));
        }
        let deadline = earlier(Moment::now() + BODY_IDLE, limit);
        let late = |_| if is_over(limit) { Reason::RequestTimeout } else { Reason::BodyIdle };
        if !self.ended {
            let data =
                timeout_at(deadline, poll_fn(|context| self.poll_data(context))).await.map_err(late)?;
            match data.map_err(|_| Reason::ClientGone)? {
                Some(bytes) => return Ok(Piece::Data(bytes)),
                None => self.ended = true,
            }
        }
        if self.trailers.is_none() {
            let trailers = poll_fn(|context| self.stream.poll_trailers(context));
            let trailers = timeout_at(deadline, trailers).await.map_err(late)?;
            self.trailers = trailers.map_err(|_| Reason::ClientGone)?;
        }
        Ok(Piece::End(self.trailers.take()))
    }

    /// The next piece, for however long it takes.
    pub(super) async fn next_whenever(&mut self) -> Result<Piece, Reason> {
        if self.held.is_empty() && !self.ended {
            match poll_fn(|context| self.poll_data(context)).await.map_err(|_| Reason::ClientGone)? {
                Some(bytes) => return Ok(Piece::Data(bytes)),
                None => self.ended = true,
            }
        }
        if self.held.is_empty() {
            return Ok(Piece::End(None));
        }
        Ok(Piece::Data(self.held.split().freeze()))
    }

    /// Gives back room for this much, so that the client may send more.
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, h2::Error>> {
        self.stream.poll_data(context).map(|data| match data {
            Some(Ok(bytes)) => {
                // Taken from the stack is taken: at most this one piece waits for the endpoint.
                let _ = self.stream.flow_control().release_capacity(bytes.len());
                Ok(Some(bytes))
            }
            Some(Err(error)) => Err(error),
            None => Ok(None),
        })
    }
}
