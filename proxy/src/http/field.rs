//! A field line (RFC 9112 §5), as Portolan writes it.

use crate::worker::Buffer;

/// Writes `name: value` and the end of the line. Neither holds one: they were read strictly, or are our own.
pub(crate) fn write_field(name: &str, value: &[u8], out: &mut Buffer) {
    // There is hardly anything that is done more often: one look for room, four copies.
    let room = out.extend(name.len() + value.len() + 4);
    let (to, room) = room.split_at_mut(name.len());
    to.copy_from_slice(name.as_bytes());
    let (to, room) = room.split_at_mut(2);
    to.copy_from_slice(b": ");
    let (to, room) = room.split_at_mut(value.len());
    to.copy_from_slice(value);
    room.copy_from_slice(b"\r\n");
}
