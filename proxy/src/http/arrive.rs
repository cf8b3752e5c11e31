//! The beginning of a client connection: which version of HTTP it speaks.

use std::time::Duration;

use crate::deadline::timeout;
use crate::stream::Stream;
use crate::worker::Buffer;

/// What an HTTP/2 client says first (RFC 9113 §3.4). No HTTP/1 request begins so.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether the client speaks HTTP/2 by prior knowledge (RFC 9113 §3.3). Reads on for as long as that is not clear, but no longer than `limit`; what
/// was read stays in `inbound`.
pub(super) async fn speaks_http2(client: &mut Stream, inbound: &mut Buffer, limit: Duration) -> bool {
    let reading = async {
        loop {
            let begun = inbound.filled().len().min(PREFACE.len());
            if inbound.filled()[..begun] != PREFACE[..begun] {
                return false;
            }
            if begun == PREFACE.len() {
                return true;
            }
            if !matches!(inbound.read_from(client).await, Ok(1..)) {
                return false;
            }
        }
    };
    timeout(limit, reading).await.unwrap_or(false)
}
