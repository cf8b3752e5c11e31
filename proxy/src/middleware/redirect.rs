//! `redirectScheme`, `redirectRegex`: clients are sent elsewhere.

use std::fmt::Write;

use portolan_config::dynamic::middleware::{RedirectRegex, RedirectScheme};
use portolan_config::dynamic::value::Pattern;

use super::answer::phrase;
use super::{Draft, OwnAnswer};
use crate::http::Method;

/// Sends clients elsewhere.
#[derive(Debug)]
pub(crate) struct Redirect {
    to: To,
    /// Whether clients may remember it.
    permanent: bool,
}

#[derive(Debug)]
enum To {
    /// The same at another scheme: that, and the port with its colon.
    Scheme { scheme: String, port: String },
    /// What a pattern makes of the URL.
    Pattern { pattern: Pattern, replacement: String },
}

impl Redirect {
    pub(super) fn by_scheme(written: &RedirectScheme) -> Self {
        let port = match (written.scheme.as_str(), written.port.as_str()) {
            (_, "") | ("http", "80") | ("https", "443") => String::new(),
            (_, port) => format!(":{port}"),
        };
        Self { to: To::Scheme { scheme: written.scheme.clone(), port }, permanent: written.permanent }
    }

    pub(super) fn by_pattern(written: &RedirectRegex) -> Self {
        let to = To::Pattern { pattern: written.regex.clone(), replacement: written.replacement.clone() };
        Self { to, permanent: written.permanent }
    }

    pub(super) fn request(&self, draft: &Draft) -> Result<(), Box<OwnAnswer>> {
        let (asked, to) = match &self.to {
            To::Scheme { scheme, port } => {
                let came_by = said_scheme(draft);
                let (host, own_port) = split_port(&draft.host);
                let usual = if came_by == "https" { ":443" } else { ":80" };
                let own_port = if own_port == usual { "" } else { own_port };
                let rest = format!("{}{}", path(draft), draft.query);
                (format!("{came_by}://{host}{own_port}{rest}"), format!("{scheme}://{host}{port}{rest}"))
            }
            To::Pattern { pattern, replacement } => {
                let scheme = if draft.is_secure() { "https" } else { "http" };
                let asked = format!("{scheme}://{}{}{}", draft.host, path(draft), draft.query);
                if !pattern.is_match(&asked) {
                    return Ok(());
                }
                let to = pattern.regex().replace_all(&asked, replacement.as_str()).into_owned();
                (asked, to)
            }
        };
        if asked == to { Ok(()) } else { Err(self.answer(draft, &to).into()) }
    }

    fn answer(&self, draft: &Draft, to: &str) -> OwnAnswer {
        let status = match (self.permanent, draft.method == Method::Get) {
            (false, true) => 302,
            (false, false) => 307,
            (true, true) => 301,
            (true, false) => 308,
        };
        let mut answer = OwnAnswer::new(status);
        answer.head.fields.add("Location", as_location(to).as_bytes());
        answer.body = phrase(status).into();
        answer
    }
}

/// The scheme that the client used, as far as it is known: whoever is trusted may have said so.
fn said_scheme(draft: &Draft) -> &'static str {
    let said = draft.fields.text("X-Forwarded-Proto");
    let is = |names: [&str; 2]| names.iter().any(|name| said.eq_ignore_ascii_case(name));
    if is(["https", "wss"]) || (draft.is_secure() && !is(["http", "ws"])) { "https" } else { "http" }
}

/// The host, and the port with its colon.
fn split_port(authority: &str) -> (&str, &str) {
    match authority.rfind(':').filter(|at| !authority[*at..].contains(']')) {
        Some(at) => authority.split_at(at),
        None => (authority, ""),
    }
}

fn path(draft: &Draft) -> &str {
    if draft.path.is_empty() { "/" } else { &draft.path }
}

/// A URL as a field can have it: nothing in it that would end the field or be read in two ways.
pub(super) fn as_location(url: &str) -> String {
    let mut shown = String::with_capacity(url.len());
    for byte in url.bytes() {
        if byte.is_ascii_graphic() {
            shown.push(byte.into());
        } else {
            let _ = write!(shown, "%{byte:02X}");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::draft::tests::asked;
    use crate::middleware::tests::written;
    use portolan_config::dynamic::middleware::Middleware;

    /// The status and place where a request is sent, if it is.
    fn sent(yaml: &str, head: &str) -> Option<(u16, String)> {
        let redirect = match written(yaml) {
            Middleware::RedirectScheme(written) => Redirect::by_scheme(&written),
            Middleware::RedirectRegex(written) => Redirect::by_pattern(&written),
            other => panic!("{other:?}"),
        };
        let answer = redirect.request(&asked(&format!("{head}\r\n\r\n"))).err()?;
        Some((answer.head.status, answer.head.fields.text("Location").to_owned()))
    }

    #[test]
    fn clients_are_sent_where_it_is_written() {
        let https = "redirectScheme: {scheme: https}";
        let port = "redirectScheme: {scheme: https, port: 8443, permanent: true}";
        let www = "redirectRegex: {regex: '^https?://a.test/(.*)', replacement: 'https://www.a.test/${1}'}";
        for (yaml, head, expected) in [
            (https, "GET /x?y=z HTTP/1.1\r\nHost: a.test", Some((302, "https://a.test/x?y=z"))),
            (https, "GET / HTTP/1.1\r\nHost: a.test:8080", Some((302, "https://a.test/"))),
            (https, "POST / HTTP/1.1\r\nHost: a.test", Some((307, "https://a.test/"))),
            (https, "HEAD / HTTP/1.1\r\nHost: [::1]:80", Some((307, "https://[::1]/"))),
            (https, "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: https", None),
            (https, "GET / HTTP/1.1\r\nHost: a.test:443\r\nX-Forwarded-Proto: wss", None),
            (
                https,
                "GET / HTTP/1.1\r\nHost: a.test:8443\r\nX-Forwarded-Proto: https",
                Some((302, "https://a.test/")),
            ),
            (port, "GET / HTTP/1.1\r\nHost: a.test:8080", Some((301, "https://a.test:8443/"))),
            (port, "PUT / HTTP/1.1\r\nHost: a.test", Some((308, "https://a.test:8443/"))),
            ("redirectScheme: {scheme: http, port: 80}", "GET / HTTP/1.1\r\nHost: a.test:80", None),
            (www, "GET /x?y HTTP/1.1\r\nHost: a.test", Some((302, "https://www.a.test/x?y"))),
            (www, "GET /x HTTP/1.1\r\nHost: b.test", None),
            (
                "redirectRegex: {regex: '^.*$', replacement: '/a b'}",
                "GET / HTTP/1.1\r\nHost: a",
                Some((302, "/a%20b")),
            ),
            (
                "redirectRegex: {regex: 'http://a', replacement: 'http://a'}",
                "GET / HTTP/1.1\r\nHost: a",
                None,
            ),
        ] {
            let expected = expected.map(|(status, to): (u16, &str)| (status, to.to_owned()));
            assert_eq!(sent(yaml, head), expected, "{yaml} {head}");
        }
    }
}
