//! What fuzz targets and tests from outside are given of the engine: pure functions of bytes, which come in whatever
//! pieces. Nothing else may use it.

use std::net::SocketAddr;
use std::rc::Rc;

use portolan_config::settings::Forwarded;

use super::body::{Body, Framing};
use super::exchange::Cookies;
use super::head::{fields, parse_request, parse_response};
use super::http2::request::{self as http2_request, Known, Text};
use super::peer::Peer;
use super::response::{self, Manner};
use super::{Method, request};
use crate::proxy_protocol::{self, Found};
use crate::table::routing_path;
use crate::tls::client_hello;
use crate::worker::Buffers;

/// A request as it is sent on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentOn {
    /// The method.
    pub method: String,
    /// Path and query, as sent on.
    pub target: String,
    /// The host and port it is for.
    pub host: String,
    /// The head.
    pub head: Vec<u8>,
    /// The body, as it was framed.
    pub body: Vec<u8>,
    /// The body's content.
    pub content: Vec<u8>,
}

/// What was made of a client's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Understood {
    /// The requests that came whole.
    pub requests: Vec<SentOn>,
    /// Whether what follows them was refused.
    pub refused: bool,
}

/// What the PROXY header says that bytes begin with: its length, and the client. An error for one that means nothing.
#[allow(clippy::type_complexity)] // a named type would be used here alone
pub fn proxy_header(bytes: &[u8]) -> Result<Option<(usize, Option<SocketAddr>)>, String> {
    match proxy_protocol::read(bytes).map_err(|error| error.to_string())? {
        Found::Header { length, told } => Ok(Some((length, told.map(|told| told.client)))),
        Found::NotYet | Found::Nothing => Ok(None),
    }
}

/// What a TLS client asks for, by these bytes in these pieces: the name and the protocols. An error for what begins no
/// handshake.
#[allow(clippy::type_complexity)] // a named type would be used here alone
pub fn client_hello<'b>(
    pieces: impl IntoIterator<Item = &'b [u8]>,
) -> Result<Option<(String, Vec<Vec<u8>>)>, String> {
    let mut reader = client_hello::Reader::default();
    let mut read = Vec::new();
    for piece in pieces {
        read.extend_from_slice(piece);
        if let Some(hello) = reader.read(&read).map_err(|error| error.to_string())? {
            return Ok(Some((hello.server_name, hello.alpn)));
        }
    }
    Ok(None)
}

/// Reads requests from bytes that come in these pieces.
pub fn requests<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Understood {
    let mut understood = Understood::default();
    let mut left = Vec::new();
    let mut current: Option<(SentOn, Body)> = None;
    for piece in pieces {
        left.extend_from_slice(piece);
        loop {
            if let Some((sent_on, body)) = &mut current {
                let Ok(scanned) =
                    body.scan_payload(&left, |content| sent_on.content.extend_from_slice(content))
                else {
                    return Understood { refused: true, ..understood };
                };
                sent_on.body.extend(left.drain(..scanned.length));
                if !scanned.done {
                    break;
                }
                understood.requests.extend(current.take().map(|(sent_on, _)| sent_on));
            }
            while left.starts_with(b"\r\n") {
                left.drain(..2);
            }
            let (length, sent_on, framing) = match send_on(&left) {
                Ok(Some(sent_on)) => sent_on,
                Ok(None) => break,
                Err(()) => return Understood { refused: true, ..understood },
            };
            left.drain(..length);
            current = Some((sent_on, Body::new(framing)));
        }
    }
    understood
}

/// What a request that came by HTTP/2 is sent on as by HTTP/1.1; `None` where it is refused. `whole` where all of its body
/// is there.
pub fn translated(request: &http::Request<Vec<u8>>, whole: bool) -> Option<SentOn> {
    let (parts, body) = (request.clone().map(drop).into_parts().0, request.body());
    let known = if whole { Known::Whole(body.len()) } else { Known::Begun };
    let (mut text, mut room) = (Text::default(), Vec::new());
    let head = http2_request::read(&parts, known, None, &mut text, &mut room).ok()?;
    let peer = Peer::new(([192, 0, 2, 7], 1).into(), false, &Forwarded::default());
    let path = routing_path(request::path(head.target));
    let mut out = Rc::new(Buffers::default()).take();
    let _ = request::write(&head, &path, true, &peer, "here", &mut out);
    let framed = match head.framing {
        Framing::Chunked if body.is_empty() => b"0\r\n\r\n".to_vec(),
        Framing::Chunked => {
            [format!("{:x}\r\n", body.len()).as_bytes(), body.as_slice(), b"\r\n0\r\n\r\n"].concat()
        }
        Framing::Length(length) if length == body.len() as u64 => body.clone(),
        Framing::Empty if body.is_empty() => Vec::new(),
        // A body that is not as long as was said is broken off.
        _ => return None,
    };
    Some(SentOn {
        method: head.method_text.to_owned(),
        target: format!("{path}{}", &head.target[request::path(head.target).len()..]),
        host: head.authority.to_owned(),
        head: out.filled().to_vec(),
        body: framed,
        content: body.clone(),
    })
}

/// What a request by HTTP/1.1 is over HTTP/2; `None` where it can't be said.
pub fn over_http2(head: &[u8]) -> Option<http::Request<()>> {
    super::roads::ask(head)
}

/// The head at the beginning of these bytes, with its length, and how its body is framed.
fn send_on(bytes: &[u8]) -> Result<Option<(usize, SentOn, Framing)>, ()> {
    let mut room = fields();
    let Some(head) = parse_request(bytes, &mut room).map_err(|_| ())? else { return Ok(None) };
    let peer = Peer::new(([192, 0, 2, 7], 1).into(), false, &Forwarded::default());
    let path = routing_path(request::path(head.target));
    let mut out = Rc::new(Buffers::default()).take();
    let _ = request::write(&head, &path, true, &peer, "here", &mut out);
    let text = String::from_utf8_lossy(out.filled()).into_owned();
    let sent_on = SentOn {
        method: head.method_text.to_owned(),
        target: text.split(' ').nth(1).unwrap_or_default().to_owned(),
        host: head.authority.to_owned(),
        head: out.filled().to_vec(),
        ..SentOn::default()
    };
    Ok(Some((head.length, sent_on, head.framing)))
}

/// An answer as it is sent back to a client of HTTP/1.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentBack {
    /// The status.
    pub status: u16,
    /// The head and the body, as it was framed.
    pub bytes: Vec<u8>,
    /// The body's content.
    pub content: Vec<u8>,
}

/// The first answer that is more than interim, to a request of this method. `None` where it is refused, is not whole, or
/// switches protocols.
pub fn sent_back(method: &str, bytes: &[u8]) -> Option<SentBack> {
    let method = Method::parse(method);
    let mut rest = bytes;
    loop {
        let mut room = fields();
        let head = parse_response(rest, &mut room, method).ok()??;
        let behind = &rest[head.length..];
        if head.status == 101 {
            return None;
        }
        if head.status < 200 {
            rest = behind;
            continue;
        }
        let close = head.framing == Framing::UntilClose;
        let mut out = Rc::new(Buffers::default()).take();
        response::write(&head, Manner { close, is_http10: false }, &Cookies::default(), &mut out);
        let (mut body, mut content) = (Body::new(head.framing), Vec::new());
        let scanned = body.scan_payload(behind, |piece| content.extend_from_slice(piece)).ok()?;
        let is_whole = scanned.done || body.ends_with_connection();
        let bytes = [out.filled(), &behind[..scanned.length]].concat();
        return is_whole.then_some(SentBack { status: head.status, bytes, content });
    }
}

/// Reads answers to requests of this method: their statuses and contents, and whether all was understood.
pub fn answers<'b>(method: &str, pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<(u16, Vec<u8>)>, bool) {
    let method = Method::parse(method);
    let mut answers = Vec::new();
    let mut left = Vec::new();
    let mut current: Option<(u16, Vec<u8>, Body)> = None;
    for piece in pieces {
        left.extend_from_slice(piece);
        loop {
            if let Some((_, content, body)) = &mut current {
                let Ok(scanned) = body.scan_payload(&left, |bytes| content.extend_from_slice(bytes)) else {
                    return (answers, false);
                };
                left.drain(..scanned.length);
                if !scanned.done {
                    break;
                }
                answers.extend(current.take().map(|(status, content, _)| (status, content)));
            }
            let (length, status, framing) = match parse_response(&left, &mut fields(), method) {
                Ok(Some(head)) => (head.length, head.status, head.framing),
                Ok(None) => break,
                Err(_) => return (answers, false),
            };
            left.drain(..length);
            current = Some((status, Vec::new(), Body::new(framing)));
        }
    }
    // One that ends with its connection ends here.
    answers
        .extend(current.filter(|(.., body)| body.ends_with_connection()).map(|(s, content, _)| (s, content)));
    (answers, true)
}
