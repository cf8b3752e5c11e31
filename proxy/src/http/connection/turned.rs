//! A request that Portolan answers itself, before it is routed or because it could not be read.

use crate::access_log::Asked;
use crate::http::body::Framing;
use crate::http::head::RequestHead;
use crate::http::{Method, Reason};
use crate::middleware::OwnAnswer;

/// A request that is answered here.
pub(super) struct Turned {
    pub(super) reason: Reason,
    pub(super) detail: String,
    pub(super) method: Method,
    pub(super) is_http10: bool,
    /// Whether the connection can go on: the request was understood, and has no body that would have to be read.
    pub(super) keep_alive: bool,
    /// What was asked, as far as that was understood and there is a log.
    pub(super) asked: Option<Box<Asked>>,
    /// The answer, where middlewares have made it.
    pub(super) own: Option<Box<OwnAnswer>>,
}

impl Turned {
    /// A request that could not be read: what follows it has no meaning either.
    pub(super) fn unread(reason: Reason, detail: &str) -> Self {
        let detail = detail.to_owned();
        Self {
            reason,
            detail,
            method: Method::Other,
            is_http10: false,
            keep_alive: false,
            asked: None,
            own: None,
        }
    }

    pub(super) fn unrouted(reason: Reason, head: &RequestHead, asked: Option<Box<Asked>>) -> Self {
        Self {
            reason,
            detail: String::new(),
            method: head.method,
            is_http10: head.is_http10,
            keep_alive: head.keep_alive && head.framing == Framing::Empty,
            asked,
            own: None,
        }
    }
}
