//! UDP: each client of a published port or an entry point has a session, and a session an endpoint.
//!
//! ```text
//! client ──▶ listening socket ──batch──▶ Book: session by (client, our address) ──▶ the session's own socket ──▶ endpoint
//!        ◀──────────────────── batch ◀────────────────────────────────────────────────────────────────────────◀
//! ```
//!
//! A session ends when nothing moved for a while, when its endpoint may be given no more work (the next datagram goes to
//! another one at once; answers that are on their way still arrive), or when there are too many and it was idle longest.
//! This file waits and decides; [`wire`] moves bytes, [`book`] keeps sessions in order, [`crate::table::Datagrams`]
//! says which endpoint a client has.

mod book;
mod metrics;
mod session;
mod wire;

pub(crate) use metrics::{End, Metrics};
pub(crate) use wire::Room;

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use portolan_config::settings;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::limits::UDP_SESSION_IDLE;
use crate::metrics::{Scope, published_name};
use crate::table::{Datagrams, Led, Port, Published, Table};
use crate::worker::Worker;
use session::Sessions;
use wire::Listener;

/// Sessions whose answers are taken at a time.
const READY_MAX: usize = 64;

/// What a socket is open for.
#[derive(Debug)]
pub(crate) struct Front {
    way: Way,
    /// What it counts into.
    scope: Scope,
    /// Whether its sessions have lines in the log, and are counted.
    observability: settings::Observability,
    /// How long a session in which nothing moves is kept.
    idle: Duration,
}

#[derive(Debug)]
enum Way {
    EntryPoint(String),
    Published(Port),
}

impl Front {
    pub(crate) fn entry_point(settings: &settings::EntryPoint, worker: &Worker) -> Self {
        Self {
            scope: worker.metrics.entry_point(&settings.name),
            way: Way::EntryPoint(settings.name.clone()),
            observability: settings.observability,
            idle: settings.udp_timeout.unwrap_or(UDP_SESSION_IDLE),
        }
    }

    pub(crate) fn published(port: Port, worker: &Worker) -> Self {
        let name = published_name(port.address.port, port.protocol);
        Self {
            scope: worker.metrics.entry_point(&name),
            way: Way::Published(port),
            observability: settings::Observability::default(),
            idle: UDP_SESSION_IDLE,
        }
    }

    /// Keeps sessions for as long as this table says.
    fn follow(&mut self, table: &Table) {
        if let Way::Published(port) = &self.way {
            let written = table.publications.get(port).and_then(|port| port.limits.idle);
            self.idle = written.unwrap_or(UDP_SESSION_IDLE);
        }
    }

    /// Whether endpoints are to see the client's own address.
    fn is_transparent(&self, table: &Table) -> bool {
        match &self.way {
            Way::EntryPoint(_) => false,
            Way::Published(port) => table.publications.get(port).is_some_and(Published::is_transparent),
        }
    }

    /// Where its datagrams go, by this table, and by which router.
    fn leads_to(&self, table: &Table) -> Option<(Arc<Datagrams>, Option<Arc<str>>)> {
        match &self.way {
            Way::EntryPoint(name) => {
                let Led { router, to } = table.datagrams.get(name)?.clone();
                Some((to, Some(router)))
            }
            Way::Published(port) => {
                let upstream = table.upstreams.get(&table.publications.get(port)?.upstream)?;
                Some((Arc::new(Datagrams::Targets(upstream.clone())), None))
            }
        }
    }
}

/// Serves the socket until the other end of `closed` is dropped.
pub(crate) async fn serve(
    socket: std::net::UdpSocket,
    front: Front,
    worker: Rc<Worker>,
    mut closed: watch::Receiver<()>,
) {
    let served = async {
        let socket = Rc::new(UdpSocket::from_std(socket)?);
        let watched = Rc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let mut listener = Listener::new(&socket)?;
        let mut sessions = Sessions::new(socket.clone(), watched.clone(), front, worker);
        #[expect(
            deprecated,
            reason = "what it can't hold, that the descriptor stays open, the counted reference does"
        )]
        let answers = AsyncFd::with_interest(watched, Interest::READABLE)?;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                ready = socket.readable() => {
                    ready?;
                    take_datagrams(&socket, &mut listener, &mut sessions);
                }
                ready = answers.readable() => {
                    let mut ready = ready?;
                    if take_answers(answers.get_ref(), &mut sessions).is_none() {
                        ready.clear_ready();
                    }
                }
                _ = tick.tick() => sessions.sweep(),
                _ = closed.changed() => return io::Result::Ok(()),
            }
        }
    };
    if let Err(error) = served.await {
        tracing::error!(%error, "a UDP socket can't be served");
    }
}

/// Passes on what waits at the listening socket, a batch at most.
fn take_datagrams(socket: &UdpSocket, listener: &mut Listener, sessions: &mut Sessions) {
    // A batch that is not full was all there was. What comes after it is told of anew.
    let _: io::Result<()> = socket.try_io(Interest::READABLE, || match sessions.pass_on(listener) {
        Ok(count) if count == wire::BATCH => Ok(()),
        Ok(_) | Err(Errno::EAGAIN) => Err(io::ErrorKind::WouldBlock.into()),
        // An ICMP answer to an earlier datagram is told here; it is not about this socket.
        Err(_) => Ok(()),
    });
}

/// Passes on what waits in sessions; `None` where that was all.
fn take_answers(watched: &OwnedFd, sessions: &mut Sessions) -> Option<()> {
    let mut events = Vec::with_capacity(READY_MAX);
    let none = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    let count = epoll::wait(watched, spare_capacity(&mut events), Some(&none)).unwrap_or(0);
    let places = events.iter().map(|event: &epoll::Event| event.data.u64() as u32);
    let all_taken = sessions.answer(places);
    (count == READY_MAX || !all_taken).then_some(())
}
