//! Pipes through which the kernel moves bytes from one connection to another without copying them (splice(2)).
//!
//! Measured, they win where much moves: from 64 KiB on, and with room for 256 KiB. Below that, reading and writing takes
//! fewer system calls.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::limits::{PIPE_BYTES, PIPES_MAX};

/// The pipes of a worker.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    free: RefCell<Vec<Ends>>,
    in_use: Cell<usize>,
}

#[derive(Debug)]
struct Ends {
    exit: OwnedFd,
    entry: OwnedFd,
}

/// A pipe in use.
#[derive(Debug)]
pub(crate) struct Pipe<'p> {
    pool: &'p Pipes,
    ends: Option<Ends>,
    /// Bytes in it.
    held: usize,
}

impl Pipes {
    /// An empty pipe; `None` where there are enough, or the system gives no more of that size: bytes can be copied.
    pub(crate) fn take(&self) -> Option<Pipe<'_>> {
        if self.in_use.get() >= PIPES_MAX {
            return None;
        }
        let kept = self.free.borrow_mut().pop();
        let ends = kept.or_else(|| Ends::open().ok())?;
        self.in_use.set(self.in_use.get() + 1);
        Some(Pipe { pool: self, ends: Some(ends), held: 0 })
    }

    /// Closes those that nobody uses.
    pub(crate) fn sweep(&self) {
        if self.in_use.get() == 0 {
            self.free.take();
        }
    }
}

impl Ends {
    fn open() -> io::Result<Self> {
        let (exit, entry) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        fcntl_setpipe_size(&entry, PIPE_BYTES)?;
        Ok(Self { exit, entry })
    }
}

impl Pipe<'_> {
    /// Bytes in it.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Takes in what was received, up to `most` bytes; 0 is the end of the input. To be called while nothing is in it, as
    /// a pipe without room looks like a connection without bytes.
    pub(crate) async fn fill(&mut self, from: &TcpStream, most: u64) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "what it holds has to leave first");
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(PIPE_BYTES);
        let Some(ends) = &self.ends else { return Ok(0) };
        let attempt = || from.try_io(Interest::READABLE, || pass(from, &ends.entry, most));
        let count =
            poll_fn(|context| retry(context, |context| from.poll_read_ready(context), attempt)).await?;
        self.held = count;
        Ok(count)
    }

    /// [`Self::fill`] with what is there already; `None` when there is nothing.
    pub(crate) async fn fill_now(&mut self, from: &TcpStream) -> Option<io::Result<usize>> {
        let mut filling = pin!(self.fill(from, u64::MAX));
        poll_fn(|context| {
            Poll::Ready(match filling.as_mut().poll(context) {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            })
        })
        .await
    }

    /// Sends on what the other side takes of what it holds.
    pub(crate) async fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        let held = self.held;
        let Some(ends) = &self.ends else { return Ok(0) };
        let attempt = || to.try_io(Interest::WRITABLE, || pass(&ends.exit, to, held));
        let count =
            poll_fn(|context| retry(context, |context| to.poll_write_ready(context), attempt)).await?;
        self.held -= count;
        Ok(count)
    }
}

impl Drop for Pipe<'_> {
    fn drop(&mut self) {
        self.pool.in_use.set(self.pool.in_use.get() - 1);
        // One with bytes in it must not be used for another connection.
        if self.held == 0 {
            self.pool.free.borrow_mut().extend(self.ends.take());
        }
    }
}

fn pass(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    Ok(splice(from, None, to, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
}

/// Attempts whenever the connection is ready, until that succeeds or fails.
fn retry(
    context: &mut Context<'_>,
    ready: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
    attempt: impl Fn() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(ready(context))?;
        match attempt() {
            // The runtime has taken note, and will say when.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return Poll::Ready(outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (one, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_pass_whole_and_in_order_and_the_end_is_seen() {
        let pipes = Pipes::default();
        let ((mut source, from), (to, mut sink)) = (pair().await, pair().await);
        let sent: Vec<u8> = (0..1_000_000_u32).map(|at| at as u8 ^ (at >> 8) as u8).collect();
        let passing = async {
            let mut pipe = pipes.take().unwrap();
            while pipe.fill(&from, u64::MAX).await.unwrap() > 0 {
                while pipe.held() > 0 {
                    pipe.drain(&to).await.unwrap();
                }
            }
            drop((pipe, to));
        };
        let sending = async {
            source.write_all(&sent).await.unwrap();
            source.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let ((), (), read) = tokio::join!(passing, sending, sink.read_to_end(&mut received));
        read.unwrap();
        assert!(received == sent, "{} of {} bytes, or others", received.len(), sent.len());
        assert_eq!(pipes.free.borrow().len(), 1);
    }

    #[tokio::test]
    async fn no_more_is_taken_than_asked_for_and_a_pipe_that_is_not_empty_is_not_used_again() {
        let pipes = Pipes::default();
        let (mut source, mut from) = pair().await;
        source.write_all(b"bodynext").await.unwrap();
        let mut pipe = pipes.take().unwrap();
        assert_eq!(pipe.fill(&from, 4).await.unwrap(), 4);
        let mut rest = [0; 4];
        from.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"next");
        drop(pipe);
        assert!(pipes.free.borrow().is_empty());
        let taken: Vec<_> = (0..PIPES_MAX).map(|_| pipes.take().unwrap()).collect();
        assert!(pipes.take().is_none());
        drop(taken);
        assert_eq!(pipes.free.borrow().len(), PIPES_MAX);
        pipes.sweep();
        assert!(pipes.free.borrow().is_empty());
    }
}
