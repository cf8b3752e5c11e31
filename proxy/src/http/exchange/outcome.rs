//! How an exchange ended, or that it came to nothing.

use std::rc::Rc;
use std::sync::Arc;

use super::{Delivery, Exchange, Leg, Upload};
use crate::access_log::Told;
use crate::balancer::Running;
use crate::http::Reason;
use crate::middleware::{OwnAnswer, Passage, Verdict};
use crate::stream::Stream;
use crate::table::{Target, Upstream};
use crate::worker::Buffer;

/// How an exchange ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The status of the answer that was sent to the client, if one was begun.
    pub(crate) status: Option<u16>,
    /// What failed. Without a status, nothing was sent to the client yet.
    pub(crate) failure: Option<Reason>,
    /// Whether the client's connection can take another request.
    pub(crate) keep_alive: bool,
    /// Bytes of the request's body.
    pub(crate) received: u64,
    /// Bytes sent to the client.
    pub(crate) sent: u64,
    /// Whether the client has not sent all of its request, or not all of it was passed on.
    pub(crate) still_sending: bool,
    /// The connection goes on as a tunnel.
    pub(crate) tunnel: Option<Tunnel>,
    /// Which service it was for.
    pub(crate) upstream: Option<Arc<Upstream>>,
    /// Where it was sent last.
    pub(crate) target: Option<Arc<Target>>,
    /// How often it was sent to yet another one.
    pub(crate) retries: u32,
    /// What middlewares want instead of the answer, of which nothing was sent.
    pub(crate) withheld: Option<Box<Verdict>>,
    /// What the client is to be told where no endpoint answered, as middlewares left it.
    pub(crate) own: Option<Box<OwnAnswer>>,
    /// What a middleware answered that the request came to after it had been sent.
    pub(crate) here: Option<Box<OwnAnswer>>,
    /// The fields of the answer, where there is a log of them.
    pub(crate) told: Option<Rc<Told>>,
    /// What the endpoint said that broke it off, where it speaks HTTP/2.
    pub(crate) broken_by: Option<h2::Reason>,
}

/// A connection to an endpoint that is HTTP no longer.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// The connection.
    pub(crate) endpoint: Stream,
    /// What the endpoint sent already, for the client.
    pub(crate) early: Buffer,
    /// For as long as the endpoint has to do with it.
    pub(crate) running: Option<Running>,
    /// What middlewares hold of the request until it is over.
    pub(crate) held: Option<Rc<Passage>>,
}

/// A failure before any byte of an answer reached the client.
pub(in crate::http) struct Failure {
    pub(in crate::http) reason: Reason,
    pub(in crate::http) may_retry: bool,
    /// What the endpoint said that broke it off.
    pub(in crate::http) broken_by: Option<h2::Reason>,
}

impl Failure {
    /// What is to be done about a request that no byte of an answer came back for: whether it may be sent again.
    pub(in crate::http) fn unanswered(
        reason: Reason,
        request: &Exchange,
        upload: &Upload,
        leg: &Leg,
    ) -> Self {
        // An endpoint may say that it did not look at the request.
        let is_safe = request.method.is_idempotent() || leg.endpoint.is_unprocessed();
        let may_retry = reason == Reason::EndpointReset && is_safe && !upload.begun.get();
        if upload.unacknowledged.get() {
            leg.target.load.unreached();
        }
        Self { reason, may_retry, broken_by: leg.endpoint.broken_by() }
    }
}

impl Outcome {
    /// The name of the service that it was for.
    pub(in crate::http) fn service(&self) -> &str {
        self.upstream.as_ref().map_or("", |upstream| &upstream.name)
    }

    /// How far a request and its answer got.
    pub(in crate::http) fn so_far(upload: &Upload, delivery: &Delivery) -> Self {
        Self {
            status: delivery.status.get(),
            received: upload.received.get(),
            sent: delivery.sent.get(),
            still_sending: !upload.whole.get(),
            ..Self::default()
        }
    }
}
