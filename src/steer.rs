//! Turns the proxy and the zone to each new snapshot.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use portolan_config::settings::EntryPoint;
use portolan_config::{DataPath, Fault};
use portolan_discovery::Snapshot;
use portolan_dns as dns;
use portolan_proxy::access_log::AccessLog;
use portolan_proxy::{Proxy, PublishedPath, ServicePath, StartError};
use tokio::sync::{mpsc, oneshot, watch};

/// How often published ports that could not be opened are tried again, and files of TLS are looked at.
const RETRY: Duration = Duration::from_secs(1);

/// What the rest of the process may know of where it stands.
#[derive(Debug)]
pub struct Status {
    /// The newest snapshot that traffic and names follow.
    pub snapshot: ArcSwap<Snapshot>,
    /// Everything asked for that can't be done, at present.
    pub faults: ArcSwap<Vec<Fault>>,
    /// How the bytes of published ports travel, where the kernel was to carry them.
    pub paths: ArcSwap<Vec<PublishedPath>>,
    /// The same of TCP services.
    pub service_paths: ArcSwap<Vec<ServicePath>>,
    /// The entry points, as the settings have them.
    pub entry_points: ArcSwap<Vec<EntryPoint>>,
    /// Where names are answered from, where they are.
    pub zone: ArcSwap<Option<dns::SharedZone>>,
    /// Told of the generation of each snapshot that is put in place.
    pub applied: watch::Sender<u64>,
    /// Set by the first signal to stop.
    pub draining: AtomicBool,
}

impl Status {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self {
            snapshot: ArcSwap::default(),
            faults: ArcSwap::default(),
            entry_points: ArcSwap::default(),
            paths: ArcSwap::default(),
            service_paths: ArcSwap::default(),
            zone: ArcSwap::default(),
            applied: watch::Sender::new(0),
            draining: AtomicBool::new(false),
        }
    }

    /// Why traffic should not be sent here; empty when it may be.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            reasons.push("draining: told to stop".to_owned());
        }
        let snapshot = self.snapshot.load();
        if snapshot.sources.is_empty() {
            reasons.push("nothing observed yet".to_owned());
        }
        for source in snapshot.sources.iter().filter(|source| source.last_sync.is_none()) {
            let why = source.lost.as_deref().unwrap_or("the first complete list has not come yet");
            reasons.push(format!("{}: {why}", source.provider));
        }
        reasons
    }
}

/// What names are made of, and where they are answered from.
#[derive(Debug)]
pub struct Naming {
    pub compiler: dns::Compiler,
    pub shared: dns::SharedZone,
    pub metrics: dns::Metrics,
    /// What the operator wrote down besides.
    pub records: dns::Records,
}

impl Naming {
    fn apply(&mut self, snapshot: &Snapshot) -> Vec<Fault> {
        let (zone, faults) = self.compiler.compile(snapshot);
        self.metrics.zone_in_place(&zone);
        self.shared.store(Arc::new(zone));
        faults
    }

    /// The faults of the snapshot's names, where the operator's records are others now.
    fn look_at_records(&mut self, snapshot: &Snapshot) -> Option<Vec<Fault>> {
        let records = self.records.look()?;
        self.compiler.replace_records(&records);
        Some(self.apply(snapshot))
    }
}

/// What is steered.
pub struct Steering {
    pub proxy: Proxy,
    pub zone: Option<Naming>,
    pub metrics: portolan_discovery::Metrics,
    pub status: Arc<Status>,
}

/// What the one who steers is told to do besides.
#[derive(Debug)]
pub enum Order {
    /// Take connections from now on.
    Serve,
    /// Give a handle of every socket.
    Sockets(oneshot::Sender<io::Result<Vec<OwnedFd>>>),
    /// Use these sockets, which another process has bound, where they are wanted; close the others.
    Inherit(Vec<OwnedFd>),
    /// Have these entry points; gives what went wrong: those are as they were.
    EntryPoints(Vec<EntryPoint>, oneshot::Sender<Vec<StartError>>),
    /// Make names by this from now on, or none; told once they are made.
    Names(Option<Box<Naming>>, oneshot::Sender<()>),
    /// Log requests there from now on, or not at all.
    Log(Option<AccessLog>),
    /// Have the bytes of published ports travel so where no label says.
    Travel(DataPath),
    /// Take no new connections, as another process does.
    Leave,
    /// Take no new connections, and send away whoever has nothing in progress.
    Drain,
}

/// What the snapshot in place asks for that can't be done.
#[derive(Default)]
struct Faults {
    /// Of names.
    names: Vec<Fault>,
    rest: Vec<Fault>,
}

impl Steering {
    /// Follows the snapshots and the orders, until the last connection is done after [`Order::Leave`] or [`Order::Drain`].
    pub async fn follow(
        mut self,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        mut orders: mpsc::Receiver<Order>,
    ) {
        let mut retry = tokio::time::interval(RETRY);
        let mut faults = Faults::default();
        let mut last_generation = 0;
        let mut ends = false;
        loop {
            tokio::select! {
                biased;
                // Whoever gives orders lives as long as this does.
                Some(order) = orders.recv() => {
                    ends |= matches!(order, Order::Leave | Order::Drain);
                    if let Some(now) = self.carry_out(order) {
                        faults = now;
                    }
                }
                () = self.proxy.finished(), if ends => return,
                changed = snapshots.changed() => {
                    // The registry lives as long as the process.
                    if changed.is_err() { return; }
                    let snapshot = snapshots.borrow_and_update().clone();
                    faults = self.apply(&snapshot);
                    self.measure(&snapshot, last_generation);
                    last_generation = snapshot.generation;
                }
                _ = retry.tick() => self.look_at_records(&mut faults),
            }
            let mut later = self.proxy.open_ports();
            self.status.paths.store(Arc::new(self.proxy.published_paths()));
            self.status.service_paths.store(Arc::new(self.proxy.service_paths()));
            later.extend(self.proxy.look_at_files());
            later.extend(self.zone.as_ref().and_then(|naming| naming.records.fault().cloned()));
            later.extend(faults.names.iter().cloned());
            self.report(&faults.rest, &later);
        }
    }

    /// Gives the faults of the snapshot where they may be others now.
    fn carry_out(&mut self, order: Order) -> Option<Faults> {
        match order {
            Order::Serve => self.proxy.serve(),
            Order::Sockets(answer) => drop(answer.send(self.proxy.handles())),
            Order::Inherit(sockets) => {
                for (address, protocol) in self.proxy.disinherit() {
                    tracing::info!(%address, %protocol, "the other process served there; this one does not");
                }
                for socket in sockets {
                    if let Err(error) = self.proxy.inherit(socket) {
                        tracing::warn!(%error, "a socket of the other process is of no use");
                    }
                }
                self.proxy.open_ports();
                // Most are second handles of those that are served already.
                self.proxy.disinherit();
            }
            Order::EntryPoints(wanted, answer) => {
                let snapshot = self.status.snapshot.load_full();
                drop(answer.send(self.proxy.change_entry_points(&wanted, &snapshot)));
                return Some(self.apply(&snapshot));
            }
            Order::Names(naming, answer) => {
                self.status.zone.store(Arc::new(naming.as_ref().map(|naming| naming.shared.clone())));
                self.zone = naming.map(|naming| *naming);
                let faults = self.apply(&self.status.snapshot.load_full());
                let _ = answer.send(());
                return Some(faults);
            }
            Order::Log(log) => self.proxy.log_to(log.as_ref()),
            Order::Travel(path) => {
                self.proxy.travel_by(path);
                return Some(self.apply(&self.status.snapshot.load_full()));
            }
            Order::Leave => self.proxy.leave(),
            Order::Drain => self.proxy.begin_to_drain(),
        }
        None
    }

    /// Puts a snapshot in place, for traffic first. Gives what it asks for that can't be done.
    fn apply(&mut self, snapshot: &Arc<Snapshot>) -> Faults {
        let mut rest = snapshot.faults.clone();
        rest.extend(self.proxy.apply(snapshot));
        let names = self.zone.as_mut().map(|naming| naming.apply(snapshot)).unwrap_or_default();
        self.status.snapshot.store(snapshot.clone());
        self.status.applied.send_replace(snapshot.generation);
        Faults { names, rest }
    }

    fn look_at_records(&mut self, faults: &mut Faults) {
        let snapshot = self.status.snapshot.load();
        if let Some(names) = self.zone.as_mut().and_then(|naming| naming.look_at_records(&snapshot)) {
            faults.names = names;
        }
    }

    fn measure(&self, snapshot: &Snapshot, last_generation: u64) {
        for applied in snapshot.applied.iter().filter(|applied| applied.generation > last_generation) {
            let delay = self.metrics.apply_delay.with_label_values(&[&*applied.provider.0]);
            delay.observe(applied.observed_at.elapsed().as_secs_f64());
        }
    }

    /// Logs the faults that are new, and keeps all of them for whoever asks.
    fn report(&self, chart: &[Fault], later: &[Fault]) {
        let before: BTreeSet<Fault> = self.status.faults.load().iter().cloned().collect();
        let now: BTreeSet<Fault> = chart.iter().chain(later).cloned().collect();
        if before == now {
            return;
        }
        for fault in now.difference(&before) {
            tracing::warn!(origin = fault.origin, label = fault.key, "{}", fault.message);
        }
        for fault in before.difference(&now) {
            tracing::info!(origin = fault.origin, label = fault.key, "no longer at fault");
        }
        self.status.faults.store(Arc::new(now.into_iter().collect()));
    }
}
