//! In turn, by weight. Knows numbers only: which of `n` things has the turn of this number.
//!
//! One counter for all workers gives the turns, so that they are even over any number of them: counters of each worker's
//! own would be even only as long as every worker has equally many requests. What belongs to a turn is decided when the
//! table is compiled, so that a turn takes one addition and one look into a list.

/// Turns that a list is made for, at most. Weights that need more are spread by a sequence instead.
const LIST_MAX: u64 = 4096;

/// The golden ratio's fraction of 2⁶⁴. Its multiples fill any range more evenly than those of any other number (the three
/// distance theorem), so that of any run of turns everybody gets its share, but for a few.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// All have the same weight.
    Equal,
    /// The turns in a list, everybody's as far from each other as can be (smooth weighted round robin, as nginx has it).
    Listed(Box<[u16]>),
    /// The sums of the weights up to each.
    Spread(Box<[u64]>),
}

impl Rotation {
    /// For things of these weights, none of which is 0.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, *weight)).max(1);
        let total: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
        if total == weights.len() as u64 {
            return Self::Equal;
        }
        if total <= LIST_MAX {
            return Self::Listed(smooth(weights, divisor, total));
        }
        let sums = weights.iter().scan(0, |sum, weight| {
            *sum += u64::from(*weight);
            Some(*sum)
        });
        Self::Spread(sums.collect())
    }

    /// The first of `count` things that is usable, from the one on whose turn it is.
    pub(crate) fn choose(&self, turn: usize, count: usize, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let from = |start: usize| (start..count).chain(0..start);
        match self {
            _ if count == 0 => None,
            Self::Equal => from(turn % count).find(|index| usable(*index)),
            Self::Listed(list) => {
                let start = turn % list.len();
                let (before, rest) = list.split_at(start);
                rest.iter().chain(before).map(|index| usize::from(*index)).find(|index| usable(*index))
            }
            Self::Spread(sums) => {
                let total = sums.last().copied().unwrap_or(1);
                let place = (u128::from((turn as u64).wrapping_mul(GOLDEN)) * u128::from(total)) >> 64;
                from(sums.partition_point(|sum| u128::from(*sum) <= place)).find(|index| usable(*index))
            }
        }
    }
}

/// Each turn goes to whoever is furthest behind its share.
fn smooth(weights: &[u32], divisor: u32, total: u64) -> Box<[u16]> {
    let total = total as i64;
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
    let mut behind = vec![0_i64; weights.len()];
    (0..total)
        .map(|_| {
            let mut next = 0;
            for index in 0..weights.len() {
                behind[index] += weights[index];
                if behind[index] > behind[next] {
                    next = index;
                }
            }
            behind[next] -= total;
            next as u16
        })
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// How often each got a turn, in so many.
    fn shares(weights: &[u32], turns: usize) -> Vec<usize> {
        let rotation = Rotation::new(weights);
        let mut counts = vec![0; weights.len()];
        for turn in 0..turns {
            counts[rotation.choose(turn, weights.len(), |_| true).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn everybody_gets_its_share_whatever_the_weights_are() {
        let cases: [&[u32]; 8] = [
            &[1, 1, 1],
            &[10, 10],
            &[5, 1, 1],
            &[3, 2],
            &[100, 1],
            &[4095, 1],
            &[70_001, 29_999, 1],
            &[1_000_003, 999_983, 500_009, 7_000_001],
        ];
        for weights in cases {
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            let turns = 100_000;
            for (count, weight) in shares(weights, turns).into_iter().zip(weights) {
                let due = turns as f64 * f64::from(*weight) / total as f64;
                assert!((count as f64 - due).abs() <= (due * 0.01).max(3.0), "{weights:?}: {count} of {due}");
            }
        }
    }

    #[test]
    fn turns_are_spread_and_not_given_in_a_row() {
        let rotation = Rotation::new(&[5, 1, 1]);
        let turns: Vec<usize> = (0..7).map(|turn| rotation.choose(turn, 3, |_| true).unwrap()).collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn equal_weights_cost_no_list() {
        for weights in [&[1, 1][..], &[7, 7, 7], &[]] {
            assert_eq!(Rotation::new(weights), Rotation::Equal, "{weights:?}");
        }
    }

    #[test]
    fn who_can_not_be_used_is_passed_over_by_any_of_them() {
        for weights in [[1, 1, 1], [3, 1, 1], [70_001, 29_999, 1]] {
            let rotation = Rotation::new(&weights);
            for turn in 0..1000 {
                assert_eq!(rotation.choose(turn, 3, |index| index == 2), Some(2), "{weights:?}");
                assert_eq!(rotation.choose(turn, 3, |_| false), None);
            }
        }
    }

    #[test]
    fn turns_are_even_over_threads_that_are_not_equally_busy() {
        let rotation = Rotation::new(&[3, 2, 1]);
        let (turns, counts) = (AtomicUsize::new(0), [const { AtomicUsize::new(0) }; 3]);
        std::thread::scope(|scope| {
            for worker in 1..=4 {
                let (turns, counts, rotation) = (&turns, &counts, &rotation);
                scope.spawn(move || {
                    for _ in 0..worker * 1_500 {
                        let turn = turns.fetch_add(1, Ordering::Relaxed);
                        let next = rotation.choose(turn, 3, |_| true).unwrap();
                        counts[next].fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(counts.map(AtomicUsize::into_inner), [7_500, 5_000, 2_500]);
    }
}
