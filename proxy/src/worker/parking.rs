//! Connections that have nothing to do for a while.
//!
//! A task, its timer and its place with the runtime take the better part of a kilobyte, and most connections to a proxy
//! wait most of the time. One that has waited for a moment is parked: what is left of it is its file descriptor, in a
//! set that the kernel watches as one, and what its next request needs to know.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::deadline::Moment;

/// Connections taken out at a time.
const HEARD_MAX: usize = 64;

/// Parked connections.
#[derive(Debug)]
pub(crate) struct Parking<T> {
    watched: OwnedFd,
    places: RefCell<Places<T>>,
    /// Those that came since it was asked last.
    came: Cell<usize>,
}

#[derive(Debug)]
struct Places<T> {
    all: Vec<Place<T>>,
    /// The first of the free ones.
    free: usize,
    taken: usize,
}

#[derive(Debug)]
enum Place<T> {
    /// With the next free one.
    Free(usize),
    Taken(T, Moment),
}

impl<T: AsFd> Parking<T> {
    /// An empty one.
    pub(crate) fn new() -> io::Result<Self> {
        let watched = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            watched,
            places: RefCell::new(Places { all: Vec::new(), free: usize::MAX, taken: 0 }),
            came: Cell::default(),
        })
    }

    /// Readable when one of them has something to say.
    pub(crate) fn watched(&self) -> BorrowedFd<'_> {
        self.watched.as_fd()
    }

    /// Parks a connection until it has something to say, but no longer than `until`.
    pub(crate) fn park(&self, connection: T, until: Moment) -> io::Result<()> {
        let mut places = self.places.borrow_mut();
        let place = places.next();
        let said = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        epoll::add(&self.watched, &connection, epoll::EventData::new_u64(place as u64), said)?;
        places.put(place, connection, until);
        self.came.set(self.came.get() + 1);
        Ok(())
    }

    /// Takes out some of those that have something to say.
    pub(crate) fn heard(&self) -> Vec<T> {
        let mut events = Vec::with_capacity(HEARD_MAX);
        let none = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        if epoll::wait(&self.watched, spare_capacity(&mut events), Some(&none)).is_err() {
            return Vec::new();
        }
        let mut places = self.places.borrow_mut();
        let take = |event: epoll::Event| places.take(event.data.u64() as usize);
        let heard: Vec<T> = events.into_iter().filter_map(take).collect();
        for connection in &heard {
            // Whoever has it next asks the runtime to watch it.
            let _ = epoll::delete(&self.watched, connection);
        }
        heard
    }

    /// Takes out those whose time is over. The kernel forgets them when they are closed.
    pub(crate) fn overdue(&self, now: Moment) -> Vec<T> {
        let mut places = self.places.borrow_mut();
        let is_over = |place: &Place<T>| matches!(place, Place::Taken(_, until) if *until <= now);
        let over: Vec<usize> = (0..places.all.len()).filter(|place| is_over(&places.all[*place])).collect();
        over.into_iter().filter_map(|place| places.take(place)).collect()
    }

    /// How many were parked since this was called last.
    pub(crate) fn came(&self) -> usize {
        self.came.take()
    }

    /// Whether nobody is parked.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.borrow().taken == 0
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.places.borrow().taken
    }
}

impl<T> Places<T> {
    /// Where the next one goes.
    fn next(&self) -> usize {
        self.free.min(self.all.len())
    }

    fn put(&mut self, place: usize, connection: T, until: Moment) {
        self.taken += 1;
        let taken = Place::Taken(connection, until);
        match self.all.get_mut(place) {
            Some(free) => {
                if let Place::Free(next) = std::mem::replace(free, taken) {
                    self.free = next;
                }
            }
            None => self.all.push(taken),
        }
    }

    fn take(&mut self, place: usize) -> Option<T> {
        let found = self.all.get_mut(place).filter(|found| matches!(found, Place::Taken(..)))?;
        let Place::Taken(connection, _) = std::mem::replace(found, Place::Free(self.free)) else {
            return None;
        };
        self.free = place;
        self.taken -= 1;
        if self.taken == 0 {
            *self = Self { all: Vec::new(), free: usize::MAX, taken: 0 };
        }
        Some(connection)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn whoever_speaks_or_leaves_is_taken_out_and_nobody_else() {
        let parking = Parking::new().unwrap();
        let later = Moment::now() + Duration::from_secs(9);
        let mut others = Vec::new();
        for _ in 0..4 {
            let (parked, other) = UnixStream::pair().unwrap();
            parking.park(parked, later).unwrap();
            others.push(other);
        }
        assert!(parking.heard().is_empty());
        others[2].write_all(b"2").unwrap();
        let mut heard = parking.heard();
        assert_eq!((heard.len(), parking.len()), (1, 3));
        let mut word = [0];
        heard[0].read_exact(&mut word).unwrap();
        assert_eq!(word, *b"2");
        // It may come back, to any place.
        parking.park(heard.remove(0), later).unwrap();
        drop(others.remove(0));
        assert_eq!((parking.heard().len(), parking.heard().len(), parking.len()), (1, 0, 3));
        assert!(parking.overdue(Moment::now()).is_empty());
        assert_eq!((parking.overdue(later).len(), parking.len()), (3, 0));
    }
}
