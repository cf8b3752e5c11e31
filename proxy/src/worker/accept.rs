//! Takes connections off a listening socket.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Worker, spawn_counted};
use crate::limits::ACCEPT_RETRY;

/// Accepts until the other end of `closed` is dropped, and gives each connection that is to be served a task of its own.
///
/// Connections that wait in the socket's queue at that moment are taken first: closing the socket would reset them.
pub(super) async fn accept<F, C>(
    listener: std::net::TcpListener,
    worker: Rc<Worker>,
    mut closed: watch::Receiver<()>,
    connection: F,
) where
    F: Fn(Rc<Worker>, TcpStream, SocketAddr) -> Option<C>,
    C: Future<Output = ()> + 'static,
{
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listening socket can't be watched"),
    };
    // Asked first: with clients that come without end, there would never be a moment to hear of it.
    while closed.has_changed().is_ok() {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
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
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((client, peer)) = listener.accept() {
        if client.set_nonblocking(true).is_ok()
            && let Ok(client) = TcpStream::from_std(client)
            && let Some(connection) = connection(worker.clone(), client, peer)
        {
            spawn_counted(&worker, connection);
        }
    }
}

/// Whether the error is about the connection that was to be accepted, and not about the socket or the process.
fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
