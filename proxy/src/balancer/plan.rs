//! How the targets of one upstream are chosen among: the strategy, with all that can be worked out beforehand.

use std::sync::Arc;
use std::time::Duration;

use portolan_config::dynamic::service::{HashBy, LoadBalancer, Strategy};

use super::hash::{mix, pull};
use super::{Asker, Maglev, Rotation};
use crate::deadline::Moment;
use crate::table::Target;

/// Work that is turned away from a new target still leaves it this share, so that it gets warm at all.
const WARMTH_MIN: f64 = 0.1;

/// Targets that a table of Maglev's is made for, at most.
const MAGLEV_MAX: usize = 10_000;

/// How targets are chosen.
#[derive(Debug)]
pub struct Plan {
    kind: Kind,
    /// What requests are hashed by, where the choice goes by that.
    hash_by: HashBy,
    turns: Rotation,
    /// How long a new target gets less than its share; zero where it does not.
    slow_start: Duration,
}

#[derive(Debug)]
enum Kind {
    Turns,
    LeastRequests,
    /// Of two by chance, the one with less to do.
    TwoChoices,
    /// Of two by chance, the one that costs less.
    TwoCosts,
    LeastTime,
    Rendezvous,
    Maglev(Maglev),
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            kind: Kind::Turns,
            hash_by: HashBy::Address,
            turns: Rotation::Equal,
            slow_start: Duration::ZERO,
        }
    }
}

impl Plan {
    /// As asked for, among these, whose weights are not 0.
    pub(crate) fn new(balancing: &LoadBalancer, targets: &[Arc<Target>]) -> Self {
        let weights: Vec<u32> = targets.iter().map(|target| target.weight).collect();
        let kind = match balancing.strategy {
            Strategy::Wrr => Kind::Turns,
            Strategy::P2c => Kind::TwoChoices,
            Strategy::Ewma => Kind::TwoCosts,
            Strategy::LeastTime => Kind::LeastTime,
            Strategy::LeastRequests => Kind::LeastRequests,
            Strategy::Hrw => Kind::Rendezvous,
            // So many that the table could not tell them apart.
            Strategy::Maglev if targets.len() > MAGLEV_MAX => Kind::Rendezvous,
            Strategy::Maglev => {
                let things: Vec<(u64, u32)> =
                    targets.iter().map(|target| (target.key, target.weight)).collect();
                Kind::Maglev(Maglev::new(&things))
            }
        };
        Self {
            kind,
            hash_by: balancing.hash_by.clone(),
            turns: Rotation::new(&weights),
            slow_start: balancing.slow_start.duration(),
        }
    }

    /// Whether the choice goes by what targets have to do, so that it has to be counted.
    pub(crate) fn is_by_load(&self) -> bool {
        matches!(self.kind, Kind::LeastRequests | Kind::TwoChoices | Kind::TwoCosts | Kind::LeastTime)
    }

    /// What requests are hashed by; `None` where the choice does not go by that.
    pub(crate) fn hashes(&self) -> Option<&HashBy> {
        matches!(self.kind, Kind::Rendezvous | Kind::Maglev(_)).then_some(&self.hash_by)
    }

    /// One of the targets that are usable. `turn` gives numbers that no other choice has.
    pub(crate) fn choose(
        &self,
        targets: &[Arc<Target>],
        asker: Asker,
        turn: impl Fn() -> usize,
        usable: impl Fn(&Target) -> bool,
    ) -> Option<usize> {
        let number = turn();
        let first = self.by_kind(targets, asker, number, &usable)?;
        if self.slow_start.is_zero() {
            return Some(first);
        }
        // A number between 0 and 1 that has nothing to do with whose turn it is.
        let chance = (mix(number as u64) >> 11) as f64 / (1_u64 << 53) as f64;
        let warmth = targets[first].load.warmth(Moment::now(), self.slow_start).max(WARMTH_MIN);
        if chance < warmth {
            return Some(first);
        }
        let others = |target: &Target| target.id != targets[first].id && usable(target);
        // Where all are new, nobody is.
        self.by_kind(targets, asker, turn(), &others).or(Some(first))
    }

    fn by_kind(
        &self,
        targets: &[Arc<Target>],
        asker: Asker,
        turn: usize,
        usable: &impl Fn(&Target) -> bool,
    ) -> Option<usize> {
        let count = targets.len();
        let in_turn = || self.turns.choose(turn, count, |index| usable(&targets[index]));
        match &self.kind {
            Kind::Turns => in_turn(),
            Kind::LeastRequests => least(targets, turn, usable, |target| {
                f64::from(target.load.running() + 1) / f64::from(target.weight)
            }),
            Kind::LeastTime => least(targets, turn, usable, |target| {
                target.load.mean() * f64::from(target.load.running() + 1) / f64::from(target.weight)
            }),
            Kind::TwoChoices => {
                of_two(targets, turn, usable, |target| f64::from(target.load.running())).or_else(in_turn)
            }
            Kind::TwoCosts => {
                let now = Moment::now();
                of_two(targets, turn, usable, |target| target.load.cost(now) / f64::from(target.weight))
                    .or_else(in_turn)
            }
            Kind::Rendezvous => {
                let Some(hash) = asker.hash else { return in_turn() };
                least(targets, 0, usable, |target| -pull(hash, target.key, target.weight))
            }
            Kind::Maglev(table) => {
                let Some(hash) = asker.hash else { return in_turn() };
                table.choose(hash, count, |index| usable(&targets[index]))
            }
        }
    }
}

/// The one with the least, the turn's first among equals.
fn least(
    targets: &[Arc<Target>],
    turn: usize,
    usable: &impl Fn(&Target) -> bool,
    of: impl Fn(&Target) -> f64,
) -> Option<usize> {
    let start = turn % targets.len().max(1);
    let mut best: Option<(usize, f64)> = None;
    for index in (start..targets.len()).chain(0..start) {
        if !usable(&targets[index]) {
            continue;
        }
        let score = of(&targets[index]);
        if best.is_none_or(|(_, least)| score < least) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

/// Of two different ones by chance, the one with less; `None` where neither is usable.
fn of_two(
    targets: &[Arc<Target>],
    turn: usize,
    usable: &impl Fn(&Target) -> bool,
    of: impl Fn(&Target) -> f64,
) -> Option<usize> {
    let count = targets.len() as u64;
    let chance = mix(turn as u64);
    let first = (chance >> 32) % count.max(1);
    let second = if count > 1 { (first + 1 + (chance & 0xffff_ffff) % (count - 1)) % count } else { first };
    let both = [first as usize, second as usize];
    match both.map(|index| targets.get(index).is_some_and(|target| usable(target))) {
        [true, true] => Some(if of(&targets[both[1]]) < of(&targets[both[0]]) { both[1] } else { both[0] }),
        [true, false] => Some(both[0]),
        [false, true] => Some(both[1]),
        [false, false] => None,
    }
}
