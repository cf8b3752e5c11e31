//! Binds sockets, and says what to do where that fails. It knows addresses, and nothing of what is served there.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use portolan_config::{ListenAddress, Protocol};
use socket2::{Domain, Socket as RawSocket, TcpKeepalive, Type};

use crate::limits::{ACCEPT_QUEUE, TCP_KEEP_ALIVE, UDP_QUEUE_BYTES};

/// What went wrong with a socket, and what to do about it.
pub(crate) fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program has it; stop that, or choose another port".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root, the capability NET_BIND_SERVICE, or the sysctl \
             net.ipv4.ip_unprivileged_port_start"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    }
}

/// Binds `count` sockets to one address. Where port 0 lets the system choose, all have the port it chose. `is_shared` is
/// whether other processes of this user may have the port, too (`reusePort`).
pub(super) fn bind(
    address: ListenAddress,
    protocol: Protocol,
    count: usize,
    is_shared: bool,
) -> io::Result<Vec<RawSocket>> {
    // Sockets that share a port are shared with any other process of this user, too. One that does not share finds
    // out whether somebody is there.
    if !is_shared {
        drop(bind_one(address.socket(), protocol, Sharing::Exclusive)?);
    }
    let mut sockets = vec![bind_one(address.socket(), protocol, Sharing::Shared)?];
    let bound = local_address(&sockets[0])?;
    while sockets.len() < count {
        sockets.push(bind_one(bound, protocol, Sharing::Shared)?);
    }
    Ok(sockets)
}

#[derive(Clone, Copy, PartialEq)]
enum Sharing {
    Exclusive,
    Shared,
}

fn bind_one(address: SocketAddr, protocol: Protocol, sharing: Sharing) -> io::Result<RawSocket> {
    let kind = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = match RawSocket::new(Domain::for_address(address), kind, None) {
        Ok(socket) => socket,
        // A kernel without IPv6: everything is then all of IPv4.
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            return bind_one((Ipv4Addr::UNSPECIFIED, address.port()).into(), protocol, sharing);
        }
        Err(error) => return Err(error),
    };
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if protocol == Protocol::Tcp {
        // Connections that linger from an earlier run are not in the way.
        socket.set_reuse_address(true)?;
        // A small answer is sent at once; Nagle's algorithm would hold it back. Connections have it from their listener,
        // which spares each a system call (tcp(7)).
        socket.set_tcp_nodelay(true)?;
        // So they have this, by which one whose client is gone without a word is closed some day.
        socket.set_tcp_keepalive(&probes())?;
    }
    if protocol == Protocol::Udp {
        // A burst waits here while a worker is at something else. Systems allow less (`net.core.rmem_max`), and give
        // what they allow.
        socket.set_recv_buffer_size(UDP_QUEUE_BYTES)?;
    }
    if sharing == Sharing::Shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if protocol == Protocol::Tcp {
        socket.listen(ACCEPT_QUEUE)?;
    }
    Ok(socket)
}

/// Makes sockets that are bound already, at least one, fit to be served by `count` workers: more of the same address where
/// they are too few.
pub(super) fn adopt(
    mut sockets: Vec<RawSocket>,
    protocol: Protocol,
    count: usize,
) -> io::Result<Vec<RawSocket>> {
    for socket in &sockets {
        socket.set_nonblocking(true)?;
        if protocol == Protocol::Tcp {
            socket.set_tcp_nodelay(true)?;
            socket.set_tcp_keepalive(&probes())?;
        }
    }
    let bound = local_address(&sockets[0])?;
    let given = sockets.len();
    while sockets.len() < count {
        // One that was not bound to be shared (as by systemd) can't be joined; then workers take turns at it.
        let more = bind_one(bound, protocol, Sharing::Shared)
            .or_else(|_| sockets[sockets.len() % given].try_clone())?;
        sockets.push(more);
    }
    Ok(sockets)
}

fn probes() -> TcpKeepalive {
    TcpKeepalive::new().with_time(TCP_KEEP_ALIVE).with_interval(TCP_KEEP_ALIVE)
}

pub(super) fn local_address(socket: &RawSocket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_accepted_is_probed_and_small_answers_are_not_held_back() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), Protocol::Tcp, 1, false).unwrap();
        let at = local_address(&sockets[0]).unwrap();
        let client = RawSocket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
        client.connect(&at.into()).unwrap();
        // Not before the connection has reached the queue, which is at once on this host.
        sockets[0].set_nonblocking(false).unwrap();
        let (accepted, _) = sockets[0].accept().unwrap();
        assert!(accepted.tcp_nodelay().unwrap());
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), TCP_KEEP_ALIVE);
    }

    #[test]
    fn all_workers_share_one_port_and_nobody_else_gets_it() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let any = "127.0.0.1:0".parse().unwrap();
            let sockets = bind(any, protocol, 3, false).unwrap();
            let ports: Vec<u16> =
                sockets.iter().map(|socket| local_address(socket).unwrap().port()).collect();
            assert_eq!(ports, [ports[0]; 3]);
            let taken = ListenAddress { port: ports[0], ..any };
            let error = bind(taken, protocol, 3, false).unwrap_err();
            assert!(advice(&error).starts_with("another program has it"), "{error}");
            // But who says so shares it.
            let joined = bind(taken, protocol, 1, true).unwrap();
            assert_eq!(local_address(&joined[0]).unwrap().port(), ports[0]);
        }
    }

    #[test]
    fn sockets_that_are_there_are_joined_by_as_many_as_it_takes() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let any = "127.0.0.1:0".parse().unwrap();
            let of = |sockets: &[RawSocket]| {
                sockets.iter().map(|socket| local_address(socket).unwrap()).collect::<Vec<_>>()
            };
            let two = bind(any, protocol, 2, false).unwrap();
            let address = local_address(&two[0]).unwrap();
            assert_eq!(of(&adopt(two, protocol, 3).unwrap()), [address; 3]);
            // Those of a process with more workers are all kept: connections wait in each.
            let four = bind(any, protocol, 4, false).unwrap();
            assert_eq!(adopt(four, protocol, 2).unwrap().len(), 4);
            // One that is not shared.
            let alone = bind_one(any.socket(), protocol, Sharing::Exclusive).unwrap();
            let address = local_address(&alone).unwrap();
            assert_eq!(of(&adopt(vec![alone], protocol, 3).unwrap()), [address; 3]);
        }
    }
}
