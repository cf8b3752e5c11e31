//! Established connections whose bytes the kernel itself passes on: a map of sockets with a program that says for every
//! packet to which one it goes (sockmap).
//!
//! ```text
//! carry     begins in user space; joins both once nothing is left unread, opens the way, reads what the kernel leaves,
//!           sees ends and breaks, takes both out again
//!  ├ program  the verdict
//!  └ bpf      bpf(2)
//! ```
//!
//! The kernel by itself would take from the one side whatever it sends, however slow the other is: hundreds of MiB
//! that belong to nobody's buffer. So it is given leave for `SOCKMAP_AHEAD` bytes that the other side's socket has not
//! taken yet. What exceeds that stays with its socket, whose window closes; user space passes it on, which waits as
//! writing always does, and gives leave anew. Small exchanges so hardly ever wake Portolan, and bulk goes through it.
//!
//! A packet of which a part was read already the kernel would hand on whole, so that its beginning came twice. So a pair
//! is joined only at a moment when neither socket has anything to read.
//!
//! This knows sockets, and nothing of services.

mod bpf;
mod carry;
mod program;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;

use rustix::net::sockopt::socket_cookie;

use crate::limits::SOCKMAP_PAIRS_MAX;
use bpf::{Kind, Map};
pub(crate) use carry::carry;

/// The kernel from which on this is done. Older ones count wrongly what was read of a socket with a verdict.
const LINUX: (u32, u32) = (6, 14);
/// How often it is asked what was written, while that changes.
const ATTEMPTS: usize = 8;

/// A worker's map. It is made when it is needed first.
#[derive(Debug, Default)]
pub(crate) struct Sockmap {
    made: OnceCell<Result<Maps, String>>,
}

#[derive(Debug)]
pub(crate) struct Maps {
    /// To which socket goes what another one receives, by the other's cookie.
    sockets: Map<4>,
    /// What the program counts: bytes redirected, bytes passed to user space.
    counts: Map<16>,
    /// What it goes by: how many bytes may be redirected in all; how many of those passed have left user space; whose
    /// these limits are.
    limits: Map<24>,
    _program: OwnedFd,
}

/// Bytes of one direction.
#[derive(Clone, Copy, Debug)]
struct Counts {
    redirected: u64,
    passed: u64,
}

/// Two connections in the map. They are taken out when this is dropped.
#[derive(Debug)]
struct Joined<'m> {
    maps: &'m Maps,
    /// Of the client's socket, and the endpoint's.
    keys: [u64; 2],
    /// Bytes that had been written to the endpoint, and to the client.
    written: [u64; 2],
    /// Whether both are in the map.
    whole: bool,
}

/// Whether this host can do it, or why not. It is tried once.
pub(crate) fn available() -> Result<(), String> {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    TRIED.get_or_init(|| Maps::new().map(drop)).clone()
}

impl Sockmap {
    /// What connections are carried by, or why they can't be.
    pub(crate) fn maps(&self) -> Result<&Maps, String> {
        self.made.get_or_init(Maps::new).as_ref().map_err(Clone::clone)
    }
}

impl Maps {
    fn new() -> Result<Self, String> {
        if linux().is_some_and(|linux| linux < LINUX) {
            return Err(format!("it takes Linux {}.{} or newer", LINUX.0, LINUX.1));
        }
        Self::make(SOCKMAP_PAIRS_MAX).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "Portolan has not the capabilities BPF and NET_ADMIN here".to_owned()
            }
            _ => format!("the kernel takes no verdict on packets of sockets: {error}"),
        })
    }

    /// With room for so many pairs.
    fn make(pairs: u32) -> io::Result<Self> {
        let most = 2 * pairs;
        let sockets = Map::new(Kind::Sockets, most)?;
        let (counts, limits) = (Map::new(Kind::Hash, most)?, Map::new(Kind::Hash, most)?);
        let numbers = program::Maps {
            sockets: sockets.number(),
            counts: Map::<16>::number(&counts),
            limits: Map::<24>::number(&limits),
        };
        let program = bpf::attach(&program::verdict(numbers), &sockets)?;
        Ok(Self { sockets, counts, limits, _program: program })
    }

    /// Puts two established connections into the map, everything held yet. Where that can't be done, nothing has changed;
    /// [`io::ErrorKind::ResourceBusy`] is that it can't be now.
    fn join(&self, client: impl AsFd, endpoint: impl AsFd) -> io::Result<Joined<'_>> {
        let (client, endpoint) = (client.as_fd(), endpoint.as_fd());
        if bpf::unread(client)? > 0 || bpf::unread(endpoint)? > 0 {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "there is something to read"));
        }
        let keys = [socket_cookie(client)?, socket_cookie(endpoint)?];
        let written = [written(endpoint)?, written(client)?];
        let mut joined = Joined { maps: self, keys, written, whole: false };
        for key in keys {
            self.counts.put(key, &[0; 16])?;
            // Everything is held until both are there.
            self.allow(key, 0, 0)?;
        }
        self.sockets.put(keys[0], &endpoint.as_raw_fd().to_ne_bytes())?;
        // From here on there is no way back: the endpoint's bytes come by the program. Should the client be gone
        // meanwhile, user space passes on what there is.
        joined.whole = self.sockets.put(keys[1], &client.as_raw_fd().to_ne_bytes()).is_ok();
        Ok(joined)
    }

    fn allow(&self, key: u64, redirected: u64, cleared: u64) -> io::Result<()> {
        let mut value = [0; 24];
        for (place, number) in value.chunks_exact_mut(8).zip([redirected, cleared, key]) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        self.limits.put(key, &value)
    }

    fn count(&self, key: u64) -> io::Result<Counts> {
        let value = self.counts.get(key)?;
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&value[at..at + 8]);
            u64::from_ne_bytes(bytes)
        };
        Ok(Counts { redirected: number(0), passed: number(8) })
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        for key in self.keys {
            self.maps.sockets.remove(key);
            self.maps.counts.remove(key);
            self.maps.limits.remove(key);
        }
    }
}

/// Bytes written to a socket since it began. While they are being acknowledged it may be a little less, never more.
fn written(socket: impl AsFd) -> io::Result<u64> {
    let mut before = bpf::standing(&socket)?.acknowledged;
    for _ in 0..ATTEMPTS {
        let under_way = bpf::unacknowledged(&socket)?;
        let after = bpf::standing(&socket)?.acknowledged;
        if after == before {
            return Ok(after + under_way);
        }
        before = after;
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "what was written is being acknowledged"))
}

/// Bytes that were sent over a connection and that the other side's kernel has not acknowledged.
pub(crate) fn unacknowledged(socket: impl AsFd) -> io::Result<u64> {
    bpf::unacknowledged(socket)
}

/// The kernel's version, if it can be read.
fn linux() -> Option<(u32, u32)> {
    let system = rustix::system::uname();
    let mut numbers = system.release().to_str().ok()?.split(|other: char| !other.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
