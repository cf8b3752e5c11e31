//! Words and sockets between two processes, by `SOCK_SEQPACKET`: each packet is a word with the sockets that go with it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use portolan_config::ListenAddress;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// Sockets in a packet; the kernel takes 253.
const SOCKETS: usize = 64;
/// Sockets in all: far more than one Portolan has.
const SOCKETS_MAX: usize = 65_536;
/// Bytes of a word.
const WORD_MAX: usize = 64;

const SOCKETS_WORD: &str = "sockets";
const END: &str = "end";

/// The other process.
#[derive(Debug)]
pub(super) struct Peer {
    socket: OwnedFd,
}

/// Listens under the name of an admin address. The name is free again when the socket is closed.
pub(super) fn listen(admin: ListenAddress) -> io::Result<OwnedFd> {
    let socket = socket()?;
    rustix::net::bind(&socket, &name(admin)?)?;
    rustix::net::listen(&socket, 4)?;
    Ok(socket)
}

/// The next who asks, without a deadline.
pub(super) fn accept(listener: &OwnedFd) -> io::Result<Peer> {
    let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?;
    Ok(Peer { socket })
}

/// The process that has the name; `None` if there is none.
pub(super) fn connect(admin: ListenAddress) -> io::Result<Option<Peer>> {
    let socket = socket()?;
    match rustix::net::connect(&socket, &name(admin)?) {
        Ok(()) => Ok(Some(Peer { socket })),
        Err(rustix::io::Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn name(admin: ListenAddress) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(format!("portolan/handover/{admin}").as_bytes())?)
}

fn socket() -> io::Result<OwnedFd> {
    let (unix, packets) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    Ok(rustix::net::socket_with(unix, packets, SocketFlags::CLOEXEC, None)?)
}

impl Peer {
    /// Whether it is of the same user, or root's; and its process id, if that is known here.
    pub(super) fn credentials(&self) -> io::Result<(bool, Option<u32>)> {
        let credentials = getsockopt(&self.socket, PeerCredentials)?;
        let trusted = credentials.uid() == 0 || credentials.uid() == rustix::process::geteuid().as_raw();
        // 0 is a process of another PID namespace.
        Ok((trusted, u32::try_from(credentials.pid()).ok().filter(|pid| *pid > 0)))
    }

    /// Says a word.
    pub(super) fn say(&self, word: &str) -> io::Result<()> {
        self.send(word, &[])
    }

    /// Gives sockets.
    pub(super) fn give(&self, sockets: &[OwnedFd]) -> io::Result<()> {
        set_socket_timeout(&self.socket, Timeout::Send, Some(super::WORD_DEADLINE))?;
        for some in sockets.chunks(SOCKETS) {
            let some: Vec<BorrowedFd<'_>> = some.iter().map(AsFd::as_fd).collect();
            self.send(SOCKETS_WORD, &some)?;
        }
        self.say(END)
    }

    /// Waits for this word.
    pub(super) fn expect(&self, word: &str, deadline: Duration) -> io::Result<()> {
        let (heard, _) = self.receive(deadline)?;
        if heard == word { Ok(()) } else { Err(unexpected(&heard)) }
    }

    /// Takes the sockets that it gives.
    pub(super) fn take(&self, deadline: Duration) -> io::Result<Vec<OwnedFd>> {
        let mut taken = Vec::new();
        while taken.len() <= SOCKETS_MAX {
            let (word, sockets) = self.receive(deadline)?;
            match &*word {
                SOCKETS_WORD => taken.extend(sockets),
                END => return Ok(taken),
                _ => return Err(unexpected(&word)),
            }
        }
        Err(io::Error::other("too many sockets"))
    }

    fn send(&self, word: &str, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let word = [IoSlice::new(word.as_bytes())];
        rustix::net::sendmsg(&self.socket, &word, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn receive(&self, deadline: Duration) -> io::Result<(String, Vec<OwnedFd>)> {
        set_socket_timeout(&self.socket, Timeout::Recv, Some(deadline))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; WORD_MAX];
        let mut room = [IoSliceMut::new(&mut bytes)];
        // Not handed on to programs that this one starts.
        let received = rustix::net::recvmsg(&self.socket, &mut room, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut sockets = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                sockets.extend(some);
            }
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((String::from_utf8_lossy(&bytes[..received.bytes]).into_owned(), sockets))
    }
}

fn unexpected(word: &str) -> io::Error {
    io::Error::other(format!("it said `{}`, which is not of this version", word.escape_default()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A name that nobody else has: that of a port which is ours.
    fn unique() -> (TcpListener, ListenAddress) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = port.local_addr().unwrap().to_string().parse().unwrap();
        (port, admin)
    }

    #[test]
    fn sockets_arrive_however_many_they_are() {
        let (_port, admin) = unique();
        assert!(connect(admin).unwrap().is_none(), "nobody is there yet");
        let listener = listen(admin).unwrap();
        let (here, there) = (connect(admin).unwrap().unwrap(), accept(&listener).unwrap());
        let (trusted, pid) = there.credentials().unwrap();
        assert_eq!((trusted, pid), (true, Some(std::process::id())));
        let sockets: Vec<OwnedFd> =
            (0..SOCKETS + 3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap().into()).collect();
        there.give(&sockets).unwrap();
        there.give(&[]).unwrap();
        let deadline = Duration::from_secs(9);
        let taken = here.take(deadline).unwrap();
        let port =
            |socket: &OwnedFd| TcpListener::from(socket.try_clone().unwrap()).local_addr().unwrap().port();
        assert_eq!(taken.iter().map(port).collect::<Vec<_>>(), sockets.iter().map(port).collect::<Vec<_>>());
        assert!(here.take(deadline).unwrap().is_empty());
    }

    #[test]
    fn another_word_and_an_end_are_errors() {
        let (_port, admin) = unique();
        let listener = listen(admin).unwrap();
        let (here, there) = (connect(admin).unwrap().unwrap(), accept(&listener).unwrap());
        let deadline = Duration::from_secs(9);
        here.say("portolan 2").unwrap();
        let error = there.expect(super::super::HELLO, deadline).unwrap_err();
        assert!(error.to_string().contains("portolan 2"), "{error}");
        drop(here);
        let error = there.expect("ready", deadline).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        // The name is free as soon as nobody listens.
        drop(listener);
        listen(admin).unwrap();
    }
}
