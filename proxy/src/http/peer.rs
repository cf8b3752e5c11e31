//! The other end of a client connection: who it is, put into words once for all of its requests.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use portolan_config::settings::Forwarded;

use crate::tls::ClientChain;

/// Bytes of the longest address as text: IPv6 with every digit.
const TEXT_MAX: usize = 39;

/// A client, as its connection shows it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    address: SocketAddr,
    text: Text,
    secure: bool,
    trusted: bool,
    told: bool,
    /// The certificates that it showed.
    client_chain: Option<Arc<ClientChain>>,
}

/// An IP address as text.
#[derive(Clone, Copy, Debug)]
struct Text {
    bytes: [u8; TEXT_MAX],
    length: u8,
}

impl Peer {
    /// The client at this address. `secure` is whether it speaks TLS, and `trust` says whose word about the client
    /// before it is taken.
    pub(crate) fn new(address: SocketAddr, secure: bool, trust: &Forwarded) -> Self {
        let ip = address.ip().to_canonical();
        let (trusted, told) = (trust.trusts(ip), !trust.not_append);
        Self { address, text: Text::of(ip), secure, trusted, told, client_chain: None }
    }

    /// The same, having shown these certificates.
    pub(crate) fn showing(self, client_chain: Option<Arc<ClientChain>>) -> Self {
        Self { client_chain, ..self }
    }

    /// The certificates that it showed.
    pub(crate) fn client_chain(&self) -> Option<&Arc<ClientChain>> {
        self.client_chain.as_ref()
    }

    /// Its address and port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as text; an IPv4 one as such, also on a socket for both.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.text_bytes()).unwrap_or_default()
    }

    /// The same, as bytes.
    pub(crate) fn text_bytes(&self) -> &[u8] {
        &self.text.bytes[..usize::from(self.text.length)]
    }

    /// Whether it speaks TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether its address is added to `X-Forwarded-For`.
    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    /// Whether its word about the client before it is taken.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }
}

impl Text {
    fn of(ip: IpAddr) -> Self {
        let mut text = Self { bytes: [0; TEXT_MAX], length: 0 };
        // There is room for any address.
        let _ = write!(text, "{ip}");
        text
    }
}

impl Write for Text {
    fn write_str(&mut self, piece: &str) -> std::fmt::Result {
        let start = usize::from(self.length);
        let room = self.bytes.get_mut(start..start + piece.len()).ok_or(std::fmt::Error)?;
        room.copy_from_slice(piece.as_bytes());
        self.length += piece.len() as u8;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_room_as_text() {
        for (address, text) in [
            ("192.0.2.7:1", "192.0.2.7"),
            ("255.255.255.255:65535", "255.255.255.255"),
            ("[::ffff:192.0.2.7]:1", "192.0.2.7"),
            ("[::]:1", "::"),
            ("[2001:db8:1111:2222:3333:4444:5555:6666]:65535", "2001:db8:1111:2222:3333:4444:5555:6666"),
            ("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let peer = Peer::new(address.parse().unwrap(), false, &Forwarded::default());
            assert_eq!(peer.text(), text);
        }
    }

    #[test]
    fn trust_is_about_the_address_itself() {
        let trust = Forwarded { trusted: vec!["192.0.2.0/24".parse().unwrap()], ..Forwarded::default() };
        for (address, trusted) in [
            ("192.0.2.7:1", true),
            ("[::ffff:192.0.2.7]:1", true),
            ("192.0.3.7:1", false),
            ("[::1]:1", false),
        ] {
            assert_eq!(Peer::new(address.parse().unwrap(), false, &trust).is_trusted(), trusted, "{address}");
        }
    }
}
