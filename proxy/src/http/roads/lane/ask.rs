//! A request's head, from HTTP/1.1 to HTTP/2 (RFC 9113 §8.3.1). It was written by the engine; what is read here is known
//! to be well formed.

use std::io;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};

use crate::http::body::{Body, Framing};
use crate::http::head::{RequestHead, fields, parse_request_within};
use crate::http::http2::{grpc_is_spoken, websocket_accept};

/// Bytes that a head may have come to: what clients may send, and what is told of them.
const SENT_HEAD_BYTES_MAX: usize = 1024 * 1024;

/// What has to be known of a request to understand its answer.
pub(super) struct Asked {
    /// Bytes of its head.
    pub(super) length: usize,
    pub(super) framing: Framing,
    pub(super) body: Body,
    pub(super) is_head: bool,
    /// Where it asks for a WebSocket: the proof that it was understood (RFC 6455 §4.2.2).
    pub(super) accept: Option<String>,
}

/// Reads a head that is whole.
pub(super) fn read(bytes: &[u8], secure: bool) -> io::Result<(Request<()>, Asked)> {
    let mut room = fields();
    let head = parse_request_within(SENT_HEAD_BYTES_MAX, bytes, &mut room).map_err(|refused| {
        tracing::debug!(detail = refused.detail, "a request that can't be said over HTTP/2");
        unsayable()
    })?;
    let head = head.ok_or_else(unsayable)?;
    let accept = websocket_key(&head).map(websocket_accept);
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = match &accept {
        Some(_) => Method::CONNECT,
        None => Method::from_bytes(head.method_text.as_bytes()).map_err(|_| unsayable())?,
    };
    if accept.is_some() {
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    }
    *request.uri_mut() = uri(&head, secure)?;
    let is_grpc = copy_fields(&head, accept.is_some(), request.headers_mut())?;
    if is_grpc {
        // Its servers take it for a sign that no proxy between loses the outcome of a call.
        request.headers_mut().insert(http::header::TE, HeaderValue::from_static("trailers"));
    }
    let asked = Asked {
        length: head.length,
        framing: head.framing,
        body: Body::new(head.framing),
        is_head: head.method_text == "HEAD",
        accept,
    };
    Ok((request, asked))
}

/// The key of a request for a WebSocket.
fn websocket_key<'b>(head: &RequestHead<'_, 'b>) -> Option<&'b [u8]> {
    let field = |name: &str| head.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    field("upgrade").filter(|to| head.upgrade && to.value.eq_ignore_ascii_case(b"websocket"))?;
    field("sec-websocket-key").map(|key| key.value)
}

fn uri(head: &RequestHead, secure: bool) -> io::Result<Uri> {
    let mut parts = http::uri::Parts::default();
    let path = PathAndQuery::try_from(head.target)
        .or_else(|_| PathAndQuery::try_from(encoded(head.target)))
        .map_err(|_| unsayable())?;
    parts.path_and_query = Some(path);
    // Where no host was named, none is said.
    if !head.authority.is_empty() {
        parts.authority = Some(head.authority.parse().map_err(|_| unsayable())?);
        parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    }
    Uri::from_parts(parts).map_err(|_| unsayable())
}

/// A target with what HTTP/2's stack does not take in it percent-encoded, as its client should have.
fn encoded(target: &str) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(target.len() + 16);
    for byte in target.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte) {
            text.push(byte as char);
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Fields that say nothing about the connection. Gives whether it is a call of gRPC.
fn copy_fields(head: &RequestHead, is_websocket: bool, headers: &mut HeaderMap) -> io::Result<bool> {
    headers.reserve(head.fields.len());
    for field in head.fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| unsayable())?;
        let stays_behind = match name.as_str() {
            "host" => !head.authority.is_empty(),
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" | "te" => true,
            "sec-websocket-key" => is_websocket,
            _ => false,
        };
        if !stays_behind {
            headers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| unsayable())?);
        }
    }
    Ok(grpc_is_spoken(headers))
}

fn unsayable() -> io::Error {
    io::ErrorKind::InvalidInput.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(head: &str) -> (Request<()>, Asked) {
        read(head.as_bytes(), false).unwrap()
    }

    fn fields_of(request: &Request<()>) -> Vec<(&str, &str)> {
        request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    #[test]
    fn a_head_says_the_same_in_either_version() {
        let (request, asked) = asked(
            "POST /a?b HTTP/1.1\r\nHost: a.test:8000\r\nX-One: 1\r\nConnection: Upgrade\r\nUpgrade: other\r\n\
             TE: trailers\r\nTransfer-Encoding: chunked\r\nx-one: 2\r\n\r\nrest",
        );
        assert_eq!(
            (request.method(), request.uri().to_string().as_str()),
            (&Method::POST, "http://a.test:8000/a?b")
        );
        assert_eq!(fields_of(&request), [("x-one", "1"), ("x-one", "2")]);
        assert!(asked.framing == Framing::Chunked && asked.accept.is_none() && !asked.is_head);
    }

    #[test]
    fn a_call_of_grpc_says_that_trailers_are_read() {
        let (request, _) = asked("POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\n\r\n");
        assert!(fields_of(&request).contains(&("te", "trailers")));
    }

    /// The example of RFC 6455 §1.3.
    #[test]
    fn a_websocket_is_asked_for_by_connect() {
        let (request, asked) = asked(
            "GET /chat HTTP/1.1\r\nHost: a.test\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        assert_eq!((request.method(), request.uri().path()), (&Method::CONNECT, "/chat"));
        assert_eq!(request.extensions().get::<h2::ext::Protocol>().unwrap().as_str(), "websocket");
        assert_eq!(fields_of(&request), [("sec-websocket-version", "13")]);
        assert_eq!(asked.accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn a_target_that_can_not_be_said_is_encoded() {
        let (request, _) = asked("GET /a<b>?c=\u{e9} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(request.uri().path_and_query().unwrap().as_str(), "/a%3Cb%3E?c=%C3%A9");
        let (request, _) = asked("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(request.uri().path_and_query().unwrap().as_str(), "*");
    }

    #[test]
    fn where_no_host_was_named_none_is_said() {
        let (request, _) = asked("GET / HTTP/1.1\r\nHost: \r\n\r\n");
        assert_eq!((request.uri().authority(), fields_of(&request)), (None, vec![("host", "")]));
    }
}
