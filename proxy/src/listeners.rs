//! Which sockets are open: those of the entry points, as they are set, and those of the published ports, as the table has
//! them. Of each there is a second handle here, so that it can be given to another process.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use portolan_config::settings::EntryPoint;
use portolan_config::{Fault, ListenAddress, Protocol};
use socket2::Socket as RawSocket;
use tokio::sync::mpsc;

use crate::access_log::AccessLog;
use crate::census::Census;
use crate::inherited::Inherited;
use crate::table::{Port, Table};
use crate::worker::{Command, Socket};

mod bind;

pub(crate) use bind::advice;
use bind::{adopt, bind, local_address};

/// The sockets that the workers serve. Every worker has one of its own for each, and the kernel spreads clients over
/// them (`SO_REUSEPORT`).
#[derive(Debug)]
pub(crate) struct Listeners {
    workers: Vec<mpsc::UnboundedSender<Command>>,
    entry_points: BTreeMap<String, OpenEntryPoint>,
    published: BTreeMap<Port, Open>,
    /// Bound by somebody else, and not wanted yet.
    inherited: Inherited,
    /// What workers are told once they may serve.
    held: Option<Vec<(usize, Command)>>,
    /// Set once all of it is another process's, or nobody's.
    released: bool,
    next_id: u64,
}

#[derive(Debug)]
struct OpenEntryPoint {
    settings: Arc<EntryPoint>,
    open: Open,
}

/// Sockets of one address.
#[derive(Debug)]
struct Open {
    id: u64,
    bound: SocketAddr,
    /// The same sockets that the workers have.
    kept: Vec<RawSocket>,
}

impl Listeners {
    /// None is served before [`Listeners::serve`].
    pub(crate) fn new(workers: Vec<mpsc::UnboundedSender<Command>>, inherited: Inherited) -> Self {
        Self {
            workers,
            entry_points: BTreeMap::new(),
            published: BTreeMap::new(),
            inherited,
            held: Some(Vec::new()),
            released: false,
            next_id: 0,
        }
    }

    /// Lets the workers serve what is open.
    pub(crate) fn serve(&mut self) {
        for (worker, command) in self.held.take().unwrap_or_default() {
            // A worker that is gone has ended with the process.
            let _ = self.workers[worker].send(command);
        }
    }

    /// Has every worker log requests there from now on.
    pub(crate) fn log_to(&self, log: Option<&AccessLog>) {
        for worker in &self.workers {
            let _ = worker.send(Command::Log(log.cloned()));
        }
    }

    /// Whether this process serves them, and no other does.
    pub(crate) fn are_served(&self) -> bool {
        self.held.is_none() && !self.released
    }

    /// Opens an entry point; gives the address it has.
    pub(crate) fn open_entry_point(&mut self, entry_point: &EntryPoint) -> io::Result<SocketAddr> {
        let EntryPoint { address, protocol, reuse_port, .. } = *entry_point;
        let sockets = self.sockets(address, protocol, reuse_port)?;
        self.serve_entry_point(entry_point, sockets)
    }

    /// Opens, closes and changes entry points until they are these; what is as it was is not touched, and connections go on
    /// as they began. Gives those that could not be opened: they are as they were.
    pub(crate) fn change_entry_points(&mut self, wanted: &[EntryPoint]) -> Vec<(EntryPoint, io::Error)> {
        let is_wanted = |open: &OpenEntryPoint| wanted.iter().any(|wanted| *wanted == *open.settings);
        let (stay, change) = std::mem::take(&mut self.entry_points)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, open)| is_wanted(open));
        self.entry_points = stay;
        let mut before = change;
        let mut failed = Vec::new();
        for entry_point in wanted {
            if self.entry_points.contains_key(&entry_point.name) {
                continue;
            }
            // Whoever has had the address gives its sockets on: not a moment without them.
            let there = before.values().find(|before| {
                before.settings.address == entry_point.address
                    && before.settings.protocol == entry_point.protocol
            });
            let sockets = match there {
                Some(there) => there.open.kept.iter().map(RawSocket::try_clone).collect(),
                None => self.sockets(entry_point.address, entry_point.protocol, entry_point.reuse_port),
            };
            let opened = sockets.and_then(|sockets| self.serve_entry_point(entry_point, sockets));
            if let Err(error) = opened {
                if let Some(as_it_was) = before.remove(&entry_point.name) {
                    self.entry_points.insert(entry_point.name.clone(), as_it_was);
                }
                failed.push((entry_point.clone(), error));
            }
        }
        for gone in before.into_values() {
            self.close(gone.open.id);
        }
        failed
    }

    /// The entry points as they are, with their addresses.
    pub(crate) fn entry_points(&self) -> impl Iterator<Item = (&Arc<EntryPoint>, SocketAddr)> {
        self.entry_points.values().map(|open| (&open.settings, open.open.bound))
    }

    /// Opens and closes published ports until they are those of the table. A port that can't be opened is a fault,
    /// and is tried again the next time.
    pub(crate) fn follow(&mut self, table: &Table) -> Vec<Fault> {
        if self.released {
            return Vec::new();
        }
        let gone: Vec<Port> =
            self.published.keys().filter(|port| !table.publications.contains_key(port)).copied().collect();
        for port in gone {
            if let Some(open) = self.published.remove(&port) {
                self.close(open.id);
                tracing::info!(port = %port.address, protocol = %port.protocol, "published port closed");
            }
        }
        let mut faults = Vec::new();
        for (port, published) in &table.publications {
            if self.published.contains_key(port) {
                continue;
            }
            let opened = self.sockets(port.address, port.protocol, false).and_then(|sockets| {
                let first = table.upstreams.get(&published.upstream);
                self.send(sockets, |socket| match port.protocol {
                    Protocol::Tcp => Socket::Tcp(socket.into(), *port, first.cloned()),
                    Protocol::Udp => Socket::Udp(socket.into(), *port),
                })
            });
            match opened {
                Ok(open) => {
                    self.published.insert(*port, open);
                    tracing::info!(
                        port = %port.address, protocol = %port.protocol, service = published.upstream,
                        "published port opened"
                    );
                }
                Err(error) => faults.push(Fault::new(
                    published.origin.clone(),
                    "portolan.publish",
                    format!(
                        "host port {}/{} can't be opened: {}",
                        port.address,
                        port.protocol,
                        advice(&error)
                    ),
                )),
            }
        }
        faults
    }

    /// Another handle of each socket.
    pub(crate) fn handles(&self) -> io::Result<Vec<OwnedFd>> {
        let entry_points = self.entry_points.values().map(|open| &open.open);
        let all = entry_points.chain(self.published.values()).flat_map(|open| &open.kept);
        all.map(|socket| socket.try_clone().map(OwnedFd::from)).collect()
    }

    /// Takes further sockets that somebody else has bound, for ports that can't be opened as long as they are his.
    pub(crate) fn inherit(&mut self, descriptor: OwnedFd) -> io::Result<()> {
        self.inherited.add(descriptor)
    }

    /// Closes what was inherited and nobody wanted; gives the addresses.
    pub(crate) fn disinherit(&mut self) -> Vec<(SocketAddr, Protocol)> {
        self.inherited.clear()
    }

    /// Lets go of every socket, and opens none any more. The workers end theirs when they are told to.
    pub(crate) fn release(&mut self) {
        self.released = true;
        let entry_points = self.entry_points.values_mut().map(|open| &mut open.open);
        for open in entry_points.chain(self.published.values_mut()) {
            open.kept.clear();
        }
    }

    /// Sockets for every worker: those that were inherited, or new ones.
    fn sockets(
        &mut self,
        address: ListenAddress,
        protocol: Protocol,
        is_shared: bool,
    ) -> io::Result<Vec<RawSocket>> {
        let inherited = self.inherited.take(address, protocol);
        if inherited.is_empty() {
            bind(address, protocol, self.workers.len(), is_shared)
        } else {
            adopt(inherited, protocol, self.workers.len())
        }
    }

    fn serve_entry_point(
        &mut self,
        entry_point: &EntryPoint,
        sockets: Vec<RawSocket>,
    ) -> io::Result<SocketAddr> {
        let settings = Arc::new(entry_point.clone());
        let census = Census::new(&entry_point.limits);
        let open = self.send(sockets, |socket| match settings.protocol {
            Protocol::Tcp => Socket::EntryPoint(socket.into(), settings.clone(), census.clone()),
            Protocol::Udp => Socket::UdpEntryPoint(socket.into(), settings.clone()),
        })?;
        let bound = open.bound;
        self.entry_points.insert(entry_point.name.clone(), OpenEntryPoint { settings, open });
        Ok(bound)
    }

    /// Gives the workers the sockets in turn, and keeps a handle of each. There may be more than workers: connections wait
    /// in all of them.
    fn send(&mut self, sockets: Vec<RawSocket>, kind: impl Fn(RawSocket) -> Socket) -> io::Result<Open> {
        let bound = sockets.first().map_or(Err(io::ErrorKind::AddrNotAvailable.into()), local_address)?;
        let kept = sockets.iter().map(RawSocket::try_clone).collect::<io::Result<_>>()?;
        self.next_id += 1;
        let id = self.next_id;
        for (index, socket) in sockets.into_iter().enumerate() {
            self.tell(index % self.workers.len(), Command::Open(id, kind(socket)));
        }
        Ok(Open { id, bound, kept })
    }

    fn close(&mut self, id: u64) {
        for worker in 0..self.workers.len() {
            self.tell(worker, Command::Close(id));
        }
    }

    fn tell(&mut self, worker: usize, command: Command) {
        match &mut self.held {
            Some(held) => held.push((worker, command)),
            // A worker that is gone has ended with the process.
            None => drop(self.workers[worker].send(command)),
        }
    }
}
