//! Connections: messages after their length (RFC 1035 §4.2.2), many on one connection, answered in their order
//! (RFC 7766 §6.2.1.1 lets us).
//!
//! Every wait has a deadline: whoever has not sent a whole query [`IDLE`] after the last was answered is let go, as is
//! whoever does not take an answer in that time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, warn};

use super::seats::{Seat, Seats};
use super::tls::Handshakes;
use super::{Context, Elsewhere, Verdict};
use crate::answer::Transport;
use crate::forward::Given;

/// Connections at once, from all clients.
const MAX_CONNECTIONS: usize = 256;
/// How long a connection may be without a whole query, and an answer without being taken.
const IDLE: Duration = Duration::from_secs(10);
/// Bytes of answers that are gathered before they are sent: what pipelined queries may cost in memory.
const MAX_GATHERED: usize = 64 * 1024;
/// Bytes to read at once. A query is far smaller; what is longer is read in several turns.
const CHUNK: usize = 4096;
/// How long to wait when the system has no connection to give, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections of one server.
#[derive(Debug)]
pub(super) struct Connections {
    context: Context,
    seats: Seats,
    running: JoinSet<()>,
    /// When the clock of the seats began.
    epoch: Instant,
}

impl Connections {
    pub(super) fn new(context: Context) -> Self {
        let seats = Seats::new(MAX_CONNECTIONS);
        Self { context, seats, running: JoinSet::new(), epoch: Instant::now() }
    }

    /// Accepts connections, for as long as it is polled; over TLS where there are handshakes.
    pub(super) async fn accept(&mut self, listener: &TcpListener, handshakes: Option<&Handshakes>) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer.ip(), handshakes),
                Err(error) => {
                    warn!(%error, "accepting a DNS connection failed");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Lets every connection finish what it is answering, for at most `grace`.
    pub(super) async fn finish(mut self, grace: Duration) {
        self.seats.close();
        let _ = timeout(grace, async { while self.running.join_next().await.is_some() {} }).await;
    }

    fn admit(&mut self, stream: TcpStream, client: IpAddr, handshakes: Option<&Handshakes>) {
        while let Some(ended) = self.running.try_join_next() {
            if ended.is_err() {
                self.context.metrics.dropped(); // it panicked, and took nobody with it
            }
        }
        let Some(seat) = self.seats.take(millis(self.epoch)) else {
            self.context.metrics.dropped();
            return;
        };
        let (context, epoch) = (self.context.clone(), self.epoch);
        let _ = stream.set_nodelay(true);
        match handshakes.cloned() {
            None => {
                let transport = Transport::Tcp;
                let conversation = Conversation { stream, transport, client, seat, context, epoch };
                self.running.spawn(conversation.run());
            }
            Some(handshakes) => {
                self.running.spawn(async move {
                    let Some(stream) = handshakes.take(stream).await else {
                        return context.metrics.dropped();
                    };
                    let transport = Transport::Tls;
                    Conversation { stream, transport, client, seat, context, epoch }.run().await;
                });
            }
        }
    }
}

struct Conversation<S> {
    stream: S,
    transport: Transport,
    client: IpAddr,
    seat: Arc<Seat>,
    context: Context,
    epoch: Instant,
}

/// Why a conversation ends, where the client did not end it.
#[derive(Debug)]
enum Ended {
    /// What was sent is no query; the rest can't be trusted to be framed either.
    NoQuery,
    /// The client is gone, or too slow.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    async fn run(mut self) {
        if let Err(Ended::NoQuery) = self.converse().await {
            self.context.metrics.dropped();
            debug!("closed a DNS connection that sent no query");
        }
    }

    async fn converse(&mut self) -> Result<(), Ended> {
        let mut inbox = Vec::new();
        let mut replies = Vec::new();
        loop {
            let deadline = Instant::now() + IDLE;
            self.seat.idle(millis(self.epoch));
            while first_message(&inbox).is_none() {
                inbox.reserve(CHUNK);
                let read = tokio::select! {
                    read = timeout_at(deadline, self.stream.read_buf(&mut inbox)) => read,
                    () = self.seat.asked_to_leave() => return Ok(()),
                };
                match read {
                    Ok(Ok(0)) => return Ok(()),
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => return Err(Ended::Gone),
                }
            }
            self.seat.busy();
            self.answer_all(&mut inbox, &mut replies).await?;
        }
    }

    /// Answers every whole message in `inbox`, and leaves what follows the last.
    async fn answer_all(&mut self, inbox: &mut Vec<u8>, replies: &mut Vec<u8>) -> Result<(), Ended> {
        let mut read = 0;
        let mut understood = true;
        while let Some(query) = first_message(&inbox[read..]).filter(|_| understood) {
            read += 2 + query.len();
            understood = self.answer(query, replies).await;
            if replies.len() >= MAX_GATHERED {
                self.send(replies).await?;
            }
        }
        self.send(replies).await?;
        inbox.drain(..read);
        if understood { Ok(()) } else { Err(Ended::NoQuery) }
    }

    /// Appends the answer, after its length. `false` where the query deserves none.
    async fn answer(&self, query: &[u8], replies: &mut Vec<u8>) -> bool {
        let begun = std::time::Instant::now();
        let start = replies.len();
        replies.extend_from_slice(&[0; 2]);
        let verdict = self.context.moment().answer(query, self.transport, self.client, replies);
        match verdict {
            Verdict::Silence => {
                replies.truncate(start);
                return false;
            }
            Verdict::Answered(outcome) => {
                self.context.metrics.answered(self.transport, outcome, begun.elapsed());
            }
            Verdict::Elsewhere(elsewhere) => {
                let given = self.ask(elsewhere).await;
                let reply = self.context.relay(query, self.transport, self.client, begun, &given);
                replies.extend_from_slice(&reply);
            }
        }
        let length = (replies.len() - start - 2) as u16; // the writer keeps to 65535
        replies[start..start + 2].copy_from_slice(&length.to_be_bytes());
        true
    }

    /// Asks others, and waits for their answer no longer than a client would.
    async fn ask(&self, elsewhere: Elsewhere) -> Given {
        let Some(forward) = &self.context.forward else { return Given::Nothing };
        let (back, given) = oneshot::channel();
        let back = move |given| drop(back.send(given));
        forward.ask(elsewhere.asked, &elsewhere.written, elsewhere.stale, Box::new(back));
        timeout(IDLE, given).await.map_or(Given::Nothing, |given| given.unwrap_or(Given::Nothing))
    }

    async fn send(&mut self, replies: &mut Vec<u8>) -> Result<(), Ended> {
        let sent = timeout(IDLE, async {
            self.stream.write_all(replies).await?;
            self.stream.flush().await
        });
        let sent = sent.await;
        replies.clear();
        replies.shrink_to(MAX_GATHERED);
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(Ended::Gone) }
    }
}

/// The first message, if all of it is there.
fn first_message(inbox: &[u8]) -> Option<&[u8]> {
    let (length, rest) = inbox.split_at_checked(2)?;
    rest.get(..usize::from(u16::from_be_bytes([length[0], length[1]])))
}

fn millis(epoch: Instant) -> u64 {
    epoch.elapsed().as_millis() as u64
}
