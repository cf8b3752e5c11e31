//! An entry point as its connections know it: what it counts into, and how much of everything it takes.

use std::sync::Arc;
use std::time::Duration;

use portolan_config::settings::{self, EntryPointLimits};

use super::cleaning::Cleaning;
use crate::deadline::Moment;
use crate::limits::{CLIENT_IDLE_TIMEOUT, HEAD_BYTES_MAX, REQUEST_HEAD_TIMEOUT, UNLIMITED};
use crate::metrics::Scope;

/// A place where HTTP is taken.
#[derive(Debug)]
pub(crate) struct EntryPoint {
    /// Its name, and what holds for every connection to it.
    pub(crate) settings: Arc<settings::EntryPoint>,
    /// What it counts into.
    pub(crate) scope: Scope,
    /// What it cleans of requests, or refuses; nothing, mostly.
    pub(crate) cleaning: Option<Cleaning>,
    /// Its limits, with the data plane's own where none are written.
    pub(crate) limits: Limits,
}

/// Limits and deadlines of a connection, every default filled in. What is unlimited has the largest value there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// For a request's head.
    pub(crate) head: Duration,
    /// For all of a request.
    pub(crate) request: Option<Duration>,
    /// For all of an answer.
    pub(crate) answer: Option<Duration>,
    /// Between requests.
    pub(crate) idle: Duration,
    /// Requests of one connection.
    pub(crate) requests_max: u32,
    /// Age after which a connection takes no further request.
    pub(crate) age_max: Option<Duration>,
    /// Bytes of a request's head.
    pub(crate) head_bytes_max: usize,
    /// Bytes of a request's body.
    pub(crate) body_bytes_max: u64,
}

/// By when a request and its answer must be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// The last byte of the request.
    pub(crate) request: Option<Moment>,
    /// The last byte of the answer.
    pub(crate) answer: Option<Moment>,
}

impl EntryPoint {
    /// The entry point with these settings.
    pub(crate) fn new(settings: Arc<settings::EntryPoint>, scope: Scope) -> Self {
        let (limits, cleaning) = (Limits::of(&settings.limits), Cleaning::of(&settings.cleaning));
        Self { settings, scope, cleaning, limits }
    }

    /// One of which nothing was said, for tests.
    #[cfg(test)]
    pub(crate) fn alone(worker: &crate::worker::Worker) -> Self {
        Self::limited(worker, EntryPointLimits::default())
    }

    /// One with these limits, for tests.
    #[cfg(test)]
    pub(crate) fn limited(worker: &crate::worker::Worker, limits: EntryPointLimits) -> Self {
        let mut settings = settings::EntryPoint::plain("web", "127.0.0.1:0".parse().expect("an address"));
        settings.limits = limits;
        Self::new(Arc::new(settings), worker.metrics.entry_point("web"))
    }
}

impl Limits {
    fn of(written: &EntryPointLimits) -> Self {
        // In each of these, zero is no limit.
        let some = |duration: Option<Duration>| duration.filter(|duration| !duration.is_zero());
        let request = some(written.read_timeout);
        Self {
            head: request.map_or(REQUEST_HEAD_TIMEOUT, |request| request.min(REQUEST_HEAD_TIMEOUT)),
            request,
            answer: some(written.write_timeout),
            idle: match written.idle_timeout {
                None => CLIENT_IDLE_TIMEOUT,
                Some(Duration::ZERO) => UNLIMITED,
                Some(idle) => idle,
            },
            requests_max: written.keep_alive_max_requests.filter(|max| *max > 0).unwrap_or(u32::MAX),
            age_max: some(written.keep_alive_max_time),
            head_bytes_max: written.head_bytes_max.unwrap_or(HEAD_BYTES_MAX),
            body_bytes_max: written.body_bytes_max.unwrap_or(u64::MAX),
        }
    }

    /// The deadlines of a request that begins now. Most have none, and don't ask for the time.
    pub(crate) fn deadlines(&self) -> Deadlines {
        if self.request.is_none() && self.answer.is_none() {
            return Deadlines::default();
        }
        let now = Moment::now();
        let after = |duration: Option<Duration>| duration.map(|duration| now + duration);
        Deadlines { request: after(self.request), answer: after(self.answer) }
    }
}

/// A limit, shortened to end by a deadline that there may be.
pub(crate) fn within(limit: Duration, deadline: Option<Moment>) -> Duration {
    deadline.map_or(limit, |deadline| limit.min(deadline.since(Moment::now())))
}

/// The earlier of a deadline and another one that there may be.
pub(crate) fn earlier(deadline: Moment, other: Option<Moment>) -> Moment {
    other.map_or(deadline, |other| deadline.min(other))
}

/// Whether a deadline that there may be has passed.
pub(crate) fn is_over(deadline: Option<Moment>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Moment::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_is_the_data_planes_own_and_zero_is_no_limit() {
        let limits = Limits::of(&EntryPointLimits::default());
        assert_eq!((limits.head, limits.idle), (REQUEST_HEAD_TIMEOUT, CLIENT_IDLE_TIMEOUT));
        assert_eq!((limits.request, limits.answer, limits.age_max), (None, None, None));
        assert_eq!((limits.head_bytes_max, limits.body_bytes_max), (HEAD_BYTES_MAX, u64::MAX));
        let zero = EntryPointLimits {
            read_timeout: Some(Duration::ZERO),
            write_timeout: Some(Duration::ZERO),
            idle_timeout: Some(Duration::ZERO),
            keep_alive_max_requests: Some(0),
            keep_alive_max_time: Some(Duration::ZERO),
            ..EntryPointLimits::default()
        };
        assert_eq!(Limits::of(&zero), Limits { idle: UNLIMITED, ..limits });
        let short = EntryPointLimits { read_timeout: Some(Duration::from_secs(1)), ..zero };
        assert_eq!(Limits::of(&short).head, Duration::from_secs(1));
    }
}
