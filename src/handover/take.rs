//! The side of the process that takes over.

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use portolan_config::ListenAddress;

use super::wire::{self, Peer};
use super::{HELLO, READY, TAKEN, WORD_DEADLINE, memory};

/// How often the name is looked for while somebody has the admin address, and how many times: a process that has just
/// taken over offers its sockets a moment later.
const NAME_RETRY: Duration = Duration::from_millis(20);
const NAME_ATTEMPTS: u32 = 100;

/// A process that gives, until it has given all.
#[derive(Debug)]
pub struct Takeover {
    peer: Peer,
}

impl Takeover {
    /// Takes the sockets of the process with this admin address. `None` where there is none: then there is nothing to take
    /// over.
    pub fn begin(admin: ListenAddress) -> Result<Option<(Self, Vec<OwnedFd>)>, String> {
        let fault = |error| format!("the running Portolan can't be taken over: {error}");
        let Some(peer) = find(admin).map_err(fault)? else { return Ok(None) };
        let (trusted, pid) = peer.credentials().map_err(fault)?;
        if !trusted {
            return Err(
                "another user's process has the place of a running Portolan; its sockets are not taken"
                    .to_owned(),
            );
        }
        peer.say(HELLO).map_err(fault)?;
        let sockets = peer.take(WORD_DEADLINE).map_err(fault)?;
        tracing::info!(?pid, sockets = sockets.len(), "taking over from a running Portolan");
        Ok(Some((Self { peer }, sockets)))
    }

    /// Says that this process can serve; gives the sockets once more, as there may be new ones. Should the other have ended
    /// meanwhile, what it gave before is all there is, and is served.
    pub fn ready(&self) -> Vec<OwnedFd> {
        let ready = self.peer.say(READY).and_then(|()| self.peer.take(WORD_DEADLINE));
        let mut sockets = ready.unwrap_or_else(|error| {
            tracing::warn!(%error, "the running Portolan ended meanwhile");
            Vec::new()
        });
        // What the other knows was heard before.
        drop(memory::take(&mut sockets));
        sockets
    }

    /// Says that this process serves: the other takes nothing more from then on.
    pub fn taken(self) {
        if let Err(error) = self.peer.say(TAKEN) {
            tracing::debug!(%error, "the running Portolan ended meanwhile");
        }
    }
}

fn find(admin: ListenAddress) -> io::Result<Option<Peer>> {
    for _ in 0..NAME_ATTEMPTS {
        let found = wire::connect(admin)?;
        if found.is_some() || !is_taken(admin) {
            return Ok(found);
        }
        std::thread::park_timeout(NAME_RETRY);
    }
    Ok(None)
}

fn is_taken(address: ListenAddress) -> bool {
    let ip = address.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    TcpListener::bind((ip, address.port)).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}
