//! The side of the process that gives. A thread of its own waits for who asks; what it is to give, the control plane says.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use portolan_config::ListenAddress;
use tokio::sync::{mpsc, oneshot};

use super::wire::{self, Peer};
use super::{HELLO, READY, READY_DEADLINE, TAKEN, WORD_DEADLINE};

/// How often the name is tried that another process may still have, and for how long: one that gave its sockets away is
/// about to let go of it.
const NAME_RETRY: Duration = Duration::from_millis(20);
const NAME_ATTEMPTS: u32 = 100;

/// What the control plane is asked.
#[derive(Debug)]
pub enum Ask {
    /// A handle of every socket.
    Sockets(oneshot::Sender<io::Result<Vec<OwnedFd>>>),
    /// To leave all further work to the process of this id.
    Leave(Option<u32>),
}

/// Offers the sockets to whoever asks, from now on. One that can't be asked serves all the same.
pub fn offer(admin: ListenAddress, asks: mpsc::Sender<Ask>) {
    let thread = std::thread::Builder::new().name("handover".to_owned());
    let started = thread.spawn(move || match name(admin) {
        Ok(listener) => wait(listener, &asks),
        Err(error) => tracing::warn!(%error, "another process can't take over from this one"),
    });
    if let Err(error) = started {
        tracing::warn!(%error, "another process can't take over from this one");
    }
}

fn name(admin: ListenAddress) -> io::Result<OwnedFd> {
    let mut attempts = NAME_ATTEMPTS;
    loop {
        match wire::listen(admin) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {
                attempts -= 1;
                std::thread::park_timeout(NAME_RETRY);
            }
            other => return other,
        }
    }
}

fn wait(listener: OwnedFd, asks: &mpsc::Sender<Ask>) {
    loop {
        let peer = match wire::accept(&listener) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::debug!(%error, "who asks for the sockets is not understood");
                std::thread::park_timeout(NAME_RETRY);
                continue;
            }
        };
        let pid = match peer.credentials() {
            Ok((true, pid)) => pid,
            Ok((false, pid)) => {
                tracing::warn!(?pid, "another user's process asks for the sockets, and is refused");
                continue;
            }
            Err(_) => continue,
        };
        tracing::info!(?pid, "another process asks for the sockets");
        match give(&peer, asks) {
            Ok(()) => {
                // The name is to be free before the other wants it.
                drop(listener);
                let _ = asks.blocking_send(Ask::Leave(pid));
                return;
            }
            Err(error) => {
                tracing::warn!(?pid, %error, "the other process did not take over; this one goes on");
            }
        }
    }
}

/// All of it up to the other's last word.
fn give(peer: &Peer, asks: &mpsc::Sender<Ask>) -> io::Result<()> {
    peer.expect(HELLO, WORD_DEADLINE)?;
    peer.give(&sockets(asks)?)?;
    peer.expect(READY, READY_DEADLINE + WORD_DEADLINE)?;
    peer.give(&sockets(asks)?)?;
    peer.expect(TAKEN, WORD_DEADLINE)
}

fn sockets(asks: &mpsc::Sender<Ask>) -> io::Result<Vec<OwnedFd>> {
    let (answer, answered) = oneshot::channel();
    let ends = |_| io::Error::other("this process ends");
    asks.blocking_send(Ask::Sockets(answer)).map_err(|_| io::Error::other("this process ends"))?;
    answered.blocking_recv().map_err(ends)?
}
