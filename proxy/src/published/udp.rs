//! A published UDP port: each client address has a session, and a session an endpoint.
//!
//! A session ends when nothing moved for a while, when its endpoint may be given no more work (the next datagram
//! begins a new one with another endpoint), or when there are too many and it was idle longest.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Listening;
use crate::balancer::{Tried, pick};
use crate::http::Reason;
use crate::limits::{UDP_SESSION_IDLE, UDP_SESSIONS_MAX};
use crate::table::Target;
use crate::worker::Worker;

/// The largest datagram there is.
const DATAGRAM_BYTES: usize = 65_535;

/// Serves the socket until the other end of `closed` is dropped.
pub(crate) async fn serve(
    socket: std::net::UdpSocket,
    port: Rc<Listening>,
    worker: Rc<Worker>,
    mut closed: watch::Receiver<()>,
) {
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => Rc::new(socket),
        Err(error) => return tracing::error!(%error, "a UDP socket can't be watched"),
    };
    let mut sessions = Sessions { open: HashMap::default(), socket: socket.clone(), port, worker };
    let mut datagram = vec![0; DATAGRAM_BYTES];
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            received = socket.recv_from(&mut datagram) => {
                // An ICMP answer to an earlier datagram is reported here; it is not about this socket.
                let Ok((length, client)) = received else { continue };
                sessions.pass_on(client, &datagram[..length]).await;
            }
            _ = tick.tick() => sessions.sweep(),
            _ = closed.changed() => return,
        }
    }
}

struct Sessions {
    open: HashMap<SocketAddr, Session, RandomState>,
    socket: Rc<UdpSocket>,
    port: Rc<Listening>,
    worker: Rc<Worker>,
}

struct Session {
    target: Arc<Target>,
    endpoint: Rc<UdpSocket>,
    /// When a datagram moved last, either way.
    moved: Rc<std::cell::Cell<Instant>>,
    answers: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

impl Sessions {
    async fn pass_on(&mut self, client: SocketAddr, datagram: &[u8]) {
        let Some(upstream) = self.port.upstream(&self.worker) else { return };
        let stays =
            |session: &Session| upstream.available.iter().any(|target| target.id == session.target.id);
        if !self.open.get(&client).is_some_and(stays) {
            self.open.remove(&client);
            let Some(target) = pick(&upstream, &Tried::default()) else {
                return self.worker.metrics.refused(self.port.scope.name(), Reason::NoEndpoint);
            };
            match self.begin(client, target).await {
                Ok(session) => self.open.insert(client, session),
                Err(error) => return tracing::debug!(%error, "a UDP session can't begin"),
            };
        }
        let Some(session) = self.open.get(&client) else { return };
        session.moved.set(Instant::now());
        // Datagrams may be lost; a full queue or an endpoint that is gone loses this one.
        if session.endpoint.send(datagram).await.is_ok() {
            for scope in [&self.port.scope, &upstream.scope] {
                scope.count_bytes(datagram.len() as u64, 0);
            }
        } else {
            session.target.counters.failures.inc();
        }
    }

    async fn begin(&mut self, client: SocketAddr, target: Arc<Target>) -> io::Result<Session> {
        if self.open.len() >= UDP_SESSIONS_MAX {
            self.give_way();
        }
        let any: SocketAddr = match target.address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let endpoint = Rc::new(UdpSocket::bind(any).await?);
        endpoint.connect(target.address).await?;
        target.counters.connections.inc();
        let moved = Rc::new(std::cell::Cell::new(Instant::now()));
        let answers = tokio::task::spawn_local(answer(
            endpoint.clone(),
            self.socket.clone(),
            client,
            moved.clone(),
            self.port.clone(),
            self.worker.clone(),
        ));
        Ok(Session { target, endpoint, moved, answers: answers.abort_handle() })
    }

    fn sweep(&mut self) {
        self.open.retain(|_, session| session.moved.get().elapsed() < UDP_SESSION_IDLE);
    }

    /// Ends the sessions idle longest; several at a time, so that a flood of new clients does not pay for each.
    fn give_way(&mut self) {
        let mut by_idleness: Vec<(Instant, SocketAddr)> =
            self.open.iter().map(|(client, session)| (session.moved.get(), *client)).collect();
        by_idleness.sort_unstable();
        for (_, client) in by_idleness.into_iter().take(UDP_SESSIONS_MAX / 16) {
            self.open.remove(&client);
        }
    }
}

/// Passes the endpoint's datagrams back to the client.
async fn answer(
    endpoint: Rc<UdpSocket>,
    socket: Rc<UdpSocket>,
    client: SocketAddr,
    moved: Rc<std::cell::Cell<Instant>>,
    port: Rc<Listening>,
    worker: Rc<Worker>,
) {
    while endpoint.readable().await.is_ok() {
        // All sessions of the worker share the room for one datagram; it is free again before the next wait.
        let mut datagram = worker.datagram.borrow_mut();
        datagram.resize(DATAGRAM_BYTES, 0);
        // Refused: nobody listens there at present. The session stays; its endpoint may come back.
        let Ok(length) = endpoint.try_recv(&mut datagram) else { continue };
        moved.set(Instant::now());
        // A queue that is full loses this one, as anywhere on its way.
        if socket.try_send_to(&datagram[..length], client).is_ok() {
            port.scope.count_bytes(0, length as u64);
        }
    }
}
