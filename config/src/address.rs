//! Where to listen.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// An address to listen on, as `[host]:port`. Without a host it means every address of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenAddress {
    /// The address; `None` is all of them, IPv4 and IPv6.
    pub ip: Option<IpAddr>,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl ListenAddress {
    /// The socket address to bind: `[::]`, taking IPv4 as well, where no address was written.
    pub fn socket(self) -> SocketAddr {
        SocketAddr::new(self.ip.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), self.port)
    }

    /// Whether both can't be bound at once.
    pub fn clashes_with(self, other: Self) -> bool {
        self.port == other.port
            && self.port != 0
            && (self.is_wildcard() || other.is_wildcard() || self.ip == other.ip)
    }

    fn is_wildcard(self) -> bool {
        self.ip.is_none_or(|ip| ip.is_unspecified())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, ":{}", self.port),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "`{text}` is not an address to listen on: expected `[ip]:port`, such as `:8000` or `127.0.0.1:9080`"
            )
        };
        if let Some(port) = text.strip_prefix(':') {
            return port.parse().map(|port| Self { ip: None, port }).map_err(|_| fault());
        }
        let address: SocketAddr = text.parse().map_err(|_| fault())?;
        Ok(Self { ip: Some(address.ip()), port: address.port() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_shown_alike() {
        for text in [":8000", "127.0.0.1:9080", "[::1]:53", "0.0.0.0:80"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["", "8000", "localhost:80", ":65536", "1.2.3.4"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_wildcard_clashes_with_every_address_on_its_port() {
        let clash = |a: &str, b: &str| a.parse::<ListenAddress>().unwrap().clashes_with(b.parse().unwrap());
        assert!(clash(":80", "127.0.0.1:80"));
        assert!(clash("0.0.0.0:80", ":80"));
        assert!(!clash("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!clash(":80", ":81"));
        assert!(!clash("127.0.0.1:0", "127.0.0.1:0"));
    }
}
