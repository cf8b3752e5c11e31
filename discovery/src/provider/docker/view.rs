//! The table of containers: events, inspections and lists go in, changes and requests for inspections come out.
//!
//! The engine answers slowly about a container that is just starting or stopping, so an inspection may be older than an
//! event that overtook it. Each container therefore has an epoch that all news of it move on; what was asked for in an
//! earlier epoch is not believed, but asked for again. It does no I/O, and is given the time.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use super::container::Container;
use super::events::{Event, Kind};
use super::observe::{Observed, Reach};
use crate::instance::{Instance, InstanceId};
use crate::provider::Change;

/// Events remembered of a container that was not observed yet, at most; the earliest go first.
const PENDING_MAX: usize = 32;

/// The label of containers that are tasks of a Swarm.
const TASK: &str = "com.docker.swarm.task.id";

/// Everything known of the engine's containers.
#[derive(Debug, Default)]
pub(super) struct View {
    entries: BTreeMap<InstanceId, Entry>,
    /// Moved on by everything that is news of a container.
    clock: u64,
    /// Containers destroyed while a list is under way, which may still name them.
    destroyed: HashSet<InstanceId>,
    /// Whether this connection's first list is in. Before, nothing is told.
    live: bool,
    host: Option<IpAddr>,
    /// Whether somebody else tells of the Swarm's tasks.
    hides_tasks: bool,
}

#[derive(Debug, Default)]
struct Entry {
    /// `None` until it is observed.
    container: Option<Container>,
    /// What happened to it before it was observed.
    pending: VecDeque<Event>,
    epoch: u64,
    /// When the latest event was read that only an inspection explains.
    waiting_since: Option<Instant>,
    told: Option<Instance>,
}

/// What follows from an input.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// What to tell, each with the moment it was learned.
    pub(super) changes: Vec<(Instant, Change)>,
    /// What to inspect.
    pub(super) refresh: Vec<InstanceId>,
}

/// A complete list.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    /// Every container that there was.
    pub(super) containers: Vec<Listed>,
    /// But those of which nothing could be read: they are there, as they were.
    pub(super) unread: Vec<InstanceId>,
}

/// One container of a list.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) observed: Observed,
    /// Whether it was inspected. If not, the list had to do, which knows less and lags behind.
    pub(super) inspected: bool,
}

impl View {
    /// A new connection, behind which the host network is reached at `host`: nothing is told until its first list.
    pub(super) fn reconnect(&mut self, host: Option<IpAddr>) {
        self.live = false;
        self.host = host;
        self.destroyed.clear();
    }

    /// Whether this connection's first list is in.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// Whether containers that are tasks of a Swarm are passed over, as somebody else tells of them.
    pub(super) fn hide_tasks(&mut self, hide: bool, now: Instant) -> Effects {
        let mut effects = Effects::default();
        if std::mem::replace(&mut self.hides_tasks, hide) != hide && self.live {
            let ids: Vec<_> = self.entries.keys().cloned().collect();
            for id in ids {
                self.tell_one(&id, now, &mut effects);
            }
        }
        effects
    }

    /// The epoch in which an inspection of `id` would begin now; `None` when there is nothing to inspect.
    pub(super) fn epoch(&self, id: &InstanceId) -> Option<u64> {
        self.entries.get(id).map(|entry| entry.epoch)
    }

    /// A list begins now; the epoch goes with its result.
    pub(super) fn begin_list(&mut self) -> u64 {
        self.destroyed.clear();
        self.clock
    }

    /// Takes an event, which was read at `now`.
    pub(super) fn apply(&mut self, event: &Event, now: Instant) -> Effects {
        let mut effects = Effects::default();
        self.clock += 1;
        if event.kind == Kind::Destroy {
            self.destroyed.insert(event.id.clone());
            self.remove(&event.id, now, &mut effects);
            return effects;
        }
        let entry = self.entries.entry(event.id.clone()).or_default();
        entry.epoch = self.clock;
        let inspect = if let Some(container) = &mut entry.container {
            container.apply(event)
        } else {
            if entry.pending.len() == PENDING_MAX {
                entry.pending.pop_front();
            }
            entry.pending.push_back(event.clone());
            true
        };
        if inspect {
            entry.waiting_since = Some(now);
            effects.refresh.push(event.id.clone());
        }
        self.tell(&event.id, now, &mut effects);
        effects
    }

    /// Takes the result of an inspection that began in `epoch`; `None` when there is no such container.
    pub(super) fn refreshed(
        &mut self,
        id: &InstanceId,
        epoch: u64,
        found: Option<Observed>,
        now: Instant,
    ) -> Effects {
        let mut effects = Effects::default();
        let Some(observed) = found else {
            self.remove(id, now, &mut effects);
            return effects;
        };
        let Some(entry) = self.entries.get_mut(id) else { return effects };
        let overtaken = entry.epoch != epoch;
        let learned = entry.waiting_since.unwrap_or(now);
        if overtaken {
            effects.refresh.push(id.clone());
        } else {
            entry.waiting_since = None;
            // A list that is under way may have looked at it earlier.
            self.clock += 1;
            entry.epoch = self.clock;
        }
        entry.take(observed, overtaken);
        self.tell(id, learned, &mut effects);
        effects
    }

    /// Takes a list that began in `epoch` and ended `now`.
    pub(super) fn listed(&mut self, epoch: u64, listing: Listing, now: Instant) -> Effects {
        let mut effects = Effects::default();
        let mut present = HashSet::new();
        for Listed { observed, inspected } in listing.containers {
            let id = observed.id.clone();
            if self.destroyed.contains(&id) {
                continue;
            }
            let entry = self.entries.entry(id.clone()).or_insert_with(|| Entry { epoch, ..Entry::default() });
            let overtaken = entry.epoch > epoch;
            if overtaken || !inspected {
                effects.refresh.push(id.clone());
            } else {
                entry.waiting_since = None;
                // An inspection that is under way may have looked at it earlier.
                self.clock += 1;
                entry.epoch = self.clock;
            }
            entry.take(observed, overtaken || !inspected);
            present.insert(id);
        }
        for id in listing.unread {
            if !self.destroyed.contains(&id) {
                self.entries.entry(id.clone()).or_insert_with(|| Entry { epoch, ..Entry::default() });
                effects.refresh.push(id.clone());
                present.insert(id);
            }
        }
        self.destroyed.clear();
        let absent: Vec<_> = self.entries.keys().filter(|id| !present.contains(id)).cloned().collect();
        for id in absent {
            if self.epoch(&id).is_some_and(|touched| touched > epoch) {
                effects.refresh.push(id);
            } else {
                self.remove(&id, now, &mut effects);
            }
        }
        if self.live {
            let ids: Vec<_> = self.entries.keys().cloned().collect();
            for id in ids {
                self.tell_one(&id, now, &mut effects);
            }
        } else {
            self.live = true;
            effects.changes = vec![(now, Change::Reset(self.reset()))];
        }
        effects
    }

    /// Everything, and notes it as told.
    fn reset(&mut self) -> Vec<Instance> {
        let ids: Vec<_> = self.entries.keys().cloned().collect();
        let mut instances = Vec::with_capacity(ids.len());
        for id in ids {
            let instance = self.instance(&id);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.told.clone_from(&instance);
            }
            instances.extend(instance);
        }
        instances
    }

    /// Tells how `id` is now, and those that borrow its networks, if that is news.
    fn tell(&mut self, id: &InstanceId, learned: Instant, effects: &mut Effects) {
        if self.live {
            self.tell_one(id, learned, effects);
            for dependent in self.dependents(id) {
                self.tell_one(&dependent, learned, effects);
            }
        }
    }

    fn tell_one(&mut self, id: &InstanceId, learned: Instant, effects: &mut Effects) {
        let instance = self.instance(id);
        let Some(entry) = self.entries.get_mut(id) else { return };
        let Some(instance) = instance else {
            if entry.told.take().is_some() {
                effects.changes.push((learned, Change::Remove(id.clone())));
            }
            return;
        };
        if entry.told.as_ref() != Some(&instance) {
            entry.told = Some(instance.clone());
            effects.changes.push((learned, Change::Upsert(Box::new(instance))));
        }
    }

    fn remove(&mut self, id: &InstanceId, now: Instant, effects: &mut Effects) {
        let dependents = if self.live { self.dependents(id) } else { Vec::new() };
        let Some(entry) = self.entries.remove(id) else { return };
        if self.live && entry.told.is_some() {
            effects.changes.push((now, Change::Remove(id.clone())));
        }
        for dependent in dependents {
            self.tell_one(&dependent, now, effects);
        }
    }

    fn instance(&self, id: &InstanceId) -> Option<Instance> {
        let container = self.entries.get(id)?.container.as_ref()?;
        if self.hides_tasks && container.seen().labels.contains_key(TASK) {
            return None;
        }
        let owner = match &container.seen().reach {
            Reach::Of(reference) => self.containers().find(|owner| is_called(owner, reference)),
            Reach::Own(_) | Reach::Host => None,
        };
        Some(container.instance(owner, self.host))
    }

    fn dependents(&self, id: &InstanceId) -> Vec<InstanceId> {
        let Some(owner) = self.entries.get(id).and_then(|entry| entry.container.as_ref()) else {
            return Vec::new();
        };
        self.containers()
            .filter(|container| {
                matches!(&container.seen().reach, Reach::Of(reference) if is_called(owner, reference))
            })
            .map(|container| container.seen().id.clone())
            .collect()
    }

    fn containers(&self) -> impl Iterator<Item = &Container> {
        self.entries.values().filter_map(|entry| entry.container.as_ref())
    }
}

impl Entry {
    /// Takes an observation. One that events have overtaken only serves where there is nothing better.
    fn take(&mut self, observed: Observed, overtaken: bool) {
        match &mut self.container {
            Some(_) if overtaken => {}
            Some(container) => container.observe(observed),
            None => {
                let mut container = Container::new(observed);
                for event in self.pending.drain(..) {
                    container.apply(&event);
                }
                self.container = Some(container);
            }
        }
    }
}

/// Whether `reference` (an id, the beginning of one, or a name) means `container`.
fn is_called(container: &Container, reference: &str) -> bool {
    let seen = container.seen();
    *seen.id.0 == *reference
        || seen.name == reference
        || (reference.len() >= 12 && seen.id.0.starts_with(reference))
}

#[cfg(test)]
mod convergence;
#[cfg(test)]
pub(super) mod fixtures;
#[cfg(test)]
mod tests;
