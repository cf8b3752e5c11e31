//! Moves queries in and answers out, by UDP and TCP. Of DNS it knows that TCP messages follow their length.
//!
//! A wildcard address is served by one socket: answers by UDP leave from the address the routing table prefers, which on
//! a host with several may not be the one that was asked. Until `IP_PKTINFO` is read here, listen on one address where
//! that matters.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_config::ListenAddress;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tracing::{error, info};

use crate::answer::{Transport, answer};
use crate::metrics::Metrics;
use crate::zone::SharedZone;

mod seats;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

/// Connections that may wait for the kernel to hand them over.
const BACKLOG: i32 = 256;
/// Bytes of datagrams that may wait to be read; the kernel may allow less.
const UDP_BUFFER: usize = 1 << 20;
/// How often a port that is free for UDP is looked for that TCP can have too.
const PORT_ATTEMPTS: u32 = 32;

/// The DNS server, bound and not yet running. Binding needs no runtime; [`Server::run`] does.
#[derive(Debug)]
pub struct Server {
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
    local_addr: SocketAddr,
    context: Context,
}

/// What every query needs.
#[derive(Clone, Debug)]
struct Context {
    zone: SharedZone,
    metrics: Metrics,
}

impl Context {
    /// Appends the answer to `query` to `reply`, and counts it. `false` where silence is the answer.
    fn answer(&self, query: &[u8], transport: Transport, reply: &mut Vec<u8>) -> bool {
        let begun = Instant::now();
        let outcome = answer(&self.zone.load(), query, transport, reply);
        if let Some(outcome) = outcome {
            self.metrics.answered(transport, outcome, begun.elapsed());
        }
        outcome.is_some()
    }
}

impl Server {
    /// Binds `address` for UDP and TCP at once. With port 0, both get the same free one.
    pub fn bind(address: ListenAddress, zone: SharedZone, metrics: Metrics) -> io::Result<Self> {
        let (udp, tcp) = bind_both(address).map_err(|error| {
            io::Error::new(error.kind(), format!("can't listen for DNS on {address}: {error}"))
        })?;
        let local_addr = udp.local_addr()?;
        Ok(Self { udp, tcp, local_addr, context: Context { zone, metrics } })
    }

    /// Where it listens, by UDP and TCP.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until `stop`; then gives answers on their way a second. Fails only where the runtime can't take the
    /// sockets over.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let udp = Arc::new(UdpSocket::from_std(self.udp)?);
        let tcp = TcpListener::from_std(self.tcp)?;
        info!(address = %self.local_addr, "DNS listens");
        let mut stop = pin!(stop);
        let udp = supervise(|| udp::serve(Arc::clone(&udp), self.context.clone()), &self.context.metrics);
        let mut connections = tcp::Connections::new(self.context.clone());
        tokio::select! {
            () = &mut stop => {}
            () = udp => {}
            () = connections.accept(&tcp) => {}
        }
        drop(tcp);
        connections.finish(Duration::from_secs(1)).await;
        Ok(())
    }
}

/// Runs a task that never ends, and again should it panic: one query must not take the server with it.
async fn supervise<F: Future<Output = ()> + Send + 'static>(task: impl Fn() -> F, metrics: &Metrics) {
    loop {
        let mut running = tokio::task::JoinSet::new(); // aborts the task when we are dropped
        running.spawn(task());
        match running.join_next().await {
            Some(Err(fault)) if fault.is_panic() => {
                metrics.dropped();
                error!(%fault, "answering DNS over UDP failed, and goes on");
            }
            _ => return,
        }
    }
}

fn bind_both(address: ListenAddress) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let mut attempts = if address.port == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let udp = bind(address, Type::DGRAM)?;
        let port = udp.local_addr()?.as_socket().map_or(address.port, |local| local.port());
        match bind(ListenAddress { port, ..address }, Type::STREAM) {
            Ok(tcp) => return Ok((udp.into(), tcp.into())),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

fn bind(address: ListenAddress, kind: Type) -> io::Result<Socket> {
    let every_ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port));
    match bind_socket(address.socket(), kind) {
        // "Every address" on a host without IPv6 is every IPv4 address.
        Err(_) if address.ip.is_none() && !has_ipv6() => bind_socket(every_ipv4, kind),
        bound => bound,
    }
}

fn has_ipv6() -> bool {
    Socket::new(Domain::IPV6, Type::DGRAM, None).is_ok()
}

fn bind_socket(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if let IpAddr::V6(ip) = address.ip() {
        socket.set_only_v6(!ip.is_unspecified())?; // `[::]` takes IPv4 as well, whatever the system's default
    }
    socket.set_nonblocking(true)?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?; // or connections in TIME_WAIT would keep a new process from its port
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
    } else {
        let _ = socket.set_recv_buffer_size(UDP_BUFFER); // a help against bursts, not a need
        socket.bind(&address.into())?;
    }
    Ok(socket)
}
