//! How many requests a service and each of its endpoints have to do with at a time, and who waits until there is a place.
//!
//! Counts are right over any number of workers: a place is taken in one step or not at all. What nobody limits is not
//! counted. Knows of numbers and turns, and nothing of requests.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portolan_config::dynamic::service::LoadBalancer;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// How much there may be at a time. Where there is no limit, it is the largest number there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Requests of the service.
    requests: u32,
    /// Those of one endpoint.
    pub(crate) requests_per_endpoint: u32,
    /// Requests that wait.
    pending: u32,
    /// How long one waits.
    pub(crate) patience: Duration,
}

impl Bounds {
    /// As asked for; `None` where nothing is limited.
    pub(crate) fn of(balancing: &LoadBalancer) -> Option<Self> {
        let limit = |written: u32| if written == 0 { u32::MAX } else { written };
        let bounds = Self {
            requests: limit(balancing.max_requests),
            requests_per_endpoint: limit(balancing.max_requests_per_endpoint),
            pending: balancing.max_pending,
            patience: balancing.pending_timeout.duration(),
        };
        (bounds.requests.min(bounds.requests_per_endpoint) < u32::MAX).then_some(bounds)
    }

    /// Whether anybody may wait.
    pub(crate) fn lets_wait(&self) -> bool {
        self.pending > 0
    }
}

/// The requests of one service. On a line of the cache of its own: all workers write to it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Places {
    running: AtomicU32,
    waiting: AtomicU32,
    freed: Notify,
}

/// Counts one more, unless there are as many as there may be.
pub(crate) fn count_below(count: &AtomicU32, most: u32) -> bool {
    let one_more = |now: u32| (now < most).then(|| now + 1);
    // Whoever frees a place looks for who waits afterwards, and whoever waits looks for a place afterwards: in one order
    // for all, so that they can't miss each other.
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
}

impl Places {
    /// Whether the service has all it may have.
    pub(crate) fn are_taken(&self, bounds: &Bounds) -> bool {
        self.running.load(Ordering::SeqCst) >= bounds.requests
    }

    /// Whether others wait already, so that who comes now is behind them.
    pub(crate) fn are_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Takes a place of the service, for as long as what this gives lives.
    pub(crate) fn take(self: &Arc<Self>, bounds: &Bounds) -> Option<Place> {
        count_below(&self.running, bounds.requests).then(|| Place(self.clone()))
    }

    /// Takes a place among those who wait.
    pub(crate) fn wait(self: &Arc<Self>, bounds: &Bounds) -> Option<Waiting> {
        count_below(&self.waiting, bounds.pending).then(|| Waiting(self.clone()))
    }

    fn call_next(&self) {
        if self.are_waited_for() {
            self.freed.notify_one();
        }
    }
}

/// A place of a service, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.call_next();
    }
}

/// A place among those who wait, for as long as it lives. They are called in the order in which they came.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Places>);

impl Waiting {
    /// Resolves when a place was freed that may be this one's. Counts from when it is made.
    pub(crate) fn called(&self) -> Pin<Box<Notified<'_>>> {
        let mut called = Box::pin(self.0.freed.notified());
        called.as_mut().enable();
        called
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        // Where several places were freed at once, one was called: each that goes calls the next.
        self.0.call_next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(requests: u32, pending: u32) -> Bounds {
        let balancing =
            LoadBalancer { max_requests: requests, max_pending: pending, ..LoadBalancer::default() };
        Bounds::of(&balancing).unwrap()
    }

    #[test]
    fn what_is_not_limited_has_no_bounds() {
        assert_eq!(Bounds::of(&LoadBalancer::default()), None);
        let waiting_alone = LoadBalancer { max_pending: 7, ..LoadBalancer::default() };
        assert_eq!(Bounds::of(&waiting_alone), None, "there is nothing to wait for");
        let bounds = bounds(3, 0);
        assert_eq!((bounds.requests, bounds.requests_per_endpoint), (3, u32::MAX));
        assert_eq!(bounds.patience, Duration::from_secs(5));
    }

    #[test]
    fn there_are_never_more_than_there_may_be_whoever_counts_beside() {
        let (places, bounds) = (Arc::new(Places::default()), bounds(3, 0));
        let most = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let Some(_place) = places.take(&bounds) else { continue };
                        most.fetch_max(places.running.load(Ordering::SeqCst), Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=3).contains(&most.into_inner()));
        assert_eq!(places.running.load(Ordering::SeqCst), 0, "every place was left");
        let taken: Vec<Place> = std::iter::from_fn(|| places.take(&bounds)).take(10).collect();
        assert_eq!(taken.len(), 3, "exactly as many");
    }

    #[tokio::test]
    async fn who_came_first_is_called_first_and_nobody_is_forgotten() {
        let (places, bounds) = (Arc::new(Places::default()), bounds(2, 3));
        let taken = (places.take(&bounds).unwrap(), places.take(&bounds).unwrap());
        let waiting: Vec<Waiting> = std::iter::from_fn(|| places.wait(&bounds)).take(10).collect();
        assert_eq!(waiting.len(), 3, "no more wait than may");
        let mut called: Vec<_> = waiting.iter().map(Waiting::called).collect();
        let is_called = |called: &mut Pin<Box<Notified<'_>>>| {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            called.as_mut().poll(&mut context).is_ready()
        };
        assert!(!called.iter_mut().any(is_called));
        drop(taken.0);
        assert!(is_called(&mut called[0]) && !is_called(&mut called[1]));
        drop(taken.1);
        assert!(is_called(&mut called[1]) && !is_called(&mut called[2]));
        drop(called);
        let mut waiting = waiting.into_iter();
        let (first, _second, third) = (waiting.next(), waiting.next(), waiting.next().unwrap());
        let mut called = third.called();
        drop(first);
        assert!(is_called(&mut called), "who goes calls the next");
    }
}
