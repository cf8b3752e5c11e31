//! A connection that was just accepted, and that the runtime does not watch until there is something to wait for.
//!
//! Watching takes two calls into the kernel and a place with the runtime. Of a client that asks once and closes, all is
//! there when it is looked for, and can be sent when it is to be: it costs none of that.

use std::cell::{OnceCell, RefCell};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// See above. In cells, so that both halves can use it: they belong to one task.
#[derive(Debug)]
pub(crate) struct Fresh {
    /// Until it is watched.
    unwatched: RefCell<Option<std::net::TcpStream>>,
    watched: OnceCell<TcpStream>,
}

impl Fresh {
    /// One that does not block.
    pub(super) fn new(tcp: std::net::TcpStream) -> Self {
        Self { unwatched: RefCell::new(Some(tcp)), watched: OnceCell::new() }
    }

    /// The connection, watched from now on.
    pub(super) fn watched(&self) -> io::Result<&TcpStream> {
        if let Some(tcp) = self.watched.get() {
            return Ok(tcp);
        }
        let tcp = self.unwatched.take().ok_or(io::ErrorKind::NotConnected)?;
        let tcp = TcpStream::from_std(tcp)?;
        Ok(self.watched.get_or_init(|| tcp))
    }

    /// The connection itself, once it is watched.
    pub(super) fn grown_up(&mut self) -> Option<TcpStream> {
        self.watched.take()
    }

    /// The connection itself, watched.
    pub(super) fn into_watched(self) -> io::Result<TcpStream> {
        self.watched()?;
        self.watched.into_inner().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Does something at once, if the connection is not watched. `None` is that it has to be waited for.
    fn at_once<T>(
        &self,
        mut act: impl FnMut(&std::net::TcpStream) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        let unwatched = self.unwatched.borrow();
        let tcp = unwatched.as_ref()?;
        loop {
            return match act(tcp) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => Some(done),
            };
        }
    }

    pub(super) fn poll_read(
        &self,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(done) = self.at_once(|mut tcp| tcp.read(room.initialize_unfilled())) {
            return Poll::Ready(done.map(|count| room.advance(count)));
        }
        let tcp = self.watched()?;
        loop {
            ready!(tcp.poll_read_ready(context))?;
            match tcp.try_read(room.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done.map(|count| room.advance(count))),
            }
        }
    }

    pub(super) fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(done) = self.at_once(|mut tcp| tcp.write(bytes)) {
            return Poll::Ready(done);
        }
        let tcp = self.watched()?;
        loop {
            ready!(tcp.poll_write_ready(context))?;
            match tcp.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    pub(super) fn poll_shutdown(&self) -> Poll<io::Result<()>> {
        if let Some(done) = self.at_once(|tcp| tcp.shutdown(Shutdown::Write)) {
            return Poll::Ready(done);
        }
        let done = rustix::net::shutdown(self.watched()?, rustix::net::Shutdown::Write);
        Poll::Ready(done.map_err(io::Error::from))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use crate::stream::Stream;

    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        (Stream::fresh(accepted.into_std().unwrap()), other)
    }

    fn is_watched(stream: &Stream) -> bool {
        !matches!(stream, Stream::Fresh(fresh) if fresh.watched.get().is_none())
    }

    #[tokio::test]
    async fn what_is_there_is_had_without_being_watched() {
        let (mut stream, mut other) = pair().await;
        other.write_all(b"hello").await.unwrap();
        let mut room = [0; 5];
        stream.read_exact(&mut room).await.unwrap();
        stream.write_all(b"there").await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(!is_watched(&stream));
        let mut heard = String::new();
        other.read_to_string(&mut heard).await.unwrap();
        assert_eq!((&room, heard.as_str()), (b"hello", "there"));
    }

    #[tokio::test]
    async fn what_has_to_be_waited_for_is_watched_from_then_on() {
        let (mut stream, mut other) = pair().await;
        let (mut read, mut write) = stream.split();
        let mut room = [0; 4];
        let ((), ()) = tokio::join!(
            async {
                read.readable().await.unwrap();
                read.read_exact(&mut room).await.unwrap();
                write.write_all(b"and more").await.unwrap();
            },
            async { other.write_all(b"late").await.unwrap() },
        );
        assert_eq!(&room, b"late");
        assert!(is_watched(&stream));
        let mut heard = [0; 8];
        other.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"and more");
        drop(other);
        // Once nobody has a half of it, it is like any other.
        assert_eq!(stream.read(&mut room).await.unwrap(), 0);
        assert!(matches!(stream, Stream::Tcp(_)));
    }

    #[tokio::test]
    async fn more_than_the_kernel_takes_at_once_is_waited_for() {
        let (mut stream, mut other) = pair().await;
        let much = vec![7; 8 << 20];
        let mut heard = Vec::new();
        let (_read, mut write) = stream.split();
        let ((), ()) = tokio::join!(
            async {
                write.write_all(&much).await.unwrap();
                write.shutdown().await.unwrap();
            },
            async {
                other.read_to_end(&mut heard).await.unwrap();
            },
        );
        assert!(heard == much);
        assert!(is_watched(&stream));
    }
}
