//! Chooses the endpoint for the next piece of work.

use std::sync::Arc;

use crate::table::{Target, Upstream};

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

/// The next available target in turn that was not tried yet.
pub(crate) fn pick(upstream: &Upstream, tried: &Tried) -> Option<Arc<Target>> {
    let count = upstream.available.len();
    if count == 0 {
        return None;
    }
    let start = upstream.cursor.next() % count;
    let (before, from) = upstream.available.split_at(start);
    from.iter().chain(before).find(|target| !tried.contains(target)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::upstream;

    #[test]
    fn every_target_gets_its_turn_equally_often() {
        let upstream = upstream(&[true, true, false, true]);
        let mut picks = std::collections::BTreeMap::new();
        for _ in 0..300 {
            *picks.entry(pick(&upstream, &Tried::default()).unwrap().id).or_insert(0) += 1;
        }
        assert_eq!(picks.values().copied().collect::<Vec<_>>(), [100, 100, 100]);
    }

    #[test]
    fn a_target_that_failed_is_not_chosen_again() {
        let upstream = upstream(&[true, true]);
        let mut tried = Tried::default();
        tried.add(&pick(&upstream, &tried).unwrap());
        let second = pick(&upstream, &tried).unwrap();
        tried.add(&second);
        assert!(pick(&upstream, &tried).is_none());
    }

    #[test]
    fn nothing_is_chosen_where_nothing_is_available() {
        assert!(pick(&upstream(&[false]), &Tried::default()).is_none());
        assert!(pick(&upstream(&[]), &Tried::default()).is_none());
    }
}
