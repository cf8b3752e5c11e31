//! One connection to an endpoint by HTTP/2: begun, driven, asked whether it lives, ended. Frames are the `h2` crate's.
//!
//! It ends when its endpoint says so or is silent for too long, and once it is let go of and its last stream is over.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{future::Future, future::poll_fn};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::net::TcpStream;

use super::{Lane, Need};
use crate::deadline::{Moment, Wait, timeout_at};
use crate::http::Reason;
use crate::http::http2::Wire;
use crate::limits::{HEAD_BYTES_MAX, HTTP2_ENDPOINT_STREAMS_MAX, HTTP2_SEND_BUFFER, HTTP2_STREAM_WINDOW};
use crate::stream::Stream;
use crate::table::Target;
use crate::worker::Buffers;

/// A connection, as requests find it.
pub(in crate::http) struct Road {
    requests: SendRequest<Bytes>,
    wire: Wire,
    state: Rc<State>,
    buffers: Rc<Buffers>,
    secure: bool,
    /// How long it may have nothing to do.
    idle_max: Duration,
}

/// What its streams, its driver and those who look for it share.
pub(super) struct State {
    /// Streams at present.
    open: Cell<usize>,
    /// Since when there are none.
    idle_since: Cell<Moment>,
    /// It is over.
    over: Cell<bool>,
    /// A stream was refused because it is not for HTTP/2.
    wants_http1: Cell<bool>,
}

impl State {
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }
}

/// One of its streams, counted.
pub(super) struct Ticket(Rc<State>);

impl Ticket {
    /// The endpoint wants to be spoken to in HTTP/1.1.
    pub(super) fn wants_http1(&self) {
        self.0.wants_http1.set(true);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let open = self.0.open.get() - 1;
        self.0.open.set(open);
        if open == 0 {
            self.0.idle_since.set(Moment::now());
        }
    }
}

impl Road {
    /// Begins to speak HTTP/2 on a new connection. Done when the endpoint has said what it takes, or by the deadline.
    pub(in crate::http) async fn begin(
        stream: Stream,
        target: &Target,
        deadline: Moment,
        buffers: &Rc<Buffers>,
    ) -> Result<Self, Reason> {
        let secure = stream.is_secure();
        let wire = Wire::to_endpoint(stream, buffers);
        let streams = HTTP2_ENDPOINT_STREAMS_MAX;
        let handshake = Builder::new()
            .enable_push(false)
            // None before the endpoint has said how many it takes.
            .initial_max_send_streams(0)
            .initial_window_size(HTTP2_STREAM_WINDOW)
            // Of which no stream can take the others' part.
            .initial_connection_window_size(HTTP2_STREAM_WINDOW * streams as u32)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .max_send_buffer_size(HTTP2_SEND_BUFFER)
            .handshake(wire.clone());
        let begun = timeout_at(deadline, Box::pin(settle(handshake, &wire))).await;
        let (requests, connection) = match begun {
            Ok(Ok(begun)) => begun,
            Ok(Err(error)) => {
                tracing::debug!(%error, endpoint = target.endpoint, "the endpoint speaks no HTTP/2");
                return Err(Reason::BadResponse);
            }
            Err(_) => return Err(Reason::ConnectTimeout),
        };
        let state = Rc::new(State {
            open: Cell::new(0),
            idle_since: Cell::new(Moment::now()),
            over: Cell::new(false),
            wants_http1: Cell::new(false),
        });
        let reach = target.reach;
        tokio::task::spawn_local(Box::pin(drive(
            connection,
            wire.clone(),
            state.clone(),
            (reach.ping_after, reach.pong_within),
        )));
        let (buffers, idle_max) = (buffers.clone(), reach.pool_idle);
        Ok(Self { requests, wire, state, buffers, secure, idle_max })
    }

    /// A stream for one request. There must be [room](Self::has_room).
    pub(super) fn lane(&self) -> Lane {
        self.state.open.set(self.state.open.get() + 1);
        Lane::new(self.requests.clone(), Ticket(self.state.clone()), self.secure, &self.buffers)
    }

    /// Whether it takes further requests, as far as the runtime knows.
    pub(super) fn is_alive(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        !self.state.over.get() && !matches!(self.requests.poll_ready(&mut context), Poll::Ready(Err(_)))
    }

    /// The same, as far as the kernel knows. What has been received and not read yet may end it as well; then what is
    /// sent now is said not to have been looked at.
    pub(super) fn is_heard_of(&self) -> bool {
        self.wire.with_tcp(|tcp: &TcpStream| {
            let peeked = recv(tcp, &mut [0_u8], RecvFlags::PEEK | RecvFlags::DONTWAIT);
            matches!(peeked, Err(Errno::AGAIN) | Ok((_, 1..)))
        }) == Some(true)
    }

    /// Whether one more stream can be opened.
    pub(super) fn has_room(&self) -> bool {
        let most = self.requests.current_max_send_streams().min(HTTP2_ENDPOINT_STREAMS_MAX);
        self.state.open.get() < most
    }

    /// Whether it has what is needed.
    pub(super) fn has(&self, need: Need) -> bool {
        need == Need::Answer || self.requests.is_extended_connect_protocol_enabled()
    }

    pub(super) fn wants_http1(&self) -> bool {
        self.state.wants_http1.get()
    }

    /// Lets go of it. Gives what tells when it is over.
    pub(super) fn leave(self) -> Rc<State> {
        self.state
    }

    /// Whether it has had nothing to do for too long.
    pub(super) fn is_idle_at(&self, now: Moment) -> bool {
        self.state.open.get() == 0 && self.state.idle_since.get() + self.idle_max <= now
    }
}

type Begun = (SendRequest<Bytes>, Connection<Wire, Bytes>);

/// Exchanges settings.
async fn settle(
    handshake: impl Future<Output = Result<Begun, h2::Error>>,
    wire: &Wire,
) -> Result<Begun, h2::Error> {
    let mut handshake = pin!(handshake);
    let (requests, mut connection) = poll_fn(|context| {
        let shaken = handshake.as_mut().poll(context);
        let _ = wire.poll_send(context);
        shaken
    })
    .await?;
    poll_fn(|context| {
        let ended = Pin::new(&mut connection).poll(context);
        let _ = wire.poll_send(context);
        match ended {
            Poll::Ready(ended) => Poll::Ready(ended.and(Err(h2::Reason::PROTOCOL_ERROR.into()))),
            Poll::Pending if connection.max_concurrent_send_streams() == 0 => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(())),
        }
    })
    .await?;
    Ok((requests, connection))
}

/// Moves frames until the connection is over.
async fn drive(
    mut connection: Connection<Wire, Bytes>,
    wire: Wire,
    state: Rc<State>,
    (ping_after, pong_within): (Option<Duration>, Duration),
) {
    let mut health =
        ping_after.zip(connection.ping_pong()).map(|(after, pings)| Health::new(pings, after, pong_within));
    let ended = poll_fn(|context| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(ended.map_err(|error| error.to_string()));
            }
            if let Poll::Ready(Err(error)) = wire.poll_send(context) {
                return Poll::Ready(Err(error.to_string()));
            }
            match health.as_mut().map(|health| health.look(wire.heard(), context)) {
                None | Some(Pulse::Fine) => return Poll::Pending,
                Some(Pulse::Asked) => {}
                Some(Pulse::Dead) => return Poll::Ready(Err("no answer to a ping".to_owned())),
            }
        }
    })
    .await;
    // Before its streams hear of it: none of them is to find it.
    state.over.set(true);
    drop(connection);
    if let Err(error) = ended {
        tracing::debug!(error, "a connection by HTTP/2 to an endpoint ended");
    }
    // What is said last leaves if the kernel takes it.
    let _ = poll_fn(|context| Poll::Ready(wire.poll_send(context))).await;
}

/// Asks an endpoint that is silent whether it is there (RFC 9113 §6.7).
struct Health {
    pings: PingPong,
    ping_after: Duration,
    pong_within: Duration,
    /// When it was asked, unless it has said something since.
    asked: Option<Moment>,
    timer: Wait,
    due: Moment,
}

enum Pulse {
    Fine,
    /// There is something to be sent.
    Asked,
    Dead,
}

impl Health {
    fn new(pings: PingPong, ping_after: Duration, pong_within: Duration) -> Self {
        let due = Moment::now() + ping_after;
        Self { pings, ping_after, pong_within, asked: None, timer: Wait::until(due), due }
    }

    fn look(&mut self, heard: Moment, context: &mut Context<'_>) -> Pulse {
        if self.asked.is_some_and(|asked| heard > asked) {
            self.asked = None;
        }
        // Whatever it says is a sign of life, and within one moment the answer itself is.
        if self.pings.poll_pong(context).is_ready() {
            self.asked = None;
        }
        loop {
            let deadline = match self.asked {
                Some(asked) => asked + self.pong_within,
                None => heard + self.ping_after,
            };
            if deadline < self.due {
                (self.due, self.timer) = (deadline, Wait::until(deadline));
            }
            if self.timer.poll(context).is_pending() {
                return Pulse::Fine;
            }
            let now = Moment::now();
            if deadline > now {
                // It was set for what is over by now.
                (self.due, self.timer) = (deadline, Wait::until(deadline));
                continue;
            }
            if self.asked.is_some() {
                return Pulse::Dead;
            }
            self.asked = Some(now);
            self.due = now + self.pong_within;
            self.timer = Wait::until(self.due);
            // One that is still on its way does as well.
            let _ = self.pings.send_ping(Ping::opaque());
            return Pulse::Asked;
        }
    }
}
