//! Where a body ends. Bytes are only looked at, never changed: a chunked body is passed on as it came.

use crate::limits::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

/// How a message says where its body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Empty,
    /// After this many bytes.
    Length(u64),
    /// After the last chunk and the trailers.
    Chunked,
    /// With the connection; only answers.
    UntilClose,
}

impl Framing {
    /// How long the content is, where that is known.
    pub(super) fn length(self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Length(length) => Some(length),
            Self::Chunked | Self::UntilClose => None,
        }
    }
}

/// Follows a body to its end.
#[derive(Debug)]
pub(super) struct Body {
    state: State,
}

/// What a piece of input held of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Bytes that belong to the body.
    pub length: usize,
    /// Whether it ends there.
    pub done: bool,
}

/// A chunked body that can't be read in exactly one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunked body")]
pub(super) struct Malformed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Done,
    Length(u64),
    UntilClose,
    /// Within a chunk-size line: the size so far, digits seen, bytes of the line.
    Size {
        size: u64,
        digits: u8,
        line: u16,
    },
    /// Within the extensions of a chunk-size line.
    Extension {
        size: u64,
        line: u16,
    },
    /// Behind the CR of a chunk-size line.
    SizeEnd {
        size: u64,
    },
    Data(u64),
    /// Behind a chunk's data: CR, then LF.
    DataEnd,
    DataEndLf,
    /// Within the trailers: bytes so far, and where in a line.
    Trailer {
        bytes: u16,
        at: Line,
    },
    TrailerLf {
        bytes: u16,
        at: Line,
    },
}

/// Where in a field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Start,
    Name,
    Value,
}

const SIZE_START: State = State::Size { size: 0, digits: 0, line: 0 };

impl Body {
    /// A body framed so.
    pub(super) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => SIZE_START,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// Whether the end was seen.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes that are next, whatever they are: content whose end need not be looked for among them.
    pub(super) fn ahead(&self) -> u64 {
        match self.state {
            State::Length(left) | State::Data(left) => left,
            State::UntilClose => u64::MAX,
            _ => 0,
        }
    }

    /// Passes over so many of the bytes that are [ahead](Self::ahead).
    pub(super) fn pass_over(&mut self, count: u64) {
        debug_assert!(count <= self.ahead(), "there is something to look at");
        if let State::Length(left) | State::Data(left) = self.state {
            self.state = after_data(self.state, left - count);
        }
    }

    /// Whether the end of the connection is the end of the body.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Looks at the next bytes.
    pub(super) fn scan(&mut self, input: &[u8]) -> Result<Scanned, Malformed> {
        self.scan_payload(input, |_| {})
    }

    /// Looks at the next bytes and gives each piece of the content itself to `payload`, for those who can't take
    /// chunks (HTTP/1.0).
    pub(super) fn scan_payload(
        &mut self,
        input: &[u8],
        payload: impl FnMut(&[u8]),
    ) -> Result<Scanned, Malformed> {
        self.scan_parts(input, payload, |_| {})
    }

    /// The same, and gives each byte of the trailer section to `trailer`, the empty line at its end included.
    pub(super) fn scan_parts(
        &mut self,
        input: &[u8],
        mut payload: impl FnMut(&[u8]),
        mut trailer: impl FnMut(u8),
    ) -> Result<Scanned, Malformed> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            match self.state {
                State::Length(left) | State::Data(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                    payload(&input[at..at + length]);
                    at += length;
                    self.state = after_data(self.state, left - length as u64);
                }
                State::UntilClose => {
                    payload(&input[at..]);
                    at = input.len();
                }
                state => {
                    if matches!(state, State::Trailer { .. } | State::TrailerLf { .. }) {
                        trailer(input[at]);
                    }
                    self.state = step(state, input[at])?;
                    at += 1;
                }
            }
        }
        Ok(Scanned { length: at, done: self.is_done() })
    }
}

fn after_data(state: State, left: u64) -> State {
    match (state, left) {
        (State::Length(_), 0) => State::Done,
        (State::Length(_), left) => State::Length(left),
        (_, 0) => State::DataEnd,
        (_, left) => State::Data(left),
    }
}

/// One byte of the chunked coding's own (RFC 9112 §7.1). A bare LF is refused, though some servers take it.
fn step(state: State, byte: u8) -> Result<State, Malformed> {
    Ok(match (state, byte) {
        (State::Size { size, digits, line }, byte) if byte.is_ascii_hexdigit() && digits < 16 => {
            let digit = (byte as char).to_digit(16).map_or(0, u64::from);
            State::Size { size: size << 4 | digit, digits: digits + 1, line: line + 1 }
        }
        (State::Size { size, digits: 1.., .. }, b'\r') => State::SizeEnd { size },
        (State::Size { size, digits: 1.., line }, b';') => State::Extension { size, line },
        (State::Extension { size, .. }, b'\r') => State::SizeEnd { size },
        (State::Extension { size, line }, byte)
            if usize::from(line) < CHUNK_LINE_BYTES_MAX
                && (byte == b'\t' || (b' '..=b'~').contains(&byte)) =>
        {
            State::Extension { size, line: line + 1 }
        }
        (State::SizeEnd { size: 0 }, b'\n') => State::Trailer { bytes: 0, at: Line::Start },
        (State::SizeEnd { size }, b'\n') => State::Data(size),
        (State::DataEnd, b'\r') => State::DataEndLf,
        (State::DataEndLf, b'\n') => SIZE_START,
        (State::Trailer { bytes, at: at @ (Line::Start | Line::Value) }, b'\r') => {
            State::TrailerLf { bytes, at }
        }
        (State::Trailer { bytes, at }, byte) if usize::from(bytes) < TRAILER_BYTES_MAX => {
            State::Trailer { bytes: bytes + 1, at: in_line(at, byte).ok_or(Malformed)? }
        }
        (State::TrailerLf { at: Line::Start, .. }, b'\n') => State::Done,
        (State::TrailerLf { bytes, .. }, b'\n') => State::Trailer { bytes, at: Line::Start },
        _ => return Err(Malformed),
    })
}

/// Where in a field line this byte leads, if it may stand there (RFC 9112 §5): a line is folded nowhere, and has a name.
fn in_line(at: Line, byte: u8) -> Option<Line> {
    match (at, byte) {
        (Line::Name, b':') => Some(Line::Value),
        (
            Line::Start | Line::Name,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~',
        ) => Some(Line::Name),
        (Line::Start | Line::Name, byte) if byte.is_ascii_alphanumeric() => Some(Line::Name),
        (Line::Value, b'\t' | b' '..=b'~' | 0x80..) => Some(Line::Value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans `input` in pieces of `piece` bytes; gives the body's length and the payload.
    fn scan(framing: Framing, input: &[u8], piece: usize) -> Result<(usize, bool, Vec<u8>), Malformed> {
        let mut body = Body::new(framing);
        let (mut length, mut content) = (0, Vec::new());
        for piece in input.chunks(piece) {
            let scanned = body.scan_payload(piece, |bytes| content.extend_from_slice(bytes))?;
            length += scanned.length;
            if scanned.done {
                break;
            }
        }
        Ok((length, body.is_done(), content))
    }

    #[test]
    fn the_end_is_found_however_the_bytes_arrive() {
        let chunked = b"5\r\nhello\r\n6;name=\"v\"\r\n world\r\n0\r\nX-Sum: 1\r\n\r\nGET /next";
        for piece in 1..=chunked.len() {
            let (length, done, content) = scan(Framing::Chunked, chunked, piece).unwrap();
            assert_eq!((length, done), (chunked.len() - "GET /next".len(), true), "pieces of {piece}");
            assert_eq!(content, b"hello world");
            assert_eq!(scan(Framing::Length(7), b"1234567GET", piece).unwrap().0, 7);
        }
    }

    #[test]
    fn what_is_ahead_can_be_passed_over_unseen() {
        let mut body = Body::new(Framing::Chunked);
        assert_eq!(body.ahead(), 0);
        body.scan(b"5\r\nh").unwrap();
        assert_eq!(body.ahead(), 4);
        body.pass_over(3);
        body.pass_over(1);
        assert_eq!(body.ahead(), 0);
        assert!(body.scan(b"\r\n0\r\n\r\n").unwrap().done);
        let mut body = Body::new(Framing::Length(7));
        body.pass_over(7);
        assert!(body.is_done());
        let mut body = Body::new(Framing::UntilClose);
        body.pass_over(7);
        assert_eq!(body.ahead(), u64::MAX);
    }

    #[test]
    fn an_unfinished_body_is_not_done() {
        for input in [&b"5\r\nhel"[..], b"5\r\nhello\r\n", b"0\r\n", b"0\r\nA: b\r\n"] {
            assert!(!scan(Framing::Chunked, input, 64).unwrap().1, "{input:?}");
        }
        assert!(!scan(Framing::Length(10), b"123", 64).unwrap().1);
        assert!(!scan(Framing::UntilClose, b"123", 64).unwrap().1);
    }

    #[test]
    fn nothing_ambiguous_is_passed_on() {
        for input in [
            &b"5\nhello\r\n"[..],
            b"\r\nhello",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"-5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"00000000000000005\r\nhello\r\n",
            b"5;a\nb\r\nhello\r\n",
            b"5;a\x00\r\nhello\r\n",
            b"5\rhello\r\n",
            b"0\r\n\n",
            b"0\r\nA: b\nC: d\r\n\r\n",
            b"0\r\nA: b\r\n c\r\n\r\n",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
            b"0\r\nno-colon\r\n\r\n",
            b"0\r\nA: b\rc\r\n\r\n",
            b"0\r\nA : b\r\n\r\n",
        ] {
            for piece in [1, 3, 64] {
                assert_eq!(
                    scan(Framing::Chunked, input, piece),
                    Err(Malformed),
                    "{:?}",
                    String::from_utf8_lossy(input)
                );
            }
        }
    }

    #[test]
    fn endless_extensions_and_trailers_are_cut_off() {
        let extension = [b"5;".as_slice(), &[b'a'; CHUNK_LINE_BYTES_MAX + 1]].concat();
        assert_eq!(scan(Framing::Chunked, &extension, 64), Err(Malformed));
        let trailer = [b"0\r\n".as_slice(), &[b'a'; TRAILER_BYTES_MAX + 1]].concat();
        assert_eq!(scan(Framing::Chunked, &trailer, 64), Err(Malformed));
    }
}
