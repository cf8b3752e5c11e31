//! Datagrams: one in, at most one out, in one task. It never ends because of what arrives.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::Context;
use crate::answer::Transport;

/// The largest datagram there is.
const LARGEST: usize = 65_535;
/// How long an answer may wait for the socket to take it.
const SEND_DEADLINE: Duration = Duration::from_secs(1);
/// How long to wait after an error that may persist, so that it does not take the processor.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers datagrams, for as long as it is polled.
pub(super) async fn serve(socket: Arc<UdpSocket>, context: Context) {
    let mut datagram = vec![0; LARGEST];
    let mut reply = Vec::with_capacity(2048);
    loop {
        match socket.recv_from(&mut datagram).await {
            Ok((length, peer)) => {
                reply.clear();
                let sent = context.answer(&datagram[..length], Transport::Udp, &mut reply)
                    && send(&socket, &reply, peer).await;
                if !sent {
                    context.metrics.dropped();
                }
            }
            Err(error) => {
                // Such as ECONNREFUSED: a peer was gone when its answer came, and the next datagram is another's.
                debug!(%error, "receiving a DNS query failed");
                if !is_about_a_peer(&error) {
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn send(socket: &UdpSocket, reply: &[u8], peer: SocketAddr) -> bool {
    let sent = match socket.try_send_to(reply, peer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            match timeout(SEND_DEADLINE, socket.send_to(reply, peer)).await {
                Ok(sent) => sent,
                Err(late) => Err(late.into()),
            }
        }
        sent => sent,
    };
    if let Err(error) = &sent {
        debug!(%error, %peer, "sending a DNS answer failed");
    }
    sent.is_ok()
}

fn is_about_a_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable
    )
}
