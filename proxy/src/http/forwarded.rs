//! The fields that tell the endpoint about the client.

use std::net::SocketAddr;

use super::head::RequestHead;
use crate::worker::Buffer;

/// Whether a field says something about the client or the way here. What an untrusted client says of that is dropped;
/// Portolan says it itself.
pub(super) fn is_forwarding_field(name: &str) -> bool {
    match name.len() {
        9 => name.eq_ignore_ascii_case("forwarded") || name.eq_ignore_ascii_case("x-real-ip"),
        11.. => {
            name.get(..11).is_some_and(|start| start.eq_ignore_ascii_case("x-forwarded"))
                && name.as_bytes().get(11).is_none_or(|next| *next == b'-')
        }
        _ => false,
    }
}

/// Writes the fields, as Traefik's users know them.
pub(super) fn write(head: &RequestHead, peer: SocketAddr, host_name: &str, out: &mut Buffer) {
    let client = peer.ip().to_canonical().to_string();
    let scheme = if head.upgrade { "ws" } else { "http" };
    for (name, value) in [
        ("X-Forwarded-For", client.as_str()),
        ("X-Forwarded-Host", head.authority),
        ("X-Forwarded-Port", port(head.authority)),
        ("X-Forwarded-Proto", scheme),
        ("X-Forwarded-Server", host_name),
        ("X-Real-Ip", client.as_str()),
    ] {
        super::field::write_field(name, value.as_bytes(), out);
    }
}

/// The port that the client asked for.
fn port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((_, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => port,
        _ => "80",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_forwarding_field_is_seen() {
        for name in
            ["Forwarded", "X-REAL-IP", "x-forwarded-for", "X-Forwarded", "X-Forwarded-Tls-Client-Cert"]
        {
            assert!(is_forwarding_field(name), "{name}");
        }
        for name in ["X-Forwardedness", "Host", "X-Real-Ipv"] {
            assert!(!is_forwarding_field(name), "{name}");
        }
    }

    #[test]
    fn the_port_is_the_one_asked_for() {
        for (authority, expected) in
            [("a.test", "80"), ("a.test:8000", "8000"), ("[::1]:81", "81"), ("[::1]", "80")]
        {
            assert_eq!(port(authority), expected, "{authority}");
        }
    }
}
