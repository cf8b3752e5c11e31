//! The proxy as the rest of the process knows it: started, given snapshots, drained.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwap;
use portolan_config::settings::EntryPoint;
use portolan_config::{DataPath, Fault, ListenAddress, Protocol};
use portolan_discovery::{Snapshot, State, Upstream};
use tokio::sync::{Notify, mpsc, watch};

use crate::access_log::AccessLog;
use crate::datapath::{self, DataPaths, Sources};
use crate::health::Checker;
use crate::inherited::Inherited;
use crate::ledger::Ledger;
use crate::listeners::{Listeners, advice};
use crate::metrics::Metrics;
use crate::table::{Table, compile};
use crate::tls::{Keeper, ShownCertificates};
use crate::worker::{self, Stage};

/// What the proxy is told at its start.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// Where HTTP is taken.
    pub entry_points: Vec<EntryPoint>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// The name of this host, for `X-Forwarded-Server`.
    pub host_name: String,
    /// Where requests are logged.
    pub access_log: Option<AccessLog>,
    /// How the bytes of published ports and TCP services travel where no label says.
    pub data_path: DataPath,
}

/// How the bytes of a published port travel at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPath {
    /// Where it listens.
    pub address: ListenAddress,
    /// Its protocol.
    pub protocol: Protocol,
    /// Which way it is.
    pub path: DataPath,
    /// Why not as was asked for.
    pub why: Option<String>,
}

/// How the bytes of a TCP service travel at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePath {
    /// The qualified name.
    pub service: String,
    /// Which way it is.
    pub path: DataPath,
    /// Why not as was asked for, or not all of them.
    pub why: Option<String>,
}

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An entry point's address can't be had.
    #[error("entry point {name} can't listen on {address}: {}", advice(source))]
    EntryPoint {
        /// The entry point.
        name: String,
        /// Its address.
        address: ListenAddress,
        /// Why.
        source: io::Error,
    },
    /// TLS can't be had.
    #[error("TLS can't be had: {0}")]
    Tls(String),
    /// The system gives no thread.
    #[error("a worker thread can't start: {0}")]
    Thread(io::Error),
}

/// What of a snapshot's TLS can't be done as asked for: files that can't be read, options that can't be met. Nothing is
/// served by it.
pub fn tls_faults(snapshot: &Snapshot) -> Vec<Fault> {
    let metrics = Metrics::register(&prometheus::Registry::new()).map_err(|error| error.to_string());
    match metrics.and_then(|metrics| Keeper::new(metrics.tls).map_err(|error| error.to_string())) {
        Ok(mut keeper) => {
            keeper.follow(snapshot);
            keeper.faults()
        }
        Err(why) => vec![Fault::new("TLS", "tls", why)],
    }
}

/// The table in place, replaced whole.
pub type SharedTable = Arc<ArcSwap<Table>>;

/// The running data plane.
#[derive(Debug)]
pub struct Proxy {
    table: SharedTable,
    /// Tells workers that another one is in place.
    news: Arc<Notify>,
    ledger: Ledger,
    metrics: Metrics,
    entry_points: Vec<EntryPoint>,
    tls: Keeper,
    listeners: Listeners,
    data_paths: DataPaths,
    /// How the bytes of published ports and TCP services travel where no label says.
    data_path: DataPath,
    /// Where endpoints of published ports are that only finish what they have begun.
    leaving: Vec<SocketAddr>,
    stage: watch::Sender<Stage>,
    /// Yields nothing; ends when the last worker has.
    finished: mpsc::Receiver<()>,
}

impl Proxy {
    /// Starts the workers and opens the entry points. Until the first snapshot, every request is answered 404.
    pub fn start(settings: &ProxySettings, metrics: Metrics) -> Result<Self, StartError> {
        let mut proxy = Self::start_held(settings, metrics, Inherited::default())?;
        proxy.serve();
        Ok(proxy)
    }

    /// The same with sockets that somebody else has bound, and without taking a connection before [`Proxy::serve`].
    pub fn start_held(
        settings: &ProxySettings,
        metrics: Metrics,
        inherited: Inherited,
    ) -> Result<Self, StartError> {
        let table: Arc<ArcSwap<Table>> = Arc::default();
        let news: Arc<Notify> = Arc::default();
        let tls = Keeper::new(metrics.tls.clone()).map_err(|error| StartError::Tls(error.to_string()))?;
        let (stage, watch_stage) = watch::channel(Stage::Serving);
        let (finish, finished) = mpsc::channel(1);
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for _ in 0..settings.workers.max(1) {
            let (commands, receiver) = mpsc::unbounded_channel();
            senders.push(commands);
            receivers.push(receiver);
        }
        // Every address is had before any thread is started: nothing is left half done.
        let mut listeners = Listeners::new(senders, inherited);
        for entry_point in &settings.entry_points {
            let opened = listeners.open_entry_point(entry_point);
            opened.map_err(|source| StartError::entry_point(entry_point, source))?;
        }
        let sources = Sources::default();
        for (index, commands) in receivers.into_iter().enumerate() {
            let parts = worker::Parts {
                table: table.clone(),
                tls: tls.front(),
                news: news.clone(),
                metrics: metrics.clone(),
                stage: watch_stage.clone(),
                commands,
                host_name: settings.host_name.clone(),
                log: settings.access_log.clone(),
                sources: sources.clone(),
            };
            let finish = finish.clone();
            thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    if let Err(error) = worker::run(parts) {
                        tracing::error!(%error, "a worker can't run");
                    }
                    drop(finish);
                })
                .map_err(StartError::Thread)?;
        }
        drop(finish);
        let data_paths = DataPaths::new(metrics.clone(), sources);
        Ok(Self {
            table,
            news,
            ledger: Ledger::new(metrics.clone()),
            metrics,
            entry_points: settings.entry_points.clone(),
            tls,
            listeners,
            data_paths,
            data_path: settings.data_path,
            leaving: Vec::new(),
            stage,
            finished,
        })
    }

    /// What is steered by, for whoever explains it.
    pub fn table(&self) -> SharedTable {
        self.table.clone()
    }

    /// The certificates that clients are shown, for whoever tells of them.
    pub fn certificates(&self) -> ShownCertificates {
        ShownCertificates::of(self.tls.front())
    }

    /// Takes connections from now on.
    pub fn serve(&mut self) {
        self.listeners.serve();
    }

    /// Has the bytes of published ports travel so, where no label says. It counts from the next [`Proxy::apply`] on.
    pub fn travel_by(&mut self, path: DataPath) {
        self.data_path = path;
    }

    /// Logs requests there from now on, or not at all. Those that are on their way may still be logged as before.
    pub fn log_to(&mut self, log: Option<&AccessLog>) {
        self.listeners.log_to(log);
    }

    /// The entry points with the addresses they have.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let named = |(settings, bound): (&Arc<EntryPoint>, _)| (settings.name.clone(), bound);
        self.listeners.entry_points().map(named).collect()
    }

    /// Opens, closes and changes entry points until they are these. Connections go on by what they began with, and those of
    /// other entry points are not touched. Gives what could not be opened: it is as it was.
    pub fn change_entry_points(&mut self, wanted: &[EntryPoint], snapshot: &Snapshot) -> Vec<StartError> {
        // The table first: who comes by a new one is to find its routers, and who came by an old one is there still.
        let mut all = wanted.to_vec();
        let is_new = |old: &EntryPoint| wanted.iter().any(|wanted| wanted.name == old.name);
        all.extend(self.entry_points.iter().filter(|old| !is_new(old)).cloned());
        self.entry_points = all;
        self.apply(snapshot);
        let failed = self.listeners.change_entry_points(wanted);
        self.entry_points = self.listeners.entry_points().map(|(settings, _)| (**settings).clone()).collect();
        failed.into_iter().map(|(one, error)| StartError::entry_point(&one, error)).collect()
    }

    /// Another handle of every socket that takes connections or datagrams, for a process that is to go on with them.
    pub fn handles(&self) -> io::Result<Vec<OwnedFd>> {
        self.listeners.handles()
    }

    /// Takes a further socket that somebody else has bound, for a published port that could not be opened as long as it was
    /// his.
    pub fn inherit(&mut self, descriptor: OwnedFd) -> io::Result<()> {
        self.listeners.inherit(descriptor)
    }

    /// Closes sockets that somebody else has bound and that nothing is served on; gives their addresses.
    pub fn disinherit(&mut self) -> Vec<(SocketAddr, Protocol)> {
        self.listeners.disinherit()
    }

    /// Serves by this snapshot from now on. Gives what can't be served as asked for. Published ports follow with
    /// [`Proxy::open_ports`].
    pub fn apply(&mut self, snapshot: &Snapshot) -> Vec<Fault> {
        // Before the table, which names what is made here.
        self.tls.follow(snapshot);
        let (mut table, faults) = compile(snapshot, &self.entry_points, &self.ledger);
        for published in table.publications.values_mut() {
            published.data_path.get_or_insert(self.data_path);
        }
        table.data_path = self.data_path;
        // Who may get in is known before anybody asks; what is wrong with it is told when it is looked at next.
        self.ledger.look();
        self.table.store(Arc::new(table));
        self.news.notify_waiters();
        self.leaving = still_running(snapshot);
        self.metrics.last_compile.set(seconds_since_epoch());
        faults
    }

    /// Who checks endpoints, on whatever thread it is run.
    pub fn checker(&mut self) -> Checker {
        let (tell, outliers) = mpsc::unbounded_channel();
        self.ledger.tell_outliers(tell);
        Checker::new(self.tls.front(), self.metrics.clone(), outliers)
    }

    /// Opens and closes published ports as the table has them, and tries again those that could not be opened. Gives
    /// those that still can't.
    pub fn open_ports(&mut self) -> Vec<Fault> {
        let table = self.table.load_full();
        let mut faults = self.listeners.follow(&table);
        // The kernel's table is whose the sockets are.
        if self.listeners.are_served() {
            faults.extend(self.data_paths.follow(&table, &self.leaving).1);
        }
        faults.extend(datapath::services(&table).1);
        faults
    }

    /// How the bytes of published ports travel, for those that were to travel in another way than through Portolan.
    pub fn published_paths(&mut self) -> Vec<PublishedPath> {
        if !self.listeners.are_served() {
            return Vec::new();
        }
        let table = self.table.load_full();
        let (now, _) = self.data_paths.follow(&table, &self.leaving);
        let path = |travels: &crate::datapath::Travels| PublishedPath {
            address: travels.port.address,
            protocol: travels.port.protocol,
            path: travels.by,
            why: travels.why.clone(),
        };
        now.iter().map(path).collect()
    }

    /// How the bytes of TCP services travel, for those that the kernel was to carry.
    pub fn service_paths(&self) -> Vec<ServicePath> {
        let path = |it: datapath::Established| ServicePath { service: it.service, path: it.by, why: it.why };
        datapath::services(&self.table.load()).0.into_iter().map(path).collect()
    }

    /// Looks whether files of TLS or of middlewares changed, and follows them. Gives what can't be done as asked for.
    pub fn look_at_files(&mut self) -> Vec<Fault> {
        let mut faults = self.tls.look();
        faults.extend(self.ledger.look());
        faults
    }

    /// Takes no new connections: another process does, with the same sockets. Clients are told so with their next answer,
    /// and may take the time that is usual until then.
    pub fn leave(&mut self) {
        self.stage.send_replace(Stage::Leaving);
        self.listeners.release();
        self.data_paths.leave();
    }

    /// Takes no new connections. Requests in progress are answered; connections that wait for a next request are closed.
    pub fn begin_to_drain(&mut self) {
        self.data_paths.close();
        self.stage.send_replace(Stage::Draining);
        self.listeners.release();
    }

    /// Waits until the last connection is done, after [`Proxy::leave`] or [`Proxy::begin_to_drain`].
    pub async fn finished(&mut self) {
        while self.finished.recv().await.is_some() {}
    }

    /// Drains, and waits until that is done.
    pub async fn drain(mut self) {
        self.begin_to_drain();
        self.finished().await;
    }
}

impl StartError {
    fn entry_point(entry_point: &EntryPoint, source: io::Error) -> Self {
        Self::EntryPoint { name: entry_point.name.clone(), address: entry_point.address, source }
    }
}

/// Where the endpoints of published ports are that are given no new work and still run: they finish what they have begun.
fn still_running(snapshot: &Snapshot) -> Vec<SocketAddr> {
    let published: HashSet<&str> =
        snapshot.publications.iter().map(|publication| publication.upstream.as_str()).collect();
    let is_published = |upstream: &&Arc<Upstream>| published.contains(upstream.name.as_str());
    let targets = snapshot.upstreams.iter().filter(is_published).flat_map(|upstream| &upstream.targets);
    let running = targets.filter(|target| {
        let endpoint = &target.endpoint;
        !endpoint.is_available() && endpoint.state != State::Stopped
    });
    let places = running.flat_map(|target| {
        let by_v4 = target.endpoint.ipv4.map(IpAddr::from);
        let addresses = by_v4.into_iter().chain(target.endpoint.ipv6.map(IpAddr::from));
        addresses.map(|ip| SocketAddr::new(ip, target.port))
    });
    places.collect()
}

fn seconds_since_epoch() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
