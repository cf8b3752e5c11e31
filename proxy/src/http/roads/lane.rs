//! One stream of a connection by HTTP/2, spoken to as if it were a connection by HTTP/1.1 that serves one request.
//!
//! What is written is read as a request and sent as frames; the answer's frames are read as HTTP/1.1 is. Neither side is
//! taken in faster than the other takes it: no more than a piece waits here.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use tokio::io::ReadBuf;

use super::road::Ticket;
use crate::deadline::timeout;
use crate::http::body::Body;
use crate::http::trailers;
use crate::limits::{BUFFER_BYTES, LINGER};
use crate::worker::{Buffer, Buffers};

mod ask;
mod told;

use ask::Asked;
use told::Ends;

/// A stream.
pub(crate) struct Lane {
    requests: SendRequest<Bytes>,
    ticket: Ticket,
    secure: bool,
    up: Up,
    down: Down,
    /// What has been said, and not been read.
    out: Buffer,
    /// What was said behind content that has a length.
    trailers: Option<HeaderMap>,
    /// The endpoint did not look at the request: it is safe to ask somebody else.
    is_unprocessed: bool,
    /// What the endpoint said when it broke the stream off.
    broken_by: Option<h2::Reason>,
}

/// Where the request is.
enum Up {
    /// Not here yet.
    Head,
    Body(Upload),
    /// It is HTTP no longer.
    Tunnel(SendStream<Bytes>),
    Over,
}

/// A body on its way.
struct Upload {
    stream: SendStream<Bytes>,
    body: Body,
    trailers: Vec<u8>,
    /// Whether it ends with the last of its content. Else that is said apart, by [`Lane::end_body`].
    ends_itself: bool,
    /// Bytes that are handed over whether the endpoint has room for them or not: one that answers without reading is
    /// heard then.
    advance: usize,
}

/// Where the answer is.
enum Down {
    /// Nothing was asked. Whoever waits for an answer all the same is told of one here.
    Unasked(Option<Waker>),
    Head(ResponseFuture, Asked),
    Body(Download),
    /// It is HTTP no longer.
    Tunnel(RecvStream, Bytes),
    /// All of it was read.
    Over,
    /// It will not come, or not whole.
    Broken,
}

/// A body on its way.
struct Download {
    stream: RecvStream,
    ends: Ends,
    /// What was received and not read.
    held: Bytes,
    /// Whether its chunk is to be ended.
    in_chunk: bool,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Lane").field("secure", &self.secure).finish_non_exhaustive()
    }
}

impl Lane {
    pub(super) fn new(
        requests: SendRequest<Bytes>,
        ticket: Ticket,
        secure: bool,
        buffers: &Rc<Buffers>,
    ) -> Self {
        let mut out = buffers.take();
        out.rest();
        Self {
            requests,
            ticket,
            secure,
            up: Up::Head,
            down: Down::Unasked(None),
            out,
            trailers: None,
            is_unprocessed: false,
            broken_by: None,
        }
    }

    /// Whether the endpoint said that it did not look at the request (RFC 9113 §8.7), or it was never sent.
    pub(crate) fn is_unprocessed(&self) -> bool {
        self.is_unprocessed
    }

    /// What the endpoint said when it broke the stream off (RFC 9113 §7), if it did.
    pub(crate) fn broken_by(&self) -> Option<h2::Reason> {
        self.broken_by
    }

    /// Whether something may be said behind content that was read to its end, which HTTP/1.1 has no place for: that has a
    /// length.
    pub(crate) fn may_say_more(&self) -> bool {
        match &self.down {
            Down::Body(body) => body.ends == Ends::AtLength && !body.stream.is_end_stream(),
            _ => self.trailers.is_some(),
        }
    }

    /// What is said there. The content has been read.
    pub(crate) fn poll_trailers(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<HeaderMap>>> {
        let Down::Body(body) = &mut self.down else { return Poll::Ready(Ok(self.trailers.take())) };
        let ended = ready!(body.poll_end(context));
        self.down = if ended.is_ok() { Down::Over } else { Down::Broken };
        Poll::Ready(ended.map_err(|error| self.broke_off(&error)))
    }

    /// Whether there may be something to read.
    pub(crate) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match &mut self.down {
            Down::Tunnel(stream, held) => {
                if held.is_empty() && !stream.is_end_stream() {
                    // What went wrong is met again by whoever reads.
                    if let Some(Ok(bytes)) = ready!(stream.poll_data(context)) {
                        *held = bytes;
                    }
                }
                Poll::Ready(Ok(()))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Reads of the answer what is there.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        loop {
            let count = self.out.filled().len().min(room.remaining());
            room.put_slice(&self.out.filled()[..count]);
            self.out.consume(count);
            self.out.rest();
            if room.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let some = room.filled().len() > before;
            match self.go_on(context, room) {
                Poll::Ready(Ok(true)) => {}
                // A failure is met again by whoever reads on.
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) | Poll::Pending if some => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Puts some more of the answer into `out`, or right where it is read to. `false` is its end.
    fn go_on(&mut self, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        match &mut self.down {
            Down::Unasked(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            Down::Head(answer, _) => {
                if let Poll::Ready(Some(Ok(interim))) = answer.poll_informational(context) {
                    told::write_interim(&interim, &mut self.out);
                    return Poll::Ready(Ok(true));
                }
                let answered = ready!(Pin::new(answer).poll(context));
                let Down::Head(_, asked) = std::mem::replace(&mut self.down, Down::Broken) else {
                    return Poll::Ready(Err(broken()));
                };
                Poll::Ready(match answered {
                    Ok(answer) => {
                        self.begin_answer(answer, &asked);
                        Ok(true)
                    }
                    Err(error) => {
                        self.fail(&error);
                        Err(broken())
                    }
                })
            }
            Down::Body(body) => {
                let more = ready!(body.poll(context, room, &mut self.out, &mut self.trailers));
                if !matches!(more, Ok(true)) {
                    self.down = if more.is_ok() { Down::Over } else { Down::Broken };
                }
                // What was said at the end is to be read yet.
                Poll::Ready(match more {
                    Ok(more) => Ok(more || !self.out.is_empty()),
                    Err(error) => Err(self.broke_off(&error)),
                })
            }
            Down::Tunnel(stream, held) => {
                if held.is_empty() {
                    match ready!(stream.poll_data(context)) {
                        Some(Ok(bytes)) => *held = bytes,
                        Some(Err(error)) => return Poll::Ready(Err(self.broke_off(&error))),
                        None => return Poll::Ready(Ok(false)),
                    }
                }
                take(stream, held, room);
                Poll::Ready(Ok(true))
            }
            Down::Over => Poll::Ready(Ok(false)),
            Down::Broken => Poll::Ready(Err(broken())),
        }
    }

    fn begin_answer(&mut self, answer: http::Response<RecvStream>, asked: &Asked) {
        let (parts, stream) = answer.into_parts();
        if let Some(accept) = asked.accept.as_ref().filter(|_| parts.status.is_success()) {
            told::write_switch(&parts, accept, &mut self.out);
            self.down = Down::Tunnel(stream, Bytes::new());
            return;
        }
        let ends = told::write_head(&parts, asked, stream.is_end_stream(), &mut self.out);
        self.down = match ends {
            Ends::WithHead => Down::Over,
            ends => Down::Body(Download { stream, ends, held: Bytes::new(), in_chunk: false }),
        };
    }

    /// Notes why there will be no answer.
    fn fail(&mut self, error: &h2::Error) {
        let said = error.reason().filter(|_| error.is_remote());
        let wants_http1 = said == Some(h2::Reason::HTTP_1_1_REQUIRED);
        if wants_http1 {
            self.ticket.wants_http1();
        }
        // What a GOAWAY says is about the connection.
        self.broken_by = said.filter(|_| error.is_reset() || wants_http1);
        self.is_unprocessed = wants_http1
            || (error.is_remote() && error.is_go_away())
            || said == Some(h2::Reason::REFUSED_STREAM);
        tracing::debug!(%error, unprocessed = self.is_unprocessed, "no answer over HTTP/2");
    }

    /// Notes why there will be no more of the answer.
    fn broke_off(&mut self, error: &h2::Error) -> io::Error {
        self.broken_by = error.reason().filter(|_| error.is_remote() && error.is_reset());
        tracing::debug!(%error, "an answer over HTTP/2 was broken off");
        broken()
    }

    /// Takes some of the request: its head in one piece, then its body as HTTP/1.1 frames it.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.up {
            Up::Head => Poll::Ready(self.ask(bytes)),
            Up::Body(upload) => {
                let count = ready!(upload.poll_write(context, bytes))?;
                if upload.body.is_done() && upload.ends_itself {
                    self.up = Up::Over;
                }
                Poll::Ready(Ok(count))
            }
            Up::Tunnel(stream) => {
                let room = ready!(poll_room(stream, context, bytes.len()))?;
                let count = bytes.len().min(room);
                let sent = stream.send_data(Bytes::copy_from_slice(&bytes[..count]), false);
                Poll::Ready(sent.map(|()| count).map_err(|_| broken()))
            }
            Up::Over => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn ask(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let waker = match std::mem::replace(&mut self.down, Down::Broken) {
            Down::Unasked(waker) => waker,
            _ => None,
        };
        waker.into_iter().for_each(Waker::wake);
        let (request, asked) = ask::read(bytes, self.secure)?;
        let ends = asked.accept.is_none() && asked.body.is_done();
        match self.requests.send_request(request, ends) {
            Ok((answer, stream)) => {
                let length = asked.length;
                self.up = if asked.accept.is_some() {
                    Up::Tunnel(stream)
                } else if ends {
                    Up::Over
                } else {
                    let body = Body::new(asked.framing);
                    let (trailers, ends_itself) = (Vec::new(), true);
                    Up::Body(Upload { stream, body, trailers, ends_itself, advance: BUFFER_BYTES })
                };
                self.down = Down::Head(answer, asked);
                Ok(length)
            }
            Err(error) => {
                self.is_unprocessed = true;
                tracing::debug!(%error, "a request could not be sent over HTTP/2");
                Err(broken())
            }
        }
    }

    /// Whether the request is over once its content is, as far as is known: else [`Self::end_body`] says so.
    pub(crate) fn body_ends_itself(&mut self, ends_itself: bool) {
        if let Up::Body(upload) = &mut self.up {
            upload.ends_itself = ends_itself;
        }
    }

    /// Says that the content is over that was said not to end by itself, and what is said behind it.
    pub(crate) fn end_body(&mut self, trailers: Option<HeaderMap>) -> io::Result<()> {
        let Up::Body(Upload { stream, .. }) = &mut self.up else { return Ok(()) };
        let ended = match trailers {
            Some(trailers) => stream.send_trailers(trailers),
            None => stream.send_data(Bytes::new(), true),
        };
        self.up = Up::Over;
        ended.map_err(|_| broken())
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end(&mut self) {
        if let Up::Tunnel(stream) = &mut self.up {
            let _ = stream.send_data(Bytes::new(), true);
            self.up = Up::Over;
        }
    }

    /// Breaks the stream off.
    pub(crate) fn reset(&mut self) {
        if let Up::Tunnel(stream) | Up::Body(Upload { stream, .. }) = &mut self.up {
            stream.send_reset(h2::Reason::CANCEL);
        }
    }

    /// Lets it end in peace after its answer was read: an endpoint may say only afterwards that this was the end, and
    /// would take a reset for a sign of displeasure.
    pub(crate) fn finish(mut self) {
        if !matches!(self.up, Up::Over) {
            return;
        }
        let Down::Body(body) = &mut self.down else { return };
        if body.stream.is_end_stream() {
            return;
        }
        tokio::task::spawn_local(Box::pin(async move {
            let mut scrap = [0; 16];
            let rest = poll_fn(|context| self.poll_read(context, &mut ReadBuf::new(&mut scrap)));
            let _ = timeout(LINGER, rest).await;
        }));
    }
}

/// What a head in HTTP/1.1 is in HTTP/2; `None` where it can't be said.
pub(in crate::http) fn ask(head: &[u8]) -> Option<http::Request<()>> {
    ask::read(head, false).ok().map(|(request, _)| request)
}

impl Upload {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let room = match self.advance {
            0 => ready!(poll_room(&mut self.stream, context, bytes.len()))?,
            advance => advance,
        };
        let mut content = Vec::new();
        let scanned = self.body.scan_parts(
            &bytes[..bytes.len().min(room)],
            |piece| content.extend_from_slice(piece),
            |byte| self.trailers.push(byte),
        );
        let length = scanned.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?.length;
        self.advance = self.advance.saturating_sub(content.len());
        let ends = self.body.is_done() && self.ends_itself;
        let trailers = if ends {
            trailers::read(&self.trailers).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?
        } else {
            None
        };
        if !content.is_empty() || (ends && trailers.is_none()) {
            self.stream.send_data(content.into(), ends && trailers.is_none()).map_err(|_| broken())?;
        }
        if let Some(trailers) = trailers {
            self.stream.send_trailers(trailers).map_err(|_| broken())?;
        }
        Poll::Ready(Ok(length))
    }
}

impl Download {
    /// Takes a step. `false` is the end, and where no chunks tell what is said there, it is put into `behind`.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
        out: &mut Buffer,
        behind: &mut Option<HeaderMap>,
    ) -> Poll<Result<bool, h2::Error>> {
        let chunked = self.ends == Ends::WithLastChunk;
        if !self.held.is_empty() {
            take(&mut self.stream, &mut self.held, room);
            if self.held.is_empty() && std::mem::take(&mut self.in_chunk) {
                out.put(b"\r\n");
            }
            return Poll::Ready(Ok(true));
        }
        if let Some(bytes) = ready!(self.poll_piece(context))? {
            if chunked && !bytes.is_empty() {
                out.put(format!("{:x}\r\n", bytes.len()).as_bytes());
                self.in_chunk = true;
            }
            self.held = bytes;
            return Poll::Ready(Ok(true));
        }
        let trailers = ready!(self.stream.poll_trailers(context)).or_else(answered_in_full)?;
        if chunked {
            out.put(b"0\r\n");
            trailers::write(trailers.as_ref(), out);
            out.put(b"\r\n");
        } else {
            *behind = trailers;
        }
        Poll::Ready(Ok(false))
    }

    /// The next piece of content; `None` at its end.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, h2::Error>> {
        self.stream.poll_data(context).map(|piece| piece.transpose().or_else(answered_in_full))
    }

    /// Passes over the end of content of which nothing is left. Gives what is said behind it.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, h2::Error>> {
        // More than its length the stack lets nobody send.
        while ready!(self.poll_piece(context))?.is_some() {}
        self.stream.poll_trailers(context).map(|trailers| trailers.or_else(answered_in_full))
    }
}

/// A stream whose answer is whole may be broken off, as no more of the request is needed (RFC 9113 §8.1).
fn answered_in_full<T>(error: h2::Error) -> Result<Option<T>, h2::Error> {
    if error.is_reset() && error.reason() == Some(h2::Reason::NO_ERROR) { Ok(None) } else { Err(error) }
}

/// Reads of what was received as much as fits, and lets the endpoint send that much more.
fn take(stream: &mut RecvStream, held: &mut Bytes, room: &mut ReadBuf<'_>) {
    let count = held.len().min(room.remaining());
    room.put_slice(&held[..count]);
    held.advance(count);
    let _ = stream.flow_control().release_capacity(count);
}

/// Waits until some of `wanted` bytes may be sent.
fn poll_room(
    stream: &mut SendStream<Bytes>,
    context: &mut Context<'_>,
    wanted: usize,
) -> Poll<io::Result<usize>> {
    stream.reserve_capacity(wanted.min(BUFFER_BYTES));
    if stream.capacity() > 0 {
        return Poll::Ready(Ok(stream.capacity()));
    }
    match ready!(stream.poll_capacity(context)) {
        Some(Ok(room)) => Poll::Ready(Ok(room)),
        Some(Err(_)) | None => Poll::Ready(Err(broken())),
    }
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
