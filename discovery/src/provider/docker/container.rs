//! One container: what was last observed of it, and what events have said since.
//!
//! It decides which of two contradicting words is the newer, and gives the result as an [`Instance`]. It does no I/O and
//! reads no clock; every time here is the engine's.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::events::{Event, Kind};
use super::observe::{Health, Observed, Reach, Run, exited};
use super::{service, signal};
use crate::instance::{Instance, NetworkAddress, State};

/// How late an event is told of at most, by far: the engine is asked whether it lives long before. One that seems to be from
/// longer before the start than this was told after the clock was set back.
const LATE_MAX: Duration = Duration::from_secs(600);

/// What the table knows of a container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    seen: Observed,
    drain: Option<Drain>,
    since: SystemTime,
    last_event: Option<SystemTime>,
}

/// It was sent a signal that ends it. An inspection does not show that.
#[derive(Clone, Copy, Debug)]
struct Drain {
    signal: i32,
    /// The last such signal. If the end of the life before was missed, the first one may have been meant for that.
    last: SystemTime,
}

impl Container {
    /// One observed for the first time.
    pub(super) fn new(seen: Observed) -> Self {
        let since = match seen.run {
            Run::Stopped(_) => seen.finished,
            Run::Running | Run::Paused | Run::Stopping => seen.started,
        };
        let since = since.unwrap_or(seen.created);
        Self { seen, drain: None, since, last_event: None }
    }

    /// What was last observed.
    pub(super) fn seen(&self) -> &Observed {
        &self.seen
    }

    /// Takes what an event says by itself. Returns whether only an inspection tells the rest.
    ///
    /// An event from before the observed start is about an earlier life, which the observation has outdone.
    pub(super) fn apply(&mut self, event: &Event) -> bool {
        self.last_event = self.last_event.max(Some(event.at));
        let stale = self.seen.started.is_some_and(|started| is_of_before(event.at, started));
        if stale {
            return !matches!(event.kind, Kind::Kill(_));
        }
        let before = self.standing();
        let inspect = match &event.kind {
            Kind::Kill(signal) => {
                let ends_it = *signal == self.seen.stop_signal || *signal == signal::KILL;
                if ends_it {
                    // The first signal stays the reason: `docker stop` sends 15, and 9 when that was not heeded.
                    let known = self.drain.filter(|_| self.is_draining());
                    let last = known.map_or(event.at, |drain| drain.last.max(event.at));
                    self.drain = Some(Drain { signal: known.map_or(*signal, |drain| drain.signal), last });
                }
                false
            }
            Kind::Die(code) => {
                self.seen.run = Run::Stopped(exited(*code));
                self.seen.finished = Some(event.at);
                self.drain = self.drain.filter(|drain| drain.last > event.at);
                true
            }
            Kind::Pause => {
                if self.seen.run == Run::Running {
                    self.seen.run = Run::Paused;
                }
                true
            }
            Kind::Unpause => {
                if self.seen.run == Run::Paused {
                    self.seen.run = Run::Running;
                }
                true
            }
            Kind::Health(healthy) => {
                self.seen.health = if *healthy { Health::Healthy } else { Health::Unhealthy };
                false
            }
            Kind::Rename(name) => {
                self.seen.name.clone_from(name);
                true
            }
            Kind::Disconnect { network } => {
                if let Reach::Own(attachments) = &mut self.seen.reach {
                    attachments.retain(|attachment| attachment.network_id != *network);
                }
                true
            }
            Kind::Changed | Kind::Destroy => true,
        };
        if self.standing() != before {
            self.since = event.at;
        }
        inspect
    }

    /// Takes an observation that is newer than every event so far. Draining alone outlasts it, until a new life.
    pub(super) fn observe(&mut self, seen: Observed) {
        let before = (self.standing(), self.seen.started);
        self.seen = seen;
        if let (true, Some(started)) = (before.1 != self.seen.started, self.seen.started) {
            // However long ago that was.
            self.drain = self.drain.filter(|drain| drain.last >= started);
        }
        if (self.standing(), self.seen.started) == before {
            return;
        }
        let fresh = Self::new(self.seen.clone()).since;
        let same_life = before.1 == self.seen.started && !matches!(self.seen.run, Run::Stopped(_));
        // Within one life the observation does not say when; the event that made us look does.
        self.since = if same_life { self.last_event.map_or(fresh, |at| at.max(fresh)) } else { fresh };
    }

    /// The instance. `owner` is the container whose networks this one borrows, if it does; `host` is where the engine's
    /// host network is reached.
    pub(super) fn instance(&self, owner: Option<&Self>, host: Option<IpAddr>) -> Instance {
        let (state, reason) = self.standing();
        let networks = if state == State::Stopped { Vec::new() } else { self.networks(owner, host) };
        Instance {
            id: self.seen.id.clone(),
            name: self.seen.name.clone(),
            service: service::key(&self.seen.labels, &self.seen.name),
            labels: self.seen.labels.clone(),
            networks,
            ports: self.seen.ports.clone(),
            bindings: self.seen.bindings.clone(),
            node: None,
            virtual_host: self.seen.virtual_host.clone(),
            state,
            reason,
            since: self.since,
            created: self.seen.created,
        }
    }

    fn standing(&self) -> (State, String) {
        let (state, reason) = match (&self.seen.run, self.drain) {
            (Run::Stopped(reason), _) => return (State::Stopped, reason.clone()),
            (_, Some(drain)) if self.is_draining() => {
                return (State::Draining, format!("kill signal {}", drain.signal));
            }
            (Run::Stopping, _) => (State::Draining, "stopping"),
            (Run::Paused, _) => (State::Paused, "paused"),
            (Run::Running, _) => match self.seen.health {
                Health::Unchecked => (State::Ready, "running"),
                Health::Healthy => (State::Ready, "healthy"),
                Health::Starting => (State::Starting, "health check has not passed yet"),
                Health::Unhealthy => (State::Unhealthy, "health check failed"),
            },
        };
        (state, reason.to_owned())
    }

    /// Whether the signal was sent in this life. A signal may arrive here before the start that it followed is observed.
    fn is_draining(&self) -> bool {
        let of_before =
            |drain: Drain| self.seen.started.is_some_and(|started| is_of_before(drain.last, started));
        self.drain.is_some_and(|drain| !of_before(drain))
    }

    fn networks(&self, owner: Option<&Self>, host: Option<IpAddr>) -> Vec<NetworkAddress> {
        match &self.seen.reach {
            Reach::Own(attachments) => attachments
                .iter()
                .map(|attachment| NetworkAddress {
                    network: attachment.network.clone(),
                    endpoint_id: attachment.endpoint_id.clone(),
                    ipv4: attachment.ipv4,
                    ipv6: attachment.ipv6,
                    aliases: attachment.aliases.clone(),
                    reached: true,
                })
                .collect(),
            Reach::Host => self.on_host(host),
            Reach::Of(_) => owner.map(|owner| self.borrowed(owner, host)).unwrap_or_default(),
        }
    }

    fn on_host(&self, host: Option<IpAddr>) -> Vec<NetworkAddress> {
        let Some(ip) = host else { return Vec::new() };
        let (ipv4, ipv6) = match ip {
            IpAddr::V4(ip) => (Some(ip), None),
            IpAddr::V6(ip) => (None, Some(ip)),
        };
        let endpoint_id = format!("host-{}", self.life());
        vec![NetworkAddress {
            network: "host".to_owned(),
            endpoint_id,
            ipv4,
            ipv6,
            aliases: Vec::new(),
            reached: true,
        }]
    }

    /// The owner's addresses, under this container's own life: it may start and stop while the owner stays.
    fn borrowed(&self, owner: &Self, host: Option<IpAddr>) -> Vec<NetworkAddress> {
        let outlived = owner.seen.started.zip(self.seen.started).is_some_and(|(owner, own)| owner > own);
        // When the owner starts anew, it has a new network namespace, and this container is left in the old one.
        if outlived || matches!(owner.seen.run, Run::Stopped(_)) {
            return Vec::new();
        }
        match &owner.seen.reach {
            Reach::Own(_) => owner
                .networks(None, host)
                .into_iter()
                .map(|address| NetworkAddress {
                    endpoint_id: format!("{}-{}", address.endpoint_id, self.life()),
                    aliases: Vec::new(),
                    reached: true,
                    ..address
                })
                .collect(),
            Reach::Host => self.on_host(host),
            Reach::Of(_) => Vec::new(),
        }
    }

    fn life(&self) -> u128 {
        let started = self.seen.started.unwrap_or(SystemTime::UNIX_EPOCH);
        started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos()
    }
}

/// Whether it happened before this start, as far as a clock tells that may have been set back meanwhile.
fn is_of_before(at: SystemTime, started: SystemTime) -> bool {
    started.duration_since(at).is_ok_and(|before| before > Duration::ZERO && before < LATE_MAX)
}
