//! How a target is reached: deadlines and limits of connections to it, every default filled in.

use std::time::Duration;

use portolan_config::tls::ServersTransport;

use crate::limits::{
    CONNECT_TIMEOUT, PONG_TIMEOUT, POOL_IDLE_TIMEOUT, POOL_PER_TARGET_MAX, RESPONSE_HEAD_TIMEOUT, UNLIMITED,
};

/// Deadlines and limits of connections to a target. What is unlimited has the largest value there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// For a connection to be established.
    pub(crate) connect: Duration,
    /// From the last byte of a request that moved to the head of its answer.
    pub(crate) response_head: Duration,
    /// For a connection that waits for the next request.
    pub(crate) pool_idle: Duration,
    /// Connections that wait, for each worker.
    pub(crate) pool_max: usize,
    /// Whether HTTP/2 is offered where it is the server that chooses.
    pub(crate) http2: bool,
    /// By HTTP/2: after how long a silence it is asked whether it is there.
    pub(crate) ping_after: Option<Duration>,
    /// How long its answer to that may take.
    pub(crate) pong_within: Duration,
}

impl Reach {
    /// As the transport says, and as is usual where it says nothing. A zero is no limit, as Traefik has it.
    pub(super) fn of(transport: &ServersTransport) -> Self {
        let limit = |written: Option<Duration>, usual: Duration| match written {
            None => usual,
            Some(Duration::ZERO) => UNLIMITED,
            Some(limit) => limit,
        };
        Self {
            connect: limit(transport.dial_timeout, CONNECT_TIMEOUT),
            response_head: limit(transport.response_head_timeout, RESPONSE_HEAD_TIMEOUT),
            pool_idle: limit(transport.pool_idle_timeout, POOL_IDLE_TIMEOUT),
            pool_max: transport.max_idle_per_target.unwrap_or(POOL_PER_TARGET_MAX),
            http2: !transport.disable_http2,
            ping_after: transport.ping_after.filter(|after| !after.is_zero()),
            pong_within: limit(transport.pong_within, PONG_TIMEOUT),
        }
    }
}

impl Default for Reach {
    fn default() -> Self {
        Self::of(&ServersTransport::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_counts_and_zero_is_no_limit() {
        let second = Some(Duration::from_secs(1));
        let written = ServersTransport {
            dial_timeout: second,
            response_head_timeout: Some(Duration::ZERO),
            max_idle_per_target: Some(0),
            ..ServersTransport::default()
        };
        let reach = Reach::of(&written);
        assert_eq!((Some(reach.connect), reach.response_head), (second, UNLIMITED));
        assert_eq!((reach.pool_idle, reach.pool_max), (POOL_IDLE_TIMEOUT, 0));
    }
}
