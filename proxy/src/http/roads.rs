//! HTTP/2 to endpoints: which connection a request shares with others, and when there is to be one more.
//!
//! ```text
//! roads     of one worker, by target: who is asked, who connects, who waits for that
//!  ├ road     one connection: its beginning, its streams, its health, its end
//!  └ lane     one stream of it, spoken to as if it were a connection by HTTP/1.1
//!     ├ ask     a request's head and body, on their way
//!     └ told    the answer's
//! ```
//!
//! The engine speaks HTTP/1.1 within, whatever its two sides speak: what is done to a head or a body is written once,
//! and any version can stand before any other.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use foldhash::fast::RandomState;
use portolan_config::tls::Scheme;
use tokio::sync::Notify;

use super::Reason;
use super::pool::Care;
use crate::deadline::{Moment, sleep_until, timeout, timeout_at};
use crate::limits::LINGER;
use crate::stream::Stream;
use crate::table::{Table, Target};

mod lane;
mod road;

pub(crate) use lane::Lane;
pub(in crate::http) use lane::ask;
pub(in crate::http) use road::Road;

/// How often it is looked whether all that were let go of are over.
const LEAVING_LOOK: Duration = Duration::from_millis(2);

/// The connections by HTTP/2 of one worker, by the target's identity.
#[derive(Default)]
pub(crate) struct Roads {
    targets: RefCell<HashMap<u64, Rc<Known>, RandomState>>,
}

/// What is known of one target.
#[derive(Default)]
struct Known {
    roads: RefCell<Vec<Road>>,
    /// Whether it chose HTTP/1.1 when it was offered both.
    chose_http1: Cell<bool>,
    /// Whether it said over HTTP/2 that it wants to be spoken to in HTTP/1.1.
    requires_http1: Cell<bool>,
    /// Whether somebody is connecting.
    connecting: Cell<bool>,
    connected: Notify,
}

/// What a request asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Need {
    /// An answer.
    Answer,
    /// A tunnel for a WebSocket, which not every server has over HTTP/2 (RFC 8441).
    WebSocket,
}

/// A connection that was just made.
pub(in crate::http) enum Made {
    /// For many requests.
    Road(Road),
    /// For one at a time.
    Stream(Stream),
}

/// What a request can have.
pub(in crate::http) enum Had {
    /// A stream of a connection, or a new one by HTTP/1.1; `true` where it served requests before.
    Stream(Stream, bool),
    /// One by HTTP/1.1 has to be found or made.
    None,
}

#[allow(clippy::large_enum_variant)] // it is taken apart at once
enum Found {
    Lane(Lane),
    /// The server does not have what is needed over HTTP/2.
    Unfit,
    Nothing,
}

/// Whether a target may speak HTTP/2.
pub(in crate::http) fn may_be_spoken(target: &Target) -> bool {
    match target.scheme {
        Scheme::Http => false,
        Scheme::Https => target.reach.http2,
        Scheme::H2c => true,
    }
}

impl Roads {
    /// A stream of a connection to this target, or a connection made by `connect` by then. One connects at a time: the
    /// others share what comes of it.
    pub(in crate::http) async fn obtain(
        &self,
        target: &Target,
        need: Need,
        care: Care,
        deadline: Moment,
        connect: impl AsyncFn() -> Result<Made, Reason>,
    ) -> Result<Had, Reason> {
        let known = self.targets.borrow_mut().entry(target.id).or_default().clone();
        loop {
            match known.find(need, care) {
                Found::Lane(lane) => return Ok(Had::Stream(Stream::lane(lane), true)),
                Found::Unfit => return Ok(Had::None),
                Found::Nothing if known.chose_http1.get() => return Ok(Had::None),
                Found::Nothing => {}
            }
            if known.connecting.get() {
                let connected = timeout_at(deadline, known.connected.notified()).await;
                connected.map_err(|_| Reason::ConnectTimeout)?;
                continue;
            }
            let connecting = Connecting::begin(&known);
            match connect().await? {
                Made::Road(road) => {
                    let lane = known.add(road, need);
                    drop(connecting);
                    return Ok(lane.map_or(Had::None, |lane| Had::Stream(Stream::lane(lane), false)));
                }
                Made::Stream(stream) => {
                    known.chose_http1.set(target.scheme == Scheme::Https);
                    return Ok(Had::Stream(stream, false));
                }
            }
        }
    }

    /// Keeps a connection that turned out to be for many requests, though none was looked for. Gives a stream of it.
    pub(in crate::http) fn add(&self, target: &Target, road: Road) -> Option<Lane> {
        let known = self.targets.borrow_mut().entry(target.id).or_default().clone();
        known.chose_http1.set(false);
        known.add(road, Need::Answer)
    }

    /// Lets go of the connections to a target that can't be used, after a request failed there.
    pub(in crate::http) fn forget_dead(&self, target: &Target) {
        let Some(known) = self.targets.borrow().get(&target.id).cloned() else { return };
        known.hear();
        known.roads.borrow_mut().retain_mut(Road::is_alive);
    }

    /// Whether a target wants to be spoken to in HTTP/1.1, and said so over HTTP/2 (RFC 9113 §7, HTTP_1_1_REQUIRED).
    pub(in crate::http) fn requires_http1(&self, target: &Target) -> bool {
        self.targets.borrow().get(&target.id).is_some_and(|known| known.requires_http1.get())
    }

    /// Lets go of all connections, and waits until their endpoints were told (RFC 9113 §6.8), though not for long. Nothing
    /// is on its way over them any more.
    pub(crate) async fn leave(&self) {
        let known = self.targets.take().into_values();
        let states: Vec<_> = known.flat_map(|known| known.roads.take()).map(Road::leave).collect();
        let all_over = async {
            while !states.iter().all(|state| state.is_over()) {
                sleep_until(Moment::now() + LEAVING_LOOK).await;
            }
        };
        let _ = timeout(LINGER, all_over).await;
    }

    /// Closes what has had nothing to do for too long, and what leads to endpoints that may be given no work any more;
    /// requests that are on their way there are finished.
    pub(crate) fn sweep(&self, table: &Table) {
        let mut targets = self.targets.borrow_mut();
        if targets.is_empty() {
            return;
        }
        let now = Moment::now();
        let offered = table.offered();
        targets.retain(|target, known| {
            known.roads.borrow_mut().retain_mut(|road| road.is_alive() && !road.is_idle_at(now));
            offered.contains(target) || known.connecting.get()
        });
    }
}

impl Known {
    /// A stream, if there is room for one.
    fn find(&self, need: Need, care: Care) -> Found {
        self.hear();
        let mut roads = self.roads.borrow_mut();
        roads.retain_mut(|road| road.is_alive() && (care == Care::Usual || road.is_heard_of()));
        match roads.iter().find(|road| road.has_room()) {
            Some(road) if road.has(need) => Found::Lane(road.lane()),
            Some(_) => Found::Unfit,
            None => Found::Nothing,
        }
    }

    /// Lets go of connections over which it was said that this is to be in HTTP/1.1.
    fn hear(&self) {
        let mut roads = self.roads.borrow_mut();
        if roads.iter().any(Road::wants_http1) {
            roads.clear();
            self.chose_http1.set(true);
            self.requires_http1.set(true);
        }
    }

    fn add(&self, road: Road, need: Need) -> Option<Lane> {
        let lane = road.has(need).then(|| road.lane());
        self.roads.borrow_mut().push(road);
        lane
    }
}

/// Somebody connects; whoever waits is told when that is over, however it ended.
struct Connecting<'a>(&'a Known);

impl<'a> Connecting<'a> {
    fn begin(known: &'a Known) -> Self {
        known.connecting.set(true);
        Self(known)
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connecting.set(false);
        self.0.connected.notify_waiters();
    }
}
