//! Datagrams into and out of sockets, many with each call to the kernel. It knows no session.
//!
//! Several of one size to one place go as one that the kernel or the network card takes apart (UDP_SEGMENT, Linux 4.18):
//! the way through the stack is most of what a datagram costs, and they go it once.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    AddressFamily, CmsgIterator, ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrLike,
    SockaddrStorage, recvmmsg, send, sendmmsg, sendmsg, setsockopt,
};

/// Datagrams taken at once. More would let the first of them wait for the last one.
pub(super) const BATCH: usize = 32;
/// Room for the largest datagram there is.
const CHUNK: usize = 64 * 1024;
/// Bytes of a datagram that may be sent as a part of a larger one: what passes every Ethernet, so that the kernel does
/// not refuse it.
const SEGMENT_MAX: usize = 1452;

/// Room for a batch, which all sockets of a worker share, one after the other.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: Vec<u8>,
    /// For datagrams of sockets that are connected: where they come from is known.
    incoming: MultiHeaders<SockaddrStorage>,
    plain: MultiHeaders<SockaddrStorage>,
    v4: MultiHeaders<SockaddrStorage>,
    v6: MultiHeaders<SockaddrStorage>,
    /// Whether the kernel takes larger ones apart.
    segments: bool,
}

/// A datagram that was taken, in the room.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) at: Range<usize>,
    pub(super) from: Peer,
}

/// The other end, and which of our addresses it spoke to, where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) local: Option<LocalAddress>,
}

/// One of our addresses, and the interface, where the address means something on its link only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LocalAddress {
    pub(super) ip: IpAddr,
    interface: u32,
}

/// How sending went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) datagrams: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    /// Whether the other end's host said that nobody listens there.
    pub(super) refused: bool,
}

/// What datagrams of a listening socket are taken with.
#[derive(Debug)]
pub(super) struct Listener {
    headers: MultiHeaders<SockaddrStorage>,
    tells_address: bool,
}

impl Listener {
    /// Lets datagrams say which of our addresses they were sent to, if it listens on all of them.
    pub(super) fn new(socket: &tokio::net::UdpSocket) -> std::io::Result<Self> {
        let local = socket.local_addr()?;
        let tells_address = local.ip().is_unspecified();
        match local {
            SocketAddr::V4(_) if tells_address => setsockopt(socket, Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) if tells_address => setsockopt(socket, Ipv6RecvPacketInfo, &true)?,
            _ => {}
        }
        // Of the two kinds one comes, with every datagram, and there is room for both.
        let space = tells_address.then(|| nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo));
        Ok(Self { headers: MultiHeaders::preallocate(BATCH, space), tells_address })
    }
}

impl Default for Room {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            incoming: MultiHeaders::preallocate(BATCH, None),
            plain: MultiHeaders::preallocate(BATCH, None),
            v4: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in_pktinfo))),
            v6: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in6_pktinfo))),
            segments: true,
        }
    }
}

impl Room {
    /// Takes what waits on a listening socket, a batch at most.
    pub(super) fn take(
        &mut self,
        socket: &impl AsRawFd,
        listener: &mut Listener,
        taken: &mut Vec<Taken>,
    ) -> Result<usize, Errno> {
        self.bytes.resize(BATCH * CHUNK, 0);
        let tells_address = listener.tells_address;
        receive(socket.as_raw_fd(), &mut listener.headers, &mut self.bytes, |at, address, messages| {
            if let Some(address) = address {
                let local = if tells_address { asked_address(messages) } else { None };
                taken.push(Taken { at, from: Peer { address, local } });
            }
        })
    }

    /// Takes what waits on a connected socket, `most` at most, behind the first `filled` datagrams in the room.
    pub(super) fn take_replies(
        &mut self,
        socket: &impl AsRawFd,
        filled: usize,
        most: usize,
        mut taken: impl FnMut(Range<usize>),
    ) -> Result<usize, Errno> {
        self.bytes.resize(BATCH * CHUNK, 0);
        let free = filled * CHUNK..(filled + most).min(BATCH) * CHUNK;
        let start = free.start;
        receive(socket.as_raw_fd(), &mut self.incoming, &mut self.bytes[free], |at, _, _| {
            taken(start + at.start..start + at.end);
        })
    }

    /// Sends datagrams of the room, in order, through a connected socket.
    pub(super) fn send(&mut self, socket: &impl AsRawFd, datagrams: &[Range<usize>]) -> Sent {
        let fd = socket.as_raw_fd();
        let mut sent = Sent::default();
        let mut rest = datagrams;
        while !rest.is_empty() {
            let run = if self.segments { run_of_one_size(rest.iter()) } else { 1 };
            let (now, later) = rest.split_at(run);
            rest = later;
            if run > 1 {
                match self.send_run(fd, now, None) {
                    Ok(()) => {
                        sent.add(now);
                        continue;
                    }
                    Err(error) => self.learn(error),
                }
            }
            for at in now {
                match send_one(fd, &self.bytes[at.clone()]) {
                    Ok(refused) => {
                        sent.add(std::slice::from_ref(at));
                        sent.refused |= refused;
                    }
                    Err(error) => {
                        sent.lost += 1;
                        sent.refused |= error == Errno::ECONNREFUSED;
                    }
                }
            }
        }
        sent
    }

    /// Sends datagrams of the room, in order, each to its peer. One that the socket does not take at once is lost, as
    /// it might be anywhere on its way.
    pub(super) fn send_to_peers(
        &mut self,
        socket: &impl AsRawFd,
        datagrams: &[(Range<usize>, Peer)],
    ) -> Sent {
        let fd = socket.as_raw_fd();
        let mut sent = Sent::default();
        let mut rest = datagrams;
        while let Some((_, peer)) = rest.first() {
            let run = self.run_to_one_peer(rest);
            let mut together = run;
            if run > 1 {
                let ranges: Vec<Range<usize>> = rest[..run].iter().map(|(at, _)| at.clone()).collect();
                match self.send_run(fd, &ranges, Some(*peer)) {
                    Ok(()) => {
                        sent.add(&ranges);
                        rest = &rest[run..];
                        continue;
                    }
                    Err(error) => self.learn(error),
                }
            } else {
                // All that leave from one address, until a run begins.
                let is_alone = |rest: &[(Range<usize>, Peer)]| {
                    rest[0].1.local == peer.local && self.run_to_one_peer(rest) == 1
                };
                while together < rest.len().min(BATCH) && is_alone(&rest[together..]) {
                    together += 1;
                }
            }
            let (now, later) = rest.split_at(together);
            self.send_each(fd, now, &mut sent);
            rest = later;
        }
        sent
    }

    fn run_to_one_peer(&self, datagrams: &[(Range<usize>, Peer)]) -> usize {
        let Some((_, peer)) = datagrams.first().filter(|_| self.segments) else { return 1 };
        run_of_one_size(datagrams.iter().take_while(|(_, other)| other == peer).map(|(at, _)| at))
    }

    /// Sends datagrams of one size as one; the last may be shorter.
    fn send_run(&self, fd: RawFd, datagrams: &[Range<usize>], to: Option<Peer>) -> Result<(), Errno> {
        let slices: Vec<IoSlice<'_>> =
            datagrams.iter().map(|at| IoSlice::new(&self.bytes[at.clone()])).collect();
        let size = datagrams.first().map_or(0, Range::len) as u16;
        let peer = to.map(|to| SockaddrStorage::from(to.address));
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        with_source(to.and_then(|to| to.local), Some(&size), |messages| {
            sendmsg(fd, &slices, messages, flags, peer.as_ref()).map(drop)
        })
    }

    /// Sends a datagram to each, all from one address; no more than a batch.
    fn send_each(&mut self, fd: RawFd, datagrams: &[(Range<usize>, Peer)], sent: &mut Sent) {
        let slices: Vec<[IoSlice<'_>; 1]> =
            datagrams.iter().map(|(at, _)| [IoSlice::new(&self.bytes[at.clone()])]).collect();
        let peers: Vec<Option<SockaddrStorage>> =
            datagrams.iter().map(|(_, peer)| Some(SockaddrStorage::from(peer.address))).collect();
        let local = datagrams.first().and_then(|(_, peer)| peer.local);
        let headers = match local.map(|local| local.ip) {
            None => &mut self.plain,
            Some(IpAddr::V4(_)) => &mut self.v4,
            Some(IpAddr::V6(_)) => &mut self.v6,
        };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let mut done = 0;
        while done < datagrams.len() {
            let gone = with_source(local, None, |messages| {
                let sending = sendmmsg(fd, headers, &slices[done..], &peers[done..], messages, flags);
                sending.map(Iterator::count)
            });
            // Where it stopped, the next call says why.
            if let Ok(gone @ 1..) = gone {
                datagrams[done..done + gone].iter().for_each(|(at, _)| sent.add(std::slice::from_ref(at)));
                done += gone;
            } else {
                sent.lost += 1;
                done += 1;
            }
        }
    }

    /// Does not ask again what the kernel can't do at all. Other errors are about these datagrams, as on a link that
    /// takes smaller ones only.
    fn learn(&mut self, error: Errno) {
        if matches!(error, Errno::EIO | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT) {
            self.segments = false;
        }
    }
}

/// Sends one through a connected socket. Gives whether an earlier one was refused, which is told once, instead of sending.
fn send_one(fd: RawFd, bytes: &[u8]) -> Result<bool, Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match send(fd, bytes, flags) {
        Err(Errno::ECONNREFUSED) => send(fd, bytes, flags).map(|_| true),
        sent => sent.map(|_| false),
    }
}

impl Sent {
    fn add(&mut self, datagrams: &[Range<usize>]) {
        self.datagrams += datagrams.len() as u64;
        self.bytes += datagrams.iter().map(|at| at.len() as u64).sum::<u64>();
    }
}

/// How many of the first datagrams may go as one: those of the size of the first, and a last one that is shorter.
fn run_of_one_size<'a>(mut datagrams: impl Iterator<Item = &'a Range<usize>>) -> usize {
    let Some(size) = datagrams.next().map(Range::len).filter(|size| (1..=SEGMENT_MAX).contains(size)) else {
        return 1;
    };
    let mut run = 1;
    for next in datagrams.map(Range::len).take(BATCH - 1) {
        if next > size || next == 0 {
            break;
        }
        run += 1;
        if next < size {
            break;
        }
    }
    run
}

/// Takes what waits, as much as there is room for.
fn receive(
    fd: RawFd,
    headers: &mut MultiHeaders<SockaddrStorage>,
    bytes: &mut [u8],
    mut taken: impl FnMut(Range<usize>, Option<SocketAddr>, Option<CmsgIterator<'_>>),
) -> Result<usize, Errno> {
    let mut buffers: Vec<[IoSliceMut<'_>; 1]> =
        bytes.chunks_exact_mut(CHUNK).map(|chunk| [IoSliceMut::new(chunk)]).collect();
    let received = recvmmsg(fd, headers, buffers.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
    let mut count = 0;
    for (index, datagram) in received.enumerate() {
        let start = index * CHUNK;
        let address = datagram.address.as_ref().and_then(socket_addr);
        taken(start..start + datagram.bytes, address, datagram.cmsgs().ok());
        count += 1;
    }
    Ok(count)
}

/// Does something with what makes datagrams leave from an address, and be taken apart.
fn with_source<T>(
    local: Option<LocalAddress>,
    segment: Option<&u16>,
    send: impl FnOnce(&[ControlMessage<'_>]) -> T,
) -> T {
    let (v4, v6);
    let mut messages = Vec::with_capacity(2);
    match local {
        None => {}
        Some(LocalAddress { ip: IpAddr::V4(ip), .. }) => {
            v4 = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            messages.push(ControlMessage::Ipv4PacketInfo(&v4));
        }
        Some(LocalAddress { ip: IpAddr::V6(ip), interface }) => {
            v6 = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                ipi6_ifindex: interface,
            };
            messages.push(ControlMessage::Ipv6PacketInfo(&v6));
        }
    }
    messages.extend(segment.map(ControlMessage::UdpGsoSegments));
    send(&messages)
}

fn asked_address(messages: Option<CmsgIterator<'_>>) -> Option<LocalAddress> {
    messages?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let ip = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
            Some(LocalAddress { ip: ip.into(), interface: 0 })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let interface = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some(LocalAddress { ip: ip.into(), interface })
        }
        _ => None,
    })
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    match address.family()? {
        AddressFamily::Inet => address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into())),
        AddressFamily::Inet6 => address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())),
        _ => None,
    }
}
