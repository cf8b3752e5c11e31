//! A published UDP port: each client address has a session, and a session an endpoint.
//!
//! A session ends when nothing moved for a while, when its endpoint may be given no more work (the next datagram
//! begins a new one with another endpoint), or when there are too many and it was idle longest.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Listening;
use crate::balancer::{Asker, Tried, pick};
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
    let mut sessions = Sessions::new(socket.clone(), port, worker);
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
    max: usize,
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
    fn new(socket: Rc<UdpSocket>, port: Rc<Listening>, worker: Rc<Worker>) -> Self {
        Self { open: HashMap::default(), socket, port, worker, max: UDP_SESSIONS_MAX }
    }

    async fn pass_on(&mut self, client: SocketAddr, datagram: &[u8]) {
        let Some(upstream) = self.port.upstream(&self.worker) else { return };
        let stays =
            |session: &Session| upstream.available.iter().any(|target| target.id == session.target.id);
        if !self.open.get(&client).is_some_and(stays) {
            self.open.remove(&client);
            let Some(target) = pick(&upstream, Asker::at(client.ip()), &Tried::default()) else {
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
        if self.open.len() >= self.max {
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
        for (_, client) in by_idleness.into_iter().take(self.max.div_ceil(16)) {
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

#[cfg(test)]
mod tests {
    use portolan_config::Protocol;
    use tokio::task::LocalSet;

    use super::*;
    use crate::table::tests::upstream;
    use crate::table::{Port, Published, Table};

    /// The sessions of a port that leads to one endpoint.
    async fn sessions() -> Sessions {
        let (worker, _) = Worker::alone();
        let port = Port { address: "127.0.0.1:1".parse().unwrap(), protocol: Protocol::Udp };
        let published = Published { upstream: "test".to_owned(), origin: "a test".to_owned() };
        worker.put_in_place(Table {
            upstreams: [("test".to_owned(), Arc::new(upstream(&[true])))].into_iter().collect(),
            publications: [(port, published)].into(),
            ..Table::default()
        });
        let socket = Rc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        Sessions::new(socket, Rc::new(Listening::new(port, None, &worker)), worker)
    }

    fn client(number: u16) -> SocketAddr {
        ([127, 0, 0, 1], 10_000 + number).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_through_which_nothing_moves_is_forgotten() {
        let test = async {
            let mut sessions = sessions().await;
            sessions.pass_on(client(1), b"x").await;
            tokio::time::advance(UDP_SESSION_IDLE * 9 / 10).await;
            sessions.pass_on(client(2), b"x").await;
            sessions.sweep();
            assert_eq!(sessions.open.len(), 2);
            tokio::time::advance(UDP_SESSION_IDLE / 5).await;
            sessions.sweep();
            assert_eq!(sessions.open.keys().copied().collect::<Vec<_>>(), [client(2)]);
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_are_too_many_the_one_idle_longest_gives_way() {
        let test = async {
            let mut sessions = sessions().await;
            assert_eq!(sessions.max, UDP_SESSIONS_MAX);
            sessions.max = 8;
            for number in 0..8 {
                sessions.pass_on(client(number), b"x").await;
                tokio::time::advance(Duration::from_millis(1)).await;
            }
            sessions.pass_on(client(0), b"x").await;
            sessions.pass_on(client(9), b"x").await;
            assert_eq!(sessions.open.len(), 8);
            assert!(!sessions.open.contains_key(&client(1)), "it was idle longest");
            assert!(sessions.open.contains_key(&client(0)) && sessions.open.contains_key(&client(9)));
        };
        LocalSet::new().run_until(test).await;
    }
}
