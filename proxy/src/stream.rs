//! A connection to a client or an endpoint as the engine sees it: a stream of bytes, in the clear or by TLS. An
//! endpoint's may be one stream of a connection by HTTP/2, which is spoken to as if it were a connection.
//!
//! It knows how bytes travel, and nothing of what they mean.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, tcp};
use tokio_rustls::TlsStream;
use tokio_rustls::rustls::ProtocolVersion;

use crate::access_log::Agreed;
use crate::deadline::{Moment, sleep_until};
use crate::http::Lane;
use crate::limits::CLIENT_WATCHED_AFTER;
use crate::sockmap::unacknowledged;

mod fresh;

use fresh::Fresh;

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    /// In the clear.
    Tcp(TcpStream),
    /// The same, of a client that may have said all that it will.
    Fresh(Fresh),
    /// By TLS, on either side of it. In a cell, so that both halves can use it: they belong to one task.
    Tls(Box<RefCell<Tls>>),
    /// A stream of an endpoint's connection by HTTP/2.
    Lane(Box<RefCell<Lane>>),
}

/// A TLS session with the connection it runs over.
#[derive(Debug)]
pub(crate) struct Tls {
    session: TlsStream<TcpStream>,
    /// Whether it is to be broken off, so that the other side is not to be told of an end.
    broken: bool,
    /// Bytes that the session took, and that the kernel has not taken whole yet.
    unsent: usize,
}

/// The half that is read from.
#[derive(Debug)]
pub(crate) enum ReadHalf<'a> {
    Tcp(tcp::ReadHalf<'a>),
    Fresh(&'a Fresh),
    Tls(&'a RefCell<Tls>),
    Lane(&'a RefCell<Lane>),
}

/// The half that is written to.
#[derive(Debug)]
pub(crate) enum WriteHalf<'a> {
    Tcp(tcp::WriteHalf<'a>),
    Fresh(&'a Fresh),
    Tls(&'a RefCell<Tls>),
    Lane(&'a RefCell<Lane>),
}

impl Stream {
    /// One in the clear that was just accepted, and does not block.
    pub(crate) fn fresh(tcp: std::net::TcpStream) -> Self {
        Self::Fresh(Fresh::new(tcp))
    }

    /// One that speaks TLS, after the handshake.
    pub(crate) fn tls(session: impl Into<TlsStream<TcpStream>>) -> Self {
        Self::Tls(Box::new(RefCell::new(Tls { session: session.into(), broken: false, unsent: 0 })))
    }

    /// A stream of a connection by HTTP/2.
    pub(crate) fn lane(lane: Lane) -> Self {
        Self::Lane(Box::new(RefCell::new(lane)))
    }

    /// Whether the other side said that it did not look at what was sent.
    pub(crate) fn is_unprocessed(&self) -> bool {
        matches!(self, Self::Lane(lane) if lane.borrow().is_unprocessed())
    }

    /// What the other side said when it broke a stream off.
    pub(crate) fn broken_by(&self) -> Option<h2::Reason> {
        if let Self::Lane(lane) = self { lane.borrow().broken_by() } else { None }
    }

    /// Whether it speaks TLS.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The version and the cipher suite that were agreed on, for the log.
    pub(crate) fn agreed(&self) -> Option<Agreed> {
        let Self::Tls(tls) = self else { return None };
        let tls = tls.borrow();
        let (_, session) = tls.session.get_ref();
        let version = match session.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "1.3",
            _ => "1.2",
        };
        let suite = session.negotiated_cipher_suite()?.suite();
        // rustls marks those of TLS 1.3, which have no such mark where they are registered.
        let cipher = suite.as_str().unwrap_or_default().replace("TLS13_", "TLS_");
        Some(Agreed { version, cipher })
    }

    /// The protocol that was agreed on by ALPN; empty where none was.
    pub(crate) fn alpn(&self) -> Vec<u8> {
        let Self::Tls(tls) = self else { return Vec::new() };
        tls.borrow().session.get_ref().1.alpn_protocol().map_or_else(Vec::new, <[u8]>::to_vec)
    }

    /// Whether what travels is what is meant.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Fresh(_))
    }

    /// The connection itself, where it is in the clear.
    pub(crate) fn into_tcp(self) -> Option<TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::Fresh(fresh) => fresh.into_watched().ok(),
            Self::Tls(_) | Self::Lane(_) => None,
        }
    }

    /// Has the runtime tell what comes, where it does not.
    pub(crate) fn watch(&mut self) {
        if let Self::Fresh(fresh) = self {
            // Where that can't be had, whoever reads is told.
            let _ = fresh.watched();
        }
        self.settle();
    }

    /// What is watched costs less as what it is.
    fn settle(&mut self) {
        if let Self::Fresh(fresh) = self
            && let Some(tcp) = fresh.grown_up()
        {
            *self = Self::Tcp(tcp);
        }
    }

    /// Both halves, for one task.
    pub(crate) fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        self.settle();
        match self {
            Self::Fresh(fresh) => (ReadHalf::Fresh(fresh), WriteHalf::Fresh(fresh)),
            Self::Tcp(tcp) => {
                let (read, write) = tcp.split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Self::Tls(tls) => (ReadHalf::Tls(tls), WriteHalf::Tls(tls)),
            Self::Lane(lane) => (ReadHalf::Lane(lane), WriteHalf::Lane(lane)),
        }
    }

    /// Resolves when there may be something to read; without a buffer to read into.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        poll_fn(|context| match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(context),
            Self::Fresh(fresh) => fresh.watched()?.poll_read_ready(context),
            Self::Tls(tls) => tls.borrow().poll_readable(context),
            Self::Lane(lane) => lane.borrow_mut().poll_readable(context),
        })
        .await
    }

    /// Whether nothing was received, as far as the runtime knows: neither the end, nor bytes that nobody asked for and
    /// that would be taken for the answer to the next request.
    pub(crate) fn is_silent(&mut self) -> bool {
        match self {
            // It is a client's, and those are not asked.
            Self::Fresh(_) => false,
            Self::Tcp(tcp) => {
                matches!(tcp.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            // What the session keeps to itself (tickets, new keys) is read on the way.
            Self::Tls(tls) => {
                let mut context = Context::from_waker(Waker::noop());
                let mut room = [0];
                Pin::new(&mut tls.get_mut().session)
                    .poll_read(&mut context, &mut ReadBuf::new(&mut room))
                    .is_pending()
            }
            // It has served its one request.
            Self::Lane(_) => false,
        }
    }

    /// Resolves when the other side has sent something (`true`) or ended (`false`), which is left to be read.
    pub(crate) async fn heard(&self) -> io::Result<bool> {
        let mut room = [MaybeUninit::uninit()];
        let heard = poll_fn(|context| {
            let peeked = self.with_tcp(|tcp| tcp.poll_peek(context, &mut ReadBuf::uninit(&mut room)));
            peeked.unwrap_or(Poll::Pending)
        });
        Ok(heard.await? > 0)
    }

    /// The connection below, unless others use it as well.
    pub(crate) fn with_tcp<T>(&self, look: impl FnOnce(&TcpStream) -> T) -> Option<T> {
        match self {
            Self::Tcp(tcp) => Some(look(tcp)),
            Self::Fresh(fresh) => fresh.watched().ok().map(look),
            Self::Tls(tls) => Some(look(tls.borrow().session.get_ref().0)),
            Self::Lane(_) => None,
        }
    }

    /// Makes closing it break it off: where the end of the connection is the end of what was said, a break must not
    /// look like one.
    pub(crate) fn break_off(&self) {
        match self {
            Self::Tcp(_) | Self::Fresh(_) => {}
            Self::Tls(tls) => tls.borrow_mut().broken = true,
            Self::Lane(lane) => lane.borrow_mut().reset(),
        }
        self.with_tcp(|tcp| {
            let _ = tcp.set_zero_linger();
        });
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl Tls {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (tcp, session) = self.session.get_ref();
        // What was received with an earlier record is not announced by the kernel again.
        if session.wants_read() { tcp.poll_read_ready(context) } else { Poll::Ready(Ok(())) }
    }

    fn poll_read(&mut self, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.session).poll_read(context, room)
    }

    /// Done when the kernel has the bytes: a session would take them and wait for somebody to ask again.
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.unsent == 0 {
            self.unsent = ready!(Pin::new(&mut self.session).poll_write(context, bytes))?;
        }
        ready!(Pin::new(&mut self.session).poll_flush(context))?;
        Poll::Ready(Ok(std::mem::take(&mut self.unsent)))
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken { Poll::Ready(Ok(())) } else { Pin::new(&mut self.session).poll_shutdown(context) }
    }
}

impl AsyncRead for ReadHalf<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(context, room),
            Self::Fresh(fresh) => fresh.poll_read(context, room),
            Self::Tls(tls) => tls.borrow_mut().poll_read(context, room),
            Self::Lane(lane) => lane.borrow_mut().poll_read(context, room),
        }
    }
}

impl ReadHalf<'_> {
    /// The connection itself, where its bytes are those that are meant.
    pub(crate) fn in_the_clear(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp.as_ref()),
            Self::Fresh(fresh) => fresh.watched().ok(),
            Self::Tls(_) | Self::Lane(_) => None,
        }
    }

    /// Resolves when there may be something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        poll_fn(|context| match self {
            Self::Tcp(tcp) => tcp.as_ref().poll_read_ready(context),
            Self::Fresh(fresh) => fresh.watched()?.poll_read_ready(context),
            Self::Tls(tls) => tls.borrow().poll_readable(context),
            Self::Lane(lane) => lane.borrow_mut().poll_readable(context),
        })
        .await
    }

    /// Whether something may be said behind content that was read to its end, though that has a length.
    pub(crate) fn may_say_more(&self) -> bool {
        matches!(self, Self::Lane(lane) if lane.borrow().may_say_more())
    }

    /// What is said there, once all is.
    pub(crate) async fn trailers(&mut self) -> io::Result<Option<HeaderMap>> {
        match self {
            Self::Tcp(_) | Self::Fresh(_) | Self::Tls(_) => Ok(None),
            Self::Lane(lane) => poll_fn(|context| lane.borrow_mut().poll_trailers(context)).await,
        }
    }

    /// Whether the other side's kernel has everything that was sent to it, as far as this one knows.
    pub(crate) fn is_acknowledged(&self) -> bool {
        let waiting = match self {
            Self::Tcp(tcp) => unacknowledged(tcp.as_ref()),
            Self::Tls(tls) => unacknowledged(tls.borrow().session.get_ref().0),
            // It is clients that are fresh; and on a connection by HTTP/2 others send as well.
            Self::Fresh(_) | Self::Lane(_) => return true,
        };
        matches!(waiting, Ok(0) | Err(_))
    }
}

impl WriteHalf<'_> {
    /// Whether a body that has a length ends with it, as far as is known: else [`Self::end_body`] says so, where there is a
    /// way to.
    pub(crate) fn body_ends_itself(&mut self, ends_itself: bool) {
        if let Self::Lane(lane) = self {
            lane.borrow_mut().body_ends_itself(ends_itself);
        }
    }

    /// Ends such a body, with what is said behind it where there is a place for that.
    pub(crate) fn end_body(&mut self, trailers: Option<HeaderMap>) -> io::Result<()> {
        if let Self::Lane(lane) = self { lane.borrow_mut().end_body(trailers) } else { Ok(()) }
    }

    /// Resolves when the other side breaks the connection off, also after it has ended its side in peace, or has sent
    /// something that nobody has read.
    pub(crate) async fn broken_off(&self) {
        match self {
            // The kernel tells of it apart from what there is to read. Should the runtime end, so does whoever asks.
            Self::Tcp(tcp) => drop(tcp.as_ref().ready(Interest::ERROR).await),
            Self::Fresh(fresh) => {
                if let Ok(tcp) = fresh.watched() {
                    drop(tcp.ready(Interest::ERROR).await);
                }
            }
            Self::Tls(tls) => tls_broken_off(tls).await,
            // It is clients that are watched.
            Self::Lane(_) => std::future::pending().await,
        }
    }

    /// The connection itself, where its bytes are those that are meant.
    pub(crate) fn in_the_clear(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp.as_ref()),
            Self::Fresh(fresh) => fresh.watched().ok(),
            Self::Tls(_) | Self::Lane(_) => None,
        }
    }
}

/// The same of a session, which the other half uses meanwhile. Once there is something to be read, nothing tells of a
/// break: it is looked for now and then.
async fn tls_broken_off(tls: &RefCell<Tls>) {
    let mut room = [MaybeUninit::uninit()];
    let peeked = poll_fn(|context| {
        tls.borrow().session.get_ref().0.poll_peek(context, &mut ReadBuf::uninit(&mut room))
    });
    if peeked.await.is_err() {
        return;
    }
    let is_broken = || !matches!(tls.borrow().session.get_ref().0.take_error(), Ok(None));
    while !is_broken() {
        sleep_until(Moment::now() + CLIENT_WATCHED_AFTER).await;
    }
}

impl AsyncWrite for WriteHalf<'_> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Fresh(fresh) => fresh.poll_write(context, bytes),
            Self::Tls(tls) => tls.borrow_mut().poll_write(context, bytes),
            Self::Lane(lane) => lane.borrow_mut().poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(&mut tls.borrow_mut().session).poll_flush(context),
            Self::Fresh(_) | Self::Lane(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Fresh(fresh) => fresh.poll_shutdown(),
            Self::Tls(tls) => tls.borrow_mut().poll_shutdown(context),
            Self::Lane(lane) => {
                lane.borrow_mut().end();
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        stream.settle();
        match stream {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(context, room),
            Self::Fresh(fresh) => fresh.poll_read(context, room),
            Self::Tls(tls) => tls.get_mut().poll_read(context, room),
            Self::Lane(lane) => lane.get_mut().poll_read(context, room),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Fresh(fresh) => fresh.poll_write(context, bytes),
            Self::Tls(tls) => tls.get_mut().poll_write(context, bytes),
            Self::Lane(lane) => lane.get_mut().poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(&mut tls.get_mut().session).poll_flush(context),
            Self::Fresh(_) | Self::Lane(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Fresh(fresh) => fresh.poll_shutdown(),
            Self::Tls(tls) => tls.get_mut().poll_shutdown(context),
            Self::Lane(lane) => {
                lane.get_mut().end();
                Poll::Ready(Ok(()))
            }
        }
    }
}
