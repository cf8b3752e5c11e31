//! The head of a request, as it is sent on: written anew from what was understood, or copied where that is the same byte for
//! byte.

use httparse::Header;
use portolan_config::rule::{Fields, RequestView};

use super::field::{write_field, write_fields};
use super::forwarded::{self, is_alias};
use super::head::{RequestHead, is_nominated};
use super::peer::Peer;
use crate::worker::Buffer;

/// Writes the head for the endpoint; `path` is the one that was routed by. The Host is kept, or left out for each
/// server's own; then this gives the place for it.
pub(crate) fn write(
    head: &RequestHead,
    path: &str,
    keep_host: bool,
    peer: &Peer,
    host_name: &str,
    out: &mut Buffer,
) -> Option<usize> {
    out.put(head.method_text.as_bytes());
    out.put(b" ");
    out.put(path.as_bytes());
    out.put(query(head.target).as_bytes());
    out.put(b" HTTP/1.1\r\n");
    let host_at = (!keep_host).then(|| out.filled().len() + "Host: ".len());
    write_field("Host", if keep_host { head.authority.as_bytes() } else { b"" }, out);
    let mut claims = false;
    let sent_on = |field: &Header| {
        let is_claim = forwarded::is_forwarding_field(field.name);
        claims |= is_claim;
        !is_claim && passes(head, field.name)
    };
    write_fields(head.text, head.fields, sent_on, out);
    if head.upgrade {
        write_field("Connection", b"Upgrade", out);
    }
    if let Some(hops) = head.hops_left {
        write_field("Max-Forwards", (hops - 1).to_string().as_bytes(), out);
    }
    forwarded::write(head, claims, peer, host_name, out);
    out.put(b"\r\n");
    host_at
}

/// The request as rules see it, with the host and path that routing goes by. It borrows all of it.
pub(crate) fn view<'a>(
    head: &'a RequestHead<'_, '_>,
    host: &'a str,
    path: &'a str,
    peer: &Peer,
) -> RequestView<'a> {
    RequestView {
        host,
        path,
        method: head.method_text,
        query: query(head.target).strip_prefix('?').unwrap_or_default(),
        fields: head,
        client: peer.address().ip(),
    }
}

impl Fields for RequestHead<'_, '_> {
    fn any(&self, name: &str, accept: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.fields.iter().any(|field| field.name.eq_ignore_ascii_case(name) && accept(field.value))
    }
}

/// The path of a target, without its query.
pub(crate) fn path(target: &str) -> &str {
    memchr::memchr(b'?', target.as_bytes()).map_or(target, |end| &target[..end])
}

/// The query of a target, with its question mark; empty where there is none.
fn query(target: &str) -> &str {
    &target[path(target).len()..]
}

/// Whether a field is for the endpoint, and not for the next hop only (RFC 9110 §7.6.1). A name that a server could take
/// for one that is decided here does not pass either: `Content_Length` has no meaning that all agree on.
fn passes(head: &RequestHead, name: &str) -> bool {
    let stays_behind = match name.len() {
        2 => name.eq_ignore_ascii_case("te"),
        4 => name.eq_ignore_ascii_case("host"),
        // `Connection` names it, as it must, and says by that that it is for this hop: the next one asks anew.
        7 if name.eq_ignore_ascii_case("upgrade") => return head.upgrade,
        10 => name.eq_ignore_ascii_case("connection") || is_alias(name, "keep-alive"),
        // It is counted down.
        12 => head.hops_left.is_some() && name.eq_ignore_ascii_case("max-forwards"),
        16 => is_alias(name, "proxy-connection"),
        // These two say how the body ends: they go with it, whatever `Connection` says.
        14 if is_alias(name, "content-length") => return !name.contains('_'),
        17 if is_alias(name, "transfer-encoding") => return !name.contains('_'),
        _ => false,
    };
    !stays_behind && !nominated(head, name)
}

fn nominated(head: &RequestHead, name: &str) -> bool {
    head.nominates && is_nominated(head.fields, name)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use portolan_config::settings::Forwarded;

    use super::*;
    use crate::http::head::{fields, parse_request};
    use crate::table::routing_path;
    use crate::worker::Buffers;

    fn sent_on(head: &str) -> String {
        let mut room = fields();
        let head = parse_request(head.as_bytes(), &mut room).unwrap().unwrap();
        let mut out = Rc::new(Buffers::default()).take();
        let path = routing_path(path(head.target));
        let peer = Peer::new("192.0.2.7:1234".parse().unwrap(), false, &Forwarded::default());
        write(&head, &path, true, &peer, "portolan-1", &mut out);
        String::from_utf8(out.filled().to_vec()).unwrap()
    }

    const FORWARDED: &str = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: a.test:8000\r\n\
        X-Forwarded-Port: 8000\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Server: portolan-1\r\nX-Real-Ip: 192.0.2.7\r\n\r\n";

    #[test]
    fn the_endpoint_sees_the_clients_request_and_whom_it_came_from() {
        assert_eq!(
            sent_on(
                "POST /a/../b?x=/../y HTTP/1.1\r\nHost: a.test:8000\r\nAccept: */*\r\nContent-Length: 3\r\n\r\n"
            ),
            format!(
                "POST /b?x=/../y HTTP/1.1\r\nHost: a.test:8000\r\nAccept: */*\r\nContent-Length: 3\r\n{FORWARDED}"
            )
        );
    }

    #[test]
    fn fields_for_this_hop_and_what_the_client_claims_of_itself_stay_behind() {
        let head = "GET / HTTP/1.1\r\nHost: a.test:8000\r\nConnection: close, X-Secret, X-Forwarded-For, Content-Length\r\n\
            Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Secret: 1\r\n\
            X-Forwarded-For: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\nCookie: a\r\n\
            Content_Length: 5\r\nTransfer_Encoding: chunked\r\nX_Own: b\r\n\r\n";
        assert_eq!(
            sent_on(head),
            format!("GET / HTTP/1.1\r\nHost: a.test:8000\r\nCookie: a\r\nX_Own: b\r\n{FORWARDED}")
        );
    }

    #[test]
    fn a_field_that_says_how_the_body_ends_can_not_be_taken_away() {
        let head = "POST / HTTP/1.1\r\nHost: a.test:8000\r\nConnection: Transfer-Encoding\r\n\
            Transfer-Encoding: chunked\r\n\r\n";
        assert!(sent_on(head).contains("\r\nTransfer-Encoding: chunked\r\n"));
    }

    #[test]
    fn an_absolute_target_decides_the_host() {
        let sent = sent_on("GET http://b.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert!(sent.starts_with("GET /x HTTP/1.1\r\nHost: b.test\r\n"), "{sent}");
        assert_eq!(sent.matches("Host: ").count() - sent.matches("-Host: ").count(), 1);
    }

    #[test]
    fn an_upgrade_is_passed_on_whatever_else_connection_names() {
        let sent =
            sent_on("GET / HTTP/1.1\r\nHost: a\r\nConnection: X, Upgrade\r\nUpgrade: other\r\nX: 1\r\n\r\n");
        assert!(
            sent.contains("Upgrade: other\r\nConnection: Upgrade\r\n") && !sent.contains("X: 1"),
            "{sent}"
        );
    }

    #[test]
    fn an_upgrade_is_passed_on() {
        let sent =
            sent_on("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        assert!(sent.contains("Upgrade: websocket\r\nConnection: Upgrade\r\n"), "{sent}");
        assert!(sent.contains("X-Forwarded-Proto: ws\r\n"), "{sent}");
    }
}
