//! A field line (RFC 9112 §5), as Portolan writes it.

use crate::worker::Buffer;

/// Writes `name: value` and the end of the line. Neither holds one: they were read strictly, or are our own.
pub(super) fn write_field(name: &str, value: &[u8], out: &mut Buffer) {
    out.put(name.as_bytes());
    out.put(b": ");
    out.put(value);
    out.put(b"\r\n");
}
