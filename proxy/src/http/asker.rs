//! What of a request an endpoint is chosen by, where the choice goes by requests at all. Knows heads, and not how choices
//! are made.

use httparse::Header;
use portolan_config::dynamic::service::HashBy;

use super::head::RequestHead;
use super::peer::Peer;
use crate::balancer::{Asker, hash};
use crate::table::Upstream;

/// What there is to go by for this upstream; `path` is the one that was routed by.
pub(super) fn asker(upstream: &Upstream, head: &RequestHead, path: &str, peer: &Peer) -> Asker {
    let Some(by) = upstream.plan.hashes() else { return Asker::default() };
    let found = match by {
        HashBy::Address => return Asker::at(peer.address().ip()),
        HashBy::Path => Some(path.as_bytes()),
        HashBy::Header(name) => {
            let field = head.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            field.map(|field| field.value)
        }
        HashBy::Cookie(name) => cookie(head.fields, name),
    };
    Asker { hash: found.map(hash::of) }
}

/// The value of a cookie; the first one, where several have the name (RFC 6265 §5.4).
pub(super) fn cookie<'b>(fields: &[Header<'b>], name: &str) -> Option<&'b [u8]> {
    let cookies = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("cookie"));
    cookies.flat_map(|field| field.value.split(|byte| *byte == b';')).find_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        // Quotes are not part of it (RFC 6265 §4.1.1).
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let field = |name, value: &'static str| Header { name, value: value.as_bytes() };
        let fields = [
            field("Cookie", "xa=1; a=2;b=\"3\"; c"),
            field("Other", "d=4"),
            field("cookie", "a=5; e=; f=x=y"),
        ];
        for (name, value) in [
            ("a", Some("2")),
            ("b", Some("3")),
            ("c", None),
            ("d", None),
            ("e", Some("")),
            ("f", Some("x=y")),
            ("A", None),
        ] {
            assert_eq!(cookie(&fields, name), value.map(str::as_bytes), "{name}");
        }
    }
}
