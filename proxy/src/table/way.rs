//! What a request meets between its router and the upstream that it goes to, where services stand within services: the
//! middlewares of those in between, and where it goes on after an answer that a failover does not accept.

use std::sync::Arc;

use portolan_config::dynamic::service::FailoverErrors;
use portolan_config::dynamic::value::StatusRange;

use super::Destination;
use crate::limits::GATHERED_BYTES_MAX;
use crate::middleware::Chain;

/// The way of one request.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// The middlewares of services, the outermost first.
    pub(crate) chains: Vec<Arc<Chain>>,
    /// Where it may turn, the outermost first.
    pub(crate) turns: Vec<Turn>,
}

/// A failover on the way of a request, which was sent to the first of its services.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// How many of the way's chains are before it.
    pub(crate) behind: usize,
    /// After which answers.
    pub(crate) errors: Arc<Errors>,
    /// Where it goes on.
    pub(crate) other: Arc<Destination>,
}

/// Answers after which a request is sent to the other service.
#[derive(Debug)]
pub(crate) struct Errors {
    status: Vec<StatusRange>,
    /// Bytes that its body may have; `None` is any number, of which as many are kept as can be.
    body_bytes_max: Option<u64>,
}

impl Way {
    /// Whether there is nothing on it.
    pub(crate) fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.turns.is_empty()
    }

    /// Adds a failover.
    pub(super) fn may_turn(&mut self, errors: &Arc<Errors>, other: &Arc<Destination>) {
        let (errors, other) = (errors.clone(), other.clone());
        self.turns.push(Turn { behind: self.chains.len(), errors, other });
    }
}

impl Errors {
    /// Compiles what is written.
    pub(crate) fn of(written: &FailoverErrors) -> Self {
        let body_bytes_max = u64::try_from(written.max_request_body_bytes).ok();
        Self { status: written.status.clone(), body_bytes_max }
    }

    /// Whether this answer is not good enough.
    pub(crate) fn catches(&self, status: u16) -> bool {
        self.status.iter().any(|range| range.contains(status))
    }

    /// Bytes of a body that are kept.
    pub(crate) fn body_to_keep(&self) -> u64 {
        self.body_bytes_max.unwrap_or(GATHERED_BYTES_MAX)
    }

    /// Whether a body that is longer is refused, and not sent to the first service alone.
    pub(crate) fn is_strict(&self) -> bool {
        self.body_bytes_max.is_some()
    }
}
