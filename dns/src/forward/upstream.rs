//! One name server that others' names are asked of: how it is reached, and how it has done lately.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::cache::Asked;
use super::reply::{self, Reply, Unfit};
use super::stream::Stream;

/// How long one server is waited for. Stub resolvers give up after five seconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// Datagrams read in wait for one answer; more of what is none is an attempt to forge one, and TCP is used.
const STRANGERS_MAX: usize = 8;
/// The longest answer by UDP that is read: more than we say that we take.
const DATAGRAM_MAX: usize = 4096;
/// What a server is thought to take that was never asked.
const FIRST_GUESS: Duration = Duration::from_millis(50);
/// How long one that failed is spared, doubled with every further failure.
const SPARED: Duration = Duration::from_secs(1);
const SPARED_MAX: Duration = Duration::from_secs(30);

/// A name server.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    /// As metrics name it.
    pub(crate) label: String,
    stream: Stream,
    /// What it takes to answer, smoothed, in microseconds; 0 before the first answer.
    smoothed: AtomicU32,
    failures: AtomicU32,
    /// Until when it is spared, in milliseconds since `epoch`.
    spared_until: AtomicU64,
    epoch: Instant,
    /// It does not know OPT.
    no_edns: AtomicBool,
    /// It does not repeat names as they were written.
    no_case: AtomicBool,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing came, or the network says that nothing can.
    Silent,
    /// It says that it can't or will not answer.
    Refused,
}

impl Upstream {
    pub(crate) fn new(address: SocketAddr, stream: Stream) -> Self {
        Self {
            address,
            label: format!("{}{address}", if stream.is_secure() { "tls://" } else { "" }),
            stream,
            smoothed: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            spared_until: AtomicU64::new(0),
            epoch: Instant::now(),
            no_edns: AtomicBool::new(false),
            no_case: AtomicBool::new(false),
        }
    }

    /// What it takes to answer.
    pub(crate) fn pace(&self) -> Duration {
        match self.smoothed.load(Ordering::Relaxed) {
            0 => FIRST_GUESS,
            micros => Duration::from_micros(micros.into()),
        }
    }

    /// Whether it failed, and how long ago that was is not yet long enough to wait for it again.
    pub(crate) fn is_spared(&self) -> bool {
        self.spared_until.load(Ordering::Relaxed) > self.epoch.elapsed().as_millis() as u64
    }

    /// Whether it failed, and is to be tried beside another one.
    pub(crate) fn is_on_trial(&self) -> bool {
        self.failures.load(Ordering::Relaxed) > 0 && !self.is_spared()
    }

    /// It did not answer in time, or another one was faster by far.
    pub(crate) fn failed(&self) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(10);
        let spared = (SPARED * (1 << failures)).min(SPARED_MAX);
        let until = (self.epoch.elapsed() + spared).as_millis() as u64;
        self.spared_until.store(until, Ordering::Relaxed);
    }

    fn answered(&self, took: Duration) {
        self.failures.store(0, Ordering::Relaxed);
        self.spared_until.store(0, Ordering::Relaxed);
        let (took, before) = (took.as_micros() as u32, self.smoothed.load(Ordering::Relaxed));
        let smoothed = if before == 0 { took } else { before - before / 8 + took / 8 };
        self.smoothed.store(smoothed.max(1), Ordering::Relaxed);
    }

    /// Asks it. `case` is for the letters.
    pub(crate) async fn ask(&self, asked: &Asked, case: u128) -> Result<Reply, Failure> {
        let begun = Instant::now();
        let deadline = begun + PATIENCE;
        let asking = self.ask_until(asked, case, deadline);
        let outcome = timeout_at(deadline, asking).await.unwrap_or(Err(Failure::Silent));
        match outcome {
            // Who says no is there.
            Ok(_) | Err(Failure::Refused) => self.answered(begun.elapsed()),
            Err(Failure::Silent) => self.failed(),
        }
        outcome
    }

    async fn ask_until(&self, asked: &Asked, case: u128, deadline: Instant) -> Result<Reply, Failure> {
        let case = if self.no_case.load(Ordering::Relaxed) { 0 } else { case };
        for _ in 0..2 {
            let edns = !self.no_edns.load(Ordering::Relaxed);
            let query = reply::query(asked, rand::random(), case, edns);
            let answer = if self.stream.is_secure() {
                Err(Unfit::NotOurs) // a datagram would be read by anybody
            } else {
                self.by_datagram(&query, deadline).await?
            };
            let answer = match answer {
                // What was too long, or may be forged, is asked for where neither can be.
                Err(Unfit::Truncated | Unfit::NotOurs) => self.by_stream(&query, deadline).await?,
                Err(Unfit::OtherCase) => {
                    self.no_case.store(true, Ordering::Relaxed);
                    let query = reply::query(asked, rand::random(), 0, edns);
                    self.by_stream(&query, deadline).await?
                }
                other => other,
            };
            match answer {
                Ok(reply) => return Ok(reply),
                Err(Unfit::NoEdns) if edns => self.no_edns.store(true, Ordering::Relaxed),
                Err(_) => return Err(Failure::Refused),
            }
        }
        Err(Failure::Refused)
    }

    /// From a port that is used for this question only: who would forge an answer has to guess it too (RFC 5452 §9.2).
    async fn by_datagram(&self, query: &[u8], deadline: Instant) -> Result<Result<Reply, Unfit>, Failure> {
        let any: SocketAddr = match self.address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let silent = |_: std::io::Error| Failure::Silent;
        let socket = UdpSocket::bind(any).await.map_err(silent)?;
        socket.connect(self.address).await.map_err(silent)?;
        socket.send(query).await.map_err(silent)?;
        let mut answer = vec![0; DATAGRAM_MAX];
        for _ in 0..STRANGERS_MAX {
            let received = timeout_at(deadline, socket.recv(&mut answer)).await;
            let length = received.map_err(|_| Failure::Silent)?.map_err(silent)?;
            match Reply::read(&answer[..length], query) {
                Err(Unfit::NotOurs) => {}
                other => return Ok(other),
            }
        }
        Ok(Err(Unfit::NotOurs))
    }

    async fn by_stream(&self, query: &[u8], deadline: Instant) -> Result<Result<Reply, Unfit>, Failure> {
        let answer = timeout_at(deadline, self.stream.ask(query)).await.ok().flatten();
        let answer = answer.ok_or(Failure::Silent)?;
        Ok(Reply::read(&answer, query))
    }
}
