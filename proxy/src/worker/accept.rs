//! Takes connections off a listening socket.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;

use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::{Worker, spawn_counted};
use crate::limits::ACCEPT_RETRY;

/// Accepts until the other end of `closed` is dropped, and gives each connection that is to be served a task of its own.
///
/// Connections that wait in the socket's queue at that moment are taken first: closing the socket would reset them.
pub(super) async fn accept<F, C>(
    listener: TcpListener,
    worker: Rc<Worker>,
    mut closed: watch::Receiver<()>,
    connection: F,
) where
    F: Fn(Rc<Worker>, TcpStream, SocketAddr) -> Option<C>,
    C: Future<Output = ()> + 'static,
{
    #[expect(deprecated, reason = "what it can't hold, that the descriptor stays open, the listener does")]
    let watched = AsyncFd::with_interest(listener, Interest::READABLE);
    let listener = match watched {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listening socket can't be watched"),
    };
    // Asked first: with clients that come without end, there would never be a moment to hear of it.
    while closed.has_changed().is_ok() {
        let accepted = tokio::select! {
            biased;
            accepted = listener.async_io(Interest::READABLE, take_one) => accepted,
            _ = closed.changed() => break,
        };
        match accepted {
            Ok((client, peer)) => {
                if let Some(connection) = connection(worker.clone(), client, peer) {
                    spawn_counted(&worker, connection);
                }
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "connections can't be accepted at present");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    // The runtime may not have heard of the latest yet.
    let listener = listener.into_inner();
    while let Ok((client, peer)) = take_one(&listener) {
        if let Some(connection) = connection(worker.clone(), client, peer) {
            spawn_counted(&worker, connection);
        }
    }
}

/// A connection that does not block, and is not watched: whoever serves it may not have to wait for anything.
fn take_one(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (client, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer =
        peer.and_then(|peer| SocketAddr::try_from(peer).ok()).ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((client.into(), peer))
}

/// Whether the error is about the connection that was to be accepted, and not about the socket or the process.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
