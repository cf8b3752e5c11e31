//! One thread of the data plane: its own runtime, sockets, buffers and upstream connections.
//!
//! Nothing here is shared with another worker but the table, the counters and the cursors of the rotation.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use portolan_config::settings;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc, watch};

use crate::access_log::{AccessLog, Lines};
use crate::census::Census;
use crate::datapath::Sources;
use crate::deadline::{self, Moment, Wait};
use crate::http::{self, EntryPoint, Pool, Roads};
use crate::limits::LINES_WAIT;
use crate::metrics::{Metrics, Recorder};
use crate::middleware::Idle;
use crate::published;
use crate::sockmap::Sockmap;
use crate::table::{Port, Table, Upstream};
use crate::tcp;
use crate::tls::Front;
use crate::udp;

/// How often it is looked whether a process that was taken over has anybody left to serve.
const LEAVING_LOOK: Duration = Duration::from_millis(100);
/// Tasks that run before the kernel is asked for news again. A rush of requests is answered in one go; the runtime's own 61
/// would ask in the midst of each.
const TASKS_AT_A_TIME: u32 = 256;

mod accept;
mod buffer;
mod leaving;
mod memory;
mod parking;
mod pipe;
mod relay;
mod seats;

pub(crate) use buffer::{Buffer, Buffers};
use memory::Memory;
use parking::Parking;
pub(crate) use pipe::{Pipe, Pipes};
pub(crate) use relay::{End, Pace, Relayed, relay};
pub(crate) use seats::Seats;

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve this socket until [`Command::Close`].
    Open(u64, Socket),
    /// Take what is already waiting on this socket, then close it. Its connections go on.
    Close(u64),
    /// Log requests there from now on, or not at all.
    Log(Option<AccessLog>),
}

/// A bound socket, and what is served on it.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Requests of HTTP, routed one by one, and connections that TCP routers take.
    EntryPoint(std::net::TcpListener, Arc<settings::EntryPoint>, Arc<Census>),
    /// A published TCP port, and where it leads to begin with.
    Tcp(std::net::TcpListener, Port, Option<Arc<Upstream>>),
    /// A published UDP port.
    Udp(std::net::UdpSocket, Port),
    /// UDP, all of it to where the one router leads.
    UdpEntryPoint(std::net::UdpSocket, Arc<settings::EntryPoint>),
}

/// How far a process is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It takes what comes.
    Serving,
    /// Others take what comes. Whoever is here is told to go there, and may take the time that is usual.
    Leaving,
    /// Whoever has nothing in progress is sent away.
    Draining,
}

/// What every task of a worker works with.
pub(crate) struct Worker {
    table: Arc<ArcSwap<Table>>,
    tls: Arc<ArcSwap<Front>>,
    /// Told whenever another table is in place.
    pub(crate) news: Arc<Notify>,
    pub(crate) metrics: Metrics,
    pub(crate) recorder: Recorder,
    pub(crate) pool: Pool,
    /// Connections to authentication servers that wait for the next question.
    pub(crate) auth: Idle,
    /// Connections to endpoints that serve many requests at a time.
    pub(crate) roads: Roads,
    pub(crate) buffers: Rc<Buffers>,
    pub(crate) pipes: Pipes,
    /// What requests of HTTP/1.1 are served in.
    pub(crate) seats: http::Seats,
    /// The same for those of HTTP/2.
    pub(crate) streams: http::Streams,
    /// Connections that the kernel carries.
    pub(crate) sockmap: Sockmap,
    /// Client connections that have nothing to say at present.
    pub(crate) parking: Parking<http::Waiting>,
    memory: Memory,
    /// Room for datagrams on their way.
    pub(crate) room: RefCell<udp::Room>,
    pub(crate) stage: watch::Receiver<Stage>,
    /// The access log's lines of this worker, where there is a log.
    log: RefCell<Option<Rc<Lines>>>,
    /// Client connections at present, and sockets that take them.
    tasks: Cell<usize>,
    /// The name of this host, for `X-Forwarded-Server`.
    pub(crate) host_name: String,
    /// Which addresses connections of transparent ports leave with.
    pub(crate) sources: Sources,
}

impl Worker {
    /// The table of this moment. Held across no await, so that an old one can be let go of.
    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// What TLS goes by at this moment. Held across no await.
    pub(crate) fn tls(&self) -> arc_swap::Guard<Arc<Front>> {
        self.tls.load()
    }

    /// The access log, where there is one.
    pub(crate) fn log(&self) -> Option<Rc<Lines>> {
        self.log.borrow().clone()
    }

    /// Whether there is an access log.
    pub(crate) fn is_logging(&self) -> bool {
        self.log.borrow().is_some()
    }

    /// Whether nobody who waits is to be waited for.
    pub(crate) fn is_draining(&self) -> bool {
        self.stage() == Stage::Draining
    }

    /// Whether clients are to be told that this connection takes no more requests.
    pub(crate) fn is_leaving(&self) -> bool {
        self.stage() != Stage::Serving
    }

    fn stage(&self) -> Stage {
        // It is told seldom, and what was not told is cheaper to see than what was.
        if self.stage.has_changed().unwrap_or(true) { *self.stage.borrow() } else { Stage::Serving }
    }

    /// One without sockets, with an empty table, for tests and measurements of what is served. It drains once the other
    /// end is told to.
    ///
    /// # Panics
    /// The system gives it no handle to wait with.
    pub(crate) fn alone() -> (Rc<Self>, watch::Sender<Stage>) {
        let (drain, stage) = watch::channel(Stage::Serving);
        let worker = Self {
            // Nothing is there, and that is known.
            table: Arc::new(ArcSwap::from_pointee(Table { is_complete: true, ..Table::default() })),
            tls: Arc::default(),
            news: Arc::default(),
            metrics: Metrics::register(&prometheus::Registry::new()).expect("a registry of its own"),
            recorder: Recorder::default(),
            pool: Pool::default(),
            auth: Idle::default(),
            roads: Roads::default(),
            buffers: Rc::default(),
            pipes: Pipes::default(),
            seats: http::Seats::default(),
            streams: http::Streams::default(),
            sockmap: Sockmap::default(),
            parking: Parking::new().expect("a handle to wait with"),
            memory: Memory::default(),
            room: RefCell::default(),
            stage,
            log: RefCell::default(),
            tasks: Cell::new(0),
            host_name: "here".to_owned(),
            sources: Sources::default(),
        };
        (Rc::new(worker), drain)
    }

    /// Puts a table in place.
    #[cfg(test)]
    pub(crate) fn put_in_place(&self, table: Table) {
        self.table.store(Arc::new(table));
        self.news.notify_waiters();
    }

    /// Resolves when draining begins.
    pub(crate) async fn drained(&self) {
        self.reached(Stage::Draining).await;
    }

    /// Resolves when clients are to be told to go elsewhere.
    pub(crate) async fn left(&self) {
        self.reached(Stage::Leaving).await;
    }

    async fn reached(&self, stage: Stage) {
        let mut wait = Wait::until(Moment::NEVER);
        poll_fn(|context| {
            // The worker's own task nudges everybody then.
            if self.stage() >= stage {
                return Poll::Ready(());
            }
            wait.poll(context)
        })
        .await;
    }

    /// The same by what the worker was told itself.
    async fn told(&self, stage: Stage) {
        let mut told = self.stage.clone();
        // The sender lives as long as the process; should it be gone, nothing is left to wait for.
        let _ = told.wait_for(|told| *told >= stage).await;
    }
}

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) table: Arc<ArcSwap<Table>>,
    pub(crate) tls: Arc<ArcSwap<Front>>,
    pub(crate) news: Arc<Notify>,
    pub(crate) metrics: Metrics,
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) host_name: String,
    pub(crate) log: Option<AccessLog>,
    pub(crate) sources: Sources,
}

/// Runs a worker on this thread. It ends when draining has begun and its last connection is done.
pub(crate) fn run(parts: Parts) -> std::io::Result<()> {
    // Its tasks stay on this thread, and are scheduled by the runtime itself: a `LocalSet` would be a second scheduler in
    // the first, which costs on every turn.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .event_interval(TASKS_AT_A_TIME)
        .build_local(LocalOptions::default())?;
    let worker = Rc::new(Worker {
        table: parts.table,
        tls: parts.tls,
        news: parts.news,
        metrics: parts.metrics,
        recorder: Recorder::default(),
        pool: Pool::default(),
        auth: Idle::default(),
        roads: Roads::default(),
        buffers: Rc::default(),
        pipes: Pipes::default(),
        seats: http::Seats::default(),
        streams: http::Streams::default(),
        sockmap: Sockmap::default(),
        parking: Parking::new()?,
        memory: Memory::default(),
        room: RefCell::default(),
        stage: parts.stage,
        log: RefCell::new(parts.log.map(Lines::new).map(Rc::new)),
        tasks: Cell::new(0),
        host_name: parts.host_name,
        sources: parts.sources,
    });
    runtime.block_on(serve(worker, parts.commands));
    Ok(())
}

async fn serve(worker: Rc<Worker>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut sockets = std::collections::HashMap::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let parked = tokio::task::spawn_local(tend_parked(worker.clone()));
    tokio::task::spawn_local(hand_over_lines(worker.clone()));
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Open(id, socket)) => {
                    // One worker may have several sockets of one address; they are closed together.
                    let close: &watch::Sender<()> = sockets.entry(id).or_default();
                    open(&worker, socket, close.subscribe());
                }
                Some(Command::Close(id)) => { sockets.remove(&id); }
                // What the one before has gathered goes where it belongs.
                Some(Command::Log(log)) => drop(worker.log.replace(log.map(Lines::new).map(Rc::new))),
                None => break,
            },
            _ = tick.tick() => sweep(&worker),
            () = worker.told(Stage::Leaving) => break,
        }
    }
    // Sockets that were handed over at the last moment may have clients waiting, too.
    while let Ok(Command::Open(_, socket)) = commands.try_recv() {
        open(&worker, socket, watch::channel(()).1);
    }
    drop(sockets);
    deadline::nudge();
    if worker.stage() == Stage::Leaving {
        let mut all_gone = tokio::time::interval(LEAVING_LOOK);
        loop {
            tokio::select! {
                () = worker.told(Stage::Draining) => break,
                _ = tick.tick() => sweep(&worker),
                _ = all_gone.tick() => {
                    if worker.tasks.get() == 0 && worker.parking.is_empty() {
                        break;
                    }
                }
            }
        }
        deadline::nudge();
    }
    parked.abort();
    // Whoever has spoken already is served yet.
    loop {
        let heard = worker.parking.heard();
        if heard.is_empty() {
            break;
        }
        serve_again(&worker, heard);
    }
    drop(worker.parking.overdue(Moment::NEVER));
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while worker.tasks.get() > 0 {
        tick.tick().await;
    }
    worker.roads.leave().await;
}

fn sweep(worker: &Worker) {
    worker.pool.sweep(&worker.table());
    worker.roads.sweep(&worker.table());
    worker.pipes.sweep();
    worker.seats.sweep();
    worker.streams.sweep();
    worker.memory.tick(worker.buffers.sweep() + worker.parking.came());
}

/// Serves parked connections again that have something to say, and closes those that waited too long.
pub(crate) async fn tend_parked(worker: Rc<Worker>) {
    #[expect(deprecated, reason = "what it can't hold, that the descriptor stays open, the borrow does")]
    let watched = AsyncFd::with_interest(worker.parking.watched(), Interest::READABLE);
    let watched = match watched {
        Ok(watched) => watched,
        Err(error) => return tracing::error!(%error, "connections that wait can't be watched"),
    };
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            ready = watched.readable() => {
                let Ok(mut ready) = ready else { return };
                let heard = worker.parking.heard();
                if heard.is_empty() {
                    ready.clear_ready();
                }
                serve_again(&worker, heard);
            }
            _ = tick.tick() => {
                for waiting in worker.parking.overdue(Moment::now()) {
                    waiting.let_go(&worker);
                }
            }
        }
    }
}

fn serve_again(worker: &Rc<Worker>, waiting: Vec<http::Waiting>) {
    for waiting in waiting {
        spawn_counted(worker, waiting.go_on(worker.clone()));
    }
}

/// Hands the access log's lines over while they are fresh, however few they are.
async fn hand_over_lines(worker: Rc<Worker>) {
    let mut tick = tokio::time::interval(LINES_WAIT);
    loop {
        tick.tick().await;
        if let Some(log) = worker.log() {
            log.hand_over();
        }
    }
}

/// Serves a socket until the other end of `closed` is dropped.
fn open(worker: &Rc<Worker>, socket: Socket, closed: watch::Receiver<()>) {
    match socket {
        Socket::EntryPoint(listener, settings, census) => {
            let scope = worker.metrics.entry_point(&settings.name);
            let entry_point = Rc::new(EntryPoint::new(settings, scope));
            let connection = move |worker: Rc<Worker>, client: std::net::TcpStream, peer: SocketAddr| {
                let entry_point = entry_point.clone();
                // Whoever speaks for others is counted once it has said for whom.
                let speaks_for_others =
                    entry_point.settings.proxy_protocol.as_ref().is_some_and(|known| known.trusts(peer.ip()));
                let counted =
                    if speaks_for_others { census.count_anybody() } else { census.count(peer.ip()) };
                match counted {
                    Ok(counted) => {
                        let client = tcp::Client { tcp: client, peer, told_to: None, entry_point, counted };
                        Some(tcp::serve(client, worker))
                    }
                    // Closed without a word: a flood must not cost an answer each.
                    Err(reason) => {
                        worker.metrics.refused(&entry_point.settings.name, reason);
                        None
                    }
                }
            };
            spawn_counted(worker, accept::accept(listener, worker.clone(), closed, connection));
        }
        Socket::Tcp(listener, port, first) => {
            let port = Rc::new(published::Listening::new(port, first, worker));
            let connection = move |worker: Rc<Worker>, client: std::net::TcpStream, peer: SocketAddr| {
                let client = TcpStream::from_std(client).ok()?;
                match port.count(peer.ip(), &worker) {
                    Ok(counted) => {
                        Some(published::serve_tcp(client.into(), peer, counted, port.clone(), worker))
                    }
                    // Closed without a word, as at entry points.
                    Err(reason) => {
                        worker.metrics.refused(port.name(), reason);
                        None
                    }
                }
            };
            spawn_counted(worker, accept::accept(listener, worker.clone(), closed, connection));
        }
        Socket::Udp(socket, port) => {
            let front = udp::Front::published(port, worker);
            spawn_counted(worker, udp::serve(socket, front, worker.clone(), closed));
        }
        Socket::UdpEntryPoint(socket, settings) => {
            let front = udp::Front::entry_point(&settings, worker);
            spawn_counted(worker, udp::serve(socket, front, worker.clone(), closed));
        }
    }
}

/// Runs the task of a connection or a socket, counted so that draining can wait for it. Its panic ends that task alone.
pub(crate) fn spawn_counted(worker: &Rc<Worker>, task: impl Future<Output = ()> + 'static) {
    worker.tasks.set(worker.tasks.get() + 1);
    tokio::task::spawn_local(CountedTask { task, _counted: Counted(worker.clone()) });
}

struct Counted(Rc<Worker>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.tasks.set(self.0.tasks.get() - 1);
    }
}

pin_project_lite::pin_project! {
    // An async block would have room for the task twice: where it is kept, and where it runs.
    struct CountedTask<F> {
        #[pin]
        task: F,
        _counted: Counted,
    }
}

impl<F: Future<Output = ()>> Future for CountedTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.project().task.poll(context)
    }
}
