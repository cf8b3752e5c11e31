//! What a Portolan that was killed has left in the kernel: its tables of nftables, and for transparent ports a rule and a
//! route. (What connections are carried by, sockmap, is gone with the process.) It is taken away at the next start,
//! whether that one needs the like or not, unless another process on this network is alive that has it.
//!
//! Which of the two it is, a name tells: whoever has something in the kernel holds it, and the kernel takes it back
//! however the process ends. It is one of UNIX sockets without a file, which each network has for itself.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::nft::Nft;
use super::{host, script, transparent};

const NAME: &[u8] = b"portolan/kernel";

/// Says to others that what is in the kernel is somebody's.
#[derive(Debug)]
pub(super) struct Claim {
    _name: UnixDatagram,
}

impl Claim {
    /// `None` where another process has it.
    pub(super) fn take() -> Option<Self> {
        let name = SocketAddr::from_abstract_name(NAME).and_then(|name| UnixDatagram::bind_addr(&name));
        name.ok().map(|name| Self { _name: name })
    }
}

/// Takes away what was left behind, if nobody has it. It is the caller's thread that waits for that.
pub(super) fn sweep() {
    // Without the capability there is nothing that could be done.
    let Some(nft) = host::changer() else { return };
    if let Some(_claim) = Claim::take() {
        remove(&nft);
    }
}

/// Takes all of it away, and says so where there was any.
pub(super) fn remove(nft: &Nft) {
    let tables = nft.ask(&["list", "tables", "inet"]).unwrap_or_default();
    let is_there =
        |name: &str| tables.lines().any(|line| line.split_whitespace().eq(["table", "inet", name]));
    let mut found = Vec::new();
    if is_there(script::TABLE) {
        found.push(("the table of published ports", nft.run(&script::remove())));
    }
    if is_there(transparent::TABLE) {
        found.push(("the table of transparent ports", transparent::remove_table(nft)));
    }
    match transparent::remove_routing() {
        Ok(false) => {}
        Ok(true) => found.push(("the rule and the route of transparent ports", Ok(()))),
        Err(why) => found.push(("the rule and the route of transparent ports", Err(why))),
    }
    for (what, done) in found {
        match done {
            Ok(()) => tracing::info!("{what}, left behind by a Portolan that was killed, is taken away"),
            Err(why) => {
                tracing::warn!(why, "{what}, left behind by a Portolan that was killed, is still there");
            }
        }
    }
}
