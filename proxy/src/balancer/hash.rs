//! Hashes that are the same in every process, and choices by them. Knows bytes and numbers only.
//!
//! What a client is sent to by a hash must not depend on which process it asks, nor on when that was started; so nothing
//! here is seeded.

/// A hash of these bytes: FNV-1a, then mixed, so that each bit of it depends on all of them.
pub(crate) fn of(bytes: &[u8]) -> u64 {
    mix(bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
}

/// Spreads what differs in few bits over all of them (the end of SplitMix64).
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// How much a thing of this weight is drawn to a hash: the highest gets it (rendezvous hashing, with weights as Traefik
/// has them). Whoever else comes or goes, it is the same.
pub(crate) fn pull(hash: u64, key: u64, weight: u32) -> f64 {
    // Above 0 and below 1, so that the logarithm is a number below 0.
    let drawn = ((mix(hash ^ key) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    f64::from(weight) / -drawn.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn winner(hash: u64, things: &[(u64, u32)]) -> usize {
        let pull = |index: &usize| pull(hash, things[*index].0, things[*index].1);
        (0..things.len()).max_by(|a, b| pull(a).total_cmp(&pull(b))).unwrap()
    }

    #[test]
    fn hashes_are_the_same_in_every_process() {
        assert_eq!(of(b""), mix(0xcbf2_9ce4_8422_2325));
        assert_eq!(of(b"192.0.2.7"), 8_871_465_900_017_807_932);
    }

    #[test]
    fn everybody_draws_by_its_weight() {
        let things = [(of(b"a"), 1), (of(b"b"), 2), (of(b"c"), 7)];
        let mut counts = [0_u32; 3];
        for client in 0..100_000_u64 {
            counts[winner(mix(client), &things)] += 1;
        }
        for (count, due) in counts.into_iter().zip([10_000.0, 20_000.0, 70_000.0]) {
            assert!((f64::from(count) - due).abs() < due * 0.05, "{counts:?}");
        }
    }

    #[test]
    fn only_those_move_whose_own_went() {
        let things: Vec<(u64, u32)> = (0..10_u64).map(|key| (mix(key), 1)).collect();
        let fewer = &things[..9];
        for client in 0..10_000_u64 {
            let before = winner(mix(client), &things);
            if before < 9 {
                assert_eq!(winner(mix(client), fewer), before);
            }
        }
    }
}
