//! Passes bytes on between two connections, unread, until both sides are done.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::Worker;
use crate::deadline::{Moment, Wait};
use crate::limits::BUFFER_BYTES;
use crate::stream::{ReadHalf, Stream, WriteHalf};

/// What was passed on, and how it ended.
#[derive(Debug)]
pub(crate) struct Relayed {
    /// Bytes from the client.
    pub(crate) received: u64,
    /// Bytes to the client.
    pub(crate) sent: u64,
    /// Why it ended.
    pub(crate) end: End,
}

/// How connections came to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides were done.
    Done,
    /// The client broke off.
    ClientReset,
    /// The endpoint broke off.
    EndpointReset,
    /// Nothing moved for too long.
    Idle,
    /// One side was done, and the other said nothing more for too long.
    HalfClosed,
}

impl End {
    /// The word in metrics and in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ClientReset => "client_reset",
            Self::EndpointReset => "endpoint_reset",
            Self::Idle => "idle",
            Self::HalfClosed => "half_closed",
        }
    }
}

/// How long nothing may move.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// While both sides may speak; `None` for any time.
    pub(crate) idle: Option<Duration>,
    /// Once one of them is done; `None` for as long as before.
    pub(crate) half_closed: Option<Duration>,
}

/// Passes bytes on both ways. When one side is done sending, the other is told (half-close) and may go on; when one side
/// breaks the connection off, the other sees that too. While nothing moves, it holds no buffer.
pub(crate) async fn relay(
    client: &mut Stream,
    endpoint: &mut Stream,
    pace: Pace,
    worker: &Worker,
) -> Relayed {
    let (received, sent) = (Cell::new(0), Cell::new(0));
    let state = State {
        moved: Cell::new(Moment::now()),
        half: Cell::new(false),
        broken: Cell::new(None),
        reset: Cell::new(false),
        worker,
    };
    let end = {
        let (mut client_read, mut client_write) = client.split();
        let (mut endpoint_read, mut endpoint_write) = endpoint.split();
        let both = async {
            let (from, to) = (Side::Client, Side::Endpoint);
            let there = copy((&mut client_read, from), (&mut endpoint_write, to), &received, &state);
            let back = copy((&mut endpoint_read, to), (&mut client_write, from), &sent, &state);
            tokio::try_join!(there, back)
        };
        tokio::select! {
            biased;
            _ = both => End::Done,
            () = idled(pace, &state) => if state.half.get() { End::HalfClosed } else { End::Idle },
        }
    };
    if state.reset.get() {
        // Where the end of the connection is the end of what was said, a break must not look like one.
        client.break_off();
        endpoint.break_off();
    }
    let end = match state.broken.get() {
        None => end,
        Some(Side::Client) => End::ClientReset,
        Some(Side::Endpoint) => End::EndpointReset,
    };
    Relayed { received: received.get(), sent: sent.get(), end }
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Endpoint,
}

/// Says that a side broke off, and that there is nothing left to do.
struct Broken;

/// What both directions share.
struct State<'w> {
    /// When a byte moved last, or a side ended.
    moved: Cell<Moment>,
    /// Whether one side is done.
    half: Cell<bool>,
    /// Who broke off first.
    broken: Cell<Option<Side>>,
    /// Whether that was by a reset, and not by an end that TLS did not announce.
    reset: Cell<bool>,
    worker: &'w Worker,
}

impl State<'_> {
    /// Notes that reading from a side failed.
    fn failed(&self, side: Side, error: &io::Error) -> Broken {
        self.broken.set(self.broken.get().or(Some(side)));
        self.reset.set(self.reset.get() || error.kind() == io::ErrorKind::ConnectionReset);
        Broken
    }

    /// Notes that a side takes no more bytes. Unless it broke off, its last words may still be on their way in the other
    /// direction.
    fn deaf(&self, side: Side, error: &io::Error) {
        if error.kind() == io::ErrorKind::ConnectionReset {
            let _ = self.failed(side, error);
        }
        self.ended();
    }

    fn ended(&self) {
        self.half.set(true);
        self.moved.set(Moment::now());
    }
}

async fn copy(
    (from, source): (&mut ReadHalf<'_>, Side),
    (to, sink): (&mut WriteHalf<'_>, Side),
    count: &Cell<u64>,
    state: &State<'_>,
) -> Result<(), Broken> {
    let mut crowded = false;
    loop {
        from.readable().await.map_err(|error| state.failed(source, &error))?;
        let mut buffer =
            if crowded { state.worker.buffers.take_for_bulk() } else { state.worker.buffers.take() };
        let Some(read) = buffer.read_now(from).await else { continue };
        if read.map_err(|error| state.failed(source, &error))? == 0 {
            // It may be gone already, having said all it had to say.
            let _ = to.shutdown().await;
            state.ended();
            return Ok(());
        }
        if let Err(error) = to.write_all(buffer.filled()).await {
            state.deaf(sink, &error);
            return Ok(());
        }
        crowded = buffer.is_crowded();
        count.set(count.get() + buffer.filled().len() as u64);
        state.moved.set(Moment::now());
        drop(buffer);
        // On the heap for as long as much moves: a pair that waits is not to have room for it.
        if crowded && !Box::pin(copy_unseen((from, source), (to, sink), count, state)).await? {
            return Ok(());
        }
    }
}

/// Lets the kernel pass on what is there already, for as long as that is much. Gives whether there may be more.
async fn copy_unseen(
    (from, source): (&ReadHalf<'_>, Side),
    (to, sink): (&mut WriteHalf<'_>, Side),
    count: &Cell<u64>,
    state: &State<'_>,
) -> Result<bool, Broken> {
    let (Some(clear_source), Some(clear_sink)) = (from.in_the_clear(), to.in_the_clear()) else {
        return Ok(true);
    };
    let Some(mut pipe) = state.worker.pipes.take() else { return Ok(true) };
    while let Some(filled) = pipe.fill_now(clear_source).await {
        let filled = filled.map_err(|error| state.failed(source, &error))?;
        if filled == 0 {
            let _ = to.shutdown().await;
            state.ended();
            return Ok(false);
        }
        while pipe.held() > 0 {
            match pipe.drain(clear_sink).await {
                Ok(drained) => count.set(count.get() + drained as u64),
                Err(error) => {
                    state.deaf(sink, &error);
                    return Ok(false);
                }
            }
            state.moved.set(Moment::now());
        }
        if filled < BUFFER_BYTES {
            break;
        }
    }
    Ok(true)
}

/// Resolves when nothing moved for as long as may be; never, without a limit.
async fn idled(pace: Pace, state: &State<'_>) {
    let mut wait: Option<Wait> = None;
    poll_fn(|context| {
        loop {
            let limit = if state.half.get() { pace.half_closed.or(pace.idle) } else { pace.idle };
            let Some(limit) = limit else { return Poll::Pending };
            let deadline = state.moved.get() + limit;
            if deadline <= Moment::now() {
                return Poll::Ready(());
            }
            // One that waits too long already is not moved: it looks again when it is due.
            let due = wait.get_or_insert_with(|| Wait::until(deadline));
            due.at_most_until(deadline);
            ready!(due.poll(context));
            wait = None;
        }
    })
    .await;
}
