//! Maglev hashing (Eisenbud et al., NSDI 2016, §3.4): a table in which every thing has its share of the places, and keeps
//! nearly all of them when others come or go. A choice is one look into it, however many things there are.

use super::hash::mix;

/// Sizes that a table can have: primes, each a good deal more than a hundred times the things that it is for, so that shares
/// differ by a hundredth at most.
const SIZES: [usize; 4] = [1_021, 8_191, 65_537, 655_373];

/// Whose each place is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Maglev(Box<[u16]>);

impl Maglev {
    /// For things with these identities and weights.
    pub(crate) fn new(things: &[(u64, u32)]) -> Self {
        if things.is_empty() {
            return Self(Box::default());
        }
        let wanted = things.len() * 100;
        let size = SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(SIZES[3]);
        let heaviest = things.iter().map(|(_, weight)| *weight).max().unwrap_or(1).max(1);
        // Each goes through all places in an order of its own.
        let mut next: Vec<(usize, usize)> = things
            .iter()
            .map(|(key, _)| {
                (*key as usize % size, mix(*key ^ 0x006d_6167_6c65_7600) as usize % (size - 1) + 1)
            })
            .collect();
        let mut owed = vec![0.0_f64; things.len()];
        let mut places = vec![u16::MAX; size];
        let mut free = size;
        while free > 0 {
            for index in 0..things.len() {
                // The heaviest takes one each round, the others as much less often as they are lighter.
                owed[index] += f64::from(things[index].1) / f64::from(heaviest);
                if owed[index] < 1.0 || free == 0 {
                    continue;
                }
                owed[index] -= 1.0;
                let (mut place, step) = next[index];
                while places[place] != u16::MAX {
                    place = (place + step) % size;
                }
                places[place] = index as u16;
                next[index] = ((place + step) % size, step);
                free -= 1;
            }
        }
        Self(places.into())
    }

    /// Who is hashed to, if that one is usable; else who the hash of the hash leads to, and so on.
    pub(crate) fn choose(&self, hash: u64, count: usize, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let mut hash = hash;
        for _ in 0..count * 2 {
            let index = usize::from(*self.0.get((hash % self.0.len().max(1) as u64) as usize)?);
            if usable(index) {
                return Some(index);
            }
            hash = mix(hash);
        }
        // Nearly none is usable.
        (0..count).find(|index| usable(*index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn things(count: u64, weight: impl Fn(u64) -> u32) -> Vec<(u64, u32)> {
        (0..count).map(|key| (mix(key), weight(key))).collect()
    }

    fn places(table: &Maglev, count: usize) -> Vec<usize> {
        let mut places = vec![0; count];
        for place in &table.0 {
            places[usize::from(*place)] += 1;
        }
        places
    }

    #[test]
    fn places_are_shared_by_weight_to_a_hundredth() {
        for (count, weight) in [(3, (|_| 1) as fn(u64) -> u32), (10, |key| key as u32 + 1), (500, |_| 1)] {
            let things = things(count, weight);
            let table = Maglev::new(&things);
            let total: u32 = things.iter().map(|(_, weight)| weight).sum();
            for (places, (_, weight)) in places(&table, things.len()).into_iter().zip(&things) {
                let due = table.0.len() as f64 * f64::from(*weight) / f64::from(total);
                assert!((places as f64 - due).abs() <= (due * 0.01).max(1.5), "{count}: {places} of {due}");
            }
        }
    }

    #[test]
    fn few_move_when_one_of_a_hundred_goes() {
        let all = things(100, |_| 1);
        let (with, without) = (Maglev::new(&all), Maglev::new(&all[..99]));
        let hashes = 100_000_u64;
        let moved = (0..hashes)
            .filter(|hash| {
                let before = with.choose(mix(*hash), 100, |_| true).unwrap();
                before != 99 && without.choose(mix(*hash), 99, |_| true) != Some(before)
            })
            .count();
        // A hundredth has to move; with it moves a little more, never what a modulus would move (99 of 100).
        assert!(moved * 100 / (hashes as usize) <= 5, "{moved} of {hashes} moved without need");
    }

    #[test]
    fn a_table_is_the_same_however_often_it_is_made() {
        let things = things(7, |_| 1);
        assert_eq!(Maglev::new(&things), Maglev::new(&things));
    }

    #[test]
    fn who_can_not_be_used_is_passed_over() {
        let table = Maglev::new(&things(5, |_| 1));
        for hash in 0..1_000 {
            assert_eq!(table.choose(mix(hash), 5, |index| index == 3), Some(3));
            assert_eq!(table.choose(mix(hash), 5, |_| false), None);
        }
        assert_eq!(Maglev::new(&[]).choose(1, 0, |_| true), None);
    }

    #[test]
    fn a_weight_beside_a_huge_one_ends() {
        let table = Maglev::new(&[(1, 1), (2, u32::MAX)]);
        assert_eq!(places(&table, 2).iter().sum::<usize>(), SIZES[0]);
    }
}
