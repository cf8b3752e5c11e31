//! What waits to be told while the receiver is busy.
//!
//! The engine drops events of a reader that does not read, so the loop that reads them never waits for the receiver.
//! What waits here stays bounded: of one container only the latest change is kept.

use std::collections::VecDeque;

use crate::instance::InstanceId;
use crate::provider::{Change, Update};

/// Updates that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Update>,
}

impl Outbox {
    /// Adds an update, which takes the place of what it makes obsolete.
    pub(super) fn push(&mut self, mut update: Update) {
        match &update.change {
            Change::Reset(_) => self.waiting.clear(),
            Change::Lost(_) | Change::Configured(_) | Change::Judged(_) | Change::Ordered(_) => {}
            Change::Upsert(_) | Change::Remove(_) => {
                let id = subject(&update.change).cloned();
                let earlier = self.waiting.iter_mut().find(|other| subject(&other.change) == id.as_ref());
                if let Some(earlier) = earlier {
                    // It has waited since then, and the delay that is measured is to show it.
                    update.observed_at = earlier.observed_at;
                    *earlier = update;
                    return;
                }
            }
        }
        self.waiting.push_back(update);
    }

    /// Takes the first.
    pub(super) fn pop(&mut self) -> Option<Update> {
        self.waiting.pop_front()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn subject(change: &Change) -> Option<&InstanceId> {
    match change {
        Change::Upsert(instance) => Some(&instance.id),
        Change::Remove(id) => Some(id),
        Change::Reset(_)
        | Change::Lost(_)
        | Change::Configured(_)
        | Change::Judged(_)
        | Change::Ordered(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::provider::ProviderName;

    fn update(change: Change) -> Update {
        Update { provider: ProviderName::new("docker"), observed_at: Instant::now(), change }
    }

    fn remove(id: &str) -> Update {
        update(Change::Remove(InstanceId::new(id)))
    }

    #[test]
    fn a_busy_receiver_gets_the_latest_of_each_container_and_the_earliest_time() {
        let mut outbox = Outbox::default();
        let first = remove("a");
        let first_at = first.observed_at;
        outbox.push(first);
        outbox.push(remove("b"));
        outbox.push(remove("a"));
        let got = outbox.pop().unwrap();
        assert_eq!((subject(&got.change), got.observed_at), (Some(&InstanceId::new("a")), first_at));
        assert_eq!(subject(&outbox.pop().unwrap().change), Some(&InstanceId::new("b")));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_reset_makes_everything_before_it_obsolete() {
        let mut outbox = Outbox::default();
        outbox.push(remove("a"));
        outbox.push(update(Change::Lost("gone".into())));
        outbox.push(update(Change::Reset(vec![])));
        assert!(matches!(outbox.pop().unwrap().change, Change::Reset(_)));
        assert!(outbox.is_empty());
    }
}
