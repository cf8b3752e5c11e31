//! Containers and events for tests, by name and second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use crate::instance::{Instance, InstanceId};
use crate::provider::Change;
use crate::provider::docker::events::{Event, Kind};
use crate::provider::docker::observe::{Attachment, Health, Observed, Reach, Run};

pub(in crate::provider::docker) fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(in crate::provider::docker) fn id(name: &str) -> InstanceId {
    InstanceId::new(name)
}

pub(in crate::provider::docker) fn event(name: &str, seconds: u64, kind: Kind) -> Event {
    Event { id: id(name), at: time(seconds), kind }
}

/// A running container, started at `started`, on the network `front`.
pub(in crate::provider::docker) fn running(name: &str, started: u64) -> Observed {
    Observed {
        id: id(name),
        name: name.to_owned(),
        labels: BTreeMap::new(),
        created: time(1),
        started: Some(time(started)),
        finished: None,
        stop_signal: 15,
        ports: Vec::new(),
        bindings: Vec::new(),
        virtual_host: BTreeMap::new(),
        reach: Reach::Own(vec![attachment("front", started)]),
        run: Run::Running,
        health: Health::Unchecked,
    }
}

pub(in crate::provider::docker) fn stopped(name: &str, started: u64, finished: u64, code: i64) -> Observed {
    Observed {
        finished: Some(time(finished)),
        reach: Reach::Own(Vec::new()),
        run: Run::Stopped(format!("exited ({code})")),
        ..running(name, started)
    }
}

fn attachment(network: &str, started: u64) -> Attachment {
    Attachment {
        network: network.to_owned(),
        network_id: format!("{network}-id"),
        endpoint_id: format!("{network}-{started}"),
        ipv4: Some([10, 0, 0, 2].into()),
        ipv6: None,
        aliases: Vec::new(),
    }
}

/// Somebody who knows what was told, and nothing else.
#[derive(Debug, Default)]
pub(in crate::provider::docker) struct Hearer {
    pub(in crate::provider::docker) heard: BTreeMap<InstanceId, Instance>,
    /// Changes that were told.
    pub(in crate::provider::docker) told: usize,
}

impl Hearer {
    /// Takes changes, each of which has to be one.
    pub(in crate::provider::docker) fn take(&mut self, changes: Vec<(Instant, Change)>) {
        self.told += changes.len();
        for (_, change) in changes {
            match change {
                Change::Reset(all) => {
                    self.heard = all.into_iter().map(|instance| (instance.id.clone(), instance)).collect();
                }
                Change::Upsert(instance) => {
                    let before = self.heard.insert(instance.id.clone(), (*instance).clone());
                    assert_ne!(before.as_ref(), Some(&*instance), "told what is no news");
                }
                Change::Remove(id) => assert!(self.heard.remove(&id).is_some(), "removed what was not there"),
                other
                @ (Change::Lost(_) | Change::Configured(_) | Change::Judged(_) | Change::Ordered(_)) => {
                    panic!("{other:?}")
                }
            }
        }
    }
}

/// The same numbers for the same seed.
pub(in crate::provider::docker) struct Random(u64);

impl Random {
    pub(in crate::provider::docker) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(in crate::provider::docker) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) % limit as u64) as usize
    }

    pub(in crate::provider::docker) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
