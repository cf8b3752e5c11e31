//! A field line (RFC 9112 §5), as Portolan writes it.

use std::ops::Range;

use httparse::Header;

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

/// Writes those of the fields that pass, in their order. `text` is what they were read from, if that was one text: lines in
/// it that stand as they would be written are copied together with their neighbours, which is most of a head at once.
pub(super) fn write_fields(
    text: &[u8],
    fields: &[Header],
    mut passes: impl FnMut(&Header) -> bool,
    out: &mut Buffer,
) {
    let mut run = 0..0;
    for field in fields {
        if !passes(field) {
            continue;
        }
        match line_in(text, field) {
            Some(line) if line.start == run.end => run.end = line.end,
            Some(line) => out.put(&text[std::mem::replace(&mut run, line)]),
            None => {
                out.put(&text[std::mem::take(&mut run)]);
                write_field(field.name, field.value, out);
            }
        }
    }
    out.put(&text[run]);
}

/// Where a field's line is in the text that it was read from, if it stands there as it would be written.
fn line_in(text: &[u8], field: &Header) -> Option<Range<usize>> {
    let at = |part: &[u8]| (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    let (start, value) = (at(field.name.as_bytes()), at(field.value));
    let end = value.checked_add(field.value.len())?.checked_add(2)?;
    let is_whole = start.checked_add(field.name.len() + 2)? == value
        && text.get(value - 2..value) == Some(b": ")
        && text.get(end - 2..end) == Some(b"\r\n");
    is_whole.then_some(start..end)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::http::Method;
    use crate::http::head::{fields, parse_request, parse_response};
    use crate::worker::Buffers;

    /// Written in one go, and line by line.
    fn both(text: &[u8], fields: &[Header], out: impl Fn(&str) -> bool) -> [Vec<u8>; 2] {
        let (mut copied, mut written) = {
            let pool = Rc::new(Buffers::default());
            (pool.take(), pool.take())
        };
        write_fields(text, fields, |field| !out(field.name), &mut copied);
        for field in fields.iter().filter(|field| !out(field.name)) {
            write_field(field.name, field.value, &mut written);
        }
        [copied.filled().to_vec(), written.filled().to_vec()]
    }

    #[test]
    fn lines_that_are_copied_are_as_if_they_were_written() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB:2\r\nC:  3\r\nD: 4 \r\nE:\r\nF: \r\nG: 5\r\nH: 6\r\n\r\n";
        let mut room = fields();
        let parsed = parse_request(head, &mut room).unwrap().unwrap();
        let none = parsed.fields.len();
        for left_out in 0..=none {
            let name = parsed.fields.get(left_out).map(|field| field.name);
            let [copied, written] = both(parsed.text, parsed.fields, |field| Some(field) == name);
            assert_eq!(copied, written, "without {name:?}");
        }
        // Of no one text, and of another.
        for text in [&b""[..], b"something else"] {
            let [copied, written] = both(text, parsed.fields, |_| false);
            assert_eq!(copied, written);
        }
        let answer = b"HTTP/1.1 200 OK\nA: 1\nB: 2\r\nC: 3\n\r\n";
        let mut room = fields();
        let parsed = parse_response(answer, &mut room, Method::Get).unwrap().unwrap();
        let [copied, written] = both(parsed.text, parsed.fields, |_| false);
        assert_eq!((copied, written.as_slice()), (written.clone(), &b"A: 1\r\nB: 2\r\nC: 3\r\n"[..]));
    }
}
