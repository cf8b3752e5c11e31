//! HTTP/2 of clients (RFC 9113): one connection, many requests at a time, each passed on by the same engine as those of
//! HTTP/1.
//!
//! ```text
//! http2      one client connection: takes requests off it, gives each a task, ends it
//!  ├ wire     the connection beneath the stack; guard: what is sent that nobody asked for
//!  ├ trust    how many requests may be taken back; memory: how much they may hold
//!  └ stream   one request and its answer: routing, refusals, counts
//!     ├ request  its head, for the engine
//!     ├ body     its body
//!     ├ client   both, to an endpoint that speaks HTTP/1.1
//!     ├ answer   the endpoint's answer, for the client
//!     ├ reply    no faster than the client takes it
//!     └ websocket a stream that is a tunnel
//! ```
//!
//! Frames, header compression and flow control are the `h2` crate's, on which hyper's HTTP/2 stands as well.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;
use tokio::io::AsyncReadExt;

use super::Reason;
use super::account::Account;
use super::entry_point::EntryPoint;
use super::handshake::Secured;
use super::peer::Peer;
use crate::access_log::Agreed;
use crate::deadline::{Moment, Wait, timeout};
use crate::limits::{
    DRAIN_FIRST_REQUEST, HTTP2_CONNECTION_WINDOW, HTTP2_ERROR_RESETS_MAX, HTTP2_LINGER_BYTES,
    HTTP2_SEND_BUFFER, HTTP2_STREAM_WINDOW, HTTP2_STREAMS_MAX, LINGER,
};
use crate::metrics::Version;
use crate::worker::{self, Buffer, Worker, spawn_counted};

mod altered;
mod answer;
mod body;
mod client;
mod grpc;
mod guard;
mod memory;
mod reply;
pub(super) mod request;
mod stream;
mod trust;
mod websocket;
mod wire;

pub(super) use grpc::is_spoken as grpc_is_spoken;
use memory::Memory;
use trust::Trust;
pub(super) use websocket::accept as websocket_accept;
pub(super) use wire::Wire;

/// Whom a connection is with, and where it was taken.
pub(super) struct Party {
    pub(super) peer: Peer,
    /// By what it is safe, unless it is in the clear.
    pub(super) secured: Option<Box<Secured>>,
    pub(super) entry_point: Rc<EntryPoint>,
    pub(super) worker: Rc<Worker>,
}

/// What all streams of a connection work with.
struct Shared {
    peer: Peer,
    secured: Option<Box<Secured>>,
    entry_point: Rc<EntryPoint>,
    worker: Rc<Worker>,
    /// What was agreed on for TLS, where there is a log to say so.
    agreed: Option<Agreed>,
    trust: RefCell<Trust>,
    memory: Rc<Memory>,
    /// Requests that are not done.
    open: Cell<u32>,
    /// Requests whose body was announced and has not begun.
    unfinished: Cell<u32>,
    /// Set when the client took back more than it may.
    distrusted: Cell<bool>,
    /// Whoever drives the connection.
    driver: RefCell<Option<Waker>>,
}

impl Shared {
    fn account(&self) -> Account<'_> {
        Account {
            entry_point: &self.entry_point,
            peer: self.peer.address(),
            agreed: self.agreed.clone(),
            version: Version::Http2,
            worker: &self.worker,
        }
    }

    fn completed(&self) {
        self.trust.borrow_mut().completed();
    }

    /// A request was taken back. Who has seen the head of an answer has been answered.
    fn taken_back(&self, waited: Duration, answered: bool) {
        if !answered && !self.trust.borrow_mut().taken_back(waited) {
            self.distrusted.set(true);
        }
    }

    fn allows_unfinished(&self) -> bool {
        self.trust.borrow().allows_unfinished(self.unfinished.get().saturating_sub(1))
    }

    fn begin_unfinished(self: &Rc<Self>) -> Unfinished {
        self.unfinished.set(self.unfinished.get() + 1);
        Unfinished(self.clone())
    }

    fn wake_driver(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }
}

/// Counts a request as unfinished.
struct Unfinished(Rc<Shared>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.unfinished.set(self.0.unfinished.get() - 1);
    }
}

/// What requests are served in.
pub(crate) type Streams = worker::Seats<(Open, Request<RecvStream>, SendResponse<Bytes>), ()>;

/// A request in progress, counted as such.
pub(crate) struct Open(
    Rc<Shared>,
    #[expect(dead_code, reason = "it counts for as long as it is there")] memory::Held,
);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.wake_driver();
    }
}

/// Serves a client for as long as it stays. `early` holds what it sent so far, from the first byte of its preface on.
pub(super) async fn serve(client: crate::stream::Stream, early: Buffer, party: Party) {
    let Party { peer, secured, entry_point, worker } = party;
    let agreed = worker.is_logging().then(|| client.agreed()).flatten();
    let wire = Wire::new(client, early, &worker.buffers);
    let shared = Rc::new(Shared {
        peer,
        secured,
        entry_point,
        worker,
        agreed,
        trust: RefCell::default(),
        memory: Rc::default(),
        open: Cell::new(0),
        unfinished: Cell::new(0),
        distrusted: Cell::new(false),
        driver: RefCell::default(),
    });
    let refused = match timeout(shared.entry_point.limits.head, shake_hands(&wire, &shared)).await {
        Ok(Ok(connection)) => drive(connection, &wire, &shared).await,
        Ok(Err(_)) => Some((Reason::BadFrame, "no preface")),
        Err(_) => Some((Reason::HeadTimeout, "no preface in time")),
    };
    if let Some((reason, detail)) = refused {
        tracing::debug!(
            reason = reason.as_str(), detail, client = %shared.peer.address(),
            entry_point = shared.entry_point.settings.name, "connection ended"
        );
        shared.account().refused(reason);
        linger(wire).await;
    }
}

async fn shake_hands(wire: &Wire, shared: &Shared) -> Result<Connection<Wire, Bytes>, h2::Error> {
    let limits = &shared.entry_point.limits;
    let streams_max = shared.entry_point.settings.limits.http2_streams_max;
    let mut builder = Builder::new();
    if let Some(bytes) = shared.entry_point.settings.limits.http2_header_table_max {
        builder.header_table_size(bytes);
    }
    let handshake = builder
        .enable_connect_protocol()
        .max_concurrent_streams(streams_max.unwrap_or(HTTP2_STREAMS_MAX))
        .initial_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_send_buffer_size(HTTP2_SEND_BUFFER)
        .max_local_error_reset_streams(Some(HTTP2_ERROR_RESETS_MAX))
        .handshake(wire.clone());
    let mut handshake = pin!(handshake);
    poll_fn(|context| {
        let shaken = handshake.as_mut().poll(context);
        let _ = wire.poll_send(context);
        shaken
    })
    .await
}

/// What happens next on a connection.
#[allow(clippy::large_enum_variant)] // it lives on the stack, and for a moment
enum Event {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    /// It is over; by the fault of the client where there is one.
    Over(Option<(Reason, &'static str)>),
}

/// Takes requests until the connection is over. Gives why the client was sent away, if it was.
async fn drive(
    mut connection: Connection<Wire, Bytes>,
    wire: &Wire,
    shared: &Rc<Shared>,
) -> Option<(Reason, &'static str)> {
    let mut driver = Driver {
        wire,
        shared,
        drained: pin!(shared.worker.left()),
        timer: Wait::until(Moment::now() + shared.entry_point.limits.idle),
        due: Moment::now() + shared.entry_point.limits.idle,
        leaving: None,
        farewell: None,
        refused: 0,
    };
    loop {
        match poll_fn(|context| driver.poll(&mut connection, context)).await {
            Event::Request(request, respond) => driver.take(&mut connection, request, respond),
            Event::Over(fault) => return fault,
        }
    }
}

struct Driver<'a, D> {
    wire: &'a Wire,
    shared: &'a Rc<Shared>,
    drained: Pin<&'a mut D>,
    timer: Wait,
    /// When that is over.
    due: Moment,
    /// Since when the client is asked to leave.
    leaving: Option<Moment>,
    /// Why it was sent away, once it was.
    farewell: Option<(Reason, &'static str)>,
    /// Requests that were not taken because of that.
    refused: u32,
}

impl<D: Future<Output = ()>> Driver<'_, D> {
    fn poll(&mut self, connection: &mut Connection<Wire, Bytes>, context: &mut Context<'_>) -> Poll<Event> {
        loop {
            match connection.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    return Poll::Ready(Event::Request(request, respond));
                }
                Poll::Ready(Some(Err(error))) => {
                    let fault = self.farewell.or_else(|| fault(&error));
                    return Poll::Ready(Event::Over(fault));
                }
                Poll::Ready(None) => return Poll::Ready(Event::Over(self.farewell)),
                Poll::Pending => {}
            }
            if let Poll::Ready(Err(_)) = self.wire.poll_send(context) {
                return Poll::Ready(Event::Over(self.farewell));
            }
            // What is found here may give the stack something to say; then it is asked again.
            if !(self.judge(connection) || self.look_at_the_clock(connection, context)) {
                break;
            }
        }
        let mut waker = self.shared.driver.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Gives a request a task of its own.
    fn take(
        &mut self,
        connection: &mut Connection<Wire, Bytes>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) {
        if self.shared.distrusted.get() {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            self.refused += 1;
            if self.refused > HTTP2_STREAMS_MAX {
                connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
            }
            return;
        }
        if self.shared.memory.is_full() {
            // It was not looked at, and may be asked again (RFC 9113 §8.7).
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            self.shared.account().refused(Reason::ConnectionMemory);
            return;
        }
        self.shared.open.set(self.shared.open.get() + 1);
        // It is there twice: as it came, and as it is sent on.
        let head: usize =
            request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let open = Open(self.shared.clone(), self.shared.memory.hold(head * 2));
        let worker = self.shared.worker.clone();
        spawn_counted(&self.shared.worker, async move {
            worker.streams.serve((open, request, respond), stream::serve).await;
        });
    }

    /// Sends the client away if there is a reason. Gives whether there is news for the stack.
    fn judge(&mut self, connection: &mut Connection<Wire, Bytes>) -> bool {
        if self.farewell.is_none() {
            if let Some(excess) = self.wire.excess() {
                self.farewell = Some((Reason::FrameFlood, excess.as_str()));
                connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                return true;
            }
            if self.shared.distrusted.get() && self.shared.open.get() == 0 {
                // Those that were asked in earnest have been answered.
                self.farewell = Some((Reason::ResetFlood, "requests taken back"));
                connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                return true;
            }
        }
        false
    }

    /// Ends the connection when its time is up. Gives whether there is news for the stack.
    fn look_at_the_clock(
        &mut self,
        connection: &mut Connection<Wire, Bytes>,
        context: &mut Context<'_>,
    ) -> bool {
        if self.leaving.is_none() && self.drained.as_mut().poll(context).is_ready() {
            self.leave(connection);
            return true;
        }
        let limits = &self.shared.entry_point.limits;
        let is_idle = self.shared.open.get() == 0;
        let deadline = match (self.wire.block_since(), self.leaving) {
            (Some(since), _) => since + limits.head,
            (None, Some(since)) if is_idle => since.max(self.wire.heard()) + DRAIN_FIRST_REQUEST,
            (None, None) if is_idle => self.wire.heard() + limits.idle,
            // Whoever has a request in progress waits for its answer.
            _ => Moment::NEVER,
        };
        if deadline < self.due {
            (self.due, self.timer) = (deadline, Wait::until(deadline));
        }
        if self.timer.poll(context).is_pending() {
            return false;
        }
        if deadline > Moment::now() {
            // It was set for what is over by now.
            (self.due, self.timer) = (deadline, Wait::until(deadline));
            return true;
        }
        if self.wire.block_since().is_some() {
            self.farewell = Some((Reason::HeadTimeout, "unfinished fields"));
            connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
        } else if self.leaving.is_none() {
            self.leave(connection);
            self.shared.account().refused(Reason::ClientIdle);
        } else {
            connection.abrupt_shutdown(h2::Reason::NO_ERROR);
        }
        self.due = Moment::now() + DRAIN_FIRST_REQUEST;
        self.timer = Wait::until(self.due);
        true
    }

    /// Asks the client to take no further requests here; those in progress are finished.
    fn leave(&mut self, connection: &mut Connection<Wire, Bytes>) {
        self.leaving = Some(Moment::now());
        connection.graceful_shutdown();
    }
}

/// Whose fault the end of a connection is, if anybody's.
fn fault(error: &h2::Error) -> Option<(Reason, &'static str)> {
    if error.is_io() || error.is_remote() {
        return None;
    }
    match error.reason() {
        None | Some(h2::Reason::NO_ERROR) => None,
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Some((Reason::ResetFlood, "too much of one kind")),
        Some(_) => Some((Reason::BadFrame, "a frame against the rules")),
    }
}

/// Reads and drops what the client still sends, for a moment and not without end: closing a socket with unread bytes
/// resets it, and the reset can overtake the GOAWAY.
async fn linger(wire: Wire) {
    let Some(mut client) = wire.into_stream() else { return };
    let mut scrap = vec![0; 16 * 1024];
    let mut left = HTTP2_LINGER_BYTES;
    let drop_all = async {
        while let Ok(count @ 1..) = client.read(&mut scrap).await {
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(LINGER, drop_all).await;
}
