//! The sessions of one listening socket: who has which endpoint, and what passes between them.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use portolan_config::Protocol;
use rustix::event::epoll;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;

use super::Front;
use super::book::Book;
use super::metrics::{Counters, End};
use super::wire::{BATCH, Listener, Peer, Taken};
use crate::deadline::Moment;
use crate::ended::{Ended, Why};
use crate::http::Reason;
use crate::limits::{UDP_LINGER, UDP_SESSIONS_MAX};
use crate::metrics::{OpenGuard, Scope};
use crate::published::may_have;
use crate::table::{Chosen, Datagrams, Target};
use crate::worker::Worker;

/// Datagrams taken from one session before it is the next one's turn.
const TURN: usize = 8;

/// A client's way to an endpoint.
#[derive(Debug)]
struct Session {
    /// Connected to the endpoint; the client's alone, so that what comes back is known to be for it.
    socket: Socket,
    peer: Peer,
    target: Arc<Target>,
    service: Arc<Scope>,
    /// The table by which the target was last seen to be available.
    seen: u64,
    moved: Moment,
    /// Who led it there.
    router: Option<Arc<str>>,
    began: Instant,
    /// Bytes from the client, and to it.
    received: u64,
    sent: u64,
    /// Why it is only kept for the last answers, if it is.
    over: Option<End>,
    _open: [OpenGuard; 2],
}

pub(super) struct Sessions {
    book: Book<Peer, Session>,
    socket: Rc<UdpSocket>,
    /// The sockets of all sessions, watched as one; by place.
    watched: Rc<OwnedFd>,
    front: Front,
    counters: Counters,
    worker: Rc<Worker>,
    most: usize,
    /// By which table `leads_to` is.
    generation: Option<u64>,
    leads_to: Option<Arc<Datagrams>>,
    router: Option<Arc<str>>,
    /// Whether endpoints are to see the client's own address.
    transparent: bool,
    /// Those whose clients were given others, until they are closed.
    leaving: VecDeque<(Moment, u32)>,
    taken: Vec<Taken>,
    answers: Vec<(Range<usize>, Peer)>,
}

impl Sessions {
    pub(super) fn new(socket: Rc<UdpSocket>, watched: Rc<OwnedFd>, front: Front, worker: Rc<Worker>) -> Self {
        Self {
            book: Book::new(),
            counters: worker.metrics.udp.of(front.scope.name()),
            socket,
            watched,
            front,
            worker,
            most: UDP_SESSIONS_MAX,
            generation: None,
            leads_to: None,
            router: None,
            transparent: false,
            leaving: VecDeque::new(),
            taken: Vec::with_capacity(BATCH),
            answers: Vec::with_capacity(BATCH),
        }
    }

    /// Passes a batch of datagrams on. Gives how many there were.
    pub(super) fn pass_on(&mut self, listener: &mut Listener) -> Result<usize, Errno> {
        let worker = self.worker.clone();
        let room = &mut *worker.room.borrow_mut();
        let mut taken = std::mem::take(&mut self.taken);
        taken.clear();
        let count = room.take(&*self.socket, listener, &mut taken);
        self.follow_table();
        let now = Moment::now();
        // In the order of their sessions, and within one in the order in which they came.
        let mut by_place: Vec<(u32, usize)> = Vec::with_capacity(taken.len());
        let mut last: Option<(Peer, u32)> = None;
        for (index, datagram) in taken.iter().enumerate() {
            let place = match last {
                Some((peer, place)) if peer == datagram.from => Some(place),
                _ => self.place_of(datagram.from, now),
            };
            last = place.map(|place| (datagram.from, place));
            by_place.extend(place.map(|place| (place, index)));
        }
        by_place.sort_unstable();
        let mut bytes = 0;
        for same in by_place.chunk_by(|(a, _), (b, _)| a == b) {
            let ranges: Vec<Range<usize>> = same.iter().map(|(_, index)| taken[*index].at.clone()).collect();
            let Some(session) = self.book.get(same[0].0) else { continue };
            let sent = room.send(&session.socket, &ranges);
            session.service.count_bytes(sent.bytes, 0);
            session.received += sent.bytes;
            bytes += sent.bytes;
            self.counters.received.inc_by(sent.datagrams);
            self.counters.lost_to_endpoints.inc_by(sent.lost);
            if sent.refused {
                self.refused(same[0].0, now);
            }
        }
        self.front.scope.count_bytes(bytes, 0);
        self.taken = taken;
        while self.book.len() > self.most
            && let Some(oldest) = self.book.oldest()
        {
            self.end(oldest, End::Evicted);
        }
        count
    }

    /// Passes on what the endpoints of the sessions in these places have sent. Gives whether that was all.
    pub(super) fn answer(&mut self, places: impl Iterator<Item = u32>) -> bool {
        let worker = self.worker.clone();
        let room = &mut *worker.room.borrow_mut();
        let now = Moment::now();
        let mut all_taken = true;
        for place in places {
            if self.answers.len() + TURN > BATCH {
                self.flush(room);
            }
            let Some(session) = self.book.get(place) else { continue };
            let (peer, mut bytes, answers) = (session.peer, 0, &mut self.answers);
            let filled = answers.len();
            let count = room.take_replies(&session.socket, filled, TURN, |at| {
                bytes += at.len() as u64;
                answers.push((at, peer));
            });
            match count {
                Ok(count) => {
                    all_taken &= count < TURN;
                    session.moved = now;
                    session.service.count_bytes(0, bytes);
                    session.sent += bytes;
                    self.book.touch(place);
                }
                Err(Errno::ECONNREFUSED) => self.refused(place, now),
                Err(_) => {}
            }
        }
        self.flush(room);
        all_taken
    }

    fn flush(&mut self, room: &mut super::Room) {
        if self.answers.is_empty() {
            return;
        }
        let sent = room.send_to_peers(&*self.socket, &self.answers);
        self.front.scope.count_bytes(0, sent.bytes);
        self.counters.sent.inc_by(sent.datagrams);
        self.counters.lost_to_clients.inc_by(sent.lost);
        self.answers.clear();
    }

    /// Ends sessions in which nothing moved for too long, and those that were only kept for the last answers.
    pub(super) fn sweep(&mut self) {
        let now = Moment::now();
        while let Some((until, place)) = self.leaving.front()
            && *until <= now
        {
            let place = *place;
            self.leaving.pop_front();
            if let Some(session) = self.book.remove(place) {
                self.note(&session, session.over.unwrap_or(End::Closed));
            }
        }
        while let Some(oldest) = self.book.oldest()
            && self.book.get(oldest).is_none_or(|session| now.since(session.moved) >= self.front.idle)
        {
            self.end(oldest, End::Idle);
        }
    }

    fn follow_table(&mut self) {
        let table = self.worker.table();
        if self.generation != Some(table.generation) {
            (self.leads_to, self.router) = match self.front.leads_to(&table) {
                Some((to, router)) => (Some(to), router),
                None => (None, None),
            };
            self.transparent = self.front.is_transparent(&table);
            self.front.follow(&table);
            self.generation = Some(table.generation);
        }
    }

    /// The place of this client's session, which may be a new one.
    fn place_of(&mut self, peer: Peer, now: Moment) -> Option<u32> {
        let generation = self.generation.unwrap_or_default();
        if let Some(place) = self.book.find(&peer) {
            let session = self.book.get(place)?;
            let stays = session.seen == generation
                || self.leads_to.as_ref().is_some_and(|to| to.offers(session.target.id));
            if stays {
                (session.seen, session.moved) = (generation, now);
                self.book.touch(place);
                return Some(place);
            }
            self.leave(place, End::EndpointLeft, now);
        }
        self.begin(peer, None, now)
    }

    /// Begins a session; `None` where that can't be done, and the datagram is lost.
    fn begin(&mut self, peer: Peer, avoid: Option<u64>, now: Moment) -> Option<u32> {
        let chosen = self.leads_to.as_ref().and_then(|to| to.choose(peer.address, avoid));
        let Some(Chosen { target, upstream }) = chosen else {
            self.worker.metrics.refused(self.front.scope.name(), Reason::NoEndpoint);
            return None;
        };
        let place = self.book.next_place();
        let client = peer.address.ip();
        let kept = self.transparent.then(|| {
            let to = target.address_for(client);
            Some((to, self.worker.sources.of(client, to)?))
        });
        let (to, source) = kept.flatten().map_or((target.address, None), |(to, source)| (to, Some(source)));
        let socket = match connect(to, source, &self.watched, place) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::debug!(%error, "a UDP session can't begin");
                self.counters.lost_to_endpoints.inc();
                // For want of file descriptors or ports, most likely: whoever is idle longest gives way to the next one.
                if let Some(oldest) = self.book.oldest() {
                    self.end(oldest, End::Evicted);
                }
                return None;
            }
        };
        target.counters.connections.inc();
        let session = Session {
            socket,
            peer,
            target,
            service: upstream.scope.clone(),
            seen: self.generation.unwrap_or_default(),
            moved: now,
            router: self.router.clone(),
            began: Instant::now(),
            received: 0,
            sent: 0,
            over: None,
            _open: [self.front.scope.open(), upstream.scope.open()],
        };
        Some(self.book.add(peer, session))
    }

    /// Nobody listened at the endpoint. The client is given another one, where there is one; else it may yet come back.
    fn refused(&mut self, place: u32, now: Moment) {
        let Some(session) = self.book.get(place) else { return };
        session.target.counters.failures.inc();
        let (peer, target) = (session.peer, session.target.id);
        let other = self.leads_to.as_ref().and_then(|to| to.choose(peer.address, Some(target)));
        if self.book.client(place).is_some() && other.is_some_and(|other| other.target.id != target) {
            self.leave(place, End::Refused, now);
            self.begin(peer, Some(target), now);
        }
    }

    /// Leads the client away. What the endpoint has sent already still arrives.
    fn leave(&mut self, place: u32, end: End, now: Moment) {
        self.counters.ended(end);
        if let Some(session) = self.book.get(place) {
            session.over = Some(end);
        }
        self.book.detach(place);
        self.leaving.push_back((now + UDP_LINGER, place));
    }

    fn end(&mut self, place: u32, end: End) {
        if let Some(session) = self.book.remove(place) {
            self.counters.ended(end);
            self.note(&session, end);
        }
    }

    /// Keeps account of a session that is over.
    fn note(&self, session: &Session, end: End) {
        let ended = Ended {
            protocol: Protocol::Udp,
            entry_point: &self.front.scope,
            observability: self.front.observability,
            client: session.peer.address,
            tls: None,
            server_name: "",
            router: session.router.as_deref(),
            service: Some(&session.service),
            target: Some(&session.target),
            received: session.received,
            sent: session.sent,
            took: session.began.elapsed(),
            why: Why::Session(end),
        };
        ended.note(&self.worker);
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        while let Some(oldest) = self.book.oldest() {
            self.end(oldest, End::Closed);
        }
        for (_, place) in std::mem::take(&mut self.leaving) {
            if let Some(session) = self.book.remove(place) {
                self.note(&session, session.over.unwrap_or(End::Closed));
            }
        }
    }
}

/// A socket that is connected to the endpoint, and watched; from this address, where there is one.
fn connect(
    endpoint: SocketAddr,
    source: Option<IpAddr>,
    watched: &OwnedFd,
    place: u32,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(endpoint), Type::DGRAM.nonblocking().cloexec(), None)?;
    if let Some(source) = source {
        may_have(&socket, source)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect(&endpoint.into())?;
    epoll::add(watched, &socket, epoll::EventData::new_u64(u64::from(place)), epoll::EventFlags::IN)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
