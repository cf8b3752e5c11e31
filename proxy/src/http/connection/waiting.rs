//! A client connection between two requests, when the next is long in coming: what is kept of it, and how it goes on.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use tokio::net::TcpStream;

use super::{Connection, History};
use crate::census::Counted;
use crate::deadline::Moment;
use crate::http::Reason;
use crate::http::entry_point::EntryPoint;
use crate::http::peer::Peer;
use crate::metrics::OpenGuard;
use crate::worker::Worker;

/// A connection in the clear that waits for its next request, and is watched by nobody. Of all there is most connections
/// are these: what can be worked out anew is not kept.
#[derive(Debug)]
pub(crate) struct Waiting {
    socket: std::net::TcpStream,
    address: SocketAddr,
    entry_point: Rc<EntryPoint>,
    requests: u32,
    since: Moment,
    open: OpenGuard,
    counted: Option<Counted>,
}

impl AsFd for Waiting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Connection {
    /// Lets the worker wait for the next request. Where that can't be had, the connection is closed, as may happen to
    /// any that waits.
    pub(super) fn park(self, until: Moment) {
        let Self { client, history, worker } = self;
        let Some(client) = client.into_tcp() else { return };
        let History { peer, entry_point, requests, since, _open: open, _counted: counted, .. } = history;
        if let Ok(socket) = client.into_std() {
            let address = peer.address();
            let waiting = Waiting { socket, address, entry_point, requests, since, open, counted };
            let _ = worker.parking.park(waiting, until);
        }
    }
}

impl Waiting {
    /// Serves the client on.
    pub(crate) async fn go_on(self, worker: Rc<Worker>) {
        let Self { socket, address, entry_point, requests, since, open, counted } = self;
        let Ok(client) = TcpStream::from_std(socket) else { return };
        let peer = Peer::new(address, false, &entry_point.settings.forwarded);
        let history =
            History { peer, entry_point, requests, since, secured: None, _open: open, _counted: counted };
        Box::new(Connection { client: client.into(), history, worker }).go_on().await;
    }

    /// Closes it: it waited too long.
    pub(crate) fn let_go(self, worker: &Worker) {
        worker.metrics.refused(&self.entry_point.settings.name, Reason::ClientIdle);
    }
}
