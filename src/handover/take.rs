//! The side of the process that takes over.

use std::os::fd::OwnedFd;

use portolan_config::ListenAddress;

use super::wire::{self, Peer};
use super::{HELLO, READY, TAKEN, WORD_DEADLINE};

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
        let Some(peer) = wire::connect(admin).map_err(fault)? else { return Ok(None) };
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
        ready.unwrap_or_else(|error| {
            tracing::warn!(%error, "the running Portolan ended meanwhile");
            Vec::new()
        })
    }

    /// Says that this process serves: the other takes nothing more from then on.
    pub fn taken(self) {
        if let Err(error) = self.peer.say(TAKEN) {
            tracing::debug!(%error, "the running Portolan ended meanwhile");
        }
    }
}
