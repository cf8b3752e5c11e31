//! What the requests of one client's connection hold in memory: heads that wait for an answer, and what was read of
//! answers and not taken by the client.

use std::cell::Cell;
use std::rc::Rc;

use crate::limits::{BUFFER_BYTES, HTTP2_CONNECTION_BYTES_MAX, HTTP2_TIGHT_READ_BYTES};

/// The account of one connection.
#[derive(Debug, Default)]
pub(super) struct Memory {
    held: Cell<usize>,
    /// Answers that the client has no room for.
    waiting: Cell<u32>,
}

/// Bytes that are held.
#[derive(Debug)]
pub(super) struct Held {
    of: Rc<Memory>,
    bytes: usize,
}

/// An answer that the client has no room for.
#[derive(Debug)]
pub(super) struct Waiting(Rc<Memory>);

impl Memory {
    /// Whether the connection holds as much as it may.
    pub(super) fn is_full(&self) -> bool {
        self.held.get() >= HTTP2_CONNECTION_BYTES_MAX
    }

    /// Counts these bytes.
    pub(super) fn hold(self: &Rc<Self>, bytes: usize) -> Held {
        self.held.set(self.held.get() + bytes);
        Held { of: self.clone(), bytes }
    }

    /// Counts an answer as waiting.
    pub(super) fn wait(self: &Rc<Self>) -> Waiting {
        self.waiting.set(self.waiting.get() + 1);
        Waiting(self.clone())
    }

    /// How much of an answer is read of an endpoint at a time. A client that lets one wait may let the next one wait, too.
    pub(super) fn appetite(&self) -> usize {
        if self.waiting.get() > 0 { HTTP2_TIGHT_READ_BYTES } else { BUFFER_BYTES }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.held.set(self.of.held.get() - self.bytes);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_it_is_let_go_of() {
        let memory = Rc::new(Memory::default());
        let held = memory.hold(HTTP2_CONNECTION_BYTES_MAX - 1);
        assert!(!memory.is_full());
        let more = memory.hold(1);
        assert!(memory.is_full());
        drop((held, more));
        assert_eq!(memory.held.get(), 0);
    }

    #[test]
    fn less_is_read_at_a_time_while_an_answer_waits() {
        let memory = Rc::new(Memory::default());
        assert_eq!(memory.appetite(), BUFFER_BYTES);
        let waiting = [memory.wait(), memory.wait()];
        assert_eq!(memory.appetite(), HTTP2_TIGHT_READ_BYTES);
        drop(waiting);
        assert_eq!(memory.appetite(), BUFFER_BYTES);
    }
}
