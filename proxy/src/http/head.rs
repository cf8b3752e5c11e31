//! Reads message heads, strictly: what could be read in two ways is refused (RFC 9112 §2.2, §5, §6, §11.2).

use std::mem::MaybeUninit;

use httparse::Header;

use super::body::Framing;
use super::{Method, Reason};
use crate::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX, REQUEST_LINE_BYTES_MAX};

/// Room for the fields of one head; lives on the stack.
pub(super) type Fields<'b> = [MaybeUninit<Header<'b>>; HEAD_FIELDS_MAX];

/// An empty [`Fields`].
pub(crate) const fn fields<'b>() -> Fields<'b> {
    [const { MaybeUninit::uninit() }; HEAD_FIELDS_MAX]
}

/// Why a head was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The kind, which gives the status.
    pub reason: Reason,
    /// What exactly, for the log and the answer.
    pub detail: &'static str,
}

const fn bad(detail: &'static str) -> Refused {
    Refused { reason: Reason::BadRequest, detail }
}

/// The head of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHead<'h, 'b> {
    /// Bytes it takes.
    pub length: usize,
    /// What its fields were read from, if that was one text.
    pub text: &'b [u8],
    /// The method as a word of metrics and rules.
    pub method: Method,
    /// The method as written.
    pub method_text: &'b str,
    /// The path and query, or `*`.
    pub target: &'b str,
    /// The host and port it is for, as written. Empty where HTTP/1.0 named none.
    pub authority: &'b str,
    /// Whether it is HTTP/1.0.
    pub is_http10: bool,
    /// The fields, in their order.
    pub fields: &'h [Header<'b>],
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection stays open, as far as the client goes.
    pub keep_alive: bool,
    /// Whether it asks for another protocol that may be passed on.
    pub upgrade: bool,
    /// Whether the client waits to be told to go on before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// Whether `Connection` names fields beside the usual ones.
    pub nominates: bool,
    /// How many hops it may take from here, where it says so and is of a method for which that counts (RFC 9110 §7.6.2).
    pub hops_left: Option<u64>,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct ResponseHead<'h, 'b> {
    /// Bytes it takes.
    pub length: usize,
    /// What its fields were read from.
    pub text: &'b [u8],
    /// The status code.
    pub status: u16,
    /// The phrase as written.
    pub phrase: &'b str,
    /// The fields, in their order.
    pub fields: &'h [Header<'b>],
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection stays open, as far as the endpoint goes.
    pub keep_alive: bool,
    /// Whether `Connection` names fields beside the usual ones.
    pub nominates: bool,
    /// Whether it says when it was made.
    pub has_date: bool,
}

/// Reads the head of a request; `None` while it is not whole.
pub(crate) fn parse_request<'h, 'b>(
    bytes: &'b [u8],
    room: &'h mut Fields<'b>,
) -> Result<Option<RequestHead<'h, 'b>>, Refused> {
    parse_request_within(HEAD_BYTES_MAX, bytes, room)
}

/// The same, with another limit of its bytes.
pub(super) fn parse_request_within<'h, 'b>(
    bytes_max: usize,
    bytes: &'b [u8],
    room: &'h mut Fields<'b>,
) -> Result<Option<RequestHead<'h, 'b>>, Refused> {
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed.parse_with_uninit_headers(bytes, room).map_err(refused)?;
    let httparse::Status::Complete(length) = status else {
        return if bytes.len() >= bytes_max { Err(too_large(bytes)) } else { Ok(None) };
    };
    if length > bytes_max {
        return Err(too_large(bytes));
    }
    let (Some(method_text), Some(raw_target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(bad("incomplete request line"));
    };
    if method_text.len() + raw_target.len() + " HTTP/1.1\r\n".len() >= REQUEST_LINE_BYTES_MAX {
        return Err(LINE_TOO_LONG);
    }
    let fields: &'h [Header<'b>] = parsed.headers;
    let is_http10 = minor == 0;
    if has_bare_lf(&bytes[..length], method_text, fields) {
        return Err(bad("bare LF"));
    }
    let known = Known::collect(fields)?;
    let (target, absolute) = split_target(method_text, raw_target)?;
    let authority = match (absolute, known.host) {
        // An absolute target wins over the field (RFC 9112 §3.2.2).
        (Some(authority), host) if host.is_some() || is_http10 => authority,
        (None, Some(host)) => host,
        (None, None) if is_http10 => "",
        (_, None) | (Some(_), _) => return Err(bad("no Host field")),
    };
    // The field of an absolute target is not used, and still has to be one.
    if !is_authority(authority) || !(absolute.is_none() || known.host.is_none_or(is_authority)) {
        return Err(bad("invalid host"));
    }
    let framing = known.request_framing(is_http10)?;
    let method = Method::parse(method_text);
    Ok(Some(RequestHead {
        length,
        text: bytes,
        method,
        method_text,
        target,
        authority,
        is_http10,
        fields,
        framing,
        keep_alive: known.keep_alive(is_http10),
        // "h2c" is never passed on: behind the tunnel no router would see the requests.
        upgrade: known.connection_upgrade && known.upgrade.is_some_and(|to| !to.eq_ignore_ascii_case("h2c")),
        expects_continue: known.expects_continue && !is_http10,
        nominates: known.nominates,
        hops_left: hops_left(method, fields)?,
    }))
}

/// Reads the head of an answer to a request of this method; `None` while it is not whole.
pub(crate) fn parse_response<'h, 'b>(
    bytes: &'b [u8],
    room: &'h mut Fields<'b>,
    method: Method,
) -> Result<Option<ResponseHead<'h, 'b>>, Refused> {
    let mut parsed = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, bytes, room)
        .map_err(|_| unreadable("malformed head"))?;
    let httparse::Status::Complete(length) = status else {
        return if bytes.len() >= HEAD_BYTES_MAX { Err(unreadable("head too large")) } else { Ok(None) };
    };
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(unreadable("incomplete status line"));
    };
    // Nothing says where an answer ends whose status is of no class (RFC 9110 §15).
    if status < 100 {
        return Err(unreadable("a status that is none"));
    }
    let fields: &'h [Header<'b>] = parsed.headers;
    let known = Known::collect(fields).map_err(|refused| unreadable(refused.detail))?;
    Ok(Some(ResponseHead {
        length,
        text: bytes,
        status,
        phrase: parsed.reason.unwrap_or(""),
        fields,
        framing: known.response_framing(status, method, minor == 0)?,
        keep_alive: known.keep_alive(minor == 0),
        nominates: known.nominates,
        has_date: known.has_date,
    }))
}

/// How many hops a request may take, by `Max-Forwards`. One that may take none is for us, who have nothing to say to it.
pub(super) fn hops_left(method: Method, fields: &[Header]) -> Result<Option<u64>, Refused> {
    if !matches!(method, Method::Options | Method::Trace) {
        return Ok(None);
    }
    let said = fields.iter().find(|field| field.name.eq_ignore_ascii_case("max-forwards"));
    match said.and_then(|field| digits(field.value)) {
        Some(0) => Err(Refused { reason: Reason::NotImplemented, detail: "Max-Forwards: 0" }),
        hops => Ok(hops),
    }
}

/// Whether the field `name` is one of those that `Connection` of this message names (RFC 9110 §7.6.1).
pub(super) fn is_nominated(fields: &[Header], name: &str) -> bool {
    fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("connection"))
        .flat_map(|field| tokens(field.value))
        .any(|token| token.eq_ignore_ascii_case(name.as_bytes()))
}

const LINE_TOO_LONG: Refused = Refused { reason: Reason::LineTooLong, detail: "" };

/// What to call a head of too many bytes: often it is its first line that is too long.
fn too_large(bytes: &[u8]) -> Refused {
    let line_max = &bytes[..bytes.len().min(REQUEST_LINE_BYTES_MAX)];
    if memchr::memchr(b'\n', line_max).is_none() {
        return LINE_TOO_LONG;
    }
    Refused { reason: Reason::HeadTooLarge, detail: "too many bytes" }
}

const fn unreadable(detail: &'static str) -> Refused {
    Refused { reason: Reason::BadResponse, detail }
}

fn refused(error: httparse::Error) -> Refused {
    match error {
        httparse::Error::TooManyHeaders => {
            Refused { reason: Reason::HeadTooLarge, detail: "too many fields" }
        }
        httparse::Error::HeaderName => bad("invalid field name"),
        httparse::Error::HeaderValue => bad("invalid field value"),
        httparse::Error::NewLine => bad("invalid line end"),
        httparse::Error::Version => bad("not HTTP/1.0 or HTTP/1.1"),
        _ => bad("invalid request line"),
    }
}

/// Whether a line ends with a bare LF: httparse takes it for a line end, an endpoint may not (RFC 9112 §2.2). It takes it
/// nowhere else, so that looking at where lines begin, and at how the last one ends, finds every one.
fn has_bare_lf(head: &[u8], method: &str, fields: &[Header]) -> bool {
    let at = |text: &str| (text.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
    let is_behind_crlf = |at: usize| at >= 2 && head.get(at - 2..at) == Some(b"\r\n");
    let before = head.get(..at(method)).unwrap_or(b"\n");
    !(before.chunks(2).all(|end| end == b"\r\n")
        && fields.iter().all(|field| is_behind_crlf(at(field.name)))
        && head.ends_with(b"\r\n\r\n"))
}

/// Whether this is a host, with a port or without one (RFC 3986 §3.2.2): a name, an IPv4 address, or an IPv6 one in
/// brackets. A client need not know the name, so that it may be empty. No user, and nothing percent-encoded, which is not
/// resolved by all alike.
pub(super) fn is_authority(text: &str) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    let name_ends = text.bytes().position(|byte| !is_name(&byte));
    let Some(end) = name_ends else { return true };
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        (address.parse::<std::net::Ipv6Addr>().is_ok(), port)
    } else {
        (end > 0, &text[end..])
    };
    let digits = port.strip_prefix(':');
    let is_port = |digits: &str| {
        digits.is_empty() || digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
    };
    host && (port.is_empty() || digits.is_some_and(is_port))
}

/// Path and query of the target, and the authority of an absolute one (RFC 9112 §3.2).
fn split_target<'b>(method: &str, target: &'b str) -> Result<(&'b str, Option<&'b str>), Refused> {
    if memchr::memchr(b'#', target.as_bytes()).is_some() {
        return Err(bad("fragment in target"));
    }
    if method == "CONNECT" {
        return Err(Refused { reason: Reason::NotImplemented, detail: "CONNECT" });
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok((target, None));
    }
    let rest = target
        .get(..7)
        .filter(|scheme| scheme.eq_ignore_ascii_case("http://"))
        .map(|_| &target[7..])
        .ok_or(bad("invalid target"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match path {
        _ if authority.is_empty() => Err(bad("invalid target")),
        "" if method == "OPTIONS" => Ok(("*", Some(authority))),
        "" => Ok(("/", Some(authority))),
        path if path.starts_with('/') => Ok((path, Some(authority))),
        // A query right behind the authority has no one meaning to pass on.
        _ => Err(bad("invalid target")),
    }
}

/// The fields that decide how a message is read.
#[derive(Default)]
struct Known<'b> {
    host: Option<&'b str>,
    content_length: Option<u64>,
    transfer_encoding: TransferEncoding,
    connection_close: bool,
    connection_keep_alive: bool,
    connection_upgrade: bool,
    expects_continue: bool,
    nominates: bool,
    upgrade: Option<&'b str>,
    has_date: bool,
}

#[derive(Default, PartialEq)]
enum TransferEncoding {
    #[default]
    Absent,
    Chunked,
    /// Ends in `chunked`, but there is more to it.
    Unknown,
    /// Does not end in `chunked`, or names it twice.
    Bad,
}

impl<'b> Known<'b> {
    fn collect(fields: &[Header<'b>]) -> Result<Self, Refused> {
        let mut known = Self::default();
        for field in fields {
            // Most fields are none of these, and their length says so.
            match field.name.len() {
                4 if is(field, "host") => {
                    let host = text(field.value).ok_or(bad("invalid host"))?;
                    if known.host.replace(host).is_some() {
                        return Err(bad("several Host fields"));
                    }
                }
                4 if is(field, "date") => known.has_date = true,
                6 if is(field, "expect") => {
                    known.expects_continue = field.value.eq_ignore_ascii_case(b"100-continue");
                }
                7 if is(field, "upgrade") => known.upgrade = text(field.value),
                10 if is(field, "connection") => known.connection(field.value),
                14 if is(field, "content-length") => {
                    let length = digits(field.value).ok_or(bad("invalid Content-Length"))?;
                    if known.content_length.replace(length).is_some() {
                        return Err(bad("several Content-Length fields"));
                    }
                }
                17 if is(field, "transfer-encoding") => {
                    known.transfer_encoding = match known.transfer_encoding {
                        TransferEncoding::Absent => transfer_encoding(field.value),
                        _ => TransferEncoding::Bad,
                    };
                }
                _ => {}
            }
        }
        Ok(known)
    }

    fn connection(&mut self, value: &'b [u8]) {
        // What nearly every client says.
        if value == b"keep-alive" {
            self.connection_keep_alive = true;
            return;
        }
        for token in tokens(value) {
            if token.eq_ignore_ascii_case(b"close") {
                self.connection_close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.connection_keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                self.connection_upgrade = true;
            } else {
                self.nominates = true;
            }
        }
    }

    fn keep_alive(&self, is_http10: bool) -> bool {
        !self.connection_close && (!is_http10 || self.connection_keep_alive)
    }

    fn request_framing(&self, is_http10: bool) -> Result<Framing, Refused> {
        match (&self.transfer_encoding, self.content_length) {
            (TransferEncoding::Absent, None | Some(0)) => Ok(Framing::Empty),
            (TransferEncoding::Absent, Some(length)) => Ok(Framing::Length(length)),
            (_, Some(_)) => Err(bad("Transfer-Encoding and Content-Length")),
            (_, None) if is_http10 => Err(bad("Transfer-Encoding in HTTP/1.0")),
            (TransferEncoding::Chunked, None) => Ok(Framing::Chunked),
            (TransferEncoding::Bad, None) => Err(bad("Transfer-Encoding that does not end in chunked")),
            (TransferEncoding::Unknown, None) => {
                Err(Refused { reason: Reason::NotImplemented, detail: "transfer coding" })
            }
        }
    }

    fn response_framing(&self, status: u16, method: Method, is_http10: bool) -> Result<Framing, Refused> {
        if method == Method::Head || status < 200 || status == 204 || status == 304 {
            return Ok(Framing::Empty);
        }
        match (&self.transfer_encoding, self.content_length) {
            (TransferEncoding::Absent, None) => Ok(Framing::UntilClose),
            (TransferEncoding::Absent, Some(0)) => Ok(Framing::Empty),
            (TransferEncoding::Absent, Some(length)) => Ok(Framing::Length(length)),
            (TransferEncoding::Chunked, None) if !is_http10 => Ok(Framing::Chunked),
            (_, Some(_)) => Err(unreadable("Transfer-Encoding and Content-Length")),
            (_, None) => Err(unreadable("unknown Transfer-Encoding")),
        }
    }
}

/// What the value of `Transfer-Encoding` says. Only the one word is passed on as chunked: an empty member of the list, or a
/// parameter, is read in one way here and in another there.
fn transfer_encoding(value: &[u8]) -> TransferEncoding {
    if value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return TransferEncoding::Chunked;
    }
    let is_chunked = |member: &[u8]| member.trim_ascii().eq_ignore_ascii_case(b"chunked");
    let mut members = value.rsplit(|byte| *byte == b',');
    let ends_in_chunked = members.next().is_some_and(is_chunked);
    if ends_in_chunked && members.all(|member| !is_chunked(member) && !member.trim_ascii().is_empty()) {
        TransferEncoding::Unknown
    } else {
        TransferEncoding::Bad
    }
}

fn is(field: &Header, name: &str) -> bool {
    // Most that are as long as this one are another, and differ in their first letter.
    let first = |name: &str| name.as_bytes().first().map(u8::to_ascii_lowercase);
    first(field.name) == first(name) && field.name.eq_ignore_ascii_case(name)
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.trim_ascii()).ok()
}

/// Digits and nothing else: no sign, no list, no space within.
fn digits(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let fine = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| fine)?.parse().ok()
}

#[cfg(test)]
mod tests;
