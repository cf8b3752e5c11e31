//! Connections: messages after their length (RFC 1035 §4.2.2), many on one connection. What is known here is answered
//! in the order of the queries; what others are asked for comes when it is there, and holds nobody up (RFC 7766 §7).
//!
//! Every wait has a deadline: whoever has not sent a whole query [`IDLE`] after the last was answered is let go, as is
//! whoever does not take an answer in that time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info, warn};

use super::seats::{Seat, Seats};
use super::tls::Handshakes;
use super::{Asking, Context, Verdict};
use crate::answer::Transport;
use crate::request::Request;
use crate::transfer::{Transfer, Wish};

/// Connections at once, from all clients.
pub(super) const MAX_CONNECTIONS: usize = 256;
/// Queries of one connection that others are asked for at once; no more are read meanwhile.
const ASKED_MAX: usize = 64;
/// How long a connection may be without a whole query, and an answer without being taken.
pub(super) const IDLE: Duration = Duration::from_secs(10);
/// Bytes of answers that are gathered before they are sent: what pipelined queries may cost in memory.
const MAX_GATHERED: usize = 64 * 1024;
/// Bytes to read at once. A query is far smaller; what is longer is read in several turns.
const CHUNK: usize = 4096;
/// How long to wait when the system has no connection to give, such as for want of descriptors.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

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
                self.context.metrics.panicked(); // and took nobody with it
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
        // What others were asked for on the way.
        let mut asked: JoinSet<Vec<u8>> = JoinSet::new();
        loop {
            let deadline = Instant::now() + IDLE;
            if asked.is_empty() {
                self.seat.idle(millis(self.epoch));
            }
            while first_message(&inbox).is_none() || asked.len() >= ASKED_MAX {
                inbox.reserve(CHUNK);
                let read = tokio::select! {
                    biased;
                    Some(reply) = asked.join_next() => {
                        if let Ok(reply) = reply {
                            append(&mut replies, &reply);
                            self.send(&mut replies).await?;
                        }
                        continue;
                    }
                    read = timeout_at(deadline, self.stream.read_buf(&mut inbox)), if asked.len() < ASKED_MAX => read,
                    () = self.seat.asked_to_leave(), if asked.is_empty() => return Ok(()),
                };
                match read {
                    // Who has said all may still wait for what was asked.
                    Ok(Ok(0)) if !asked.is_empty() => return self.see_off(asked).await,
                    Ok(Ok(0)) => return Ok(()),
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => return Err(Ended::Gone),
                }
            }
            self.seat.busy();
            self.answer_all(&mut inbox, &mut replies, &mut asked).await?;
        }
    }

    /// Sends what others are still asked for.
    async fn see_off(&mut self, mut asked: JoinSet<Vec<u8>>) -> Result<(), Ended> {
        let mut replies = Vec::new();
        while let Some(reply) = asked.join_next().await {
            if let Ok(reply) = reply {
                append(&mut replies, &reply);
                self.send(&mut replies).await?;
            }
        }
        Ok(())
    }

    /// Answers every whole message in `inbox`, and leaves what follows the last.
    async fn answer_all(
        &mut self,
        inbox: &mut Vec<u8>,
        replies: &mut Vec<u8>,
        asked: &mut JoinSet<Vec<u8>>,
    ) -> Result<(), Ended> {
        let mut read = 0;
        let mut understood = true;
        while asked.len() < ASKED_MAX
            && let Some(query) = first_message(&inbox[read..]).filter(|_| understood)
        {
            read += 2 + query.len();
            understood = match self.transfer(query, replies).await {
                Some(sent) => sent.map(|()| true)?,
                None => self.answer(query, replies, asked),
            };
            if replies.len() >= MAX_GATHERED {
                self.send(replies).await?;
            }
        }
        self.send(replies).await?;
        inbox.drain(..read);
        if understood { Ok(()) } else { Err(Ended::NoQuery) }
    }

    /// Appends the answer, after its length, or has others asked. `false` where the query deserves none.
    fn answer(&self, query: &[u8], replies: &mut Vec<u8>, asked: &mut JoinSet<Vec<u8>>) -> bool {
        let begun = std::time::Instant::now();
        let asking = Asking { transport: self.transport, client: self.client, begun };
        let start = replies.len();
        replies.extend_from_slice(&[0; 2]);
        let verdict = self.context.moment().answer(query, self.transport, self.client, replies);
        match verdict {
            Verdict::Silence => {
                replies.truncate(start);
                return false;
            }
            Verdict::Answered(outcome) => {
                self.context.answered(query, &replies[start + 2..], asking, outcome);
                close(replies, start);
            }
            Verdict::Elsewhere(elsewhere) => {
                replies.truncate(start);
                let (context, query) = (self.context.clone(), query.to_vec());
                asked.spawn(async move {
                    let given = context.ask(elsewhere).await;
                    context.relay(&query, asking, &given)
                });
            }
        }
        true
    }

    /// Gives all of a zone at once, where that is asked for and allowed; `None` where it is not, and the query is
    /// answered like any other.
    async fn transfer(&mut self, query: &[u8], replies: &mut Vec<u8>) -> Option<Result<(), Ended>> {
        let request = Request::read(query)?;
        let wish = Wish::read(query, &request)?;
        let client = self.client.to_canonical();
        if !self.context.transfer_to.iter().any(|network| network.contains(&client)) {
            return None;
        }
        let versions = self.context.zone.clone();
        let zone = versions.load_full();
        let mut transfer = Transfer::begin(&zone, &versions, &request, wish).filter(|_| zone.is_synced())?;
        info!(client = %client, serial = zone.serial(), kind = wish.as_str(), "gives the zone");
        self.context.metrics.transferred(wish);
        loop {
            let start = replies.len();
            replies.extend_from_slice(&[0; 2]);
            if !transfer.append(&request, replies) {
                replies.truncate(start);
                return Some(self.send(replies).await);
            }
            close(replies, start);
            if replies.len() >= MAX_GATHERED
                && let Err(ended) = self.send(replies).await
            {
                return Some(Err(ended));
            }
        }
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

/// Appends a message after its length.
fn append(replies: &mut Vec<u8>, reply: &[u8]) {
    let start = replies.len();
    replies.extend_from_slice(&[0; 2]);
    replies.extend_from_slice(reply);
    close(replies, start);
}

/// Writes the length of the message that begins two bytes after `start`.
fn close(replies: &mut [u8], start: usize) {
    let length = (replies.len() - start - 2) as u16; // the writer keeps to 65535
    replies[start..start + 2].copy_from_slice(&length.to_be_bytes());
}

/// The first message, if all of it is there.
fn first_message(inbox: &[u8]) -> Option<&[u8]> {
    let (length, rest) = inbox.split_at_checked(2)?;
    rest.get(..usize::from(u16::from_be_bytes([length[0], length[1]])))
}

fn millis(epoch: Instant) -> u64 {
    epoch.elapsed().as_millis() as u64
}
