//! A limited number of connections: when all seats are taken, the one idle for longest gives way to a newcomer.
//!
//! Closing newcomers instead would let anybody who opens enough connections, and says nothing, keep all others out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

/// While a connection is being answered.
const BUSY: u64 = u64::MAX;

/// The seats, kept by whoever accepts connections.
#[derive(Debug)]
pub(super) struct Seats {
    limit: usize,
    taken: Vec<Weak<Seat>>,
}

/// One connection's seat, held by it until it ends.
#[derive(Debug)]
pub(super) struct Seat {
    /// When it last became idle, on a clock of the caller's.
    idle_since: AtomicU64,
    asked_to_leave: Notify,
}

impl Seats {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, taken: Vec::new() }
    }

    /// A seat for a newcomer, at `now`; `None` where every one is taken by somebody who is being answered.
    pub(super) fn take(&mut self, now: u64) -> Option<Arc<Seat>> {
        if self.taken.len() >= self.limit {
            self.taken.retain(|seat| seat.strong_count() > 0);
        }
        if self.taken.len() >= self.limit {
            self.clear_one()?;
        }
        let seat = Arc::new(Seat { idle_since: AtomicU64::new(now), asked_to_leave: Notify::new() });
        self.taken.push(Arc::downgrade(&seat));
        Some(seat)
    }

    /// Asks everybody to leave once they are answered.
    pub(super) fn close(&mut self) {
        for seat in self.taken.drain(..).filter_map(|seat| seat.upgrade()) {
            seat.asked_to_leave.notify_one();
        }
    }

    fn clear_one(&mut self) -> Option<()> {
        let idle_since =
            |seat: &Weak<Seat>| seat.upgrade().map_or(0, |seat| seat.idle_since.load(Ordering::Relaxed));
        let (index, since) = self.taken.iter().map(idle_since).enumerate().min_by_key(|(_, since)| *since)?;
        if since == BUSY {
            return None;
        }
        if let Some(seat) = self.taken.swap_remove(index).upgrade() {
            seat.asked_to_leave.notify_one();
        }
        Some(())
    }
}

impl Seat {
    /// Its connection is being answered.
    pub(super) fn busy(&self) {
        self.idle_since.store(BUSY, Ordering::Relaxed);
    }

    /// Its connection waits for a query, since `now`.
    pub(super) fn idle(&self, now: u64) {
        self.idle_since.store(now, Ordering::Relaxed);
    }

    /// Waits until the seat is needed for another, or the server stops.
    pub(super) async fn asked_to_leave(&self) {
        self.asked_to_leave.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn leaves(seat: &Seat) -> bool {
        tokio::select! { biased; () = seat.asked_to_leave() => true, () = tokio::task::yield_now() => false }
    }

    #[tokio::test]
    async fn the_one_idle_for_longest_gives_way() {
        let mut seats = Seats::new(3);
        let [a, b, c] = [1, 2, 3].map(|now| seats.take(now).unwrap());
        a.idle(10);
        b.busy();
        let _d = seats.take(11).unwrap();
        assert!(leaves(&c).await);
        assert!(!leaves(&a).await && !leaves(&b).await);
    }

    #[tokio::test]
    async fn who_is_being_answered_stays_and_the_newcomer_goes() {
        let mut seats = Seats::new(1);
        let a = seats.take(1).unwrap();
        a.busy();
        assert!(seats.take(2).is_none());
        drop(a);
        assert!(seats.take(3).is_some());
    }
}
