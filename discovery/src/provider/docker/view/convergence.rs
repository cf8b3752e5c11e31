//! Whatever the stream does to the events, the view ends at the truth, and so does who only hears what it tells.

use super::fixtures::{Hearer, Random, event, running, stopped};
use super::*;
use crate::instance::State;
use crate::provider::docker::observe::{Health, Run};

const SEEDS: u64 = 4000;
const STEPS: usize = 80;
const CONTAINERS: usize = 3;

/// An engine with a few containers, and its clock.
#[derive(Default)]
struct Truth {
    containers: BTreeMap<InstanceId, (Observed, u64)>,
    created: usize,
    clock: u64,
}

impl Truth {
    /// One thing happens to one container; what the engine says of it.
    fn step(&mut self, random: &mut Random) -> Vec<Event> {
        self.clock += 1;
        let now = self.clock;
        if self.containers.len() < CONTAINERS {
            self.created += 1;
            let name = format!("c{}", self.created);
            let observed = running(&name, now);
            let said = [event(&name, now, Kind::Changed), event(&name, now, Kind::Changed)];
            self.containers.insert(observed.id.clone(), (observed, now));
            return said.into();
        }
        let picked = random.below(self.containers.len());
        let Some(id) = self.containers.keys().nth(picked).cloned() else { return Vec::new() };
        let say = |kind: Kind| event(&id.0, now, kind);
        let Some((container, started)) = self.containers.get_mut(&id) else { return Vec::new() };
        let name = container.name.clone();
        match (container.run.clone(), random.below(7)) {
            (Run::Stopped(_), 0) => {
                self.containers.remove(&id);
                vec![say(Kind::Destroy)]
            }
            (Run::Stopped(_), _) => {
                *started = now;
                *container = Observed { name, ..running(&id.0, now) };
                vec![say(Kind::Changed), say(Kind::Changed)]
            }
            (_, 0) => vec![say(Kind::Kill(15))],
            (_, 1) => vec![say(Kind::Kill(1))],
            (Run::Paused, _) => {
                container.run = Run::Running;
                vec![say(Kind::Unpause)]
            }
            (_, 2) => {
                container.run = Run::Paused;
                vec![say(Kind::Pause)]
            }
            (_, 3) => {
                let healthy = random.once_in(2);
                container.health = if healthy { Health::Healthy } else { Health::Unhealthy };
                vec![say(Kind::Health(healthy))]
            }
            (_, 4) => {
                container.name = format!("{}-{now}", id.0);
                vec![say(Kind::Rename(container.name.clone()))]
            }
            _ => {
                *container = Observed { name, ..stopped(&id.0, *started, now, 1) };
                let left = Kind::Disconnect { network: "front-id".into() };
                vec![say(Kind::Die(Some(1))), say(left), say(Kind::Changed)]
            }
        }
    }

    fn get(&self, id: &InstanceId) -> Option<Observed> {
        self.containers.get(id).map(|(observed, _)| observed.clone())
    }

    fn listing(&self) -> Listing {
        let listed = |(observed, _): &(Observed, u64)| Listed { observed: observed.clone(), inspected: true };
        Listing { containers: self.containers.values().map(listed).collect(), ..Listing::default() }
    }
}

/// What is between the engine and the view, and who hears the view.
#[derive(Default)]
struct World {
    truth: Truth,
    view: View,
    stream: Vec<Event>,
    inspections: Vec<(InstanceId, u64, Option<Observed>)>,
    list: Option<(u64, Listing)>,
    /// The last signal that ended something and reached the view, by container.
    signalled: BTreeMap<InstanceId, u64>,
    hearer: Hearer,
    inspected: usize,
}

impl World {
    fn take(&mut self, effects: Effects) {
        self.hearer.take(effects.changes);
        for id in effects.refresh {
            if !self.inspections.iter().any(|(other, ..)| *other == id)
                && let Some(epoch) = self.view.epoch(&id)
            {
                let found = self.truth.get(&id);
                self.inspections.push((id, epoch, found));
            }
        }
    }

    fn deliver(&mut self, event: &Event) {
        if event.kind == Kind::Kill(15) {
            let at = event.at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            let last = self.signalled.entry(event.id.clone()).or_default();
            *last = at.max(*last);
        }
        let effects = self.view.apply(event, Instant::now());
        self.take(effects);
    }

    fn inspection_ends(&mut self, index: usize, with_the_latest: bool) {
        self.inspected += 1;
        let (id, epoch, at_begin) = self.inspections.swap_remove(index);
        let found = if with_the_latest { self.truth.get(&id) } else { at_begin };
        // An id is never given out again: what is not found is gone.
        let effects = self.view.refreshed(&id, epoch, found, Instant::now());
        self.take(effects);
    }

    fn list_ends(&mut self) {
        if let Some((epoch, listing)) = self.list.take() {
            let effects = self.view.listed(epoch, listing, Instant::now());
            self.take(effects);
        }
    }

    fn list_begins(&mut self) {
        if self.list.is_none() {
            self.list = Some((self.view.begin_list(), self.truth.listing()));
        }
    }

    fn chaos(&mut self, random: &mut Random) {
        match random.below(10) {
            0..4 => {
                for event in self.truth.step(random) {
                    if !random.once_in(10) {
                        self.stream.push(event);
                    }
                }
            }
            4..7 if !self.stream.is_empty() => {
                let index = random.below(self.stream.len().min(4));
                let event = self.stream[index].clone();
                if !random.once_in(8) {
                    self.stream.remove(index);
                }
                self.deliver(&event);
            }
            7 | 8 if !self.inspections.is_empty() => {
                let (index, latest) = (random.below(self.inspections.len()), random.once_in(2));
                self.inspection_ends(index, latest);
            }
            9 if random.once_in(8) => {
                // The connection breaks: what was under way is lost, and the stream with it.
                self.view.reconnect(None);
                self.list = None;
                self.inspections.clear();
                self.stream.clear();
                self.list_begins();
            }
            9 if random.once_in(2) => self.list_begins(),
            9 => self.list_ends(),
            _ => {}
        }
    }

    fn settle(&mut self) {
        while !self.stream.is_empty() {
            let event = self.stream.remove(0);
            self.deliver(&event);
        }
        self.list_ends();
        self.list_begins();
        self.list_ends();
        let mut rounds = 0;
        while !self.inspections.is_empty() {
            self.inspection_ends(0, rounds > CONTAINERS);
            rounds += 1;
            assert!(rounds < 1000, "inspections without end");
        }
    }

    fn check(&self) {
        assert_eq!(self.view.entries.len(), self.truth.containers.len());
        assert_eq!(self.hearer.heard.len(), self.truth.containers.len());
        for (id, (observed, started)) in &self.truth.containers {
            let view = self.view.instance(id).expect("known");
            assert_eq!(self.hearer.heard.get(id), Some(&view), "what was told is what is known");
            let mut expected = Container::new(observed.clone()).instance(None, None);
            if expected.state != State::Stopped && self.signalled.get(id).is_some_and(|at| at >= started) {
                expected.state = State::Draining;
                expected.reason = "kill signal 15".to_owned();
            }
            expected.since = view.since;
            assert_eq!(view, expected);
        }
    }
}

#[test]
fn after_a_list_the_view_is_the_truth_whatever_the_stream_did() {
    let (mut inspected, mut containers) = (0, 0);
    for seed in 1..=SEEDS {
        let outcome = std::panic::catch_unwind(|| {
            let mut random = Random::new(seed);
            let mut world = World::default();
            world.list_begins();
            for _ in 0..STEPS {
                world.chaos(&mut random);
            }
            world.settle();
            world.check();
            (world.inspected, world.truth.containers.len())
        });
        let (more_inspected, more_containers) = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        inspected += more_inspected;
        containers += more_containers;
    }
    // It would hold just as well if nothing had happened.
    assert!(inspected > 10_000 && containers > 5_000, "{inspected} inspections, {containers} containers");
}
