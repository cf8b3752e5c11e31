//! Buffers, and the pool they go back to when a connection is idle.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::limits::{BUFFER_BYTES, BUFFERS_KEPT, BULK_BYTES, BULK_KEPT};

/// The buffers that a worker keeps for later.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: RefCell<Vec<Vec<u8>>>,
    /// Those for bodies.
    bulk: RefCell<Vec<Vec<u8>>>,
    /// How many of each were to spare at any time since the last look.
    spare: Cell<[usize; 2]>,
}

/// Bytes on their way through: put in at the end, taken from the front. Returned to its pool when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the last read left no room: much is on its way.
    crowded: bool,
    pool: Rc<Buffers>,
}

impl Buffers {
    /// An empty buffer.
    pub(crate) fn take(self: &Rc<Self>) -> Buffer {
        Buffer { bytes: self.take_small(), start: 0, end: 0, crowded: false, pool: self.clone() }
    }

    /// An empty buffer for much.
    pub(crate) fn take_for_bulk(self: &Rc<Self>) -> Buffer {
        Buffer { bytes: self.take_bulk(), start: 0, end: 0, crowded: false, pool: self.clone() }
    }

    /// Lets go of what was not needed since this was called last: after a rush, its memory is of use to others. How many
    /// those were.
    pub(crate) fn sweep(&self) -> usize {
        let [small, bulk] = self.spare.take();
        let mut let_go = 0;
        for (buffers, spare) in [(&self.free, small), (&self.bulk, bulk)] {
            let mut buffers = buffers.borrow_mut();
            let before = buffers.len();
            let kept = before.saturating_sub(spare);
            let_go += before - kept;
            buffers.truncate(kept);
            buffers.shrink_to(kept);
        }
        self.spare.set([self.free.borrow().len(), self.bulk.borrow().len()]);
        let_go
    }

    fn take_small(&self) -> Vec<u8> {
        let mut free = self.free.borrow_mut();
        let taken = free.pop().unwrap_or_else(|| vec![0; BUFFER_BYTES]);
        let [small, bulk] = self.spare.get();
        self.spare.set([small.min(free.len()), bulk]);
        taken
    }

    fn take_bulk(&self) -> Vec<u8> {
        let mut free = self.bulk.borrow_mut();
        let taken = free.pop().unwrap_or_else(|| vec![0; BULK_BYTES]);
        let [small, bulk] = self.spare.get();
        self.spare.set([small, bulk.min(free.len())]);
        taken
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let (free, kept) = match bytes.len() {
            BUFFER_BYTES => (&self.free, BUFFERS_KEPT),
            BULK_BYTES => (&self.bulk, BULK_KEPT),
            // One that grew for an unusual head is not kept.
            _ => return,
        };
        let mut free = free.borrow_mut();
        if free.len() < kept {
            free.push(bytes);
        }
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

    /// Gives the memory back while there is nothing in it; the next bytes take some anew.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            self.clear();
            self.pool.give_back(std::mem::take(&mut self.bytes));
        }
    }

    /// Whether the last read left no room.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded
    }

    pub(crate) fn clear(&mut self) {
        (self.start, self.end, self.crowded) = (0, 0, false);
    }

    /// Puts bytes in at the end, growing as needed.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.extend(bytes.len()).copy_from_slice(bytes);
    }

    /// Takes `count` more bytes in at the end, for the caller to write.
    #[inline]
    pub(crate) fn extend(&mut self, count: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < count {
            self.reserve(count);
        }
        let start = self.end;
        self.end += count;
        &mut self.bytes[start..self.end]
    }

    /// The same, into memory for much if there is none yet.
    pub(crate) fn put_for_bulk(&mut self, bytes: &[u8]) {
        if self.bytes.is_empty() {
            self.bytes = self.pool.take_bulk();
        }
        self.put(bytes);
    }

    /// Reads once into the free part, making room first if there is none; 0 is the end of the input.
    pub(crate) async fn read_from(&mut self, input: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        poll_fn(|context| self.poll_read_from(input, context)).await
    }

    /// Reads once, `most` bytes at the most, and holds no memory while there is nothing to read.
    pub(crate) async fn read_sparingly_from(
        &mut self,
        input: &mut (impl AsyncRead + Unpin),
        most: usize,
    ) -> io::Result<usize> {
        poll_fn(|context| {
            self.reserve(1);
            let end = self.bytes.len().min(self.end.saturating_add(most));
            let mut room = ReadBuf::new(&mut self.bytes[self.end..end]);
            match Pin::new(&mut *input).poll_read(context, &mut room) {
                Poll::Ready(read) => {
                    let count = room.filled().len();
                    self.end += count;
                    self.crowded = self.end == self.bytes.len();
                    Poll::Ready(read.map(|()| count))
                }
                Poll::Pending => {
                    self.rest();
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Keeps no more memory than what is in it takes.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.len() == BUFFER_BYTES && self.filled().len() <= BUFFER_BYTES / 2 {
            let small = self.filled().to_vec();
            (self.start, self.end) = (0, small.len());
            self.pool.give_back(std::mem::replace(&mut self.bytes, small));
        }
    }

    /// The same as [`Self::read_from`] for a body: where the last read filled the buffer, a larger one is taken for the next.
    pub(crate) async fn read_bulk_from(&mut self, input: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        self.make_room();
        self.read_from(input).await
    }

    /// Takes a larger buffer where the last read filled this one, and what it read is gone.
    fn make_room(&mut self) {
        if self.crowded && self.is_empty() && self.bytes.len() < BULK_BYTES {
            let small = std::mem::replace(&mut self.bytes, self.pool.take_bulk());
            self.pool.give_back(small);
        }
    }

    /// [`Self::read_from`], to be polled.
    pub(crate) fn poll_read_from(
        &mut self,
        input: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.reserve(1);
        let mut room = ReadBuf::new(&mut self.bytes[self.end..]);
        ready!(Pin::new(input).poll_read(context, &mut room))?;
        let count = room.filled().len();
        self.end += count;
        self.crowded = self.end == self.bytes.len();
        Poll::Ready(Ok(count))
    }

    /// Reads what is there already; `None` when there is nothing, whatever the socket's readiness says: a read that fills
    /// its buffer to the last byte leaves that standing.
    pub(crate) async fn read_now(
        &mut self,
        input: &mut (impl AsyncRead + Unpin),
    ) -> Option<io::Result<usize>> {
        poll_fn(|context| {
            Poll::Ready(match self.poll_read_from(input, context) {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            })
        })
        .await
    }

    fn reserve(&mut self, count: usize) {
        if self.bytes.is_empty() {
            self.bytes = self.pool.take_small();
        }
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
        self.pool.give_back(std::mem::take(&mut self.bytes));
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

    #[tokio::test]
    async fn much_is_read_in_larger_pieces_once_it_is_seen_to_be_much() {
        let pool = Rc::new(Buffers::default());
        let bytes = vec![7_u8; 4 * BULK_BYTES];
        let mut input = bytes.as_slice();
        let mut buffer = pool.take();
        let mut counts = Vec::new();
        for _ in 0..3 {
            counts.push(buffer.read_bulk_from(&mut input).await.unwrap());
            buffer.consume(buffer.filled().len());
        }
        assert_eq!(counts, [BUFFER_BYTES, BULK_BYTES, BULK_BYTES]);
        drop(buffer);
        assert_eq!((pool.free.borrow().len(), pool.bulk.borrow().len()), (1, 1));
    }

    #[test]
    fn a_buffer_that_rests_holds_no_memory() {
        let pool = Rc::new(Buffers::default());
        let mut buffer = pool.take();
        buffer.put(b"kept");
        buffer.rest();
        assert_eq!(pool.free.borrow().len(), 0);
        buffer.consume(4);
        buffer.rest();
        assert_eq!(pool.free.borrow().len(), 1);
        buffer.put(b"again");
        assert_eq!(buffer.filled(), b"again");
    }

    #[tokio::test]
    async fn a_sparing_read_takes_no_more_than_it_may_and_holds_nothing_meanwhile() {
        let pool = Rc::new(Buffers::default());
        let mut buffer = pool.take();
        let (mut far, mut near) = tokio::io::duplex(100);
        let waited = std::time::Duration::from_millis(1);
        assert!(tokio::time::timeout(waited, buffer.read_sparingly_from(&mut near, 7)).await.is_err());
        assert_eq!(pool.free.borrow().len(), 1);
        tokio::io::AsyncWriteExt::write_all(&mut far, b"0123456789").await.unwrap();
        assert_eq!(buffer.read_sparingly_from(&mut near, 7).await.unwrap(), 7);
        assert_eq!(buffer.read_sparingly_from(&mut near, 7).await.unwrap(), 3);
        assert_eq!(buffer.filled(), b"0123456789");
    }

    #[test]
    fn a_shrunk_buffer_holds_what_is_in_it() {
        let pool = Rc::new(Buffers::default());
        let mut buffer = pool.take();
        buffer.put(b"xhead");
        buffer.consume(1);
        buffer.shrink();
        assert_eq!((buffer.filled(), buffer.bytes.len(), pool.free.borrow().len()), (&b"head"[..], 4, 1));
        buffer.put(b" and body");
        assert_eq!(buffer.filled(), b"head and body");
    }

    #[test]
    fn what_a_rush_took_is_let_go_of_but_not_what_is_used() {
        let pool = Rc::new(Buffers::default());
        let rush: Vec<Buffer> = (0..8).map(|_| pool.take()).collect();
        drop(rush);
        pool.sweep();
        assert_eq!(pool.free.borrow().len(), 8);
        drop([pool.take(), pool.take(), pool.take()]);
        pool.sweep();
        assert_eq!(pool.free.borrow().len(), 3);
        pool.sweep();
        assert_eq!(pool.free.borrow().len(), 0);
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
