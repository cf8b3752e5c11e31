//! The sessions of one socket: found by client, and kept in the order in which something moved last. It knows no socket
//! and no clock.
//!
//! Everything here takes the same time however many there are: a flood of new clients must not pay for each with a look
//! at all.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

/// No place.
const NONE: u32 = u32::MAX;

/// Sessions in places that are numbered, and stay where they are.
#[derive(Debug)]
pub(super) struct Book<K, S> {
    by_client: HashMap<K, u32, RandomState>,
    places: Vec<Place<K, S>>,
    /// The first free place.
    free: u32,
    newest: u32,
    oldest: u32,
}

#[derive(Debug)]
enum Place<K, S> {
    /// With the next free one.
    Free(u32),
    Taken(Entry<K, S>),
}

#[derive(Debug)]
struct Entry<K, S> {
    client: K,
    session: S,
    /// Whether the client still leads here; what it was led away from is in no order.
    current: bool,
    newer: u32,
    older: u32,
}

impl<K: Copy + Eq + Hash, S> Book<K, S> {
    pub(super) fn new() -> Self {
        Self { by_client: HashMap::default(), places: Vec::new(), free: NONE, newest: NONE, oldest: NONE }
    }

    /// How many clients have one.
    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    pub(super) fn find(&self, client: &K) -> Option<u32> {
        self.by_client.get(client).copied()
    }

    pub(super) fn get(&mut self, place: u32) -> Option<&mut S> {
        match self.places.get_mut(place as usize) {
            Some(Place::Taken(entry)) => Some(&mut entry.session),
            _ => None,
        }
    }

    /// The client that has it, while it has.
    pub(super) fn client(&self, place: u32) -> Option<K> {
        self.entry(place).filter(|entry| entry.current).map(|entry| entry.client)
    }

    /// Where the next one will be.
    pub(super) fn next_place(&self) -> u32 {
        if self.free == NONE { self.places.len() as u32 } else { self.free }
    }

    /// Puts one in at [`Self::next_place`], as the newest.
    pub(super) fn add(&mut self, client: K, session: S) -> u32 {
        let place = self.next_place();
        let entry = Place::Taken(Entry { client, session, current: true, newer: NONE, older: NONE });
        match self.places.get_mut(place as usize) {
            Some(free) => {
                if let Place::Free(next) = std::mem::replace(free, entry) {
                    self.free = next;
                }
            }
            None => self.places.push(entry),
        }
        self.by_client.insert(client, place);
        self.link(place);
        place
    }

    /// Notes that something moved.
    pub(super) fn touch(&mut self, place: u32) {
        if place != self.newest && self.entry(place).is_some_and(|entry| entry.current) {
            self.unlink(place);
            self.link(place);
        }
    }

    /// The one in which nothing moved for longest.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Leads its client away. It stays in its place until it is removed.
    pub(super) fn detach(&mut self, place: u32) {
        let Some(entry) = self.entry_mut(place).filter(|entry| entry.current) else { return };
        entry.current = false;
        let client = entry.client;
        self.by_client.remove(&client);
        self.unlink(place);
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<S> {
        self.detach(place);
        let found = self.places.get_mut(place as usize)?;
        if matches!(found, Place::Free(_)) {
            return None;
        }
        let taken = std::mem::replace(found, Place::Free(self.free));
        self.free = place;
        match taken {
            Place::Taken(entry) => Some(entry.session),
            Place::Free(_) => None,
        }
    }

    fn entry(&self, place: u32) -> Option<&Entry<K, S>> {
        match self.places.get(place as usize) {
            Some(Place::Taken(entry)) => Some(entry),
            _ => None,
        }
    }

    fn entry_mut(&mut self, place: u32) -> Option<&mut Entry<K, S>> {
        match self.places.get_mut(place as usize) {
            Some(Place::Taken(entry)) => Some(entry),
            _ => None,
        }
    }

    fn link(&mut self, place: u32) {
        let older = self.newest;
        if let Some(entry) = self.entry_mut(place) {
            (entry.newer, entry.older) = (NONE, older);
        }
        match self.entry_mut(older) {
            Some(entry) => entry.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }

    fn unlink(&mut self, place: u32) {
        let Some((newer, older)) = self.entry(place).map(|entry| (entry.newer, entry.older)) else { return };
        match self.entry_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entry_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn in_order(book: &Book<u8, u32>) -> Vec<u8> {
        let mut order = Vec::new();
        let mut place = book.oldest;
        while let Some(entry) = book.entry(place) {
            order.push(entry.client);
            place = entry.newer;
        }
        order
    }

    #[test]
    fn the_one_that_moved_least_lately_is_the_oldest() {
        let mut book = Book::new();
        let places: Vec<u32> = (0..4).map(|client| book.add(client, 0)).collect();
        book.touch(places[0]);
        book.touch(places[2]);
        book.touch(places[2]);
        assert_eq!(in_order(&book), [1, 3, 0, 2]);
        assert_eq!(book.oldest(), Some(places[1]));
        book.remove(places[3]);
        assert_eq!(in_order(&book), [1, 0, 2]);
        // A place is used again, and whoever had it is not found there.
        assert_eq!(book.add(9, 7), places[3]);
        assert_eq!((book.find(&3), book.find(&9), book.len()), (None, Some(places[3]), 4));
    }

    #[test]
    fn a_client_that_was_led_away_may_begin_anew_while_the_old_one_lingers() {
        let mut book = Book::new();
        let old = book.add(1, 10);
        book.detach(old);
        let new = book.add(1, 20);
        assert_ne!(old, new);
        assert_eq!((book.find(&1), book.client(old), book.len()), (Some(new), None, 1));
        book.touch(old);
        assert_eq!(book.oldest(), Some(new));
        assert_eq!((book.remove(old), book.find(&1)), (Some(10), Some(new)));
        assert_eq!((book.remove(new), book.len(), book.oldest()), (Some(20), 0, None));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_list(steps in proptest::collection::vec((0_u8..4, 0_u8..6), 0..200)) {
            let mut book: Book<u8, u32> = Book::new();
            let mut plain: Vec<u8> = Vec::new();
            for (step, client) in steps {
                match (step, book.find(&client)) {
                    (0 | 1, None) => { book.add(client, 0); plain.push(client); }
                    (0 | 1, Some(place)) => {
                        book.touch(place);
                        plain.retain(|other| *other != client);
                        plain.push(client);
                    }
                    (2, Some(place)) => { book.remove(place); plain.retain(|other| *other != client); }
                    (3, _) => if let Some(place) = book.oldest() { book.remove(place); plain.remove(0); },
                    _ => {}
                }
                prop_assert_eq!(in_order(&book), plain.clone());
                prop_assert_eq!(book.len(), plain.len());
            }
        }
    }
}
