//! Whatever happens to looks and events, the view ends at the truth, and so does who only hears what it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::*;
use crate::instance::State;
use crate::provider::docker::swarm::model::{
    AttachedNetwork, ContainerStatus, Local, Node, NodeStatus, Service, ServiceSpec, Task, TaskAttachment,
    TaskStatus,
};
use crate::provider::docker::view::fixtures::{Hearer, Random};

const SEEDS: u64 = 3000;
const STEPS: usize = 80;
const SERVICES: usize = 2;
const TASKS: usize = 5;

/// A Swarm of a few services, tasks and nodes.
#[derive(Clone, Default)]
struct Truth {
    services: BTreeMap<String, Service>,
    tasks: BTreeMap<String, Task>,
    nodes: BTreeMap<String, bool>,
    paused: BTreeSet<String>,
    made: usize,
}

impl Truth {
    fn make(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}{}", self.made)
    }

    /// One thing happens; what this node's engine says of its containers.
    fn step(&mut self, random: &mut Random) -> Vec<Event> {
        if self.services.len() < SERVICES {
            let id = self.make("s");
            let spec = ServiceSpec { name: id.clone(), ..ServiceSpec::default() };
            self.services.insert(id.clone(), Service { id, spec, ..Service::default() });
            return Vec::new();
        }
        if self.tasks.len() < TASKS {
            let (id, container) = (self.make("t"), self.make("c"));
            let Some(service) = self.services.keys().nth(random.below(SERVICES)).cloned() else {
                return Vec::new();
            };
            let network = AttachedNetwork { id: "n".into(), ..AttachedNetwork::default() };
            let address = format!("10.0.0.{}/24", self.made % 250);
            let task = Task {
                id: id.clone(),
                service,
                slot: 1,
                node: format!("node{}", random.below(2)),
                desired: "running".into(),
                status: TaskStatus {
                    state: "pending".into(),
                    container: ContainerStatus { id: container },
                    ..TaskStatus::default()
                },
                attachments: vec![TaskAttachment { network, addresses: vec![address] }],
                ..Task::default()
            };
            self.tasks.insert(id, task);
            return Vec::new();
        }
        let Some(task) = self.tasks.values_mut().nth(random.below(TASKS)) else { return Vec::new() };
        let container = task.status.container.id.clone();
        let say =
            |kind: Kind| vec![Event { id: InstanceId::new(&container), at: SystemTime::UNIX_EPOCH, kind }];
        match (task.status.state.as_str(), random.below(8)) {
            ("failed", _) => {
                let id = task.id.clone();
                self.tasks.remove(&id);
                Vec::new()
            }
            ("pending", _) => {
                task.status.state = "running".into();
                Vec::new()
            }
            (_, 0 | 1) => {
                task.desired = "shutdown".into();
                Vec::new()
            }
            (_, 2) => say(Kind::Kill(15)),
            (_, 3) => {
                task.status.state = "failed".into();
                say(Kind::Die(Some(1)))
            }
            (_, 4) => {
                let node = self.nodes.entry(task.node.clone()).or_insert(true);
                *node = !*node;
                Vec::new()
            }
            (_, 5) => {
                let service = task.service.clone();
                self.services.remove(&service);
                for task in self.tasks.values_mut().filter(|task| task.service == service) {
                    task.desired = "remove".into();
                }
                Vec::new()
            }
            (_, _) if self.paused.remove(&container) => say(Kind::Unpause),
            (_, _) => {
                self.paused.insert(container.clone());
                say(Kind::Pause)
            }
        }
    }

    /// What a manager answers to somebody who knows of these tasks.
    fn look(&self, known: &BTreeSet<String>, everything: bool) -> Seen {
        let wanted = |task: &&Task| {
            task.desired == "running" || (known.contains(&task.id) && !task::is_over(&task.status.state))
        };
        let node = |(id, ready): (&String, &bool)| Node {
            id: id.clone(),
            status: NodeStatus {
                state: if *ready { "ready" } else { "down" }.into(),
                ..NodeStatus::default()
            },
            ..Node::default()
        };
        let local = |task: &Task| Local {
            id: task.status.container.id.clone(),
            state: if self.paused.contains(&task.status.container.id) { "paused" } else { "running" }.into(),
            ..Local::default()
        };
        Seen {
            services: Some(self.services.values().cloned().collect()),
            nodes: everything.then(|| self.nodes.iter().map(node).collect()),
            local: everything.then(|| self.tasks.values().map(local).collect()),
            tasks: self.tasks.values().filter(wanted).cloned().collect(),
            ..Seen::default()
        }
    }
}

/// What is between the Swarm and the view, and who hears the view.
struct Channel {
    truth: Truth,
    view: View,
    stream: Vec<Event>,
    look: Option<(Seen, Instant)>,
    hearer: Hearer,
    signalled: BTreeSet<String>,
    now: Instant,
}

impl Channel {
    fn new() -> Self {
        Self {
            truth: Truth::default(),
            view: View::default(),
            stream: Vec::new(),
            look: None,
            hearer: Hearer::default(),
            signalled: BTreeSet::new(),
            now: Instant::now(),
        }
    }

    fn tick(&mut self) -> Instant {
        self.now += Duration::from_millis(1);
        self.now
    }

    fn deliver(&mut self, event: &Event) {
        let known = |task: &Task| *task.status.container.id == *event.id.0;
        if event.kind == Kind::Kill(15) && self.view.world.tasks.iter().any(known) {
            self.signalled.insert(event.id.0.to_string());
        }
        let now = self.tick();
        let changes = self.view.apply(event, now);
        self.hearer.take(changes);
    }

    fn look_begins(&mut self, everything: bool) {
        let asked = self.tick();
        self.look.get_or_insert_with(|| (self.truth.look(&self.view.tasks(), everything), asked));
    }

    fn look_ends(&mut self) {
        if let Some((seen, asked)) = self.look.take() {
            let changes = self.view.looked(seen, asked);
            self.hearer.take(changes);
            // Who is no longer known is forgotten, with what was said of it.
            let known: BTreeSet<&String> =
                self.view.world.tasks.iter().map(|task| &task.status.container.id).collect();
            self.signalled.retain(|container| known.contains(container));
        }
    }

    fn chaos(&mut self, random: &mut Random) {
        match random.below(10) {
            0..4 => {
                for event in self.truth.step(random) {
                    if !random.once_in(8) {
                        self.stream.push(event);
                    }
                }
            }
            4..6 if !self.stream.is_empty() => {
                let index = random.below(self.stream.len().min(4));
                let event = self.stream[index].clone();
                if !random.once_in(8) {
                    self.stream.remove(index);
                }
                self.deliver(&event);
            }
            6 | 7 => self.look_begins(random.once_in(3)),
            8 => self.look_ends(),
            9 if random.once_in(10) => {
                self.view.reconnect();
                self.look = None;
                self.stream.clear();
            }
            _ => {}
        }
    }

    fn settle(&mut self) {
        while !self.stream.is_empty() {
            let event = self.stream.remove(0);
            self.deliver(&event);
        }
        self.look_ends();
        self.look_begins(true);
        self.look_ends();
    }

    fn check(&self) {
        assert_eq!(self.hearer.heard, self.view.told, "what was told is what is known");
        let mut fresh = View::default();
        let mut seen = self.truth.look(&self.view.tasks(), true);
        // A new view has never heard of services that are gone.
        let known: BTreeSet<&String> = self.truth.services.keys().collect();
        seen.tasks.retain(|task| known.contains(&task.service));
        fresh.looked(seen, self.now);
        for (id, expected) in &fresh.told {
            let mut expected = expected.clone();
            let task = self.truth.tasks.get(&*id.0);
            let container = task.map(|task| &task.status.container.id);
            let signalled = container.is_some_and(|container| self.signalled.contains(container));
            let said = matches!(expected.state, State::Ready | State::Paused);
            let down = task.is_some_and(|task| self.truth.nodes.get(&task.node) == Some(&false));
            if signalled && (said || (down && expected.reason.contains("is down"))) {
                (expected.state, expected.reason) = (State::Draining, "kill signal 15".to_owned());
            }
            assert_eq!(self.hearer.heard.get(id), Some(&expected));
        }
        for (id, heard) in self.hearer.heard.iter().filter(|(id, _)| !fresh.told.contains_key(*id)) {
            let task = &self.truth.tasks[&*id.0];
            assert!(!known.contains(&task.service), "{heard:?} is not there");
        }
    }
}

#[test]
fn after_a_look_the_view_is_the_truth_whatever_happened_before() {
    let (mut told, mut instances) = (0, 0);
    for seed in 1..=SEEDS {
        let outcome = std::panic::catch_unwind(|| {
            let mut random = Random::new(seed);
            let mut channel = Channel::new();
            for _ in 0..STEPS {
                channel.chaos(&mut random);
            }
            channel.settle();
            channel.check();
            (channel.hearer.told, channel.hearer.heard.len())
        });
        let (more_told, more_instances) = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        told += more_told;
        instances += more_instances;
    }
    // It would hold just as well if nothing had happened.
    assert!(told > 20_000 && instances > 5_000, "{told} changes, {instances} instances");
}
