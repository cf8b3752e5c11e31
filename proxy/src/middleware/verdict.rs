//! What becomes of an answer, by the middlewares that see its head, and of the request that it was for.

use std::sync::Arc;
use std::time::Duration;

use super::{Alteration, Draft};
use crate::http::Reason;

/// What is known of an answer when it comes to the middlewares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Why Portolan answers, where no endpoint did.
    pub(crate) failure: Option<Reason>,
    /// How long its body is, where that is known.
    pub(crate) length: Option<u64>,
    /// Whether the request can be sent again: nothing of it is lost.
    pub(crate) may_repeat: bool,
}

/// What becomes of it.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It goes to the client; its body changes on the way where that is written.
    Pass(Option<Box<Alteration>>),
    /// Nobody sees it: the request is sent again after this long.
    Again(Duration),
    /// Nobody sees it: a page is fetched in its place.
    Page(Page),
    /// Nobody sees it: the request goes on to the other service of this failover.
    Elsewhere(usize),
    /// Nobody sees it: the client is told this.
    Refuse(Reason),
}

/// A page in the place of an answer.
#[derive(Debug)]
pub(crate) struct Page {
    /// Who has it.
    pub(crate) service: Arc<str>,
    /// What is asked for there.
    pub(crate) draft: Box<Draft>,
}
