//! How many answers a second one network is sent by UDP: who asks in another's name must not make us flood them.
//!
//! It reads no clock and knows no sockets. Each worker has its own, so that none waits for another.

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::RandomState;

/// Networks that are counted apart; of those that share a place, the one that asks last is counted.
const PLACES: usize = 4096;

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Send,
    /// Cut to nothing: whoever really asked comes back over TCP.
    Cut,
    Drop,
}

/// Counts answers by the network they go to: IPv4 by 24 bits, IPv6 by 56.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: u32,
    places: Box<[Place]>,
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    network: u64,
    second: u32,
    answers: u32,
}

impl Limiter {
    /// So many answers a second for each network.
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, places: vec![Place::default(); PLACES].into(), hasher: RandomState::default() }
    }

    /// An answer to `client` in this second.
    pub(super) fn take(&mut self, client: IpAddr, second: u32) -> Measure {
        let network = match client {
            IpAddr::V4(ip) => u64::from(ip.to_bits() >> 8),
            IpAddr::V6(ip) => (ip.to_bits() >> 72) as u64 | 1 << 63,
        };
        let place = &mut self.places[self.hasher.hash_one(network) as usize % PLACES];
        if (place.network, place.second) != (network, second) {
            *place = Place { network, second, answers: 0 };
        }
        place.answers = place.answers.saturating_add(1);
        match place.answers {
            within if within <= self.rate => Measure::Send,
            beyond if beyond % 2 == 0 => Measure::Cut,
            _ => Measure::Drop,
        }
    }
}

/// Cuts the answer that begins at `start` to its question, and says so.
pub(super) fn cut(bytes: &mut Vec<u8>, start: usize) {
    let mut end = start + 12;
    while let Some(length @ 1..=63) = bytes.get(end).map(|length| usize::from(*length)) {
        end += 1 + length;
    }
    bytes.truncate(end + 5);
    if let Some(header) = bytes.get_mut(start..start + 12) {
        header[2] |= 2;
        header[6..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::Measure::{Cut, Drop, Send};
    use super::*;

    #[test]
    fn what_is_too_much_is_cut_or_dropped_until_the_next_second() {
        let mut limiter = Limiter::new(2);
        let mut take = |ip: &str, second| limiter.take(ip.parse().unwrap(), second);
        assert_eq!([(); 5].map(|()| take("192.0.2.1", 1)), [Send, Send, Drop, Cut, Drop]);
        assert_eq!(take("192.0.2.200", 1), Cut, "of the same network");
        assert_eq!(take("192.0.3.1", 1), Send);
        assert_eq!(take("192.0.2.1", 2), Send);
        assert_eq!([(); 3].map(|()| take("2001:db8::1", 1)), [Send, Send, Drop]);
        assert_eq!(take("2001:db8:0:ff::2", 1), Cut, "one site");
        assert_eq!(take("2001:db8:0:100::2", 1), Send);
    }
}
