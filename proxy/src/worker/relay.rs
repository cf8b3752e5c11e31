//! Passes bytes on between two connections, unread, until both sides are done.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::Worker;
use crate::deadline::{Moment, sleep_until};
use crate::limits::BUFFER_BYTES;
use crate::stream::{ReadHalf, Stream, WriteHalf};

/// What was passed on, and how it ended.
#[derive(Debug)]
pub(crate) struct Relayed {
    /// Bytes from the client.
    pub(crate) received: u64,
    /// Bytes to the client.
    pub(crate) sent: u64,
    /// Why it ended, unless both sides were done.
    pub(crate) error: Option<io::Error>,
}

/// Passes bytes on both ways. When one side is done sending, the other is told (half-close) and may go on; when one side
/// breaks the connection off, the other sees that too. With `idle`, it ends when nothing moved either way for that
/// long. While nothing moves, it holds no buffer.
pub(crate) async fn relay(
    client: &mut Stream,
    endpoint: &mut Stream,
    idle: Option<Duration>,
    worker: &Worker,
) -> Relayed {
    let (received, sent) = (Cell::new(0), Cell::new(0));
    let state = State { moved: Cell::new(Moment::now()), reset: Cell::new(false), worker };
    let outcome = {
        let (mut client_read, mut client_write) = client.split();
        let (mut endpoint_read, mut endpoint_write) = endpoint.split();
        let both = async {
            tokio::try_join!(
                copy(&mut client_read, &mut endpoint_write, &received, &state),
                copy(&mut endpoint_read, &mut client_write, &sent, &state),
            )
        };
        tokio::select! {
            outcome = both => outcome.map(|_| ()),
            () = idled(idle, &state.moved) => Err(io::ErrorKind::TimedOut.into()),
        }
    };
    if state.reset.get() {
        // Where the end of the connection is the end of what was said, a break must not look like one.
        client.break_off();
        endpoint.break_off();
    }
    Relayed { received: received.get(), sent: sent.get(), error: outcome.err() }
}

/// What both directions share.
struct State<'w> {
    /// When a byte moved last.
    moved: Cell<Moment>,
    /// Whether one side broke off.
    reset: Cell<bool>,
    worker: &'w Worker,
}

impl State<'_> {
    fn failed(&self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::ConnectionReset {
            self.reset.set(true);
        }
        error
    }
}

async fn copy(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    count: &Cell<u64>,
    state: &State<'_>,
) -> io::Result<()> {
    let mut crowded = false;
    loop {
        from.readable().await?;
        let mut buffer =
            if crowded { state.worker.buffers.take_for_bulk() } else { state.worker.buffers.take() };
        let Some(read) = buffer.read_now(from).await else { continue };
        if read.map_err(|error| state.failed(error))? == 0 {
            // It may be gone already, having said all it had to say.
            let _ = to.shutdown().await;
            return Ok(());
        }
        if let Err(error) = to.write_all(buffer.filled()).await {
            // It listens no longer; its last words may still be on their way in the other direction.
            state.failed(error);
            return Ok(());
        }
        crowded = buffer.is_crowded();
        count.set(count.get() + buffer.filled().len() as u64);
        state.moved.set(Moment::now());
        drop(buffer);
        if crowded && !copy_unseen(from, to, count, state).await? {
            return Ok(());
        }
    }
}

/// Lets the kernel pass on what is there already, for as long as that is much. Gives whether there may be more.
async fn copy_unseen(
    from: &ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    count: &Cell<u64>,
    state: &State<'_>,
) -> io::Result<bool> {
    let (Some(source), Some(sink)) = (from.in_the_clear(), to.in_the_clear()) else { return Ok(true) };
    let Some(mut pipe) = state.worker.pipes.take() else { return Ok(true) };
    while let Some(filled) = pipe.fill_now(source).await {
        let filled = filled.map_err(|error| state.failed(error))?;
        if filled == 0 {
            let _ = to.shutdown().await;
            return Ok(false);
        }
        while pipe.held() > 0 {
            match pipe.drain(sink).await {
                Ok(drained) => count.set(count.get() + drained as u64),
                Err(error) => {
                    state.failed(error);
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

/// Resolves when nothing moved for `idle`; never, without a limit.
async fn idled(idle: Option<Duration>, moved: &Cell<Moment>) {
    let Some(idle) = idle else { return std::future::pending().await };
    loop {
        let deadline = moved.get() + idle;
        if deadline <= Moment::now() {
            return;
        }
        sleep_until(deadline).await;
    }
}
