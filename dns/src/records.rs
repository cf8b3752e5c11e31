//! Record sets: what a name has, in the order it is given out.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::key::Key;

/// Records of one name and one type.
#[derive(Debug)]
pub(crate) struct RrSet<T> {
    items: Box<[T]>,
    /// Where the next answer starts; `None` where the order means something.
    ///
    /// It counts per set, not per zone: stub resolvers ask for A and AAAA in pairs, and a counter that both share would
    /// give every A query the same one of two replicas.
    turn: Option<AtomicU32>,
}

impl<T> RrSet<T> {
    /// A set whose every answer starts one further. `turn` is where the first one starts.
    pub(crate) fn rotated(items: Vec<T>, turn: u32) -> Self {
        Self { items: items.into(), turn: Some(AtomicU32::new(turn)) }
    }

    /// A set given out as it is, the preferred record first.
    pub(crate) fn ordered(items: Vec<T>) -> Self {
        Self { items: items.into(), turn: None }
    }

    /// The records as they are, without taking a turn.
    pub(crate) fn as_slice(&self) -> &[T] {
        &self.items
    }

    /// The records in the order of this answer.
    pub(crate) fn take_turn(&self) -> impl Iterator<Item = &T> + Clone {
        let start = match &self.turn {
            Some(turn) if self.items.len() > 1 => {
                turn.fetch_add(1, Ordering::Relaxed) as usize % self.items.len()
            }
            _ => 0,
        };
        let (end, begin) = self.items.split_at(start);
        begin.iter().chain(end)
    }
}

/// The addresses of a name. Both may be empty: the name exists, and nobody behind it can serve.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(crate) v4: RrSet<Ipv4Addr>,
    pub(crate) v6: RrSet<Ipv6Addr>,
}

/// A container, as SRV and PTR records point to it.
#[derive(Debug)]
pub(crate) struct Host {
    /// A name that only this container has.
    pub(crate) name: Key,
    /// What that name resolves to.
    pub(crate) addresses: Arc<Addresses>,
}

/// One place where a named port is offered. Priority and weight are the same for all.
#[derive(Debug)]
pub(crate) struct Srv {
    pub(crate) host: Arc<Host>,
    pub(crate) port: u16,
}

/// Everything one name has. Without either it is an empty non-terminal (RFC 8020 §3): it exists because of a name below.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) addresses: Option<Arc<Addresses>>,
    pub(crate) services: Option<Arc<RrSet<Srv>>>,
}

impl Node {
    /// Whether it has no record of any type at present.
    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.as_ref().is_none_or(|all| all.v4.as_slice().is_empty() && all.v6.as_slice().is_empty())
            && self.services.as_ref().is_none_or(|all| all.as_slice().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_starts_one_further_and_holds_all() {
        let set = RrSet::rotated(vec![1, 2, 3], 2);
        let turn = || set.take_turn().copied().collect::<Vec<_>>();
        assert_eq!([turn(), turn(), turn(), turn()], [[3, 1, 2], [1, 2, 3], [2, 3, 1], [3, 1, 2]]);
    }

    #[test]
    fn an_order_that_means_something_is_kept() {
        let set = RrSet::ordered(vec![1, 2]);
        assert!((0..3).all(|_| set.take_turn().eq(&[1, 2])));
        assert_eq!(RrSet::<u8>::rotated(vec![], 7).take_turn().count(), 0);
    }
}
