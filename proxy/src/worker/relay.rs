//! Passes bytes on between two connections, unread, until both sides are done.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::limits::BUFFER_BYTES;

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

/// Passes bytes on both ways. When one side is done sending, the other is told (half-close) and may go on. With `idle`,
/// it ends when nothing moved either way for that long.
pub(crate) async fn relay(
    client: &mut TcpStream,
    endpoint: &mut TcpStream,
    idle: Option<Duration>,
) -> Relayed {
    let (received, sent) = (Cell::new(0), Cell::new(0));
    let moved = Cell::new(Instant::now());
    let (mut client_read, mut client_write) = client.split();
    let (mut endpoint_read, mut endpoint_write) = endpoint.split();
    let outcome = {
        let both = async {
            tokio::try_join!(
                copy(&mut client_read, &mut endpoint_write, &received, &moved),
                copy(&mut endpoint_read, &mut client_write, &sent, &moved),
            )
        };
        tokio::select! {
            outcome = both => outcome.map(|_| ()),
            () = idled(idle, &moved) => Err(io::ErrorKind::TimedOut.into()),
        }
    };
    Relayed { received: received.get(), sent: sent.get(), error: outcome.err() }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    count: &Cell<u64>,
    moved: &Cell<Instant>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            // It may be gone already, having said all it had to say.
            let _ = to.shutdown().await;
            return Ok(());
        }
        to.write_all(&buffer[..length]).await?;
        count.set(count.get() + length as u64);
        moved.set(Instant::now());
    }
}

/// Resolves when nothing moved for `idle`; never, without a limit.
async fn idled(idle: Option<Duration>, moved: &Cell<Instant>) {
    let Some(idle) = idle else { return std::future::pending().await };
    loop {
        let deadline = moved.get() + idle;
        if deadline <= Instant::now() {
            return;
        }
        sleep_until(deadline).await;
    }
}
