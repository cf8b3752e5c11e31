//! A record as an object, with Traefik's field names in their alphabetical order.
//!
//! Written by hand: with the log on there is a line for each request, and a general serializer and a general formatter
//! of times would be the larger part of what a request costs here.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use time::OffsetDateTime;

use super::format::host_and_port;
use super::{Asked, Record};
use crate::http::Reason;

/// Appends the object, without a line's end.
pub(super) fn write(record: &Record, line: &mut Vec<u8>) {
    let nothing = Asked::default();
    let asked = record.asked.unwrap_or(&nothing);
    let client = record.client.ip().to_canonical();
    let port = record.client.port();
    line.extend_from_slice(b"{\"ClientAddr\":\"");
    address(SocketAddr::new(client, port), line);
    line.extend_from_slice(b"\",\"ClientHost\":\"");
    ip(client, line);
    line.extend_from_slice(b"\",\"ClientPort\":");
    number(port.into(), line);
    line.extend_from_slice(b",\"ClientUsername\":");
    text(if asked.user.is_empty() { "-" } else { &asked.user }, line);
    line.extend_from_slice(b",\"DownstreamContentSize\":");
    number(record.sent, line);
    line.extend_from_slice(b",\"DownstreamStatus\":");
    number(record.status.into(), line);
    // Nanoseconds.
    line.extend_from_slice(b",\"Duration\":");
    number(u64::try_from(record.took.as_nanos()).unwrap_or(u64::MAX), line);
    line.extend_from_slice(b",\"EndpointName\":");
    text_or_null(record.endpoint.map(|(name, _)| name), line);
    // The status that an endpoint gave, where it was one.
    line.extend_from_slice(b",\"OriginStatus\":");
    match record.endpoint {
        Some(_) if record.reason.is_none() => number(record.status.into(), line),
        _ => line.extend_from_slice(b"null"),
    }
    line.extend_from_slice(b",\"Reason\":");
    text_or_null(record.reason.map(Reason::as_str), line);
    line.extend_from_slice(b",\"RequestAddr\":");
    text(asked.host(), line);
    line.extend_from_slice(b",\"RequestContentSize\":");
    number(record.received, line);
    let (host, asked_port) = host_and_port(asked.host());
    line.extend_from_slice(b",\"RequestHost\":");
    text(host, line);
    line.extend_from_slice(b",\"RequestLine\":\"");
    if record.asked.is_some() {
        escaped(asked.method(), line);
        line.push(b' ');
        escaped(asked.target(), line);
        line.push(b' ');
        escaped(asked.protocol, line);
    }
    line.extend_from_slice(b"\",\"RequestMethod\":");
    text(asked.method(), line);
    line.extend_from_slice(b",\"RequestPath\":");
    text(asked.target(), line);
    line.extend_from_slice(b",\"RequestPort\":");
    text(asked_port, line);
    line.extend_from_slice(b",\"RequestProtocol\":");
    text(asked.protocol, line);
    line.extend_from_slice(b",\"RequestScheme\":");
    text(if record.tls.is_some() { "https" } else { "http" }, line);
    line.extend_from_slice(b",\"RetryAttempts\":");
    number(record.retries.into(), line);
    line.extend_from_slice(b",\"RouterName\":");
    text_or_null(record.router, line);
    line.extend_from_slice(b",\"ServiceAddr\":");
    let mut endpoint_at = 0..0;
    match record.endpoint {
        Some((_, endpoint)) => {
            line.push(b'"');
            let start = line.len();
            address(endpoint, line);
            endpoint_at = start..line.len();
            line.push(b'"');
        }
        None => line.extend_from_slice(b"null"),
    }
    line.extend_from_slice(b",\"ServiceName\":");
    text_or_null(record.service, line);
    line.extend_from_slice(b",\"ServiceURL\":");
    match record.endpoint {
        Some(_) => {
            line.extend_from_slice(b"\"http://");
            line.extend_from_within(endpoint_at);
            line.push(b'"');
        }
        None => line.extend_from_slice(b"null"),
    }
    line.extend_from_slice(b",\"StartUTC\":\"");
    let started = utc(record.started.into());
    line.extend_from_slice(&started);
    line.push(b'"');
    if let Some(tls) = record.tls {
        line.extend_from_slice(b",\"TLSCipher\":");
        text(&tls.cipher, line);
        line.extend_from_slice(b",\"TLSVersion\":");
        text(tls.version, line);
    }
    line.extend_from_slice(b",\"entryPointName\":");
    text(record.entry_point, line);
    line.extend_from_slice(b",\"level\":\"info\",\"msg\":\"\",\"request_Referer\":");
    text(asked.referer(), line);
    line.extend_from_slice(b",\"request_User-Agent\":");
    text(asked.user_agent(), line);
    line.extend_from_slice(b",\"time\":\"");
    line.extend_from_slice(&started);
    line.extend_from_slice(b"\"}");
}

pub(super) fn text_or_null(value: Option<&str>, line: &mut Vec<u8>) {
    match value {
        Some(value) => text(value, line),
        None => line.extend_from_slice(b"null"),
    }
}

/// A string (RFC 8259 §7).
pub(super) fn text(value: &str, line: &mut Vec<u8>) {
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

pub(super) fn number(value: u64, line: &mut Vec<u8>) {
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
