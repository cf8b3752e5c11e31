//! Which sockets are open: those of the entry points, always, and those of the published ports, as the table has them.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use portolan_config::settings::EntryPoint;
use portolan_config::{Fault, ListenAddress, Protocol};
use socket2::{Domain, Socket as RawSocket, Type};
use tokio::sync::mpsc;

use crate::census::Census;
use crate::limits::{ACCEPT_QUEUE, UDP_QUEUE_BYTES};
use crate::table::{Port, Table};
use crate::worker::{Command, Socket};

/// The sockets that the workers serve. Every worker has one of its own for each, and the kernel spreads clients over
/// them (`SO_REUSEPORT`).
#[derive(Debug)]
pub(crate) struct Listeners {
    workers: Vec<mpsc::UnboundedSender<Command>>,
    published: BTreeMap<Port, u64>,
    next_id: u64,
}

impl Listeners {
    pub(crate) fn new(workers: Vec<mpsc::UnboundedSender<Command>>) -> Self {
        Self { workers, published: BTreeMap::new(), next_id: 0 }
    }

    /// Opens an entry point; gives the address it has.
    pub(crate) fn open_entry_point(&mut self, entry_point: &EntryPoint) -> io::Result<SocketAddr> {
        let address = entry_point.address;
        let sockets = bind(address, entry_point.protocol, self.workers.len())?;
        let bound = sockets.first().map_or(Ok(address.socket()), local_address)?;
        let settings = Arc::new(entry_point.clone());
        let census = Census::new(&entry_point.limits);
        self.send(sockets, |socket| match settings.protocol {
            Protocol::Tcp => Socket::EntryPoint(socket.into(), settings.clone(), census.clone()),
            Protocol::Udp => Socket::UdpEntryPoint(socket.into(), settings.clone()),
        });
        Ok(bound)
    }

    /// Opens and closes published ports until they are those of the table. A port that can't be opened is a fault,
    /// and is tried again the next time.
    pub(crate) fn follow(&mut self, table: &Table) -> Vec<Fault> {
        let gone: Vec<Port> =
            self.published.keys().filter(|port| !table.publications.contains_key(port)).copied().collect();
        for port in gone {
            if let Some(id) = self.published.remove(&port) {
                for worker in &self.workers {
                    let _ = worker.send(Command::Close(id));
                }
                tracing::info!(port = %port.address, protocol = %port.protocol, "published port closed");
            }
        }
        let mut faults = Vec::new();
        for (port, published) in &table.publications {
            if self.published.contains_key(port) {
                continue;
            }
            match bind(port.address, port.protocol, self.workers.len()) {
                Ok(sockets) => {
                    let first = table.upstreams.get(&published.upstream);
                    let id = self.send(sockets, |socket| match port.protocol {
                        Protocol::Tcp => Socket::Tcp(socket.into(), *port, first.cloned()),
                        Protocol::Udp => Socket::Udp(socket.into(), *port),
                    });
                    self.published.insert(*port, id);
                    tracing::info!(
                        port = %port.address, protocol = %port.protocol, service = published.upstream,
                        "published port opened"
                    );
                }
                Err(error) => faults.push(Fault::new(
                    published.origin.clone(),
                    "portolan.publish",
                    format!(
                        "host port {}/{} can't be opened: {}",
                        port.address,
                        port.protocol,
                        advice(&error)
                    ),
                )),
            }
        }
        faults
    }

    /// Gives each worker one of the sockets.
    fn send(&mut self, sockets: Vec<RawSocket>, kind: impl Fn(RawSocket) -> Socket) -> u64 {
        self.next_id += 1;
        for (worker, socket) in self.workers.iter().zip(sockets) {
            // A worker that is gone has ended with the process.
            let _ = worker.send(Command::Open(self.next_id, kind(socket)));
        }
        self.next_id
    }
}

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

/// Binds `count` sockets to one address. Where port 0 lets the system choose, all have the port it chose.
fn bind(address: ListenAddress, protocol: Protocol, count: usize) -> io::Result<Vec<RawSocket>> {
    // Sockets that share a port are shared with any other process of this user, too. One that does not share finds
    // out whether somebody is there.
    drop(bind_one(address.socket(), protocol, Sharing::Exclusive)?);
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

fn local_address(socket: &RawSocket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_answers_to_whoever_is_accepted_are_not_held_back() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), Protocol::Tcp, 1).unwrap();
        let at = local_address(&sockets[0]).unwrap();
        let client = RawSocket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
        client.connect(&at.into()).unwrap();
        // Not before the connection has reached the queue, which is at once on this host.
        sockets[0].set_nonblocking(false).unwrap();
        let (accepted, _) = sockets[0].accept().unwrap();
        assert!(accepted.tcp_nodelay().unwrap());
    }

    #[test]
    fn all_workers_share_one_port_and_nobody_else_gets_it() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let any = "127.0.0.1:0".parse().unwrap();
            let sockets = bind(any, protocol, 3).unwrap();
            let ports: Vec<u16> =
                sockets.iter().map(|socket| local_address(socket).unwrap().port()).collect();
            assert_eq!(ports, [ports[0]; 3]);
            let taken = ListenAddress { port: ports[0], ..any };
            let error = bind(taken, protocol, 3).unwrap_err();
            assert!(advice(&error).starts_with("another program has it"), "{error}");
        }
    }
}
