//! The fields behind a chunked body (RFC 9112 §7.1.2), for a side that speaks HTTP/2, and from it.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::field::write_field;
use super::response::may_trail;
use crate::limits::TRAILER_FIELDS_MAX;
use crate::worker::Buffer;

/// A section that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads a section, with the empty line that ends it. `None` where it has no field that may stand there.
pub(super) fn read(section: &[u8]) -> Result<Option<HeaderMap>, Malformed> {
    if section.len() <= 2 {
        return Ok(None);
    }
    let mut room = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(section, &mut room) else {
        return Err(Malformed);
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields.iter().filter(|field| may_trail(field.name)) {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed)?;
        trailers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| Malformed)?);
    }
    Ok(Some(trailers).filter(|trailers| !trailers.is_empty()))
}

/// What may stand behind a body of fields that came by HTTP/2. `None` where nothing is left.
pub(super) fn allowed(trailers: Option<HeaderMap>) -> Option<HeaderMap> {
    let mut trailers = trailers?;
    let forbidden: Vec<_> = trailers.keys().filter(|name| !may_trail(name.as_str())).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
    Some(trailers).filter(|trailers| !trailers.is_empty())
}

/// Writes fields; the empty line that ends the section is left to be written.
pub(super) fn write(trailers: Option<&HeaderMap>, out: &mut Buffer) {
    for (name, value) in trailers.into_iter().flatten() {
        if may_trail(name.as_str()) {
            write_field(name.as_str(), value.as_bytes(), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::worker::Buffers;

    #[test]
    fn what_says_how_a_message_is_read_does_not_trail() {
        assert_eq!(read(b"\r\n"), Ok(None));
        assert_eq!(read(b"Content-Length: 5\r\n\r\n"), Ok(None));
        let found = read(b"Grpc-Status: 0\r\nContent-Length: 5\r\n\r\n").unwrap().unwrap();
        assert_eq!((found.len(), found["grpc-status"].as_bytes()), (1, &b"0"[..]));
        let mut out = Rc::new(Buffers::default()).take();
        write(Some(&found), &mut out);
        assert_eq!(out.filled(), b"grpc-status: 0\r\n");
        assert_eq!(allowed(Some(found.clone())), Some(found.clone()));
        let mut more = found.clone();
        more.insert("content-length", HeaderValue::from_static("5"));
        assert_eq!(allowed(Some(more.clone())), Some(found));
        more.remove("grpc-status");
        assert_eq!(allowed(Some(more)), None);
    }

    #[test]
    fn too_many_are_none() {
        let section = "A: b\r\n".repeat(TRAILER_FIELDS_MAX + 1) + "\r\n";
        assert_eq!(read(section.as_bytes()), Err(Malformed));
    }
}
