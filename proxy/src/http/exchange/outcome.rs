//! How an exchange ended, or that it came to nothing.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use super::{Carrier, Delivery, Exchange, Leg, PumpError, Upload};
use crate::access_log::Told;
use crate::balancer::Running;
use crate::http::Reason;
use crate::middleware::{OwnAnswer, Passage, Verdict};
use crate::stream::Stream;
use crate::table::{Target, Upstream};
use crate::worker::{Buffer, Worker};

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

/// An answer that was passed on whole.
pub(in crate::http) struct Answered {
    /// Whether the client's connection can go on.
    pub(in crate::http) keep_alive: bool,
    /// Whether the endpoint's connection can.
    pub(in crate::http) reusable: bool,
    /// It is HTTP no longer; this came behind the head.
    pub(in crate::http) tunnel: Option<Buffer>,
    /// What middlewares want instead. Nothing was sent.
    pub(in crate::http) withheld: Option<Box<Verdict>>,
}

impl Answered {
    /// One that goes on as a tunnel.
    pub(in crate::http) fn tunnel(early: Buffer) -> Self {
        Self { keep_alive: false, reusable: false, tunnel: Some(early), withheld: None }
    }
}

/// Waits for the answer while the request goes on, for as long as `pumping` says that it does.
pub(in crate::http) async fn both<T>(
    mut answer: Pin<&mut impl Future<Output = Result<T, Reason>>>,
    mut pump: Pin<&mut impl Future<Output = Result<(), PumpError>>>,
    pumping: &mut bool,
) -> Result<T, Reason> {
    loop {
        tokio::select! {
            biased;
            answered = answer.as_mut() => return answered,
            pumped = pump.as_mut(), if *pumping => match pumped {
                // The endpoint reads no further; its answer may be on the way.
                Ok(()) | Err(PumpError::Endpoint) => *pumping = false,
                Err(PumpError::Client(reason)) => return Err(reason),
            },
        }
    }
}

/// What came of an exchange over this connection, which is given back where it can serve another.
pub(in crate::http) fn conclude(
    answered: Result<Answered, Reason>,
    request: &Exchange,
    leg: Leg,
    carrier: &mut Carrier<'_>,
    (upload, delivery): (&Upload, Delivery),
    worker: &Worker,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::so_far(upload, &delivery);
    match answered {
        Ok(answered) => {
            outcome.keep_alive = answered.keep_alive && upload.whole.get();
            outcome.withheld = answered.withheld;
            match answered.tunnel {
                Some(early) => {
                    let running = delivery.running;
                    let held = request.holding();
                    outcome.tunnel = Some(Tunnel { endpoint: leg.endpoint, early, running, held });
                }
                None if answered.reusable && upload.whole.get() => carrier.give_back(leg, worker),
                None => {}
            }
            Ok(outcome)
        }
        Err(reason) if delivery.begun.get() => {
            outcome.failure = Some(reason);
            outcome.broken_by = leg.endpoint.broken_by();
            Ok(outcome)
        }
        Err(reason) => Err(Failure::unanswered(reason, request, upload, &leg)),
    }
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
    pub(super) fn unanswered(reason: Reason, request: &Exchange, upload: &Upload, leg: &Leg) -> Self {
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
    fn so_far(upload: &Upload, delivery: &Delivery) -> Self {
        Self {
            status: delivery.status.get(),
            received: upload.received.get(),
            sent: delivery.sent.get(),
            still_sending: !upload.whole.get(),
            ..Self::default()
        }
    }
}
