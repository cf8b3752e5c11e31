//! Chooses the endpoint for the next piece of work. Knows of targets and turns, and nothing of protocols: whoever asks says
//! what there is to go by.

use std::net::IpAddr;
use std::sync::Arc;

use crate::places::Bounds;
use crate::table::{Near, Target, Upstream};

#[doc(hidden)]
pub mod cost;
pub(crate) mod hash;
mod load;
mod maglev;
mod plan;
mod rotation;

pub(crate) use load::{Load, Running};
use maglev::Maglev;
pub use plan::Plan;
pub(crate) use rotation::Rotation;

/// The targets that were tried already and failed, in this request or connection.
#[derive(Debug, Default)]
pub(crate) struct Tried(Vec<u64>);

impl Tried {
    pub(crate) fn add(&mut self, target: &Target) {
        self.0.push(target.id);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no other.
    pub(crate) fn are_all(&self, upstream: &Upstream) -> bool {
        upstream.available.iter().all(|target| self.contains(target))
    }

    fn contains(&self, target: &Target) -> bool {
        self.0.contains(&target.id)
    }
}

/// What is known of whom the work is for, as far as the choice goes by that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asker {
    /// A hash of what the same endpoint is to be chosen for.
    pub(crate) hash: Option<u64>,
    /// The target that it stays with, for as long as that may be given work.
    pub(crate) stuck: Option<u64>,
    /// Whether it is to be told anew whom it stays with, also if that is the same.
    pub(crate) outdated: bool,
}

impl Asker {
    /// A client, by its address.
    pub(crate) fn at(client: IpAddr) -> Self {
        let hash = match client.to_canonical() {
            IpAddr::V4(ip) => hash::of(&ip.octets()),
            IpAddr::V6(ip) => hash::of(&ip.octets()),
        };
        Self { hash: Some(hash), ..Self::default() }
    }
}

/// The target that the work has to stay with, if that is usable.
fn stuck(upstream: &Upstream, asker: Asker, usable: impl Fn(&Target) -> bool) -> Option<&Arc<Target>> {
    let stuck = asker.stuck?;
    upstream.available.iter().find(|target| target.id == stuck && usable(target))
}

/// An available target that was not tried yet, by the upstream's plan. One that could not be reached lately is chosen where
/// there is no other.
pub(crate) fn pick(upstream: &Upstream, asker: Asker, tried: &Tried) -> Option<Arc<Target>> {
    let is_left = |target: &Target| !tried.contains(target);
    let is_reached = |target: &Target| is_left(target) && !target.load.is_avoided();
    let target = pick_of(upstream, asker, is_reached).or_else(|| pick_of(upstream, asker, is_left))?;
    target.load.given();
    Some(target)
}

/// Whether there is one that may be reached besides.
pub(crate) fn has_another(upstream: &Upstream, target: &Target, tried: &Tried) -> bool {
    let is_another =
        |other: &Target| other.id != target.id && !tried.contains(other) && !other.load.is_avoided();
    upstream.available.iter().any(|other| is_another(other))
}

fn pick_of(upstream: &Upstream, asker: Asker, usable: impl Fn(&Target) -> bool) -> Option<Arc<Target>> {
    stuck(upstream, asker, &usable).cloned().or_else(|| choose(upstream, asker, usable))
}

/// By the upstream's plan, one of the targets that are usable: of those that go before the others, where there is one.
fn choose(upstream: &Upstream, asker: Asker, usable: impl Fn(&Target) -> bool) -> Option<Arc<Target>> {
    let turn = || upstream.cursor.next();
    if let Some(Near { targets, plan }) = &upstream.near
        && let Some(index) = plan.choose(targets, asker, turn, &usable)
    {
        return targets.get(index).cloned();
    }
    let index = upstream.plan.choose(&upstream.available, asker, turn, usable)?;
    upstream.available.get(index).cloned()
}

/// Why none is given more work, though some are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The service has all it may have, or others wait for that already.
    Service,
    /// Every endpoint has, or the one that the work has to stay with.
    Endpoints,
}

/// A target, and its place there, where those are limited or counted.
pub(crate) type Taken = (Arc<Target>, Option<Running>);

/// The same with a place there, where those are limited, or counted. `None` where there is no target. Whoever is `called`
/// has waited, and goes before those who wait.
pub(crate) fn take(
    upstream: &Upstream,
    asker: Asker,
    tried: &Tried,
    called: bool,
) -> Result<Option<Taken>, Full> {
    match &upstream.bounds {
        None => Ok(pick(upstream, asker, tried).map(|target| {
            let running = target.begin(upstream);
            (target, running)
        })),
        Some(bounds) => take_within(bounds, upstream, asker, tried, called),
    }
}

/// Turns are taken only where there seems to be a place: else those who wait would spoil the order.
#[inline(never)]
fn take_within(
    bounds: &Bounds,
    upstream: &Upstream,
    asker: Asker,
    tried: &Tried,
    called: bool,
) -> Result<Option<Taken>, Full> {
    let places = &upstream.places;
    if tried.are_all(upstream) {
        return Ok(None);
    }
    if places.are_taken(bounds) || (!called && places.are_waited_for()) {
        return Err(Full::Service);
    }
    let has_room = |target: &Target| target.load.running() < bounds.requests_per_endpoint;
    let is_left = |target: &Target| !tried.contains(target);
    // One that could not be reached lately is chosen where there is no other.
    let is_reached = |target: &Target| is_left(target) && !target.load.is_avoided();
    let any_reached = upstream.available.iter().any(|target| is_reached(target));
    let is_meant = |target: &Target| if any_reached { is_reached(target) } else { is_left(target) };
    loop {
        let target = match stuck(upstream, asker, is_meant) {
            // Its session is there and nowhere else.
            Some(target) => has_room(target).then(|| target.clone()),
            None => {
                let usable = |target: &Target| is_meant(target) && has_room(target);
                let any = upstream.available.iter().any(|target| usable(target));
                if any { choose(upstream, asker, usable) } else { None }
            }
        };
        let target = target.ok_or(Full::Endpoints)?;
        // Another worker may have been sooner.
        let Some(running) = Running::begin_within(&target.load, bounds.requests_per_endpoint) else {
            continue;
        };
        let place = places.take(bounds).ok_or(Full::Service)?;
        target.load.given();
        return Ok(Some((target, Some(running.at(place)))));
    }
}

#[cfg(test)]
mod tests;
