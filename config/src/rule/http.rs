//! The matchers of HTTP.

use std::borrow::Cow;
use std::fmt;

use super::matchers::{
    HostPattern, Quoted, host_pattern, none_empty, one, path, pattern, range, spelled, two,
};
use super::{Expression, RequestView, Rule};
use crate::dynamic::value::{IpRange, Pattern};

/// One condition on a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Matcher {
    /// The host, lower case, without port or trailing dot.
    Host(HostPattern),
    /// The host, by a pattern found anywhere in it.
    HostRegexp(Pattern),
    /// The whole path; a trailing slash counts.
    Path(String),
    /// The beginning of the path, as plain characters: `/products` also takes `/products-for-sale`.
    PathPrefix(String),
    /// The path, by a pattern found anywhere in it.
    PathRegexp(Pattern),
    /// The method, in capitals.
    Method(String),
    /// A header field with a value.
    Header(String, String),
    /// A header field, its value by a pattern.
    HeaderRegexp(String, Pattern),
    /// A parameter of the query with a value, or with none.
    Query(String, Option<String>),
    /// A parameter of the query, its value by a pattern.
    QueryRegexp(String, Pattern),
    /// The address at the other end of the connection.
    ClientIp(IpRange),
}

const KNOWN: [&str; 11] = [
    "Host",
    "HostRegexp",
    "Path",
    "PathPrefix",
    "PathRegexp",
    "Method",
    "Header",
    "HeaderRegexp",
    "Query",
    "QueryRegexp",
    "ClientIP",
];

pub(super) fn build(written: &str, values: &[String]) -> Result<Rule, String> {
    let name = spelled(written, &KNOWN)?;
    none_empty(name, values)?;
    let matcher = match name {
        "Host" => Matcher::Host(HostPattern::parse(name, one(name, values)?)?),
        "HostRegexp" => Matcher::HostRegexp(host_pattern(name, one(name, values)?)?),
        "Path" => Matcher::Path(path(name, one(name, values)?)?.to_owned()),
        "PathPrefix" => Matcher::PathPrefix(path(name, one(name, values)?)?.to_owned()),
        "PathRegexp" => Matcher::PathRegexp(pattern(name, one(name, values)?)?),
        "Method" => Matcher::Method(one(name, values)?.to_ascii_uppercase()),
        "Header" => {
            let (field, value) = two(name, values)?;
            Matcher::Header(field.to_owned(), value.to_owned())
        }
        "HeaderRegexp" => {
            let (field, value) = two(name, values)?;
            Matcher::HeaderRegexp(field.to_owned(), pattern(name, value)?)
        }
        "Query" => match values {
            [key] => Matcher::Query(key.clone(), None),
            [key, value] => Matcher::Query(key.clone(), Some(value.clone())),
            _ => return Err(format!("{name} takes one or two values: {name}(`key`, `value`)")),
        },
        "QueryRegexp" => match values {
            // As Traefik has it: without a pattern there is nothing that one could be found in.
            [key] => Matcher::Query(key.clone(), None),
            [key, value] => Matcher::QueryRegexp(key.clone(), pattern(name, value)?),
            _ => return Err(format!("{name} takes one or two values: {name}(`key`, `pattern`)")),
        },
        _ => Matcher::ClientIp(range(name, one(name, values)?)?),
    };
    Ok(Expression::Is(matcher))
}

impl Matcher {
    /// Whether the request fulfils it.
    pub fn matches(&self, request: &RequestView<'_>) -> bool {
        match self {
            Self::Host(pattern) => pattern.matches(request.host),
            Self::HostRegexp(pattern) => pattern.is_match(request.host),
            Self::Path(expected) => request.path == expected,
            Self::PathPrefix(prefix) => request.path.starts_with(prefix.as_str()),
            Self::PathRegexp(pattern) => pattern.is_match(request.path),
            Self::Method(method) => request.method == method,
            Self::Header(name, expected) => {
                request.fields.any(name, &mut |value| value == expected.as_bytes())
            }
            Self::HeaderRegexp(name, pattern) => request.fields.any(name, &mut |value| {
                std::str::from_utf8(value).is_ok_and(|value| pattern.is_match(value))
            }),
            Self::Query(key, expected) => {
                let expected = expected.as_deref().unwrap_or_default();
                parameters(request.query).any(|(name, value)| same(name, key) && same(value, expected))
            }
            Self::QueryRegexp(key, pattern) => parameters(request.query)
                .any(|(name, value)| same(name, key) && pattern.is_match(&decoded(value))),
            Self::ClientIp(range) => range.contains(request.client),
        }
    }
}

/// The parameters of a query, as encoded. What holds a semicolon is none, as Go has it since 1.17.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.contains(';') && bytes(pair).all(|byte| byte.is_some()))
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The bytes that an encoded text stands for; `None` for an escape that is none.
fn bytes(encoded: &str) -> impl Iterator<Item = Option<u8>> {
    let mut rest = encoded.as_bytes().iter().copied();
    std::iter::from_fn(move || {
        Some(match rest.next()? {
            b'+' => Some(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                high.zip(low).map(|(high, low)| (high * 16 + low) as u8)
            }
            byte => Some(byte),
        })
    })
}

fn same(encoded: &str, expected: &str) -> bool {
    bytes(encoded).eq(expected.bytes().map(Some))
}

/// Decoded; the one place where asking a rule may allocate, and only for what is encoded.
fn decoded(encoded: &str) -> Cow<'_, str> {
    if encoded.bytes().any(|byte| matches!(byte, b'+' | b'%')) {
        let decoded: Vec<u8> = bytes(encoded).flatten().collect();
        Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
    } else {
        Cow::Borrowed(encoded)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(pattern) => write!(f, "Host(`{pattern}`)"),
            Self::HostRegexp(pattern) => write!(f, "HostRegexp({})", Quoted(pattern.as_str())),
            Self::Path(path) => write!(f, "Path({})", Quoted(path)),
            Self::PathPrefix(prefix) => write!(f, "PathPrefix({})", Quoted(prefix)),
            Self::PathRegexp(pattern) => write!(f, "PathRegexp({})", Quoted(pattern.as_str())),
            Self::Method(method) => write!(f, "Method({})", Quoted(method)),
            Self::Header(name, value) => write!(f, "Header({}, {})", Quoted(name), Quoted(value)),
            Self::HeaderRegexp(name, pattern) => {
                write!(f, "HeaderRegexp({}, {})", Quoted(name), Quoted(pattern.as_str()))
            }
            Self::Query(key, None) => write!(f, "Query({})", Quoted(key)),
            Self::Query(key, Some(value)) => write!(f, "Query({}, {})", Quoted(key), Quoted(value)),
            Self::QueryRegexp(key, pattern) => {
                write!(f, "QueryRegexp({}, {})", Quoted(key), Quoted(pattern.as_str()))
            }
            Self::ClientIp(range) => write!(f, "ClientIP(`{range}`)"),
        }
    }
}
