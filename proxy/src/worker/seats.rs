//! Memory that requests are served in. It is large, and taken for as long as a request takes: to get it anew each time
//! would be a good part of what a request costs here, and the small things that stay between would keep it in pieces.
//!
//! What is served in a seat is one future that serves one job after another, so that its memory is the next one's.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use crate::limits::SEATS_KEPT;

/// The seats of a worker that nobody sits in.
pub(crate) struct Seats<J, D> {
    free: RefCell<Vec<Seat<J, D>>>,
    /// How many were to spare at any time since the last look.
    spare: Cell<usize>,
}

struct Seat<J, D> {
    desk: Rc<Desk<J, D>>,
    serving: Pin<Box<dyn Future<Output = Infallible>>>,
}

/// Where a job is put, and what came of it.
struct Desk<J, D> {
    job: Cell<Option<J>>,
    done: Cell<Option<D>>,
}

impl<J, D> Default for Seats<J, D> {
    fn default() -> Self {
        Self { free: RefCell::default(), spare: Cell::default() }
    }
}

impl<J: 'static, D: 'static> Seats<J, D> {
    /// Does a job in a seat. If it is given up, so is the seat.
    pub(crate) async fn serve<F: Future<Output = D> + 'static>(&self, job: J, serve: fn(J) -> F) -> D {
        let mut seat = self.take().unwrap_or_else(|| Seat::new(serve));
        seat.desk.job.set(Some(job));
        let done = poll_fn(|context| match (seat.serving.as_mut().poll(context), seat.desk.done.take()) {
            (Poll::Pending, Some(done)) => Poll::Ready(done),
            (Poll::Pending, None) => Poll::Pending,
            (Poll::Ready(never), _) => match never {},
        })
        .await;
        let mut free = self.free.borrow_mut();
        if free.len() < SEATS_KEPT {
            free.push(seat);
        }
        done
    }

    /// Lets go of what was not needed since this was called last.
    pub(crate) fn sweep(&self) {
        let mut free = self.free.borrow_mut();
        let kept = free.len().saturating_sub(self.spare.get());
        free.truncate(kept);
        self.spare.set(kept);
    }

    fn take(&self) -> Option<Seat<J, D>> {
        let mut free = self.free.borrow_mut();
        let taken = free.pop();
        self.spare.set(self.spare.get().min(free.len()));
        taken
    }
}

impl<J: 'static, D: 'static> Seat<J, D> {
    fn new<F: Future<Output = D> + 'static>(serve: fn(J) -> F) -> Self {
        let desk = Rc::new(Desk { job: Cell::new(None), done: Cell::new(None) });
        let own = desk.clone();
        let serving = Box::pin(async move {
            loop {
                // Whoever puts a job there polls this next.
                let job = poll_fn(|_| own.job.take().map_or(Poll::Pending, Poll::Ready)).await;
                // Made where it stays: a future that is awaited as it comes is moved there whole, KiB of it.
                let mut served = pin!(serve(job));
                let done = poll_fn(|context| served.as_mut().poll(context)).await;
                own.done.set(Some(done));
            }
        });
        Self { desk, serving }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;

    async fn twice(number: u32) -> u32 {
        yield_now().await;
        number * 2
    }

    #[tokio::test]
    async fn who_sits_down_gets_what_came_of_its_own_job() {
        let seats = Seats::default();
        assert_eq!(seats.serve(1, twice).await, 2);
        let all = tokio::join!(seats.serve(2, twice), seats.serve(3, twice), seats.serve(4, twice));
        assert_eq!((all, seats.free.borrow().len()), ((4, 6, 8), 3));
        // One that is given up is nobody's afterwards.
        let mut given_up = Box::pin(seats.serve(5, twice));
        let first = poll_fn(|context| Poll::Ready(given_up.as_mut().poll(context).is_pending()));
        assert!(first.await);
        drop(given_up);
        assert_eq!(seats.free.borrow().len(), 2);
        assert_eq!((seats.serve(6, twice).await, seats.free.borrow().len()), (12, 2));
    }

    #[tokio::test]
    async fn seats_that_a_rush_took_are_let_go_of_but_not_those_in_use() {
        let seats = Seats::default();
        let _ = tokio::join!(seats.serve(1, twice), seats.serve(2, twice), seats.serve(3, twice));
        seats.sweep();
        assert_eq!(seats.free.borrow().len(), 3);
        let _ = tokio::join!(seats.serve(1, twice), seats.serve(2, twice));
        seats.sweep();
        assert_eq!(seats.free.borrow().len(), 2);
        seats.sweep();
        assert_eq!(seats.free.borrow().len(), 0);
    }
}
