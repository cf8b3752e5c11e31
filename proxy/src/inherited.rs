//! Sockets that somebody else has bound: a process that gives its work to this one, or systemd. It knows sockets by the
//! address they have and by their protocol, and nothing of what they are for.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use portolan_config::{ListenAddress, Protocol};
use socket2::{Socket, Type};

/// Sockets that wait for whoever wants their address.
#[derive(Debug, Default)]
pub struct Inherited {
    waiting: BTreeMap<(SocketAddr, Protocol), Vec<Socket>>,
}

impl Inherited {
    /// Takes a socket in. One that is neither for TCP, and listens, nor for UDP is of no use here, and an error.
    pub fn add(&mut self, descriptor: OwnedFd) -> io::Result<()> {
        let socket = Socket::from(descriptor);
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        let protocol = match socket.r#type()? {
            Type::STREAM if socket.is_listener()? => Protocol::Tcp,
            Type::DGRAM => Protocol::Udp,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.waiting.entry((address, protocol)).or_default().push(socket);
        Ok(())
    }

    /// Gives the sockets that are bound to this address, if there are any. A port that the system is to choose is bound to
    /// none.
    pub fn take(&mut self, address: ListenAddress, protocol: Protocol) -> Vec<Socket> {
        let key = self.waiting.keys().find(|(bound, of)| *of == protocol && is(*bound, address)).copied();
        key.and_then(|key| self.waiting.remove(&key)).unwrap_or_default()
    }

    /// Closes those that nobody wanted; gives their addresses.
    pub fn clear(&mut self) -> Vec<(SocketAddr, Protocol)> {
        std::mem::take(&mut self.waiting).into_keys().collect()
    }
}

/// Whether a socket that is bound so is one for this address. Every address of this host may be written as none, and be
/// bound as IPv4's or IPv6's.
fn is(bound: SocketAddr, wanted: ListenAddress) -> bool {
    if wanted.port == 0 || bound.port() != wanted.port {
        return false;
    }
    let every = |ip: IpAddr| ip.is_unspecified();
    match wanted.ip {
        None => every(bound.ip()),
        // Without IPv6 in the kernel, IPv4 is all there is.
        Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => every(bound.ip()),
        Some(ip) => bound.ip() == ip,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use socket2::Domain;

    use super::*;

    #[test]
    fn sockets_go_to_whoever_wants_their_address_and_protocol() {
        let (tcp, udp) = (TcpListener::bind("0.0.0.0:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let (tcp_port, udp_port) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
        let mut inherited = Inherited::default();
        inherited.add(tcp.try_clone().unwrap().into()).unwrap();
        inherited.add(tcp.into()).unwrap();
        inherited.add(udp.into()).unwrap();
        let address = |text: String| text.parse::<ListenAddress>().unwrap();
        assert!(inherited.take(address(format!(":{udp_port}")), Protocol::Udp).is_empty());
        assert!(inherited.take(address(format!("127.0.0.1:{udp_port}")), Protocol::Tcp).is_empty());
        assert_eq!(inherited.take(address(format!("127.0.0.1:{udp_port}")), Protocol::Udp).len(), 1);
        assert_eq!(inherited.take(address(format!(":{tcp_port}")), Protocol::Tcp).len(), 2);
        assert!(inherited.clear().is_empty());
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let idle = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let mut inherited = Inherited::default();
        assert!(inherited.add(idle.into()).is_err());
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(inherited.add(unix.into()).is_err());
        inherited.add(listener.into()).unwrap();
        assert_eq!(inherited.clear().len(), 1);
    }
}
