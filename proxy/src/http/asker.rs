//! Where a request goes, and what of it an endpoint is chosen by. Knows heads, and not how choices are made.

use std::cell::RefCell;
use std::sync::Arc;

use httparse::Header;
use portolan_config::dynamic::service::HashBy;

use super::exchange::Cookies;
use super::head::RequestHead;
use super::peer::Peer;
use crate::balancer::{Asker, hash};
use crate::table::{Ask, Destination, Mirror, Upstream};

/// Where a request goes, and what an endpoint there is chosen by.
pub(super) struct Bound {
    pub(super) upstream: Arc<Upstream>,
    pub(super) asker: Asker,
    pub(super) cookies: Cookies,
    pub(super) mirrors: Vec<Mirror>,
}

/// Binds a request for its upstream; `path` is the one that was routed by. `None` where its service leads nowhere.
pub(super) fn bind(destination: &Destination, head: &RequestHead, path: &str, peer: &Peer) -> Option<Bound> {
    let (mut cookies, client) = (Vec::new(), peer.address().ip());
    let cookie = |name: &str| cookie(head.fields, name);
    let mut mirrors = Vec::new();
    let upstream = match destination {
        Destination::Upstream(upstream) => upstream,
        services => {
            let ask = Ask { client, cookie: &cookie, mirrors: RefCell::default() };
            let upstream = services.resolve(&ask, &mut cookies)?;
            mirrors = ask.mirrors.into_inner();
            upstream
        }
    };
    let mut asker = match upstream.plan.hashes() {
        None => Asker::default(),
        Some(HashBy::Address) => Asker::at(client),
        Some(HashBy::Path) => Asker { hash: Some(hash::of(path.as_bytes())), ..Asker::default() },
        Some(HashBy::Header(name)) => {
            let field = head.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            Asker { hash: field.map(|field| hash::of(field.value)), ..Asker::default() }
        }
        Some(HashBy::Cookie(name)) => Asker { hash: cookie(name).map(hash::of), ..Asker::default() },
    };
    if let Some(sticky) = &upstream.sticky
        && let Some(door) = cookie(sticky.name()).and_then(|value| sticky.find(value))
    {
        asker.stuck = Some(door.number);
        asker.outdated = door.outdated;
    }
    Some(Bound { upstream: upstream.clone(), asker, cookies: Cookies::of_services(cookies), mirrors })
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
