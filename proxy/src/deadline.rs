//! Deadlines that cost next to nothing as long as they are met: nearly all are.
//!
//! Every wait has one, most waits are over in a moment, and no limit here needs to be kept to the hundredth of a second.
//! So the time is read from the kernel's coarse clock, and what waits is noted in a list that a task looks through when
//! the first of it is due, but not more than forty times a second. One list a thread: a worker's connections stay on its thread.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::ops::Add;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How much later than its deadline a wait may end, or a little more.
const TICK: Duration = Duration::from_millis(25);
/// The list is looked through at least that often, also when nothing is due.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// A moment, in milliseconds. Moments mean nothing beyond the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// One that never comes.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The moment as a number.
    pub(crate) fn millis(self) -> u64 {
        self.0
    }

    /// How long after an earlier one; nothing, if that is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The present, as far as the coarse clock knows: some milliseconds late.
    #[cfg(not(test))]
    pub(crate) fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
        // Neither is ever negative on this clock.
        Self(now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000)
    }

    /// The present by the runtime's clock, which tests turn.
    #[cfg(test)]
    pub(crate) fn now() -> Self {
        use tokio::time::Instant;
        thread_local!(static BEGINNING: Instant = Instant::now());
        Self(BEGINNING.with(Instant::elapsed).as_millis() as u64)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// What was waited for did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// Waits for `future`, but no longer than `limit`.
pub(crate) fn timeout<F: Future>(limit: Duration, future: F) -> Timeout<F> {
    Timeout { future, limit: Limit::In(limit) }
}

/// Waits for `future`, but not beyond `deadline`.
pub(crate) fn timeout_at<F: Future>(deadline: Moment, future: F) -> Timeout<F> {
    Timeout { future, limit: Limit::At(Wait::until(deadline)) }
}

/// Resolves at `deadline`, or soon after.
pub(crate) async fn sleep_until(deadline: Moment) {
    let mut wait = Wait::until(deadline);
    poll_fn(|context| wait.poll(context)).await;
}

pin_project_lite::pin_project! {
    /// A future with a limit.
    #[derive(Debug)]
    pub(crate) struct Timeout<F> {
        #[pin]
        future: F,
        limit: Limit,
    }
}

#[derive(Debug)]
enum Limit {
    /// Counted from when it is seen that there is something to wait for.
    In(Duration),
    At(Wait),
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        if let Limit::In(limit) = this.limit {
            *this.limit = Limit::At(Wait::until(Moment::now() + *limit));
        }
        let Limit::At(wait) = this.limit else { return Poll::Pending };
        wait.poll(context).map(|()| Err(Elapsed))
    }
}

/// A wait for a moment. To be polled by one task, together with what the task really waits for.
#[derive(Debug)]
pub(crate) struct Wait {
    deadline: Moment,
    /// Where it stands in the list, once it is in.
    place: Option<u32>,
}

impl Wait {
    pub(crate) fn until(deadline: Moment) -> Self {
        Self { deadline, place: None }
    }

    /// Brings the deadline forward.
    pub(crate) fn at_most_until(&mut self, deadline: Moment) {
        if deadline < self.deadline {
            *self = Self::until(deadline);
        }
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(place) = self.place {
            // Whoever is woken for another reason need not ask the clock: the list is told when it is time.
            if LIST.with_borrow_mut(|list| list.is_over(place, context.waker())) {
                return Poll::Ready(());
            }
            return Poll::Pending;
        }
        let (place, looker) = LIST.with_borrow_mut(|list| list.enter(self.deadline, context.waker().clone()));
        self.place = Some(place);
        match looker {
            Looker::Missing => drop(tokio::spawn(look_through(Looking))),
            Looker::Late(waker) => waker.wake(),
            Looker::InTime => {}
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // What the waker holds is let go of after the list is free again: it may be a whole connection.
            let waker = LIST.try_with(|list| list.borrow_mut().leave(place));
            drop(waker);
        }
    }
}

/// Wakes everything that waits on this thread, to look whether it still has reason to.
pub(crate) fn nudge() {
    let wakers = LIST.with_borrow(List::wakers);
    wakers.into_iter().for_each(Waker::wake);
}

thread_local!(static LIST: RefCell<List> = const { RefCell::new(List::new()) });

/// What waits on this thread.
struct List {
    places: Vec<Place>,
    /// The first of the free places.
    free: u32,
    taken: usize,
    looked_through: bool,
    /// When it is looked through next.
    next: Moment,
    /// Wakes whoever does.
    looker: Option<Waker>,
}

/// Whether a new wait is seen to in time.
enum Looker {
    /// Nobody looks through the list.
    Missing,
    /// Whoever does is to come earlier.
    Late(Waker),
    InTime,
}

enum Place {
    /// With the next free one.
    Free(u32),
    Waiting(Moment, Waker),
    Over,
}

impl List {
    const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: u32::MAX,
            taken: 0,
            looked_through: false,
            next: Moment::NEVER,
            looker: None,
        }
    }

    fn enter(&mut self, deadline: Moment, waker: Waker) -> (u32, Looker) {
        self.taken += 1;
        let waiting = Place::Waiting(deadline, waker);
        let place = if let Some(Place::Free(next)) = self.places.get(self.free as usize) {
            let place = std::mem::replace(&mut self.free, *next);
            self.places[place as usize] = waiting;
            place
        } else {
            self.places.push(waiting);
            (self.places.len() - 1) as u32
        };
        let looker = if !std::mem::replace(&mut self.looked_through, true) {
            Looker::Missing
        } else if deadline < self.next {
            self.next = deadline;
            self.looker.take().map_or(Looker::InTime, Looker::Late)
        } else {
            Looker::InTime
        };
        (place, looker)
    }

    fn is_over(&mut self, place: u32, waker: &Waker) -> bool {
        match &mut self.places[place as usize] {
            Place::Waiting(_, kept) => {
                kept.clone_from(waker);
                false
            }
            Place::Over | Place::Free(_) => true,
        }
    }

    fn leave(&mut self, place: u32) -> Place {
        self.taken -= 1;
        let left = std::mem::replace(&mut self.places[place as usize], Place::Free(self.free));
        self.free = place;
        if self.taken == 0 {
            // After a rush, the room is given back.
            self.places.clear();
            self.places.shrink_to(64);
            self.free = u32::MAX;
        }
        left
    }

    /// Takes out those whose time has come, and notes when the next one's does.
    fn due(&mut self, now: Moment) -> Vec<Place> {
        let mut due = Vec::new();
        self.next = Moment::NEVER;
        for place in &mut self.places {
            match place {
                Place::Waiting(deadline, _) if *deadline <= now => {
                    due.push(std::mem::replace(place, Place::Over));
                }
                Place::Waiting(deadline, _) => self.next = self.next.min(*deadline),
                Place::Free(_) | Place::Over => {}
            }
        }
        due
    }

    fn wakers(&self) -> Vec<Waker> {
        let waker = |place: &Place| match place {
            Place::Waiting(_, waker) => Some(waker.clone()),
            Place::Free(_) | Place::Over => None,
        };
        self.places.iter().filter_map(waker).collect()
    }
}

/// Somebody looks through the list.
struct Looking;

impl Drop for Looking {
    fn drop(&mut self) {
        // The thread may be at its end, and the list gone.
        let _ = LIST.try_with(|list| list.borrow_mut().looked_through = false);
    }
}

/// Wakes whatever waited for long enough, until nothing waits.
async fn look_through(looking: Looking) {
    let mut sleep = pin!(tokio::time::sleep(TICK));
    loop {
        sleep.as_mut().await;
        let now = Moment::now();
        let due = LIST.with_borrow_mut(|list| list.due(now));
        for place in due {
            if let Place::Waiting(_, waker) = place {
                waker.wake();
            }
        }
        if LIST.with_borrow(|list| list.taken == 0) {
            break;
        }
        // Until shortly before the next one is due. Who comes in with an earlier deadline says so.
        poll_fn(|context| {
            let next = LIST.with_borrow_mut(|list| {
                list.looker = Some(context.waker().clone());
                list.next
            });
            let pause = next.since(Moment::now()).min(PAUSE_MAX);
            if pause <= TICK {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(tokio::time::Instant::now() + pause - TICK);
            sleep.as_mut().poll(context)
        })
        .await;
        LIST.with_borrow_mut(|list| list.looker = None);
        sleep.as_mut().reset(tokio::time::Instant::now() + TICK);
    }
    drop(looking);
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_limit_and_hardly_later() {
        let begun = Instant::now();
        assert_eq!(timeout(LIMIT, pending::<()>()).await, Err(Elapsed));
        let took = begun.elapsed();
        assert!((LIMIT..=LIMIT + TICK * 2).contains(&took), "{took:?}");
        let until = async { sleep_until(Moment::now() + LIMIT).await };
        assert_eq!(timeout(LIMIT * 2, until).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_wait_need_not_wait_for_the_longer_one_before_it() {
        let begun = Instant::now();
        let mut long = pin!(timeout(LIMIT * 100, pending::<()>()));
        assert_eq!(timeout(LIMIT, long.as_mut()).await, Err(Elapsed));
        tokio::time::sleep(LIMIT).await;
        assert_eq!(timeout(LIMIT, long.as_mut()).await, Err(Elapsed));
        let took = begun.elapsed();
        assert!((LIMIT * 3..=LIMIT * 3 + TICK * 6).contains(&took), "{took:?}");
        assert_eq!(long.await, Err(Elapsed));
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_in_time_is_given() {
        assert_eq!(timeout(LIMIT, ready(7)).await, Ok(7));
        let begun = Instant::now();
        let late = async {
            tokio::time::sleep(LIMIT / 2).await;
            7
        };
        assert_eq!(timeout(LIMIT, late).await, Ok(7));
        assert_eq!(begun.elapsed(), LIMIT / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn many_waits_end_each_at_its_own_time_and_leave_nothing_behind() {
        let begun = Instant::now();
        let wait = |seconds: u64| async move {
            sleep_until(Moment::now() + Duration::from_secs(seconds)).await;
            begun.elapsed().as_secs()
        };
        let abandoned = timeout(LIMIT * 9, pending::<()>());
        assert_eq!(timeout(Duration::ZERO, abandoned).await, Err(Elapsed));
        assert_eq!(tokio::join!(wait(3), wait(1), wait(2), wait(200)), (3, 1, 2, 200));
        assert_eq!(LIST.with_borrow(|list| (list.taken, list.places.len())), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_nudge_wakes_what_waits_and_ends_nothing() {
        let mut polls = 0;
        let counting = poll_fn(|_| {
            polls += 1;
            Poll::<()>::Pending
        });
        let nudging = async {
            tokio::task::yield_now().await;
            nudge();
        };
        let (waited, ()) = tokio::join!(timeout(LIMIT, counting), nudging);
        assert_eq!(waited, Err(Elapsed));
        assert!(polls >= 3, "{polls}");
    }
}
