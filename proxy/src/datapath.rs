//! The kernel's data path: published ports whose connections the kernel itself sends to the endpoints, by one table of
//! nftables that is Portolan's own.
//!
//! ```text
//! Table ──Wanted──▶ thread: Host (what can be done) ──plan──▶ script ──nft──▶ table inet portolan
//!                            ▲ once a second: is it as it was? what was counted? ◀──┘
//! ```
//!
//! Portolan's own sockets stay open beneath: whatever the kernel does not send on (clients on this host's loopback,
//! containers of the same bridges, IPv6 without IPv6 endpoints, a port without endpoints) is served by them as if
//! there were no table, and so is everything when the table can't be had. No other table is ever touched.
//!
//! Transparent ports go through Portolan, and their connections to endpoints leave with the client's address: there the
//! kernel is only told whose the answers are ([`transparent`]), and workers for which clients that holds ([`Sources`]).
//!
//! The `nft` program makes the changes: it is there wherever nftables is used, its scripts are atomic, and what it says
//! of a failure can be read. (Podman does the same; the Rust crates that speak netlink to nftables either link C
//! libraries or have a licence that does not fit.)
//!
//! This knows nothing of connections; workers know nothing of this.

mod conntrack;
mod established;
mod host;
mod kernel;
mod leftovers;
mod metrics;
mod netlink;
mod nft;
mod plan;
mod script;
mod sources;
mod transparent;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use portolan_config::{DataPath, Fault, PublishLimits};

use crate::metrics::Metrics;
use crate::table::{Port, Table};
pub(crate) use established::{Established, services};
use kernel::Kernel;
pub(crate) use metrics::Metrics as PathMetrics;
pub(crate) use sources::Sources;

/// How often the table is looked at: whether it is as it was made, and what it has counted.
const LOOK: Duration = Duration::from_secs(1);
/// How long the table may take to be removed when the process ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// A port whose bytes the kernel may carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) port: Port,
    pub(crate) asked: DataPath,
    /// Who asked, for faults.
    pub(crate) origin: String,
    pub(crate) endpoints: Vec<Endpoint>,
    /// Where endpoints are that only finish what they have begun.
    pub(crate) leaving: Vec<SocketAddr>,
}

/// One of those that may be given work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    /// What hashes know it by.
    pub(crate) key: u64,
    pub(crate) address: SocketAddr,
    /// Whether it is there besides by IPv4: of no account where the host can't do it.
    pub(crate) besides: bool,
}

/// How the bytes of a port travel now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Travels {
    pub(crate) port: Port,
    pub(crate) by: DataPath,
    /// Why not as was asked for.
    pub(crate) why: Option<String>,
}

/// What the thread is told.
#[derive(Debug)]
enum Told {
    Follow(Vec<Wanted>),
    Close,
    /// Another process goes on with the table.
    Leave,
}

/// Steers the kernel's data path. The thread is started when something asks for it.
#[derive(Debug)]
pub(crate) struct DataPaths {
    metrics: Metrics,
    sources: Sources,
    running: Option<Running>,
    /// Takes away what a killed process has left; once.
    sweeping: Option<JoinHandle<()>>,
    swept: bool,
    last: Vec<Wanted>,
}

#[derive(Debug)]
struct Running {
    tell: Sender<Told>,
    now: Arc<ArcSwap<Vec<Travels>>>,
    thread: JoinHandle<()>,
    /// Ends with the thread.
    ended: Receiver<()>,
}

impl DataPaths {
    pub(crate) fn new(metrics: Metrics, sources: Sources) -> Self {
        Self { metrics, sources, running: None, sweeping: None, swept: false, last: Vec::new() }
    }

    /// Follows the table, whose endpoints at `leaving` only finish what they have begun. Gives how ports travel now, and what was asked
    /// for by name and can't be done. What is new takes effect a moment later.
    pub(crate) fn follow(&mut self, table: &Table, leaving: &[SocketAddr]) -> (Vec<Travels>, Vec<Fault>) {
        let (mut travels, mut faults) = established::ports(table);
        let (now, more) = self.steer(table, leaving);
        travels.extend_from_slice(&now);
        faults.extend(more);
        (travels, faults)
    }

    /// Has the thread follow.
    fn steer(&mut self, table: &Table, leaving: &[SocketAddr]) -> (Arc<Vec<Travels>>, Vec<Fault>) {
        let wanted = wanted(table, leaving);
        if self.running.is_none() && wanted.is_empty() {
            if !std::mem::replace(&mut self.swept, true) {
                let thread = std::thread::Builder::new().name("nftables".to_owned());
                // Should there be no thread for it, it is left to the next start.
                self.sweeping = thread.spawn(leftovers::sweep).ok();
            }
            return (Arc::default(), Vec::new());
        }
        if self.running.is_none() {
            match start(self.metrics.clone(), self.sources.clone(), self.sweeping.take()) {
                Ok(running) => self.running = Some(running),
                Err(error) => tracing::error!(%error, "the thread for the kernel's data path can't start"),
            }
        }
        let Some(running) = &self.running else { return (Arc::default(), Vec::new()) };
        if wanted != self.last {
            self.last.clone_from(&wanted);
            // Should the thread have ended, that has been said.
            let _ = running.tell.send(Told::Follow(wanted));
        }
        let now = running.now.load_full();
        let fault = |travels: &Travels| {
            let asked = self.last.iter().find(|wanted| wanted.port == travels.port)?;
            let why = travels.why.as_ref().filter(|_| asked.asked != DataPath::Auto)?;
            Some(stays(&asked.origin, asked.port, why))
        };
        let faults = now.iter().filter_map(fault).collect();
        (now, faults)
    }
}

impl DataPaths {
    /// Leaves the table to another process.
    pub(crate) fn leave(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.tell.send(Told::Leave);
        }
    }

    /// Lets the kernel send no new connection on; those there are go on until this is dropped.
    pub(crate) fn close(&mut self) {
        if let Some(running) = &self.running {
            let _ = running.tell.send(Told::Close);
        }
    }
}

impl Drop for DataPaths {
    /// Removes the table, and waits until it is gone.
    fn drop(&mut self) {
        let Some(Running { tell, thread, ended, .. }) = self.running.take() else { return };
        drop(tell);
        match ended.recv_timeout(FAREWELL) {
            Err(RecvTimeoutError::Timeout) => tracing::warn!("the table of nftables may still be there"),
            _ => drop(thread.join()),
        }
    }
}

/// The fault that a port does not travel as was asked for.
fn stays(origin: &str, port: Port, why: &str) -> Fault {
    let message = format!("port {} goes through Portolan itself for now: {why}", port.address.port);
    Fault::new(origin.to_owned(), "portolan.publish.datapath", message)
}

/// What the published ports of a table ask for.
fn wanted(table: &Table, leaving: &[SocketAddr]) -> Vec<Wanted> {
    let asking = table.publications.iter().filter_map(|(port, published)| {
        // Nobody but Portolan itself could tell a replica who the client is.
        let usual = published.data_path.unwrap_or_default();
        // Nor could the kernel's table hold the limits of connections.
        let limited = !matches!(usual, DataPath::Transparent | DataPath::Sockmap)
            && published.limits != PublishLimits::default();
        let asked = if published.proxy_protocol.is_some() || limited { DataPath::UserSpace } else { usual };
        // Connections themselves go by sockmap, one by one.
        let by_port = !matches!(asked, DataPath::UserSpace | DataPath::Sockmap);
        by_port.then_some((port, published, asked))
    });
    asking
        .map(|(port, published, asked)| {
            let available = table.upstreams.get(&published.upstream).map_or(&[][..], |to| &to.available);
            let endpoints = |target: &Arc<crate::table::Target>| {
                let addresses = [Some((target.address, false)), target.by_v6.map(|address| (address, true))];
                let (name, key) = (target.endpoint.clone(), target.key);
                addresses.into_iter().flatten().map(move |(address, besides)| Endpoint {
                    name: name.clone(),
                    key,
                    address,
                    besides,
                })
            };
            Wanted {
                port: *port,
                asked,
                origin: published.origin.clone(),
                endpoints: available.iter().flat_map(endpoints).collect(),
                leaving: leaving.to_vec(),
            }
        })
        .collect()
}

fn start(metrics: Metrics, sources: Sources, sweeping: Option<JoinHandle<()>>) -> std::io::Result<Running> {
    let (tell, received) = channel();
    let (end, ended) = channel();
    let now: Arc<ArcSwap<Vec<Travels>>> = Arc::default();
    let told = now.clone();
    let run = move || {
        // It has a deadline, and says by itself what went wrong.
        let _ = sweeping.map(JoinHandle::join);
        run(&received, &told, Kernel::new(metrics, sources));
        drop::<Sender<()>>(end);
    };
    let thread = std::thread::Builder::new().name("nftables".to_owned()).spawn(run)?;
    Ok(Running { tell, now, thread, ended })
}

/// Follows what is wanted until nobody is left to want anything; then removes the table.
fn run(received: &Receiver<Told>, told: &ArcSwap<Vec<Travels>>, mut kernel: Kernel) {
    let mut wanted = Vec::new();
    kernel.claim_first();
    loop {
        match received.recv_timeout(LOOK) {
            Ok(Told::Close) => {
                kernel.close();
                // Whatever is said after that is not for it; it ends with who says it.
                while received.recv().is_ok() {}
                return kernel.withdraw();
            }
            Ok(Told::Leave) => return,
            Ok(Told::Follow(newest)) => wanted = newest,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return kernel.withdraw(),
        }
        kernel.claim();
        let now = kernel.follow(&wanted);
        if **told.load() != now {
            told.store(Arc::new(now));
        }
    }
}
