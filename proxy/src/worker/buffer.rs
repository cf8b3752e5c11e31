//! Buffers, and the pool they go back to when a connection is idle.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::limits::{BUFFER_BYTES, BUFFERS_KEPT};

/// The buffers that a worker keeps for later.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: RefCell<Vec<Vec<u8>>>,
}

/// Bytes on their way through: put in at the end, taken from the front. Returned to its pool when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    pool: Rc<Buffers>,
}

impl Buffers {
    /// An empty buffer.
    pub(crate) fn take(self: &Rc<Self>) -> Buffer {
        let bytes = self.free.borrow_mut().pop().unwrap_or_else(|| vec![0; BUFFER_BYTES]);
        Buffer { bytes, start: 0, end: 0, pool: self.clone() }
    }
}

impl Buffer {
    /// The bytes in it.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes `count` bytes off the front.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "more consumed than there was");
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Puts bytes in at the end, growing as needed.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.bytes[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Reads once into the free part, making room first if there is none; 0 is the end of the input.
    pub(crate) async fn read_from(&mut self, input: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        self.reserve(1);
        let count = input.read(&mut self.bytes[self.end..]).await?;
        self.end += count;
        Ok(count)
    }

    /// Reads what is there already; `None` when there is nothing, whatever the socket's readiness says: a read that fills
    /// its buffer to the last byte leaves that standing.
    pub(crate) async fn read_now(
        &mut self,
        input: &mut (impl AsyncRead + Unpin),
    ) -> Option<io::Result<usize>> {
        let mut read = std::pin::pin!(self.read_from(input));
        std::future::poll_fn(|context| {
            Poll::Ready(match read.as_mut().poll(context) {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            })
        })
        .await
    }

    fn reserve(&mut self, count: usize) {
        if self.bytes.len() - self.end >= count {
            return;
        }
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let needed = self.end + count;
        if self.bytes.len() < needed {
            self.bytes.resize(needed.max(self.bytes.len() * 2), 0);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.pool.free.borrow_mut();
        // One that grew for an unusual head is not kept.
        if self.bytes.len() == BUFFER_BYTES && free.len() < BUFFERS_KEPT {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let pool = Rc::new(Buffers::default());
        let mut buffer = pool.take();
        buffer.put(&[1; BUFFER_BYTES - 1]);
        buffer.consume(BUFFER_BYTES - 2);
        buffer.put(&[2; 10]);
        assert_eq!(buffer.filled(), [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
        buffer.put(&[3; BUFFER_BYTES]);
        assert_eq!(buffer.filled().len(), BUFFER_BYTES + 11);
        assert_eq!(buffer.filled()[11..], [3; BUFFER_BYTES]);
    }

    #[test]
    fn a_buffer_goes_back_unless_it_grew() {
        let pool = Rc::new(Buffers::default());
        drop(pool.take());
        assert_eq!(pool.free.borrow().len(), 1);
        let mut buffer = pool.take();
        buffer.put(&vec![0; BUFFER_BYTES + 1]);
        drop(buffer);
        assert_eq!(pool.free.borrow().len(), 0);
    }
}
