//! `addPrefix`, `stripPrefix`, `stripPrefixRegex`, `replacePath`, `replacePathRegex`: another path for the endpoint.
//!
//! Prefixes are compared with what the path stands for, and taken off what was sent, so that what is encoded stays so.

use portolan_config::dynamic::middleware::Middleware;
use portolan_config::dynamic::value::Pattern;

use super::target::{as_sent, decoded, encode, encoded_length, is_decodable, is_plain};
use super::{Draft, OwnAnswer};
use crate::http::Reason;

const PREFIX: &str = "X-Forwarded-Prefix";
const REPLACED: &str = "X-Replaced-Path";

/// What is done to the path.
#[derive(Debug)]
pub(crate) enum PathStep {
    /// Put before it, encoded.
    Add(String),
    /// The first that fits is taken off; with a slash left in any case, or not.
    Strip { prefixes: Vec<String>, leaves_slash: bool },
    /// What the first that fits finds at the front is taken off.
    StripPattern(Vec<Pattern>),
    /// Another path.
    Replace(String),
    /// Another path, made from the old one.
    ReplacePattern { pattern: Pattern, replacement: String },
}

impl PathStep {
    /// Compiles a middleware, if it is one of these.
    pub(super) fn compile(written: &Middleware) -> Option<Result<Self, String>> {
        Some(Ok(match written {
            Middleware::AddPrefix(add) => Self::Add(with_slash(encode(&add.prefix))),
            Middleware::StripPrefix(strip) => Self::Strip {
                prefixes: strip.prefixes.iter().map(|prefix| prefix.trim().to_owned()).collect(),
                leaves_slash: strip.force_slash,
            },
            Middleware::StripPrefixRegex(strip) => Self::StripPattern(strip.regex.clone()),
            Middleware::ReplacePath(replace) if !is_decodable(&replace.path) => {
                return Some(Err(format!(
                    "`{}` is not a path: `%` begins two hexadecimal digits",
                    replace.path
                )));
            }
            Middleware::ReplacePath(replace) => Self::Replace(with_slash(as_sent(&replace.path))),
            Middleware::ReplacePathRegex(replace) => Self::ReplacePattern {
                pattern: replace.regex.clone(),
                replacement: replace.replacement.trim().to_owned(),
            },
            _ => return None,
        }))
    }

    pub(super) fn request(&self, draft: &mut Draft) -> Result<(), Box<OwnAnswer>> {
        // `OPTIONS *` has no path.
        if draft.path == "*" {
            return Ok(());
        }
        match self {
            Self::Add(prefix) => draft.path.insert_str(0, prefix),
            Self::Strip { prefixes, leaves_slash } => {
                let path = decoded(&draft.path);
                if let Some(prefix) = prefixes.iter().find(|prefix| path.starts_with(prefix.as_str())) {
                    strip(draft, prefix, *leaves_slash)?;
                }
            }
            Self::StripPattern(patterns) => {
                let path = decoded(&draft.path);
                let found = patterns.iter().find_map(|pattern| {
                    let found = pattern.regex().find(&path)?;
                    (found.start() == 0 && found.end() > 0).then(|| found.as_str().to_owned())
                });
                if let Some(prefix) = found {
                    strip(draft, &prefix, false)?;
                }
            }
            Self::Replace(path) => {
                draft.fields.add(REPLACED, draft.path.as_bytes());
                draft.path.clone_from(path);
            }
            Self::ReplacePattern { pattern, replacement } => {
                if pattern.is_match(&draft.path) {
                    draft.fields.add(REPLACED, draft.path.as_bytes());
                    let replaced = pattern.regex().replace_all(&draft.path, replacement.as_str());
                    if !is_decodable(&replaced) {
                        return Err(refusal().into());
                    }
                    draft.path = with_slash(as_sent(&replaced));
                    plain(draft)?;
                }
            }
        }
        Ok(())
    }
}

/// Takes a prefix off the path, and tells the endpoint.
fn strip(draft: &mut Draft, prefix: &str, leaves_slash: bool) -> Result<(), Box<OwnAnswer>> {
    let rest = draft.path.split_off(encoded_length(&draft.path, prefix.len()));
    draft.path = match rest.as_str() {
        "" if leaves_slash => "/".to_owned(),
        rest if leaves_slash && rest.starts_with('/') => rest.to_owned(),
        _ => with_slash(rest),
    };
    plain(draft)?;
    // A prefix may be any text, a field may not.
    let shown: String = prefix.chars().filter(|letter| !letter.is_control()).collect();
    draft.fields.add(PREFIX, shown.as_bytes());
    Ok(())
}

/// What is left must not lead elsewhere: `/api../x` without `/api` is another path than it looks.
fn plain(draft: &Draft) -> Result<(), Box<OwnAnswer>> {
    if is_plain(&draft.path) { Ok(()) } else { Err(refusal().into()) }
}

fn refusal() -> OwnAnswer {
    OwnAnswer::refusal(Reason::BadRequest, 400, "Bad Request\n")
}

fn with_slash(path: String) -> String {
    if path.is_empty() || path.starts_with('/') { path } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::draft::tests::asked;

    /// The path that a request for `path` is sent on with, and what is said of the old one; the status where it is
    /// refused.
    fn led(yaml: &str, path: &str) -> Result<(String, String), u16> {
        let written = crate::middleware::tests::written(yaml);
        let step = PathStep::compile(&written).expect("one of these").expect("it can be done");
        let mut draft = asked(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        step.request(&mut draft).map_err(|answer| answer.head.status)?;
        let told = format!("{}{}", draft.fields.text(PREFIX), draft.fields.text(REPLACED));
        Ok((draft.path, told))
    }

    #[test]
    fn paths_are_led_as_written() {
        for (yaml, path, led_to, told) in [
            ("addPrefix: {prefix: /foo}", "/bar", "/foo/bar", ""),
            ("addPrefix: {prefix: foo}", "/a%2Fb", "/foo/a%2Fb", ""),
            ("addPrefix: {prefix: /a b}", "/", "/a%20b/", ""),
            ("stripPrefix: {prefixes: [/stat]}", "/stat/x", "/x", "/stat"),
            ("stripPrefix: {prefixes: [/stat]}", "/stat", "", "/stat"),
            ("stripPrefix: {prefixes: [/stat]}", "/status", "/us", "/stat"),
            ("stripPrefix: {prefixes: [/stat/]}", "/stat/us", "/us", "/stat/"),
            ("stripPrefix: {prefixes: [/]}", "/", "", "/"),
            ("stripPrefix: {prefixes: [/other]}", "/stat", "/stat", ""),
            ("stripPrefix: {prefixes: [' /a ', /b]}", "/b/c", "/c", "/b"),
            ("stripPrefix: {prefixes: [/a b]}", "/a%20b/c%2Fd", "/c%2Fd", "/a b"),
            ("stripPrefix: {prefixes: [/a], forceSlash: true}", "/a", "/", "/a"),
            ("stripPrefixRegex: {regex: ['/a/[0-9]+/']}", "/a/12/b", "/b", "/a/12/"),
            ("stripPrefixRegex: {regex: ['/a/[0-9]+/']}", "/x/a/12/b", "/x/a/12/b", ""),
            ("stripPrefixRegex: {regex: ['/x', '/[a-z]+']}", "/abc/d", "/d", "/abc"),
            ("stripPrefixRegex: {regex: ['x*']}", "/abc", "/abc", ""),
            ("replacePath: {path: /new}", "/old?x", "/new", "/old"),
            ("replacePath: {path: /a b}", "/o%2Fld", "/a%20b", "/o%2Fld"),
            ("replacePathRegex: {regex: '^/api/(.*)', replacement: '/$1'}", "/api/x/y", "/x/y", "/api/x/y"),
            (
                "replacePathRegex: {regex: '^/a/(.*)$', replacement: '/b/${1}c?d'}",
                "/a/x",
                "/b/xc%3Fd",
                "/a/x",
            ),
            ("replacePathRegex: {regex: '^/api/(.*)', replacement: '/$1'}", "/x", "/x", ""),
        ] {
            let path_sent = path.split('?').next().unwrap();
            assert_eq!(led(yaml, path_sent), Ok((led_to.to_owned(), told.to_owned())), "{yaml} {path}");
        }
    }

    #[test]
    fn what_is_left_must_not_lead_elsewhere() {
        for (yaml, path) in [
            ("stripPrefix: {prefixes: [/a]}", "/a../b"),
            ("stripPrefixRegex: {regex: ['/a']}", "/a./b"),
            ("replacePathRegex: {regex: '^/a(.*)', replacement: '/b/$1'}", "/a/x"),
            ("replacePathRegex: {regex: '^/a(.*)', replacement: '/%$1'}", "/ax"),
        ] {
            assert_eq!(led(yaml, path), Err(400), "{yaml} {path}");
        }
    }
}
