//! Loopback addresses of one port: on Linux all of 127.0.0.0/8 is this host's, without any set-up.

use std::io;
use std::net::Ipv4Addr;

use tokio::net::TcpListener;

/// Attempts at finding a port that is free on every address.
const ATTEMPTS: usize = 32;

/// The address of replica `index`: 127.0.0.1 is left to everybody else.
pub(super) fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, u8::try_from(index + 2).unwrap_or(u8::MAX))
}

/// So many listeners, each on an address of its own, all on one port.
pub(super) async fn all(replicas: usize) -> io::Result<(u16, Vec<TcpListener>)> {
    let mut attempt = 1;
    loop {
        match try_all(replicas).await {
            Ok(bound) => return Ok(bound),
            // Somebody has the port on one of the other addresses.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// The listener of a replica that starts again.
pub(super) async fn one(ip: Ipv4Addr, port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((ip, port)).await
}

async fn try_all(replicas: usize) -> io::Result<(u16, Vec<TcpListener>)> {
    let first = one(address(0), 0).await?;
    let port = first.local_addr()?.port();
    let mut listeners = vec![first];
    for index in 1..replicas {
        listeners.push(one(address(index), port).await?);
    }
    Ok((port, listeners))
}
