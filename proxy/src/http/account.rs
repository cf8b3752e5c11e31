//! What is kept of a request when it is done: its counts and its line in the access log. The same whatever protocol the
//! client speaks.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use super::entry_point::EntryPoint;
use super::exchange::Outcome;
use super::{Method, Reason, response};
use crate::access_log::{Agreed, Asked, Record, Told};
use crate::metrics::Version;
use crate::middleware::OwnAnswer;
use crate::table::Route;
use crate::worker::Worker;

/// Where a request came from, and who keeps account of it.
pub(super) struct Account<'a> {
    pub(super) entry_point: &'a EntryPoint,
    pub(super) peer: SocketAddr,
    /// What was agreed on for TLS, where there is a log to say so.
    pub(super) agreed: Option<Agreed>,
    pub(super) version: Version,
    pub(super) worker: &'a Worker,
}

impl Account<'_> {
    /// Counts an answer for the entry point, with its bytes received and sent.
    pub(super) fn count_answer(
        &self,
        route: Option<&Route>,
        method: Method,
        status: u16,
        took: Duration,
        bytes: (u64, u64),
    ) {
        if self.counts(route) {
            self.worker.recorder.count(&self.entry_point.scope, method, self.version, status, took, bytes);
        } else {
            self.entry_point.scope.count_bytes(bytes.0, bytes.1);
        }
    }

    /// Counts a request for its router and service.
    pub(super) fn count(
        &self,
        route: &Route,
        method: Method,
        outcome: &Outcome,
        status: u16,
        took: Duration,
    ) {
        if !self.counts(Some(route)) {
            return;
        }
        self.worker.recorder.count(&route.scope, method, self.version, status, took, (0, 0));
        if let Some(upstream) = &outcome.upstream {
            let bytes = (outcome.received, outcome.sent);
            self.worker.recorder.count(&upstream.scope, method, self.version, status, took, bytes);
        }
    }

    /// Keeps account of a request that a middleware answered.
    pub(super) fn answered_here(
        &self,
        route: &Route,
        method: Method,
        answer: &OwnAnswer,
        sent: u64,
        asked: Option<&Asked>,
        started: Instant,
    ) {
        let (status, took) = (answer.head.status, started.elapsed());
        if let Some(reason) = answer.reason {
            self.refused(reason);
            tracing::debug!(
                reason = reason.as_str(), router = route.router.name, client = %self.peer, "turned away"
            );
        }
        self.count_answer(Some(route), method, status, took, (0, sent));
        if self.counts(Some(route)) {
            self.worker.recorder.count(&route.scope, method, self.version, status, took, (0, 0));
        }
        let told = self.told(answer);
        let outcome = Outcome { status: Some(status), sent, told, ..Outcome::default() };
        self.log(asked, status, answer.reason, started, Some((route, &outcome)));
    }

    /// Whether requests of a route are counted (`observability.metrics`).
    fn counts(&self, route: Option<&Route>) -> bool {
        let own = route.and_then(|route| route.router.observability.metrics);
        own.unwrap_or(self.entry_point.settings.observability.metrics)
    }

    /// Counts what Portolan answered or broke off itself.
    pub(super) fn refused(&self, reason: Reason) {
        self.worker.metrics.refused(&self.entry_point.settings.name, reason);
    }

    /// Adds a line to the access log, where there is one.
    pub(super) fn log(
        &self,
        asked: Option<&Asked>,
        status: u16,
        reason: Option<Reason>,
        started: Instant,
        routed: Option<(&Route, &Outcome)>,
    ) {
        let Some(log) = self.worker.log() else { return };
        let took = started.elapsed();
        let (route, outcome) = routed.unzip();
        let own = route.and_then(|route| route.router.observability.access_logs);
        if !own.unwrap_or(self.entry_point.settings.observability.access_logs) {
            return;
        }
        let is_refused = reason.is_some_and(|reason| reason != Reason::ClientGone)
            && outcome.is_none_or(|outcome| outcome.status.is_none());
        let refused = reason.filter(|_| is_refused).and_then(|reason| {
            let told = log.told()?;
            told.leaves(response::refusal(reason, "").head.fields.iter());
            Some(told)
        });
        log.add(&Record {
            started: SystemTime::now().checked_sub(took).unwrap_or(SystemTime::UNIX_EPOCH),
            took,
            client: self.peer,
            tls: self.agreed.as_ref(),
            entry_point: &self.entry_point.settings.name,
            asked,
            status,
            received: outcome.map_or(0, |outcome| outcome.received),
            sent: outcome.map_or(0, |outcome| outcome.sent),
            router: route.map(|route| route.router.name.as_str()),
            service: route.map(|route| {
                let upstream = outcome.and_then(|outcome| outcome.upstream.as_ref());
                upstream.map_or(route.router.upstream.as_str(), |upstream| upstream.name.as_str())
            }),
            endpoint: outcome
                .and_then(|outcome| outcome.target.as_ref())
                .map(|target| (target.endpoint.as_str(), target.address)),
            retries: outcome.map_or(0, |outcome| outcome.retries),
            reason,
            told: outcome.and_then(|outcome| outcome.told.as_deref()).or(refused.as_deref()),
        });
    }

    /// Where the fields of an answer of Portolan's own are noted for the log.
    pub(super) fn told(&self, answer: &OwnAnswer) -> Option<Rc<Told>> {
        let told = self.worker.log()?.told()?;
        told.leaves(answer.head.fields.iter());
        Some(told)
    }

    /// What there is to say about a refusal beyond its reason.
    pub(super) fn explain(&self, reason: Reason, outcome: &Outcome) -> String {
        if reason != Reason::NoEndpoint {
            return String::new();
        }
        let Some(upstream) = &outcome.upstream else { return String::new() };
        let table = self.worker.table();
        table.upstreams.get(&upstream.name).unwrap_or(upstream).why_unavailable()
    }
}
