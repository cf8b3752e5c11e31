//! The connection beneath the HTTP/2 stack: what is read passes the guard, what is written is gathered and sent in one
//! piece when the stack has nothing more to say.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::guard::{Excess, Guard};
use crate::deadline::Moment;
use crate::limits::BULK_BYTES;
use crate::stream::Stream;
use crate::worker::{Buffer, Buffers};

/// A connection, with what is on its way either way. Clones are the same one: the stack holds it, and whoever
/// drives the stack looks after it.
#[derive(Clone, Debug)]
pub(in crate::http) struct Wire(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    stream: Stream,
    /// What was read before the stack was there.
    early: Buffer,
    /// What the stack wrote and the kernel has not taken.
    out: Buffer,
    /// Where it is a client's.
    guard: Option<Guard>,
    /// What the client was found doing; from then on nothing of it is read.
    excess: Option<Excess>,
    /// When something was read last.
    heard: Moment,
    /// Bytes read and sent.
    received: u64,
    sent: u64,
}

impl Wire {
    /// `early` is what the client sent so far, from its first byte on.
    pub(super) fn new(stream: Stream, early: Buffer, buffers: &Rc<Buffers>) -> Self {
        Self::with(stream, early, Some(Guard::new(Moment::now())), buffers)
    }

    /// A connection to an endpoint, which is not watched: the stack's own limits are enough for it.
    pub(in crate::http) fn to_endpoint(stream: Stream, buffers: &Rc<Buffers>) -> Self {
        let mut early = buffers.take();
        early.rest();
        Self::with(stream, early, None, buffers)
    }

    fn with(stream: Stream, early: Buffer, guard: Option<Guard>, buffers: &Rc<Buffers>) -> Self {
        let mut out = buffers.take_for_bulk();
        out.rest();
        Self(Rc::new(RefCell::new(Inner {
            stream,
            early,
            out,
            guard,
            excess: None,
            heard: Moment::now(),
            received: 0,
            sent: 0,
        })))
    }

    /// What the client was found doing, if it was.
    pub(super) fn excess(&self) -> Option<Excess> {
        self.0.borrow().excess
    }

    /// Since when the client is sending a block of fields.
    pub(super) fn block_since(&self) -> Option<Moment> {
        self.0.borrow().guard.as_ref().and_then(Guard::block_since)
    }

    /// When something was read last.
    pub(in crate::http) fn heard(&self) -> Moment {
        self.0.borrow().heard
    }

    /// Sends what was gathered, as far as the kernel takes it.
    pub(in crate::http) fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_send(context)
    }

    /// The connection below.
    pub(in crate::http) fn with_tcp<T>(&self, look: impl FnOnce(&TcpStream) -> T) -> Option<T> {
        self.0.borrow().stream.with_tcp(look)
    }

    /// The connection itself, when the stack is gone.
    pub(super) fn into_stream(self) -> Option<Stream> {
        Rc::into_inner(self.0).map(|inner| inner.into_inner().stream)
    }
}

impl Inner {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, self.out.filled()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.consume(count);
            self.sent += count as u64;
            if let Some(guard) = &mut self.guard {
                guard.sent(count);
            }
        }
        self.out.rest();
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.excess.is_some() {
            return Poll::Pending;
        }
        let before = room.filled().len();
        if self.early.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(context, room))?;
        } else {
            let count = room.remaining().min(self.early.filled().len());
            room.put_slice(&self.early.filled()[..count]);
            self.early.consume(count);
            self.early.rest();
        }
        let bytes = &room.filled()[before..];
        if bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.heard = Moment::now();
        self.received += bytes.len() as u64;
        if let Some(Err(excess)) = self.guard.as_mut().map(|guard| guard.look(bytes, self.heard)) {
            // Whoever drives the stack has it say goodbye, and nothing of this reaches it.
            self.excess = Some(excess);
            room.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_read(context, room)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        if inner.out.filled().len() >= BULK_BYTES {
            ready!(inner.poll_send(context))?;
        }
        let count = bytes.len().min(BULK_BYTES - inner.out.filled().len());
        inner.out.put_for_bulk(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    /// The stack flushes after every frame of some size; what it wrote leaves when it has no more.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_send(context))?;
        Pin::new(&mut inner.stream).poll_shutdown(context)
    }
}
