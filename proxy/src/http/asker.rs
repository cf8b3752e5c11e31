//! Where a request goes, and what of it an endpoint is chosen by. Knows heads, and not how choices are made.

use std::net::IpAddr;
use std::sync::Arc;

use httparse::Header;
use portolan_config::dynamic::service::HashBy;

use super::exchange::Cookies;
use super::head::RequestHead;
use super::peer::Peer;
use crate::balancer::{Asker, hash};
use crate::middleware::Draft;
use crate::table::{Ask, Destination, Mirror, Upstream, Way};

/// Where a request goes, and what an endpoint there is chosen by.
pub(super) struct Bound {
    pub(super) upstream: Arc<Upstream>,
    pub(super) asker: Asker,
    pub(super) cookies: Cookies,
    pub(super) mirrors: Vec<Mirror>,
    /// What it meets on its way there.
    pub(super) way: Way,
}

/// Binds a request for its upstream; `path` is the one that was routed by. `None` where its service leads nowhere.
pub(super) fn bind(destination: &Destination, head: &RequestHead, path: &str, peer: &Peer) -> Option<Bound> {
    let field = |name: &str| {
        let field = head.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| field.value)
    };
    bind_by(destination, peer.address().ip(), path, &|name| cookie(head.fields, name), &field)
}

/// The same for a request that middlewares have edited.
pub(super) fn bind_draft(destination: &Destination, draft: &Draft) -> Option<Bound> {
    let client = draft.peer.address().ip();
    let cookie = |name: &str| cookie_of(draft.fields.iter().filter(is_cookie).map(|(_, value)| value), name);
    bind_by(destination, client, &draft.path, &cookie, &|name| draft.fields.get(name))
}

fn is_cookie((name, _): &(&str, &[u8])) -> bool {
    name.eq_ignore_ascii_case("cookie")
}

fn bind_by<'h>(
    destination: &Destination,
    client: IpAddr,
    path: &str,
    cookie: &dyn Fn(&str) -> Option<&'h [u8]>,
    field: &dyn Fn(&str) -> Option<&'h [u8]>,
) -> Option<Bound> {
    let (mut cookies, mut mirrors, mut way) = (Vec::new(), Vec::new(), Way::default());
    let upstream = match destination {
        Destination::Upstream(upstream) => upstream,
        services => {
            let cookie = |name: &str| cookie(name);
            let ask = Ask::new(client, &cookie);
            let upstream = services.resolve(&ask, &mut cookies)?;
            (mirrors, way) = (ask.mirrors.into_inner(), ask.way.into_inner());
            upstream
        }
    };
    let mut asker = match upstream.plan.hashes() {
        None => Asker::default(),
        Some(HashBy::Address) => Asker::at(client),
        Some(HashBy::Path) => Asker { hash: Some(hash::of(path.as_bytes())), ..Asker::default() },
        Some(HashBy::Header(name)) => Asker { hash: field(name).map(hash::of), ..Asker::default() },
        Some(HashBy::Cookie(name)) => Asker { hash: cookie(name).map(hash::of), ..Asker::default() },
    };
    if let Some(sticky) = &upstream.sticky
        && let Some(door) = cookie(sticky.name()).and_then(|value| sticky.find(value))
    {
        asker.stuck = Some(door.number);
        asker.outdated = door.outdated;
    }
    Some(Bound { upstream: upstream.clone(), asker, cookies: Cookies::of_services(cookies), mirrors, way })
}

/// The value of a cookie; the first one, where several have the name (RFC 6265 §5.4).
pub(super) fn cookie<'b>(fields: &[Header<'b>], name: &str) -> Option<&'b [u8]> {
    let cookies = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("cookie"));
    cookie_of(cookies.map(|field| field.value), name)
}

fn cookie_of<'b>(mut cookies: impl Iterator<Item = &'b [u8]>, name: &str) -> Option<&'b [u8]> {
    let of_field = |field: &'b [u8]| {
        field.split(|byte| *byte == b';').find_map(|pair| {
            let pair = pair.trim_ascii();
            let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            // Quotes are not part of it (RFC 6265 §4.1.1).
            Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
        })
    };
    cookies.find_map(of_field)
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
