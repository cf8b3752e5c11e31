//! The Swarm as it was told: looks and local events go in, changes come out. It does no I/O, and is given the time.
//!
//! Each look is the truth about tasks as a whole, so what a lost event would have said is in the next one; events of this
//! node's containers only come before it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::world::{Seen, Signs, World};
use super::{service, task};
use crate::instance::{Instance, InstanceId};
use crate::provider::Change;
use crate::provider::docker::events::{Event, Kind};
use crate::provider::docker::observe::exited;

/// Signals remembered of one container, at most; the numbers of all signals are fewer.
const SIGNALS_MAX: usize = 64;

/// What is known of a Swarm, and what was told of that.
#[derive(Debug, Default)]
pub(super) struct View {
    world: World,
    told: BTreeMap<InstanceId, Instance>,
    /// Whether this connection's first look is in.
    live: bool,
}

impl View {
    /// A new connection: the next look tells everything.
    pub(super) fn reconnect(&mut self) {
        self.live = false;
    }

    /// Whether this connection's first look is in.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// The tasks that were known to be there, which a look asks for also when they are no longer to run.
    pub(super) fn tasks(&self) -> BTreeSet<String> {
        self.world
            .tasks
            .iter()
            .filter(|task| !task::is_over(&task.status.state))
            .map(|task| task.id.clone())
            .collect()
    }

    /// The services known, by id.
    pub(super) fn services(&self) -> BTreeSet<String> {
        self.world.services.keys().cloned().collect()
    }

    /// How many services there are.
    pub(super) fn count(&self) -> usize {
        self.world.services.len()
    }

    /// Takes what a look brought, which began at `asked`.
    pub(super) fn looked(&mut self, seen: Seen, asked: Instant) -> Vec<(Instant, Change)> {
        self.world.take(seen, asked);
        if self.live {
            return self.news(asked);
        }
        self.live = true;
        self.told = self.draw();
        vec![(asked, Change::Reset(self.told.values().cloned().collect()))]
    }

    /// Takes an event of a container on this node, which was read at `now`.
    pub(super) fn apply(&mut self, event: &Event, now: Instant) -> Vec<(Instant, Change)> {
        let container = &*event.id.0;
        if !self.world.tasks.iter().any(|task| task.status.container.id == container) {
            return Vec::new();
        }
        let signs = self.world.signs.entry(container.to_owned()).or_default();
        let before = signs.clone();
        note(signs, &event.kind);
        let unchanged = *signs == before;
        signs.heard = Some(now);
        if unchanged || !self.live {
            return Vec::new();
        }
        self.news(now)
    }

    /// How everything is now, where that is not what was told.
    fn news(&mut self, learned: Instant) -> Vec<(Instant, Change)> {
        let drawn = self.draw();
        let mut changes = Vec::new();
        for (id, instance) in &drawn {
            if self.told.get(id) != Some(instance) {
                changes.push((learned, Change::Upsert(Box::new(instance.clone()))));
            }
        }
        for id in self.told.keys().filter(|id| !drawn.contains_key(*id)) {
            changes.push((learned, Change::Remove(id.clone())));
        }
        self.told = drawn;
        changes
    }

    fn draw(&self) -> BTreeMap<InstanceId, Instance> {
        let world = &self.world;
        let mut tasks: BTreeMap<&str, Vec<Instance>> = BTreeMap::new();
        for task in &world.tasks {
            let Some(known) = world.services.get(&task.service) else { continue };
            if let Some(instance) = task::instance(world, known, task) {
                tasks.entry(&task.service).or_default().push(instance);
            }
        }
        let mut drawn = BTreeMap::new();
        for (id, known) in &world.services {
            let tasks = tasks.remove(id.as_str()).unwrap_or_default();
            let shown = match () {
                () if known.balanced && !(known.removed && tasks.is_empty()) => {
                    vec![service::balanced(world, known, &tasks)]
                }
                () if tasks.is_empty() && !known.removed => vec![service::empty(world, known)],
                () => tasks,
            };
            drawn.extend(shown.into_iter().map(|instance| (instance.id.clone(), instance)));
        }
        drawn
    }
}

fn note(signs: &mut Signs, kind: &Kind) {
    match kind {
        Kind::Kill(signal) if signs.signals.len() < SIGNALS_MAX => {
            signs.signals.insert(*signal);
        }
        Kind::Die(code) => signs.died = Some(exited(*code)),
        Kind::Destroy => {
            signs.died.get_or_insert_with(|| "removed".to_owned());
        }
        Kind::Pause => signs.paused = true,
        Kind::Unpause => signs.paused = false,
        Kind::Health(healthy) => signs.healthy = Some(*healthy),
        Kind::Kill(_) | Kind::Rename(_) | Kind::Disconnect { .. } | Kind::Changed => {}
    }
}

#[cfg(test)]
mod convergence;
#[cfg(test)]
mod tests;
