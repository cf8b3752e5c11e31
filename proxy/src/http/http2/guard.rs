//! Watches what a client sends beneath HTTP/2: frames that cost it nothing and that nobody asked for. Sans-I/O: bytes
//! and the time in, a verdict out; the bytes are left as they are.
//!
//! Every frame that moves no request on (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, DATA without data,
//! CONTINUATION) has a price. What was spent comes back with what is done for the client, and with time. A client that
//! spends more than it may is not listened to any longer (RFC 9113 §10.5).

use crate::deadline::Moment;
use crate::limits::{HEAD_BYTES_MAX, HTTP2_CONTROL_BUDGET, HTTP2_CONTROL_REFUND};

/// Bytes of a frame's header (RFC 9113 §4.1).
const HEADER_BYTES: usize = 9;
/// Bytes of the client's preface (RFC 9113 §3.4).
const PREFACE_BYTES: u32 = 24;
/// The price of a frame that no client has a use for: a DATA or CONTINUATION frame without content.
const EMPTY_PRICE: u32 = 10;
/// Bytes sent to the client that give back one.
const REFUND_BYTES: usize = 32;

/// What a client was found doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// More frames than the budget pays for.
    Frames,
    /// A block of fields that is too long however it is packed.
    Block,
}

impl Excess {
    /// What exactly, for the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Frames => "frames that nobody asked for",
            Self::Block => "endless fields",
        }
    }
}

/// Follows what one client sends.
#[derive(Debug)]
pub(super) struct Guard {
    /// The header of the frame that comes next, as far as it is here.
    header: [u8; HEADER_BYTES],
    have: usize,
    /// Bytes that are left of the present frame, or of the preface.
    left: u32,
    /// Bytes of the block of fields that is not complete, and since when it is not.
    block: Option<(usize, Moment)>,
    /// Whether the present frame is the last of its block.
    ends_block: bool,
    /// What was spent.
    spent: u32,
    /// When time gave something back last.
    refunded: Moment,
}

impl Guard {
    /// For a connection whose first bytes are the preface.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            header: [0; HEADER_BYTES],
            have: 0,
            left: PREFACE_BYTES,
            block: None,
            ends_block: false,
            spent: 0,
            refunded: now,
        }
    }

    /// Looks at the next bytes.
    pub(super) fn look(&mut self, mut bytes: &[u8], now: Moment) -> Result<(), Excess> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let count = bytes.len().min(self.left as usize);
                self.left -= count as u32;
                bytes = &bytes[count..];
                self.end_block_if_over();
                continue;
            }
            let count = bytes.len().min(HEADER_BYTES - self.have);
            self.header[self.have..self.have + count].copy_from_slice(&bytes[..count]);
            self.have += count;
            bytes = &bytes[count..];
            if self.have == HEADER_BYTES {
                self.have = 0;
                self.begin(now)?;
                self.end_block_if_over();
            }
        }
        Ok(())
    }

    /// Since when a block of fields is begun and not complete.
    pub(super) fn block_since(&self) -> Option<Moment> {
        self.block.map(|(_, since)| since)
    }

    /// This many bytes were sent to the client: it may speak about them.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.refund((bytes / REFUND_BYTES) as u32);
    }

    fn refund(&mut self, count: u32) {
        self.spent = self.spent.saturating_sub(count);
    }

    /// A frame's header is whole.
    fn begin(&mut self, now: Moment) -> Result<(), Excess> {
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.left = length;
        let price = match (kind, length) {
            // DATA: with something in it, a request moves on; an empty one may end it.
            (0x0, 1..) => {
                self.refund(1);
                0
            }
            (0x0, 0) if flags & 0x1 != 0 => 0,
            (0x0, 0) => EMPTY_PRICE,
            (0x1 | 0x9, _) => {
                let (bytes, since) = self.block.unwrap_or((0, now));
                let bytes = bytes + length as usize;
                if bytes > HEAD_BYTES_MAX {
                    return Err(Excess::Block);
                }
                self.block = Some((bytes, since));
                self.ends_block = flags & 0x4 != 0;
                match (kind, length) {
                    (0x1, _) => 0,
                    (_, 0) => EMPTY_PRICE,
                    _ => 1,
                }
            }
            _ => 1,
        };
        if price > 0 {
            self.spend(price, now)?;
        }
        Ok(())
    }

    fn spend(&mut self, price: u32, now: Moment) -> Result<(), Excess> {
        let seconds = now.since(self.refunded).as_secs();
        if seconds > 0 {
            self.refunded = now;
            self.refund((seconds as u32).saturating_mul(HTTP2_CONTROL_REFUND));
        }
        self.spent += price;
        if self.spent > HTTP2_CONTROL_BUDGET { Err(Excess::Frames) } else { Ok(()) }
    }

    fn end_block_if_over(&mut self) {
        if self.left == 0 && self.ends_block {
            self.ends_block = false;
            self.block = None;
        }
    }
}

#[cfg(test)]
mod tests;
