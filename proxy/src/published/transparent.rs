//! Connections to endpoints that leave with the client's own address.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::deadline::{Moment, timeout_at};
use crate::http::Reason;
use crate::table::Target;

/// Opens a connection to an address of a target, in the clear, from this address. The port is another than the client's: that may have
/// two connections to one endpoint, by two published ports.
pub(crate) async fn connect_from(
    source: IpAddr,
    to: SocketAddr,
    target: &Target,
    deadline: Moment,
) -> Result<TcpStream, Reason> {
    let connecting = async { bound(source, to)?.connect(to).await };
    match timeout_at(deadline, connecting).await {
        Ok(Ok(endpoint)) => {
            // A small message is sent at once. Where that can't be had, it is only slower.
            let _ = endpoint.set_nodelay(true);
            Ok(endpoint)
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, client = %source, endpoint = target.endpoint, "no connection");
            Err(Reason::ConnectRefused)
        }
        Err(_) => Err(Reason::ConnectTimeout),
    }
}

/// Lets a socket have an address that is not this host's.
pub(crate) fn may_have(socket: &Socket, source: IpAddr) -> io::Result<()> {
    if source.is_ipv6() { socket.set_ip_transparent_v6(true) } else { socket.set_ip_transparent_v4(true) }
}

fn bound(source: IpAddr, endpoint: SocketAddr) -> io::Result<TcpSocket> {
    let socket = Socket::new(Domain::for_address(endpoint), Type::STREAM.nonblocking().cloexec(), None)?;
    may_have(&socket, source)?;
    // A port that waits out its last connection to another endpoint is as good as free.
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}
