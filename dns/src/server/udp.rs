//! Datagrams: as many as are there in, their answers out, on a thread that does nothing else. It never ends because of
//! what arrives.
//!
//! One call to the kernel takes a batch and one gives the answers, so that what a query costs is not the calls. The
//! thread sleeps in the first of them: nobody else has to wake it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrLike, SockaddrStorage, recvmmsg,
    sendmmsg, sendmsg, setsockopt,
};
use rustix::thread::{Timespec, nanosleep, set_current_timer_slack};
use tracing::{debug, error};

use super::limit::{Limiter, Measure, cut};
use super::{Asking, Context, Elsewhere, Verdict};
use crate::answer::Transport;
use crate::metrics::Local;

/// Datagrams taken at once. More would let the first of them wait for the last one's answer.
const BATCH: usize = 64;
/// After so many at once, the next ones may gather.
const GATHER_AFTER: usize = 4;
/// How long they may. A thread that is woken for each handful, and wakes a client for each, pays for that with an eighth
/// of what a query costs. Where few come, nobody waits.
const GATHER: Duration = Duration::from_micros(50);
/// Bytes of a query that are read: many times what an honest one has. The rest is cut off, and the query is malformed.
const QUERY_MAX: usize = 4096;
/// How long an answer may wait for the socket to take it.
const SEND_DEADLINE: Duration = Duration::from_secs(1);
/// How often a thread that waits for a datagram looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);
/// How long to wait after an error that may persist, so that it does not take the processor.
const PAUSE: Duration = Duration::from_millis(10);

/// A socket, and what its thread needs.
#[derive(Debug)]
pub(super) struct Worker {
    socket: Arc<std::net::UdpSocket>,
    context: Context,
    /// Whether queries say which of the host's addresses they were sent to, so that answers leave from it.
    tells_address: bool,
}

/// Ends a worker.
#[derive(Debug)]
pub(super) struct Stop {
    told: Arc<AtomicBool>,
}

impl Stop {
    /// Lets the worker end after the answers it is at.
    pub(super) fn stop(&self) {
        // Whoever waits for a datagram looks at it within LOOK. The socket itself must not be shut down: another process
        // may have it, too.
        self.told.store(true, Ordering::Release);
    }
}

impl Worker {
    /// A worker of a socket that waits (is blocking).
    pub(super) fn new(socket: std::net::UdpSocket, context: Context) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let tells_address = local.ip().is_unspecified();
        match local {
            SocketAddr::V4(_) if tells_address => setsockopt(&socket, Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) if tells_address => setsockopt(&socket, Ipv6RecvPacketInfo, &true)?,
            _ => {}
        }
        socket.set_write_timeout(Some(SEND_DEADLINE))?;
        socket.set_read_timeout(Some(LOOK))?;
        Ok(Self { socket: Arc::new(socket), context, tells_address })
    }

    /// Its socket.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Starts the thread.
    pub(super) fn start(self, number: usize) -> io::Result<(Stop, std::thread::JoinHandle<()>)> {
        let told = Arc::new(AtomicBool::new(false));
        let stop = Stop { told: Arc::clone(&told) };
        let thread = std::thread::Builder::new().name(format!("dns-{number}")).spawn(move || {
            while !told.load(Ordering::Acquire) {
                // One query must not take the server with it.
                let serving = AssertUnwindSafe(|| self.serve(&told));
                if catch_unwind(serving).is_err() {
                    self.context.metrics.panicked();
                    error!("answering DNS over UDP failed, and goes on");
                }
            }
        })?;
        Ok((stop, thread))
    }

    fn serve(&self, told: &AtomicBool) {
        let mut space = vec![0; BATCH * QUERY_MAX];
        let mut incoming = headers(self.tells_address);
        let mut outbox = Outbox::new();
        let mut metrics = self.context.metrics.local();
        let mut limiter = self.context.rate_limit.map(Limiter::new);
        let mut taken = 0;
        // Or the kernel would let each moment last twice as long. Where it can't be had, it does.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        while !told.load(Ordering::Acquire) {
            let mut buffers: Vec<[IoSliceMut<'_>; 1]> =
                space.chunks_exact_mut(QUERY_MAX).map(|buffer| [IoSliceMut::new(buffer)]).collect();
            if may_gather(taken) {
                gather();
            }
            // Waits for the first only.
            let flags = MsgFlags::MSG_WAITFORONE;
            let received = recvmmsg(self.socket.as_raw_fd(), &mut incoming, buffers.iter_mut(), flags, None);
            let received = match received {
                Ok(received) => received,
                Err(Errno::EAGAIN) => continue,
                Err(error) => {
                    // Such as ECONNREFUSED: a peer was gone when its answer came, and the next datagram is another's.
                    debug!(%error, "receiving a DNS query failed");
                    if !is_about_a_peer(error) {
                        std::thread::park_timeout(PAUSE);
                    }
                    continue;
                }
            };
            let begun = Instant::now();
            let moment = self.context.moment();
            taken = 0;
            for datagram in received {
                taken += 1;
                let Some(peer) = datagram.address.as_ref().and_then(socket_addr) else { continue };
                let query = datagram.iovs().next().unwrap_or_default();
                let local = if self.tells_address { asked_address(datagram.cmsgs().ok()) } else { None };
                let start = outbox.bytes.len();
                match moment.answer(query, Transport::Udp, peer.ip(), &mut outbox.bytes) {
                    Verdict::Answered(outcome) => {
                        let sizes = [query.len(), outbox.bytes.len() - start];
                        metrics.answered(outcome, begun.elapsed(), sizes);
                        let asked = Asking { transport: Transport::Udp, client: peer.ip(), begun };
                        self.context.note(query, &outbox.bytes[start..], asked, outcome);
                        let measure = match &mut limiter {
                            Some(limiter) if !outcome.known => {
                                limiter.take(peer.ip().to_canonical(), moment.now)
                            }
                            _ => Measure::Send,
                        };
                        match measure {
                            Measure::Send => outbox.push(start, peer, local),
                            Measure::Cut => {
                                cut(&mut outbox.bytes, start);
                                outbox.push(start, peer, local);
                                metrics.limited();
                            }
                            Measure::Drop => {
                                outbox.bytes.truncate(start);
                                metrics.limited();
                            }
                        }
                    }
                    Verdict::Silence => metrics.dropped(1),
                    Verdict::Elsewhere(elsewhere) => self.ask(elsewhere, query, peer, local, begun),
                }
            }
            metrics.flush();
            drop(moment);
            outbox.send(&self.socket, &mut metrics);
            metrics.flush();
        }
    }
}

impl Worker {
    /// Lets others be asked; the answer is sent when it is there.
    fn ask(
        &self,
        elsewhere: Elsewhere,
        query: &[u8],
        peer: SocketAddr,
        local: Option<LocalAddress>,
        begun: Instant,
    ) {
        let Some(forward) = &self.context.forward else { return };
        let (context, socket, query) = (self.context.clone(), Arc::clone(&self.socket), query.to_vec());
        let asked = Asking { transport: Transport::Udp, client: peer.ip(), begun };
        let back = move |given| {
            let reply = context.relay(&query, asked, &given);
            let (slices, peer) = ([IoSlice::new(&reply)], SockaddrStorage::from(peer));
            // Whoever hands it back must not wait: what the socket does not take at once is lost.
            let flags = MsgFlags::MSG_DONTWAIT;
            let sent =
                with_source(local, |from| sendmsg(socket.as_raw_fd(), &slices, from, flags, Some(&peer)));
            if let Err(error) = sent {
                debug!(%error, "sending a DNS answer failed");
                context.metrics.dropped();
            }
        };
        forward.ask(elsewhere.asked, &elsewhere.written, elsewhere.stale, Box::new(back));
    }
}

/// Whether the next datagrams are to gather, after so many at once: not where there are few, nor where more than can be
/// taken at once are there already.
fn may_gather(taken: usize) -> bool {
    (GATHER_AFTER..BATCH).contains(&taken)
}

fn gather() {
    let moment = Timespec { tv_sec: 0, tv_nsec: GATHER.subsec_nanos().into() };
    let _ = nanosleep(&moment); // a signal may end it early
}

/// Does something with what makes a datagram leave from an address.
fn with_source<T>(local: Option<LocalAddress>, send: impl FnOnce(&[ControlMessage<'_>]) -> T) -> T {
    match local {
        None => send(&[]),
        Some(LocalAddress { ip: IpAddr::V4(ip), .. }) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            send(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        Some(LocalAddress { ip: IpAddr::V6(ip), interface }) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                ipi6_ifindex: interface,
            };
            send(&[ControlMessage::Ipv6PacketInfo(&info)])
        }
    }
}

fn headers(with_address: bool) -> MultiHeaders<SockaddrStorage> {
    // Of the two kinds one comes, and there is room for both.
    let space = with_address.then(|| nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo));
    MultiHeaders::preallocate(BATCH, space)
}

/// Which of our addresses a datagram was sent to, and through which interface it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LocalAddress {
    ip: IpAddr,
    interface: u32,
}

fn asked_address(messages: Option<nix::sys::socket::CmsgIterator<'_>>) -> Option<LocalAddress> {
    messages?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let ip = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
            Some(LocalAddress { ip: ip.into(), interface: 0 })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            // A link-local address means something on its link only.
            let interface = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some(LocalAddress { ip: ip.into(), interface })
        }
        _ => None,
    })
}

/// Answers that wait to be sent together.
struct Outbox {
    bytes: Vec<u8>,
    answers: Vec<(std::ops::Range<usize>, SockaddrStorage, Option<LocalAddress>)>,
    plain: MultiHeaders<SockaddrStorage>,
    v4: MultiHeaders<SockaddrStorage>,
    v6: MultiHeaders<SockaddrStorage>,
}

impl Outbox {
    fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(BATCH * 512),
            answers: Vec::with_capacity(BATCH),
            plain: MultiHeaders::preallocate(BATCH, None),
            v4: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in_pktinfo))),
            v6: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in6_pktinfo))),
        }
    }

    fn push(&mut self, start: usize, peer: SocketAddr, local: Option<LocalAddress>) {
        self.answers.push((start..self.bytes.len(), SockaddrStorage::from(peer), local));
    }

    /// Sends everything: those that leave from one address in one call.
    fn send(&mut self, socket: &std::net::UdpSocket, metrics: &mut Local) {
        let answers = std::mem::take(&mut self.answers);
        let mut rest = &answers[..];
        while let Some((_, _, local)) = rest.first() {
            let together = rest.iter().take_while(|(_, _, other)| other == local).count();
            let (now, later) = rest.split_at(together);
            match self.send_from(socket, *local, now) {
                // Not all: the next call says why.
                Ok(sent) if sent > 0 => rest = &rest[sent.min(together)..],
                Ok(_) => {
                    metrics.dropped(together as u64);
                    rest = later;
                }
                Err(error) => {
                    debug!(%error, "sending a DNS answer failed");
                    metrics.dropped(1);
                    rest = &rest[1..];
                }
            }
        }
        self.answers = answers;
        self.answers.clear();
        self.bytes.clear();
        self.bytes.shrink_to(BATCH * QUERY_MAX);
    }

    fn send_from(
        &mut self,
        socket: &std::net::UdpSocket,
        local: Option<LocalAddress>,
        answers: &[(std::ops::Range<usize>, SockaddrStorage, Option<LocalAddress>)],
    ) -> Result<usize, Errno> {
        let slices: Vec<[IoSlice<'_>; 1]> =
            answers.iter().map(|(range, ..)| [IoSlice::new(&self.bytes[range.clone()])]).collect();
        let peers: Vec<Option<SockaddrStorage>> = answers.iter().map(|(_, peer, _)| Some(*peer)).collect();
        let headers = match local.map(|local| local.ip) {
            None => &mut self.plain,
            Some(IpAddr::V4(_)) => &mut self.v4,
            Some(IpAddr::V6(_)) => &mut self.v6,
        };
        with_source(local, |from| {
            let sent = sendmmsg(socket.as_raw_fd(), headers, &slices, &peers, from, MsgFlags::empty());
            sent.map(Iterator::count)
        })
    }
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    match address.family()? {
        nix::sys::socket::AddressFamily::Inet => {
            address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()))
        }
        nix::sys::socket::AddressFamily::Inet6 => {
            address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()))
        }
        _ => None,
    }
}

fn is_about_a_peer(error: Errno) -> bool {
    use Errno::{ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EINTR, ENETUNREACH};
    matches!(error, ECONNREFUSED | ECONNRESET | EHOSTUNREACH | EINTR | ENETUNREACH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_gather_only_where_many_come_and_none_are_left() {
        assert!([0, 1, GATHER_AFTER - 1, BATCH].iter().all(|taken| !may_gather(*taken)));
        assert!([GATHER_AFTER, BATCH - 1].iter().all(|taken| may_gather(*taken)));
    }
}
