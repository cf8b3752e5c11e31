//! Rules as Traefik 2 had them, for routers that ask for `ruleSyntax: v2`: several values in one matcher, and
//! placeholders (`{name:pattern}`) in hosts and paths. They become matchers of the present language.

use super::http::Matcher;
use super::matchers::{HostPattern, none_empty, path, pattern, range, spelled, two};
use super::tcp::{self, TcpMatcher};
use super::{Expression, Rule, TcpRule};
use crate::dynamic::value::Pattern;

const KNOWN: [&str; 10] = [
    "Host",
    "HostHeader",
    "HostRegexp",
    "Path",
    "PathPrefix",
    "Method",
    "Headers",
    "HeadersRegexp",
    "Query",
    "ClientIP",
];

pub(super) fn http(written: &str, values: &[String]) -> Result<Rule, String> {
    let name = spelled(written, &KNOWN)?;
    none_empty(name, values)?;
    let each = |build: &dyn Fn(&str) -> Result<Matcher, String>| {
        let built: Result<Vec<Rule>, String> =
            values.iter().map(|value| build(value).map(Expression::Is)).collect();
        built.map(Expression::any)
    };
    match name {
        "Host" | "HostHeader" => each(&|value| HostPattern::parse(name, value).map(Matcher::Host)),
        "HostRegexp" => {
            each(&|value| template(name, &value.to_ascii_lowercase(), "[^.]+", true).map(Matcher::HostRegexp))
        }
        "Path" => each(&|value| {
            let value = path(name, value)?;
            if value.contains('{') {
                return template(name, value, "[^/]+", true).map(Matcher::PathRegexp);
            }
            Ok(Matcher::Path(value.to_owned()))
        }),
        "PathPrefix" => each(&|value| {
            let value = path(name, value)?;
            if value.contains('{') {
                return template(name, value, "[^/]+", false).map(Matcher::PathRegexp);
            }
            Ok(Matcher::PathPrefix(value.to_owned()))
        }),
        "Method" => each(&|value| Ok(Matcher::Method(value.to_ascii_uppercase()))),
        "Headers" => {
            let (field, value) = two(name, values)?;
            Ok(Expression::Is(Matcher::Header(field.to_owned(), value.to_owned())))
        }
        "HeadersRegexp" => {
            let (field, value) = two(name, values)?;
            Ok(Expression::Is(Matcher::HeaderRegexp(field.to_owned(), pattern(name, value)?)))
        }
        "Query" => each(&|value| {
            let (key, value) =
                value.split_once('=').ok_or_else(|| format!("{name}(`{value}`): expected `key=value`"))?;
            Ok(Matcher::Query(key.to_owned(), Some(value.to_owned())))
        }),
        _ => each(&|value| range(name, value).map(Matcher::ClientIp)),
    }
}

pub(super) fn tcp(written: &str, values: &[String]) -> Result<TcpRule, String> {
    let name = spelled(written, &tcp::KNOWN)?;
    none_empty(name, values)?;
    let built: Result<Vec<TcpRule>, String> = values
        .iter()
        .map(|value| match name {
            "HostSNIRegexp" => {
                template(name, &value.to_ascii_lowercase(), "[^.]+", true).map(TcpMatcher::HostSniRegexp)
            }
            _ => tcp::single(name, value),
        })
        .map(|matcher| matcher.map(Expression::Is))
        .collect();
    built.map(Expression::any)
}

/// A pattern from a text with placeholders; what is not in braces stands for itself.
fn template(name: &str, text: &str, default: &str, whole: bool) -> Result<Pattern, String> {
    let mut built = "^".to_owned();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        built.push_str(&regex::escape(&rest[..open]));
        // A pattern may have braces of its own.
        let mut depth = 0;
        let close = rest[open..].char_indices().find_map(|(at, letter)| {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(open + at)
        });
        let close = close.ok_or_else(|| format!("{name}(`{text}`): a `{{` is never closed"))?;
        let inner = &rest[open + 1..close];
        let part = inner.split_once(':').map_or(default, |(_, pattern)| pattern);
        built.extend(["(?:", part, ")"]);
        rest = &rest[close + 1..];
    }
    built.push_str(&regex::escape(rest));
    if whole {
        built.push('$');
    }
    pattern(name, &built)
}
