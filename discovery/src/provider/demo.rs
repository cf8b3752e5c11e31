//! The demo provider: replicas of a small HTTP service inside this very process, for a first look without an engine.
//!
//! Each replica has a loopback address of its own (127.0.0.2, 127.0.0.3, …) and all have the same port, as containers
//! of one image would. The control stops and starts them the way an engine would: a replica that is stopped drains,
//! finishes what it has begun, and is gone.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use portolan_config::Protocol;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};

use super::{Change, Provider, ProviderName, Update};
use crate::instance::{Instance, InstanceId, NetworkAddress, Port, ServiceKey, State};
use crate::metrics::Metrics;

mod listen;
mod whoami;

/// Replicas, at most: they are there to be looked at.
const REPLICAS_MAX: usize = 100;

/// Replicas of `whoami` in this process.
#[derive(Debug)]
pub struct Demo {
    replicas: Vec<Replica>,
    commands: mpsc::Receiver<Command>,
    states: Arc<Mutex<Vec<State>>>,
    metrics: Metrics,
}

/// Stops and starts the replicas of a [`Demo`].
#[derive(Clone, Debug)]
pub struct DemoControl {
    commands: mpsc::Sender<Command>,
    states: Arc<Mutex<Vec<State>>>,
}

/// There is no such replica, or no demo any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no replica {number}: expected 1 to {replicas}")]
pub struct UnknownReplica {
    /// The number asked for.
    pub number: usize,
    /// How many replicas there are.
    pub replicas: usize,
}

impl Demo {
    /// So many replicas (1 to 100), and what steers them. They listen from when the provider runs.
    pub fn new(replicas: usize, metrics: Metrics) -> (Self, DemoControl) {
        let replicas = replicas.clamp(1, REPLICAS_MAX);
        let states = Arc::new(Mutex::new(vec![State::Stopped; replicas]));
        let (sender, commands) = mpsc::channel(16);
        let created = SystemTime::now();
        let control = DemoControl { commands: sender, states: Arc::clone(&states) };
        let replicas = (1..=replicas).map(|number| Replica::new(number, created)).collect();
        (Self { replicas, commands, states, metrics }, control)
    }
}

impl DemoControl {
    /// Stops replica `number`, counted from 1, as an engine would. Returns once it drains; it is stopped when what it
    /// had begun is finished. Stopping one that does not run does nothing.
    pub async fn stop(&self, number: usize) -> Result<(), UnknownReplica> {
        self.command(number, Order::Stop).await
    }

    /// Starts replica `number` again, for a new life. Starting one that runs does nothing; one that drains starts once
    /// it has stopped.
    pub async fn start(&self, number: usize) -> Result<(), UnknownReplica> {
        self.command(number, Order::Start).await
    }

    /// The states of the replicas, the first one's first.
    pub fn states(&self) -> Vec<State> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn command(&self, number: usize, order: Order) -> Result<(), UnknownReplica> {
        let unknown = UnknownReplica { number, replicas: self.states().len() };
        if !(1..=unknown.replicas).contains(&number) {
            return Err(unknown);
        }
        let (done, finished) = oneshot::channel();
        self.commands.send(Command { index: number - 1, order, done }).await.map_err(|_| unknown)?;
        finished.await.map_err(|_| unknown)
    }
}

impl Provider for Demo {
    fn name(&self) -> ProviderName {
        ProviderName::new("demo")
    }

    async fn run(mut self, updates: mpsc::Sender<Update>) {
        let provider = self.name();
        let (port, listeners) = match listen::all(self.replicas.len()).await {
            Ok(bound) => bound,
            Err(error) => {
                tracing::error!(%error, "the demo's replicas can't listen");
                let change = Change::Lost(format!("the demo's replicas can't listen: {error}"));
                let _ = updates.send(Update { provider, observed_at: Instant::now(), change }).await;
                updates.closed().await;
                return;
            }
        };
        let mut lives = Lives { port, running: JoinSet::new(), index: BTreeMap::new() };
        for (index, listener) in listeners.into_iter().enumerate() {
            lives.begin(&mut self.replicas[index], index, listener);
        }
        self.note_states();
        let all = self.replicas.iter().map(|replica| replica.instance(port)).collect();
        let mut change = Some(Change::Reset(all));
        loop {
            if let Some(change) = change.take() {
                self.count(&provider, &change);
                let update = Update { provider: provider.clone(), observed_at: Instant::now(), change };
                if updates.send(update).await.is_err() {
                    return;
                }
            }
            let changed = tokio::select! {
                () = updates.closed() => return,
                Some(command) = self.commands.recv() => {
                    let changed = self.obey(command.index, command.order, &mut lives).await;
                    self.note_states();
                    // The asker may have left, which changes nothing.
                    let _ = command.done.send(());
                    changed.then_some(command.index)
                }
                Some(ended) = lives.next() => {
                    let replica = &mut self.replicas[ended];
                    replica.enter(State::Stopped, "stopped by the operator");
                    if std::mem::take(&mut replica.start_again) {
                        self.restart(ended, &mut lives).await;
                    }
                    self.note_states();
                    Some(ended)
                }
            };
            change = changed.map(|index| Change::Upsert(Box::new(self.replicas[index].instance(port))));
        }
    }
}

impl Demo {
    /// Returns whether the replica changed.
    async fn obey(&mut self, index: usize, order: Order, lives: &mut Lives) -> bool {
        let replica = &mut self.replicas[index];
        match (order, replica.state) {
            (Order::Stop, State::Ready) => {
                replica.enter(State::Draining, "stopped by the operator");
                // Dropping the sender is the signal.
                replica.stop = None;
                true
            }
            (Order::Stop, _) => {
                replica.start_again = false;
                false
            }
            (Order::Start, State::Draining) => {
                replica.start_again = true;
                false
            }
            (Order::Start, State::Ready) => false,
            (Order::Start, _) => {
                self.restart(index, lives).await;
                true
            }
        }
    }

    async fn restart(&mut self, index: usize, lives: &mut Lives) {
        let replica = &mut self.replicas[index];
        match listen::one(replica.ip, lives.port).await {
            Ok(listener) => lives.begin(replica, index, listener),
            Err(error) => replica.enter(State::Stopped, &format!("can't listen: {error}")),
        }
    }

    /// Counts what is told, as every provider does.
    fn count(&self, provider: &ProviderName, change: &Change) {
        match change {
            Change::Reset(_) => self.metrics.synced(provider, SystemTime::now()),
            Change::Upsert(instance) => {
                self.metrics.events.with_label_values(&[&*provider.0, instance.state.as_str()]).inc();
            }
            Change::Remove(_)
            | Change::Lost(_)
            | Change::Configured(_)
            | Change::Judged(_)
            | Change::Ordered(_) => {}
        }
    }

    fn note_states(&self) {
        let states = self.replicas.iter().map(|replica| replica.state).collect();
        *self.states.lock().unwrap_or_else(PoisonError::into_inner) = states;
    }
}

#[derive(Debug)]
struct Command {
    index: usize,
    order: Order,
    done: oneshot::Sender<()>,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Stop,
    Start,
}

#[derive(Debug)]
struct Replica {
    name: String,
    ip: Ipv4Addr,
    created: SystemTime,
    state: State,
    reason: String,
    since: SystemTime,
    life: u32,
    /// Held while it runs; dropped, it stops.
    stop: Option<oneshot::Sender<()>>,
    /// It drains, and is to start again afterwards.
    start_again: bool,
}

impl Replica {
    fn new(number: usize, created: SystemTime) -> Self {
        Self {
            name: format!("whoami-{number}"),
            ip: listen::address(number - 1),
            created,
            state: State::Stopped,
            reason: "created".to_owned(),
            since: created,
            life: 0,
            stop: None,
            start_again: false,
        }
    }

    fn enter(&mut self, state: State, reason: &str) {
        self.state = state;
        reason.clone_into(&mut self.reason);
        self.since = SystemTime::now();
    }

    fn instance(&self, port: u16) -> Instance {
        let labels = [
            ("portolan.publish", format!("8080:{port}")),
            ("traefik.http.routers.whoami.rule", "Host(`whoami.localhost`)".to_owned()),
            ("traefik.http.services.whoami.loadbalancer.server.port", port.to_string()),
        ];
        let address = NetworkAddress {
            network: "demo".to_owned(),
            endpoint_id: format!("{}-{}", self.name, self.life),
            ipv4: Some(self.ip),
            ipv6: None,
            aliases: Vec::new(),
            reached: true,
        };
        Instance {
            id: InstanceId::new(&self.name),
            name: self.name.clone(),
            service: ServiceKey::Label("whoami".to_owned()),
            labels: labels.map(|(name, value)| (name.to_owned(), value)).into(),
            networks: if self.state == State::Stopped { Vec::new() } else { vec![address] },
            ports: vec![Port { number: port, protocol: Protocol::Tcp }],
            bindings: Vec::new(),
            node: None,
            virtual_host: BTreeMap::new(),
            state: self.state,
            reason: self.reason.clone(),
            since: self.since,
            created: self.created,
        }
    }
}

/// The servers that run, and whose they are.
struct Lives {
    port: u16,
    running: JoinSet<()>,
    index: BTreeMap<Id, usize>,
}

impl Lives {
    fn begin(&mut self, replica: &mut Replica, index: usize, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel();
        replica.stop = Some(stop);
        replica.life += 1;
        replica.enter(State::Ready, "running");
        let handle = self.running.spawn(whoami::serve(listener, replica.name.clone(), stopped));
        self.index.insert(handle.id(), index);
    }

    /// The index of the next replica whose server ended; `None` when none runs.
    async fn next(&mut self) -> Option<usize> {
        let ended = self.running.join_next_with_id().await?;
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        self.index.remove(&id)
    }
}

#[cfg(test)]
mod tests;
