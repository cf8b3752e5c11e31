//! Names that are not ours: asked of other name servers, and kept.
//!
//! ```text
//! a query ──▶ Forward::lookup ──▶ Cache (no lock, no wait)
//!                   │ not there
//!                   └──Job──▶ one task: who asks the same waits together ──▶ race ──▶ Upstreams
//! ```
//!
//! Whoever reads queries never waits here: what is not in the cache is handed over, and answered when it comes.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use portolan_config::settings::dns;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, warn};

mod cache;
mod race;
mod reply;
mod secure;
mod servers;
mod stream;
#[cfg(test)]
mod tests;
mod upstream;

use cache::Cache;
pub(crate) use cache::{Asked, Entry, Kept};
pub(crate) use reply::{Reply, question_of};
#[cfg(test)]
pub(crate) use secure::Secure;
use servers::{Group, Servers};
#[cfg(test)]
pub(crate) use stream::Stream;

use crate::metrics::Metrics;
use crate::names::is_below;
use crate::request::Request;
use crate::watched::LOOK;

/// Questions on their way to others; one more is refused.
const FLIGHTS_MAX: usize = 1024;
/// Who may wait for the answer to one question.
const WAITERS_MAX: usize = 256;
/// Questions that may wait to be sent on their way.
const JOBS_MAX: usize = 4096;
/// How long a client waits before it is given an answer that has run out (RFC 8767 §5).
const STALE_AFTER: Duration = Duration::from_millis(1800);
/// Letters that a name needs for its case, which we choose at random, to tell that a query is our own come back.
const LETTERS_TELL: usize = 8;

/// Hands an answer back to whoever asked.
pub(crate) type Return = Box<dyn FnOnce(Given) + Send>;

/// What is handed back.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    /// An answer, and how old it is; `None` for one that has run out.
    Entry(Arc<Entry>, Option<u32>),
    /// None can be had at present: too much is on its way, or it goes round in circles.
    Nothing,
}

/// A question to be asked.
struct Job {
    asked: Asked,
    /// The name as the client wrote it.
    written: Box<[u8]>,
    stale: Option<Arc<Entry>>,
    back: Option<Return>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&self.asked).finish()
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flight").field(&self.back.len()).finish()
    }
}

/// What may be asked of others, and what they said. Shared by all who read queries.
#[derive(Debug)]
pub(crate) struct Forward {
    cache: Cache,
    jobs: mpsc::Sender<Job>,
    metrics: Metrics,
}

/// Asks others; runs on the server's runtime.
#[derive(Debug)]
pub(crate) struct Forwarder {
    forward: Arc<Forward>,
    jobs: mpsc::Receiver<Job>,
    groups: Vec<Group>,
    servers: Servers,
    flights: HashMap<Asked, Flight>,
    running: JoinSet<Event>,
}

struct Flight {
    back: Vec<Return>,
    stale: Option<Arc<Entry>>,
    /// The name in the letters that it is sent with.
    sent: Vec<u8>,
}

#[derive(Debug)]
enum Event {
    Landed(Asked, Option<Reply>),
    /// Whoever waits for it has waited long enough for a stale one to do.
    Late(Asked),
}

impl Forward {
    /// What is asked, and what is kept of it. What is about to run out, and asked for often, is fetched again.
    pub(crate) fn lookup(
        &self,
        request: &Request<'_>,
        name: &[u8],
        record_type: RecordType,
        now: u32,
    ) -> (Asked, Kept) {
        let asked = Asked {
            name: name.into(),
            record_type: record_type.into(),
            dnssec_ok: request.edns.is_some_and(|edns| edns.dnssec_ok),
            checking_disabled: request.checking_disabled,
        };
        let kept = self.cache.get(&asked, now);
        match &kept {
            Kept::Fresh(entry, _, again) => {
                self.metrics.cache_hit(entry.reply.is_denial());
                if *again {
                    self.metrics.prefetched();
                    let job = Job { asked: asked.clone(), written: Box::default(), stale: None, back: None };
                    if self.jobs.try_send(job).is_err() {
                        entry.not_fetched();
                    }
                }
            }
            Kept::Stale(_) | Kept::Nothing => self.metrics.cache_missed(),
        }
        (asked, kept)
    }

    /// Keeps what others said.
    fn keep(&self, asked: Asked, reply: Reply, now: u32) -> Given {
        let (entry, evicted) = self.cache.put(asked, reply, now);
        if evicted {
            self.metrics.cache_evicted();
        }
        Given::Entry(entry, Some(0))
    }

    /// Asks others. Where too much is on its way, `back` is called at once.
    pub(crate) fn ask(&self, asked: Asked, written: &[u8], stale: Option<Arc<Entry>>, back: Return) {
        let job = Job { asked, written: written.into(), stale, back: Some(back) };
        if let Err(error) = self.jobs.try_send(job) {
            self.metrics.forward_rejected();
            let (mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) = error;
            let given = job.stale.map_or(Given::Nothing, |entry| Given::Entry(entry, None));
            if let Some(back) = job.back {
                back(given);
            }
        }
    }
}

/// Whether names of others are looked up for a client there: whoever answers everybody is a weapon against anybody
/// (RFC 5358).
pub(crate) fn is_near(client: IpAddr) -> bool {
    match client {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xC0 == 64)
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Makes both ends. `own` is where we listen: a server that would be ourselves is left out.
pub(crate) fn forward(
    settings: &dns::Forward,
    own: SocketAddr,
    metrics: Metrics,
) -> (Arc<Forward>, Forwarder) {
    let (jobs, received) = mpsc::channel(JOBS_MAX);
    let forward = Arc::new(Forward { cache: Cache::new(settings.cache), jobs, metrics });
    let mut servers = Servers::new(settings, own);
    let forwarder = Forwarder {
        forward: Arc::clone(&forward),
        jobs: received,
        groups: servers.groups(),
        servers,
        flights: HashMap::new(),
        running: JoinSet::new(),
    };
    (forward, forwarder)
}

impl Forwarder {
    /// Asks, for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                Some(job) = self.jobs.recv() => self.take_off(job),
                Some(event) = self.running.join_next() => match event {
                    Ok(Event::Landed(asked, reply)) => self.land(&asked, reply),
                    Ok(Event::Late(asked)) => self.give_stale(&asked),
                    Err(error) => {
                        self.forward.metrics.panicked();
                        debug!(%error, "asking another name server failed");
                    }
                },
                _ = look.tick(), if self.servers.may_change() => {
                    if self.servers.look() {
                        self.groups = self.servers.groups();
                    }
                }
                else => return,
            }
        }
    }

    fn take_off(&mut self, job: Job) {
        let Job { asked, written, stale, back } = job;
        if let Some(flight) = self.flights.get_mut(&asked) {
            let came_back =
                letters(&written) >= LETTERS_TELL && flight.sent == *written && has_upper(&written);
            if came_back {
                warn!("a forwarded query came back to this server: its name servers forward to it");
            }
            if came_back || flight.back.len() >= WAITERS_MAX {
                give(back, Given::Nothing);
            } else {
                flight.back.extend(back);
                flight.stale = stale.or(flight.stale.take());
            }
            return;
        }
        let name = &*asked.name;
        let group = self.groups.iter().find(|group| is_below(name, &group.suffix));
        let servers = group.map(|group| Arc::clone(&group.servers)).filter(|servers| !servers.is_empty());
        let Some(servers) = servers.filter(|_| self.flights.len() < FLIGHTS_MAX) else {
            self.forward.metrics.forward_rejected();
            return give(back, stale.map_or(Given::Nothing, |entry| Given::Entry(entry, None)));
        };
        if stale.is_some() {
            let late = asked.clone();
            self.running.spawn(async move {
                sleep(STALE_AFTER).await;
                Event::Late(late)
            });
        }
        let case: u128 = rand::random();
        let query = reply::query(&asked, 0, case, false);
        let sent = query.get(12..12 + asked.name.len()).unwrap_or_default().to_vec();
        let flight = Flight { back: back.into_iter().collect(), stale, sent };
        self.flights.insert(asked.clone(), flight);
        let metrics = self.forward.metrics.clone();
        self.running.spawn(async move {
            let reply = race::run(&servers, &asked, case, &metrics).await;
            Event::Landed(asked, reply)
        });
    }

    fn land(&mut self, asked: &Asked, reply: Option<Reply>) {
        let Some(flight) = self.flights.remove(asked) else { return };
        let now = crate::server::seconds();
        let given = match (reply, flight.stale) {
            (Some(reply), _) => self.forward.keep(asked.clone(), reply, now),
            (None, Some(stale)) => {
                stale.not_fetched();
                Given::Entry(stale, None)
            }
            (None, None) => self.forward.keep(asked.clone(), Reply::failure(), now),
        };
        self.forward.metrics.cache_holds(self.forward.cache.len());
        for back in flight.back {
            back(given.clone());
        }
    }

    /// Gives those who wait what has run out, and goes on asking.
    fn give_stale(&mut self, asked: &Asked) {
        let Some(flight) = self.flights.get_mut(asked) else { return };
        let Some(stale) = &flight.stale else { return };
        for back in flight.back.drain(..) {
            self.forward.metrics.served_stale();
            back(Given::Entry(Arc::clone(stale), None));
        }
    }
}

fn give(back: Option<Return>, given: Given) {
    if let Some(back) = back {
        back(given);
    }
}

fn letters(name: &[u8]) -> usize {
    name.iter().filter(|byte| byte.is_ascii_alphabetic()).count()
}

fn has_upper(name: &[u8]) -> bool {
    name.iter().any(u8::is_ascii_uppercase)
}
