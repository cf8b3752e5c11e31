//! An answer's head, from HTTP/2 to HTTP/1.1 (RFC 9113 §8.3.2).

use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::response::Parts;
use http::{Response, StatusCode};

use super::ask::Asked;
use crate::http::field::write_field;
use crate::worker::Buffer;

/// How the end of an answer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// There is no body.
    WithHead,
    /// There is no body either, but that this was the end is said apart.
    BehindHead,
    /// As its length said.
    AtLength,
    WithLastChunk,
}

/// Writes the head of an answer; `ends` where nothing follows it.
pub(super) fn write_head(parts: &Parts, asked: &Asked, ends: bool, out: &mut Buffer) -> Ends {
    write_status(parts.status, out);
    write_fields(&parts.headers, out);
    let bodiless =
        asked.is_head || parts.status == StatusCode::NO_CONTENT || parts.status == StatusCode::NOT_MODIFIED;
    let has_length = parts.headers.contains_key(CONTENT_LENGTH);
    let how = if ends && (bodiless || has_length) {
        Ends::WithHead
    } else if bodiless {
        Ends::BehindHead
    } else if has_length {
        Ends::AtLength
    } else if ends {
        write_field("content-length", b"0", out);
        Ends::WithHead
    } else {
        write_field("transfer-encoding", b"chunked", out);
        Ends::WithLastChunk
    };
    out.put(b"\r\n");
    how
}

/// Writes the head of an interim answer. One that switches protocols is none over HTTP/2 (RFC 9113 §8.6).
pub(super) fn write_interim(interim: &Response<()>, out: &mut Buffer) {
    if interim.status() != StatusCode::SWITCHING_PROTOCOLS {
        write_status(interim.status(), out);
        write_fields(interim.headers(), out);
        out.put(b"\r\n");
    }
}

/// Writes that the tunnel is there, as HTTP/1.1 has it (RFC 6455 §4.2.2).
pub(super) fn write_switch(parts: &Parts, accept: &str, out: &mut Buffer) {
    write_status(StatusCode::SWITCHING_PROTOCOLS, out);
    write_fields(&parts.headers, out);
    write_field("upgrade", b"websocket", out);
    write_field("connection", b"upgrade", out);
    write_field("sec-websocket-accept", accept.as_bytes(), out);
    out.put(b"\r\n");
}

fn write_status(status: StatusCode, out: &mut Buffer) {
    out.put(b"HTTP/1.1 ");
    out.put(status.as_str().as_bytes());
    out.put(b" ");
    out.put(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put(b"\r\n");
}

/// The stack refuses fields that are about the connection; this is the one that would change where the body ends.
fn write_fields(headers: &HeaderMap, out: &mut Buffer) {
    for (name, value) in headers {
        if name != TRANSFER_ENCODING {
            write_field(name.as_str(), value.as_bytes(), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::*;
    use crate::http::Method;
    use crate::http::body::Framing;
    use crate::http::head::{fields, parse_response};
    use crate::http::roads::lane::ask;
    use crate::worker::Buffers;

    fn told(method: &str, status: u16, length: Option<u64>, ends: bool) -> (String, Ends) {
        let (_, asked) =
            ask::read(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), false).unwrap();
        let mut answer = Response::builder().status(status);
        if let Some(length) = length {
            answer = answer.header("content-length", length);
        }
        let (parts, ()) = answer.body(()).unwrap().into_parts();
        let mut out = Rc::new(Buffers::default()).take();
        let ends = write_head(&parts, &asked, ends, &mut out);
        (String::from_utf8(out.filled().to_vec()).unwrap(), ends)
    }

    #[test]
    fn the_end_of_an_answer_is_said_as_well_as_it_is_known() {
        for (method, status, length, ends, fields, how) in [
            ("GET", 200, None, false, "transfer-encoding: chunked\r\n", Ends::WithLastChunk),
            ("GET", 200, None, true, "content-length: 0\r\n", Ends::WithHead),
            ("GET", 200, Some(5), false, "content-length: 5\r\n", Ends::AtLength),
            ("GET", 200, Some(0), true, "content-length: 0\r\n", Ends::WithHead),
            ("HEAD", 200, None, true, "", Ends::WithHead),
            ("HEAD", 200, None, false, "", Ends::BehindHead),
            ("GET", 304, Some(5), false, "content-length: 5\r\n", Ends::BehindHead),
            ("GET", 200, Some(0), false, "content-length: 0\r\n", Ends::AtLength),
            ("HEAD", 200, Some(5), true, "content-length: 5\r\n", Ends::WithHead),
            ("GET", 204, None, true, "", Ends::WithHead),
            ("GET", 304, None, true, "", Ends::WithHead),
        ] {
            let (text, found) = told(method, status, length, ends);
            let (_, rest) = text.split_once("\r\n").unwrap();
            assert_eq!(
                (rest, found),
                (format!("{fields}\r\n").as_str(), how),
                "{method} {status} {length:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn an_answer_says_the_same_in_either_version(
            status in 200_u16..600,
            said in proptest::collection::vec(("x-[a-z0-9-]{1,12}", "[!-~]([ -~]{0,20}[!-~])?"), 0..8),
            length in proptest::option::of(0_u64..100),
            ends in any::<bool>(),
            is_head in any::<bool>(),
        ) {
            let method = if is_head { "HEAD" } else { "GET" };
            let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
            let (_, asked) = ask::read(request.as_bytes(), false).unwrap();
            let mut answer = Response::builder().status(status);
            for (name, value) in &said {
                answer = answer.header(name, value);
            }
            if let Some(length) = length {
                answer = answer.header("content-length", length);
            }
            let (parts, ()) = answer.body(()).unwrap().into_parts();
            let mut out = Rc::new(Buffers::default()).take();
            let how = write_head(&parts, &asked, ends, &mut out);
            let mut room = fields();
            let head = parse_response(out.filled(), &mut room, Method::parse(method)).unwrap().unwrap();
            prop_assert_eq!((head.status, head.length), (status, out.filled().len()));
            let mut found: Vec<_> = head.fields.iter().filter(|field| field.name.starts_with("x-"))
                .map(|field| (field.name.to_owned(), String::from_utf8(field.value.to_vec()).unwrap()))
                .collect();
            let mut said = said;
            found.sort();
            said.sort();
            prop_assert_eq!(found, said);
            let framing = match (how, length) {
                (Ends::WithHead, Some(length @ 1..)) if !is_head && status != 204 && status != 304 => {
                    // It is broken off: the stack has looked at that.
                    Framing::Length(length)
                }
                (Ends::AtLength, Some(length @ 1..)) => Framing::Length(length),
                (Ends::WithLastChunk, _) => Framing::Chunked,
                _ => Framing::Empty,
            };
            prop_assert_eq!(head.framing, framing);
        }
    }

    #[test]
    fn a_status_without_a_phrase_is_told_without_one() {
        assert!(told("GET", 299, None, true).0.starts_with("HTTP/1.1 299 \r\n"));
    }
}
