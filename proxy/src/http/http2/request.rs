//! The head of a request, from HTTP/2 to what the engine reads (RFC 9113 §8.2, §8.3).
//!
//! The stack below has refused what can't be: names in upper case, values with CR, LF or NUL, fields that are for one
//! connection only, pseudo-fields that are missing, doubled, or behind others. What is left to be looked at is what
//! HTTP/1.1 would read in another way.

use http::header::{
    CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TE,
};
use http::request::Parts;
use httparse::Header;

use super::websocket::Handshake;
use crate::http::Reason;
use crate::http::body::Framing;
use crate::http::head::{Refused, RequestHead, hops_left, is_authority};
use crate::http::method::Method;
use crate::limits::HEAD_FIELDS_MAX;

/// How much of a request's body is known when its head is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Known {
    /// All of it is here: so many bytes, and nothing behind them.
    Whole(usize),
    /// More is to come.
    Begun,
}

const fn bad(detail: &'static str) -> Refused {
    Refused { reason: Reason::BadRequest, detail }
}

/// The text that a head borrows from and that is nowhere in the request itself.
#[derive(Default)]
pub(in crate::http) struct Text {
    length: String,
    cookie: Vec<u8>,
}

/// Reads a head as the engine knows it.
pub(in crate::http) fn read<'h, 'b: 'h>(
    parts: &'b Parts,
    known: Known,
    handshake: Option<&'b Handshake>,
    text: &'b mut Text,
    room: &'h mut Vec<Header<'b>>,
) -> Result<RequestHead<'h, 'b>, Refused> {
    let headers = &parts.headers;
    if headers.len() > HEAD_FIELDS_MAX {
        return Err(Refused { reason: Reason::HeadTooLarge, detail: "too many fields" });
    }
    // A tunnel is asked for by an upgrade (RFC 8441 §5.1, RFC 6455 §4.1).
    let method_text = if handshake.is_some() { "GET" } else { parts.method.as_str() };
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    if !(target.starts_with('/') || (target == "*" && method_text == "OPTIONS")) {
        return Err(bad("invalid target"));
    }
    let authority = authority(parts)?;
    let framing = match handshake {
        Some(_) => Framing::Empty,
        None => framing(headers, known, method_text)?,
    };
    let Text { length, cookie } = text;
    if let (Framing::Length(bytes), None) = (framing, headers.get(CONTENT_LENGTH)) {
        *length = bytes.to_string();
    }
    join_cookies(headers, cookie);
    let (length, cookie): (&'b str, &'b [u8]) = (length, cookie);
    // How the body ends or what is asked for, and one for all cookies.
    room.reserve(headers.len() + 4);
    let mut add = |name: &'b str, value: &'b [u8]| room.push(Header { name, value });
    for (name, value) in headers {
        if name == HOST || name == TE || name == SEC_WEBSOCKET_KEY || (name == COOKIE && !cookie.is_empty()) {
            continue;
        }
        add(name.as_str(), value.as_bytes());
    }
    if !cookie.is_empty() {
        add("cookie", cookie);
    }
    if let Some(handshake) = handshake {
        add("upgrade", b"websocket");
        add("sec-websocket-key", handshake.key.as_bytes());
        if !headers.contains_key(SEC_WEBSOCKET_VERSION) {
            add("sec-websocket-version", b"13");
        }
    } else if framing == Framing::Chunked {
        add("transfer-encoding", b"chunked");
    } else if !length.is_empty() {
        add("content-length", length.as_bytes());
    }
    let method = Method::parse(method_text);
    Ok(RequestHead {
        length: 0,
        text: &[],
        method,
        method_text,
        target,
        authority,
        is_http10: false,
        fields: room,
        framing,
        keep_alive: true,
        upgrade: handshake.is_some(),
        expects_continue: framing != Framing::Empty
            && headers
                .get(EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")),
        nominates: false,
        hops_left: hops_left(method, room)?,
    })
}

/// The host and port that it is for: `:authority`, else `host`; where both are there they must agree (RFC 9113 §8.3.1).
fn authority(parts: &Parts) -> Result<&str, Refused> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.to_str().map_err(|_| bad("invalid host"))).transpose()?;
    if hosts.next().is_some() {
        return Err(bad("several Host fields"));
    }
    let authority = match (parts.uri.authority(), host) {
        (Some(authority), Some(host)) if !authority.as_str().eq_ignore_ascii_case(host) => {
            return Err(bad(":authority and Host differ"));
        }
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host,
        (None, None) => return Err(bad("neither :authority nor Host")),
    };
    if authority.is_empty() || !is_authority(authority) {
        return Err(bad("invalid host"));
    }
    Ok(authority)
}

/// How the body will end for an endpoint that speaks HTTP/1.1.
fn framing(headers: &HeaderMap, known: Known, method: &str) -> Result<Framing, Refused> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let announced = match lengths.next() {
        None => None,
        Some(length) => {
            let digits = length
                .to_str()
                .ok()
                .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
            Some(digits.and_then(|digits| digits.parse::<u64>().ok()).ok_or(bad("invalid Content-Length"))?)
        }
    };
    if lengths.next().is_some() {
        return Err(bad("several Content-Length fields"));
    }
    Ok(match (known, announced) {
        (Known::Whole(bytes), Some(length)) if length != bytes as u64 => {
            return Err(bad("a body of another length than announced"));
        }
        (_, Some(length)) => Framing::Length(length),
        // Some servers ask for a length of what could have had a body (RFC 9110 §8.6).
        (Known::Whole(0), None) if matches!(method, "POST" | "PUT" | "PATCH") => Framing::Length(0),
        (Known::Whole(0), None) => Framing::Empty,
        (Known::Whole(bytes), None) => Framing::Length(bytes as u64),
        (Known::Begun, None) => Framing::Chunked,
    })
}

/// Cookies may come one by one, to be packed better; HTTP/1.1 takes them in one field (RFC 9113 §8.2.3).
fn join_cookies(headers: &HeaderMap, joined: &mut Vec<u8>) {
    let mut cookies = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return };
    joined.extend_from_slice(first.as_bytes());
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    type Understood = (String, String, Framing, Vec<(String, String)>);

    fn understood(request: http::request::Builder, known: Known) -> Result<Understood, &'static str> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let (mut text, mut room) = (Text::default(), Vec::new());
        let head = read(&parts, known, None, &mut text, &mut room).map_err(|refused| refused.detail)?;
        let fields = head
            .fields
            .iter()
            .map(|field| (field.name.to_owned(), String::from_utf8(field.value.to_vec()).unwrap()));
        Ok((head.target.to_owned(), head.authority.to_owned(), head.framing, fields.collect()))
    }

    fn get() -> http::request::Builder {
        Request::get("http://a.test:8000/x?y")
    }

    fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_request_is_the_same_in_both_versions() {
        let request = get().header("accept", "*/*").header("te", "trailers");
        let (target, authority, framing, fields) = understood(request, Known::Whole(0)).unwrap();
        assert_eq!((target.as_str(), authority.as_str()), ("/x?y", "a.test:8000"));
        assert_eq!(framing, Framing::Empty);
        assert_eq!(fields, owned(&[("accept", "*/*")]));
    }

    #[test]
    fn authority_and_host_agree_or_the_request_is_refused() {
        for (uri, hosts, expected) in [
            ("http://a.test/", &["a.test"][..], Ok("a.test")),
            ("http://a.test/", &["A.TEST"], Ok("a.test")),
            ("/", &["a.test:1"], Ok("a.test:1")),
            ("http://a.test/", &["b.test"], Err(":authority and Host differ")),
            ("http://a.test/", &["a.test:80"], Err(":authority and Host differ")),
            ("http://a.test/", &["a.test", "a.test"], Err("several Host fields")),
            ("/", &[], Err("neither :authority nor Host")),
            ("/", &[""], Err("invalid host")),
            ("/", &["a.test/x"], Err("invalid host")),
            ("http://u@a.test/", &[], Err("invalid host")),
            ("http://[::1]x/", &[], Err("invalid host")),
            ("http://a.test:x/", &[], Err("invalid host")),
        ] {
            let mut request = Request::get(uri);
            for host in hosts {
                request = request.header("host", *host);
            }
            let found = understood(request, Known::Whole(0)).map(|(_, authority, _, _)| authority);
            assert_eq!(found.as_deref().map_err(|detail| *detail), expected, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn the_end_of_a_body_is_said_as_well_as_it_is_known() {
        let post = || Request::post("http://a.test/");
        for (request, known, framing, field) in [
            (post(), Known::Whole(0), Framing::Length(0), Some(("content-length", "0"))),
            (post(), Known::Whole(5), Framing::Length(5), Some(("content-length", "5"))),
            (post(), Known::Begun, Framing::Chunked, Some(("transfer-encoding", "chunked"))),
            (
                post().header("content-length", "7"),
                Known::Begun,
                Framing::Length(7),
                Some(("content-length", "7")),
            ),
            (get(), Known::Whole(0), Framing::Empty, None),
        ] {
            let (_, _, found, fields) = understood(request, known).unwrap();
            assert_eq!(found, framing);
            assert_eq!(fields, field.map_or(Vec::new(), |field| owned(&[field])));
        }
        for lengths in [&["x"][..], &["5", "5"], &["+5"], &["5, 5"], &[""], &["99999999999999999999"], &["6"]]
        {
            let mut request = post();
            for length in lengths {
                request = request.header("content-length", *length);
            }
            assert!(understood(request, Known::Whole(5)).is_err(), "{lengths:?}");
        }
    }

    #[test]
    fn cookies_are_one_field() {
        let request = get().header("cookie", "a=1").header("accept", "*/*").header("cookie", "b=2");
        let (_, _, _, fields) = understood(request, Known::Whole(0)).unwrap();
        assert_eq!(fields, owned(&[("accept", "*/*"), ("cookie", "a=1; b=2")]));
    }

    #[test]
    fn too_many_fields_are_refused() {
        let mut request = get();
        for index in 0..=HEAD_FIELDS_MAX {
            request = request.header("x", index);
        }
        assert_eq!(understood(request, Known::Whole(0)).err(), Some("too many fields"));
    }

    #[test]
    fn only_options_asks_for_the_server_itself() {
        assert!(understood(Request::options("*").header("host", "a.test"), Known::Whole(0)).is_ok());
        assert!(understood(Request::get("*").header("host", "a.test"), Known::Whole(0)).is_err());
    }
}
