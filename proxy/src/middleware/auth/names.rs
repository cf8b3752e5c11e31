//! The names of servers that are asked, looked up by a thread of its own: a worker waits for no name server.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock, Weak};

use super::server::Server;
use crate::limits::NAME_LOOKUP_EVERY;

/// Has the name of a server looked up, now and again until the server is gone.
pub(super) fn watch(server: &Arc<Server>) {
    if let Some(servers) = &*SERVERS {
        let _ = servers.send(Arc::downgrade(server));
    }
}

/// The way to the thread, which is started by the first name. None where there can't be one.
static SERVERS: LazyLock<Option<Sender<Weak<Server>>>> = LazyLock::new(|| {
    let (sender, receiver) = channel();
    match std::thread::Builder::new().name("names".to_owned()).spawn(move || look_up(&receiver)) {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::error!(%error, "names of authentication servers can't be looked up");
            None
        }
    }
});

fn look_up(servers: &Receiver<Weak<Server>>) {
    let mut watched: Vec<Weak<Server>> = Vec::new();
    loop {
        match servers.recv_timeout(NAME_LOOKUP_EVERY) {
            Ok(server) => {
                look_up_one(&server);
                watched.push(server);
            }
            Err(RecvTimeoutError::Timeout) => {
                watched.retain(|server| server.strong_count() > 0);
                watched.iter().for_each(look_up_one);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What a name had before stands while nobody answers.
fn look_up_one(server: &Weak<Server>) {
    let Some(server) = server.upgrade() else { return };
    #[expect(clippy::disallowed_methods, reason = "this thread is there to wait for name servers")]
    let found = (server.name.as_str(), server.port).to_socket_addrs();
    match found.map(Iterator::collect::<Vec<SocketAddr>>) {
        Ok(addresses) if !addresses.is_empty() => server.addresses.store(Arc::new(addresses)),
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, name = server.name, "no address of an authentication server"),
    }
}
