//! A record as an object, with Traefik's field names in their alphabetical order.
//!
//! Written by hand: with the log on there is a line for each request, and a general serializer and a general formatter
//! of times would be the larger part of what a request costs here.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use time::OffsetDateTime;

use super::format::host_and_port;
use super::selection::Selection;
use super::{Asked, Record};
use crate::http::Reason;

/// Appends the object, without a line's end.
pub(super) fn write(record: &Record, selection: &Selection, line: &mut Vec<u8>) {
    let nothing = Asked::default();
    let asked = record.asked.unwrap_or(&nothing);
    let client = record.client.ip().to_canonical();
    let port = record.client.port();
    let mut object = Object::begin(selection, line);
    if let Some(line) = object.field("\"ClientAddr\":\"") {
        address(SocketAddr::new(client, port), line);
        line.push(b'"');
    }
    if let Some(line) = object.field("\"ClientHost\":\"") {
        ip(client, line);
        line.push(b'"');
    }
    object.number("\"ClientPort\":", port.into());
    object.text("\"ClientUsername\":", if asked.user.is_empty() { "-" } else { &asked.user });
    object.number("\"DownstreamContentSize\":", record.sent);
    object.number("\"DownstreamStatus\":", record.status.into());
    // Nanoseconds.
    object.number("\"Duration\":", u64::try_from(record.took.as_nanos()).unwrap_or(u64::MAX));
    object.text_or_null("\"EndpointName\":", record.endpoint.map(|(name, _)| name));
    // The status that an endpoint gave, where it was one.
    if let Some(line) = object.field("\"OriginStatus\":") {
        match record.endpoint {
            Some(_) if record.reason.is_none() => number(record.status.into(), line),
            _ => line.extend_from_slice(b"null"),
        }
    }
    object.text_or_null("\"Reason\":", record.reason.map(Reason::as_str));
    about_request(record, asked, &mut object);
    object.number("\"RetryAttempts\":", record.retries.into());
    object.text_or_null("\"RouterName\":", record.router);
    let mut endpoint_at = None;
    if let Some(line) = object.field("\"ServiceAddr\":") {
        match record.endpoint {
            Some((_, endpoint)) => {
                line.push(b'"');
                let start = line.len();
                address(endpoint, line);
                endpoint_at = Some(start..line.len());
                line.push(b'"');
            }
            None => line.extend_from_slice(b"null"),
        }
    }
    object.text_or_null("\"ServiceName\":", record.service);
    if let Some(line) = object.field("\"ServiceURL\":") {
        match (record.endpoint, endpoint_at) {
            (None, _) => line.extend_from_slice(b"null"),
            (Some((_, endpoint)), at) => {
                line.extend_from_slice(b"\"http://");
                match at {
                    Some(at) => line.extend_from_within(at),
                    None => address(endpoint, line),
                }
                line.push(b'"');
            }
        }
    }
    let started = utc(record.started.into());
    if let Some(line) = object.field("\"StartUTC\":\"") {
        line.extend_from_slice(&started);
        line.push(b'"');
    }
    if let Some(tls) = record.tls {
        object.text("\"TLSCipher\":", &tls.cipher);
        object.text("\"TLSVersion\":", tls.version);
    }
    if let Some(told) = record.told {
        told.each_downstream(|name, value| header(object.always("\"downstream_"), name, value));
    }
    object.text("\"entryPointName\":", record.entry_point);
    object.always("\"level\":\"info\",\"msg\":\"\"");
    if let Some(told) = record.told {
        told.each_of_origin(|name, value| header(object.always("\"origin_"), name, value));
    }
    for (name, value) in [("Referer", asked.referer()), ("User-Agent", asked.user_agent())] {
        header(object.always("\"request_"), name, value);
    }
    for (name, value) in &asked.fields {
        header(object.always("\"request_"), name, value);
    }
    line.extend_from_slice(b",\"time\":\"");
    line.extend_from_slice(&started);
    line.extend_from_slice(b"\"}");
}

fn about_request(record: &Record, asked: &Asked, object: &mut Object<'_>) {
    object.text("\"RequestAddr\":", asked.host());
    object.number("\"RequestContentSize\":", record.received);
    let (host, asked_port) = host_and_port(asked.host());
    object.text("\"RequestHost\":", host);
    if let Some(line) = object.field("\"RequestLine\":\"") {
        if record.asked.is_some() {
            escaped(asked.method(), line);
            line.push(b' ');
            escaped(asked.target(), line);
            line.push(b' ');
            escaped(asked.protocol, line);
        }
        line.push(b'"');
    }
    object.text("\"RequestMethod\":", asked.method());
    object.text("\"RequestPath\":", asked.target());
    object.text("\"RequestPort\":", asked_port);
    object.text("\"RequestProtocol\":", asked.protocol);
    object.text("\"RequestScheme\":", if record.tls.is_some() { "https" } else { "http" });
}

/// An object that is begun.
pub(super) struct Object<'a> {
    selection: &'a Selection,
    line: &'a mut Vec<u8>,
}

impl<'a> Object<'a> {
    /// Begins one.
    pub(super) fn begin(selection: &'a Selection, line: &'a mut Vec<u8>) -> Self {
        line.push(b'{');
        Self { selection, line }
    }

    /// Begins a field, if it is to be there. `begin` is its name in quotes, and what is before its value.
    pub(super) fn field(&mut self, begin: &'static str) -> Option<&mut Vec<u8>> {
        let name = || begin[1..].split('"').next().unwrap_or_default();
        self.selection.keeps(name).then(|| self.always(begin))
    }

    /// A field that is a number.
    pub(super) fn number(&mut self, begin: &'static str, value: u64) {
        if let Some(line) = self.field(begin) {
            number(value, line);
        }
    }

    /// A field that is a string.
    pub(super) fn text(&mut self, begin: &'static str, value: &str) {
        if let Some(line) = self.field(begin) {
            text(value, line);
        }
    }

    /// A field that is a string where there is one.
    pub(super) fn text_or_null(&mut self, begin: &'static str, value: Option<&str>) {
        if let Some(line) = self.field(begin) {
            text_or_null(value, line);
        }
    }

    /// Begins what is there in any case.
    pub(super) fn always(&mut self, begin: &'static str) -> &mut Vec<u8> {
        if self.line.last() != Some(&b'{') {
            self.line.push(b',');
        }
        self.line.extend_from_slice(begin.as_bytes());
        self.line
    }
}

/// A field of a request or an answer, whose kind is written already. No name of a field has what would need to be escaped.
fn header(line: &mut Vec<u8>, name: &str, value: &str) {
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
    text(value, line);
}

pub(super) fn text_or_null(value: Option<&str>, line: &mut Vec<u8>) {
    match value {
        Some(value) => text(value, line),
        None => line.extend_from_slice(b"null"),
    }
}

/// A string (RFC 8259 §7).
fn text(value: &str, line: &mut Vec<u8>) {
    line.push(b'"');
    escaped(value, line);
    line.push(b'"');
}

fn escaped(value: &str, line: &mut Vec<u8>) {
    let mut rest = value.as_bytes();
    let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // Hardly any has one. To look at all of it, without stopping at the first, takes many bytes at a time.
    if !rest.iter().fold(false, |found, byte| found | is_special(*byte)) {
        return line.extend_from_slice(rest);
    }
    while let Some(at) = rest.iter().position(|byte| is_special(*byte)) {
        line.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => line.extend_from_slice(&[b'\\', byte]),
            byte => {
                let _ = write!(line, "\\u{byte:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    line.extend_from_slice(rest);
}

fn number(value: u64, line: &mut Vec<u8>) {
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub(super) fn address(address: SocketAddr, line: &mut Vec<u8>) {
    if address.is_ipv4() {
        ip(address.ip(), line);
        line.push(b':');
        number(address.port().into(), line);
    } else {
        // Writing to memory does not fail.
        let _ = write!(line, "{address}");
    }
}

pub(super) fn ip(ip: IpAddr, line: &mut Vec<u8>) {
    let IpAddr::V4(ip) = ip else {
        let _ = write!(line, "{ip}");
        return;
    };
    for (index, octet) in ip.octets().into_iter().enumerate() {
        if index > 0 {
            line.push(b'.');
        }
        number(octet.into(), line);
    }
}

/// `2000-10-10T13:55:36.123456789Z` (RFC 3339)
pub(super) fn utc(at: OffsetDateTime) -> [u8; 30] {
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let mut put = |from: usize, digits: usize, mut value: u32| {
        for place in text[from..from + digits].iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    let (year, month, day) = at.to_calendar_date();
    put(0, 4, year.unsigned_abs());
    put(5, 2, u8::from(month).into());
    put(8, 2, day.into());
    put(11, 2, at.hour().into());
    put(14, 2, at.minute().into());
    put(17, 2, at.second().into());
    put(20, 9, at.nanosecond());
    text
}
