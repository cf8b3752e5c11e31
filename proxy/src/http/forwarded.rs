//! The fields that tell the endpoint about the client.
//!
//! What a client says of itself is believed only where the entry point trusts it (`forwardedHeaders`); from anybody else
//! it is dropped, and Portolan says it itself.

use super::field::write_field;
use super::head::RequestHead;
use super::peer::Peer;
use crate::worker::Buffer;

const FOR: &str = "X-Forwarded-For";
const HOST: &str = "X-Forwarded-Host";
const PORT: &str = "X-Forwarded-Port";
const PROTO: &str = "X-Forwarded-Proto";
const SERVER: &str = "X-Forwarded-Server";
const REAL_IP: &str = "X-Real-Ip";
const FORWARDED: &str = "Forwarded";

/// Whether a field says something about the client or the way here, in whatever spelling: many servers make `_` of `-`,
/// so that `X_Forwarded_For` would count as the field of the right name.
pub(crate) fn is_forwarding_field(name: &str) -> bool {
    match name.len() {
        9 => is_alias(name, FORWARDED) || is_alias(name, REAL_IP),
        11.. => {
            name.get(..11).is_some_and(|start| is_alias(start, "X-Forwarded"))
                && name.as_bytes().get(11).is_none_or(|next| matches!(next, b'-' | b'_'))
        }
        _ => false,
    }
}

/// Whether a server that makes `_` of `-` takes a field for this one.
pub(crate) fn is_alias(name: &str, of: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == of.len() && name.bytes().zip(of.bytes()).all(|(a, b)| plain(a) == plain(b))
}

/// Writes the fields, as Traefik's users know them. `claims` is whether the client sent any such field itself.
pub(super) fn write(head: &RequestHead, claims: bool, peer: &Peer, host_name: &str, out: &mut Buffer) {
    if claims && peer.is_trusted() {
        return continue_chain(head, peer, host_name, out);
    }
    if peer.is_told() {
        write_field(FOR, peer.text_bytes(), out);
    }
    if !head.authority.is_empty() {
        write_field(HOST, head.authority.as_bytes(), out);
    }
    write_field(PORT, port(head.authority, peer.is_secure()).as_bytes(), out);
    write_field(PROTO, protocol(head, peer).as_bytes(), out);
    write_field(SERVER, host_name.as_bytes(), out);
    write_field(REAL_IP, peer.text_bytes(), out);
    // Who sends it is answered in kind: an endpoint that reads it finds what is true.
    if claims && given(head, FORWARDED).next().is_some() {
        write_element(head, peer, "Forwarded: ", out);
    }
}

/// What a trusted peer said stands; this hop is added to it.
fn continue_chain(head: &RequestHead, peer: &Peer, host_name: &str, out: &mut Buffer) {
    let mut separator = "X-Forwarded-For: ";
    for value in given(head, FOR).chain(peer.is_told().then_some(peer.text_bytes())) {
        out.put(separator.as_bytes());
        out.put(value);
        separator = ", ";
    }
    if separator == ", " {
        out.put(b"\r\n");
    }
    for field in head.fields {
        let kept = is_forwarding_field(field.name)
            && !field.name.contains('_')
            && !field.value.is_empty()
            && !field.name.eq_ignore_ascii_case(FOR)
            && !field.name.eq_ignore_ascii_case(FORWARDED);
        if kept {
            write_field(field.name, field.value, out);
        }
    }
    let said_secure = given(head, PROTO)
        .any(|protocol| protocol.eq_ignore_ascii_case(b"https") || protocol.eq_ignore_ascii_case(b"wss"));
    let port = port(head.authority, peer.is_secure() || said_secure);
    for (name, value) in [
        (HOST, head.authority),
        (PORT, port),
        (PROTO, protocol(head, peer)),
        (SERVER, host_name),
        (REAL_IP, peer.text()),
    ] {
        if !value.is_empty() && given(head, name).next().is_none() {
            write_field(name, value.as_bytes(), out);
        }
    }
    let mut separator = "Forwarded: ";
    for value in given(head, FORWARDED) {
        out.put(separator.as_bytes());
        out.put(value);
        separator = ", ";
    }
    if separator == ", " {
        write_element(head, peer, separator, out);
    }
}

/// The values of a field that are not empty.
fn given<'h>(head: &'h RequestHead, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    head.fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name) && !field.value.is_empty())
        .map(|field| field.value)
}

/// Writes what this hop says in `Forwarded` (RFC 7239 §4), behind `before`, and ends the line. What is no token is in
/// quotes; no host has one within.
fn write_element(head: &RequestHead, peer: &Peer, before: &str, out: &mut Buffer) {
    out.put(before.as_bytes());
    let (open, close) = if peer.text().contains(':') { ("for=\"[", "]\"") } else { ("for=", "") };
    for part in [open, peer.text(), close] {
        out.put(part.as_bytes());
    }
    if !head.authority.is_empty() {
        for part in [";host=\"", head.authority, "\""] {
            out.put(part.as_bytes());
        }
    }
    out.put(if peer.is_secure() { b";proto=https\r\n" } else { b";proto=http\r\n" });
}

/// The protocol as Traefik has it: that of a WebSocket is its own.
fn protocol(head: &RequestHead, peer: &Peer) -> &'static str {
    let websocket = head.upgrade && given(head, "Upgrade").any(|to| to.eq_ignore_ascii_case(b"websocket"));
    match (peer.is_secure(), websocket) {
        (false, false) => "http",
        (true, false) => "https",
        (false, true) => "ws",
        (true, true) => "wss",
    }
}

/// The port that the client asked for.
fn port(authority: &str, secure: bool) -> &str {
    // Nearly all are too short for a search that has to be set up.
    let colon = authority.bytes().rposition(|byte| byte == b':');
    match colon.map(|colon| &authority[colon + 1..]) {
        Some(port) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => port,
        _ if secure => "443",
        _ => "80",
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use portolan_config::settings::Forwarded;

    use super::*;
    use crate::http::head::{fields, parse_request};
    use crate::worker::Buffers;

    /// What an endpoint is told of a client at 192.0.2.7, which sent these fields.
    fn told(fields_sent: &str, trusted: bool, secure: bool) -> String {
        let text = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields_sent}\r\n");
        let mut room = fields();
        let head = parse_request(text.as_bytes(), &mut room).unwrap().unwrap();
        let trust = Forwarded { trusted: vec!["192.0.2.0/24".parse().unwrap()], ..Forwarded::default() };
        let address = if trusted { "192.0.2.7:1" } else { "198.51.100.7:1" };
        let peer = Peer::new(address.parse().unwrap(), secure, &trust);
        let mut out = Rc::new(Buffers::default()).take();
        let claims = head.fields.iter().any(|field| is_forwarding_field(field.name));
        write(&head, claims, &peer, "here", &mut out);
        String::from_utf8(out.filled().to_vec()).unwrap()
    }

    #[test]
    fn every_spelling_of_a_forwarding_field_is_seen() {
        for name in [
            "Forwarded",
            "X-REAL-IP",
            "x-forwarded-for",
            "X-Forwarded",
            "X-Forwarded-Tls-Client-Cert",
            "X_Forwarded_For",
            "X-Forwarded_For",
            "x_real-ip",
        ] {
            assert!(is_forwarding_field(name), "{name}");
        }
        for name in ["X-Forwardedness", "Host", "X-Real-Ipv", "XxForwarded-For", "X-Request-Id"] {
            assert!(!is_forwarding_field(name), "{name}");
        }
    }

    #[test]
    fn the_port_is_the_one_asked_for() {
        for (authority, secure, expected) in [
            ("a.test", false, "80"),
            ("a.test", true, "443"),
            ("a.test:8000", true, "8000"),
            ("[::1]:81", false, "81"),
            ("[::1]", false, "80"),
        ] {
            assert_eq!(port(authority, secure), expected, "{authority}");
        }
    }

    #[test]
    fn the_protocol_is_the_one_the_client_speaks_to_us() {
        let websocket = "Connection: Upgrade\r\nUpgrade: WebSocket\r\n";
        let other = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
        for (sent, secure, protocol, port) in [
            ("", false, "http", "80"),
            ("", true, "https", "443"),
            (websocket, false, "ws", "80"),
            (websocket, true, "wss", "443"),
            (other, true, "https", "443"),
        ] {
            let told = told(sent, false, secure);
            assert!(told.contains(&format!("X-Forwarded-Proto: {protocol}\r\n")), "{told}");
            assert!(told.contains(&format!("X-Forwarded-Port: {port}\r\n")), "{told}");
        }
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let claims = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
            X-Real-Ip: 6.6.6.6\r\nX-Forwarded-Prefix: /evil\r\nX_Forwarded_Host: evil\r\n";
        assert_eq!(
            told(claims, false, false),
            "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Host: a.test\r\nX-Forwarded-Port: 80\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Server: here\r\nX-Real-Ip: 198.51.100.7\r\n\
             Forwarded: for=198.51.100.7;host=\"a.test\";proto=http\r\n"
        );
    }

    #[test]
    fn a_trusted_peers_word_stands_and_is_added_to() {
        let claims = "X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-For: 203.0.113.2\r\nX-Forwarded-Proto: https\r\n\
            Forwarded: for=203.0.113.1\r\nForwarded: for=203.0.113.2;proto=https\r\nX-Real-Ip: 203.0.113.1\r\n\
            X-Forwarded-Prefix: /app\r\nX_Forwarded_Host: evil\r\nX-Forwarded-Server:\r\n";
        assert_eq!(
            told(claims, true, false),
            "X-Forwarded-For: 203.0.113.1, 203.0.113.2, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
             X-Real-Ip: 203.0.113.1\r\nX-Forwarded-Prefix: /app\r\nX-Forwarded-Host: a.test\r\n\
             X-Forwarded-Port: 443\r\nX-Forwarded-Server: here\r\n\
             Forwarded: for=203.0.113.1, for=203.0.113.2;proto=https, for=192.0.2.7;host=\"a.test\";proto=http\r\n"
        );
        assert!(told("", true, false).starts_with("X-Forwarded-For: 192.0.2.7\r\n"));
    }

    #[test]
    fn an_ipv6_address_is_a_node_in_brackets() {
        let text = "GET / HTTP/1.0\r\nForwarded: for=x\r\n\r\n";
        let mut room = fields();
        let head = parse_request(text.as_bytes(), &mut room).unwrap().unwrap();
        let trust = Forwarded { insecure: true, ..Forwarded::default() };
        let peer = Peer::new("[2001:db8::7]:1".parse().unwrap(), true, &trust);
        let mut out = Rc::new(Buffers::default()).take();
        write(&head, true, &peer, "here", &mut out);
        let told = String::from_utf8(out.filled().to_vec()).unwrap();
        assert!(told.ends_with("Forwarded: for=x, for=\"[2001:db8::7]\";proto=https\r\n"), "{told}");
        assert!(!told.contains("X-Forwarded-Host"), "{told}");
    }
}
