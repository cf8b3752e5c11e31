//! The failovers on a request's way: what of the request is kept for each, and which of them an answer leads to.

use std::sync::Arc;

use super::{Content, Draft, Keep, OwnAnswer, phrase};
use crate::http::Reason;
use crate::table::{Destination, Turn};

/// Those of one request, the outermost first.
#[derive(Default)]
pub(super) struct Turns(Vec<Kept>);

struct Kept {
    turn: Turn,
    /// Before which step of the passage.
    at: usize,
    /// The request as it came there. There is none before, and where more of its body than can be kept.
    draft: Option<Box<Draft>>,
}

impl Turns {
    /// Adds one.
    pub(super) fn add(&mut self, turn: Turn, at: usize) {
        self.0.push(Kept { turn, at, draft: None });
    }

    /// Keeps a request that came to this place for the failovers there. Where one needs the body first, this gives how much
    /// of it.
    pub(super) fn keep(&mut self, place: usize, draft: &Draft) -> Result<Option<u64>, Box<OwnAnswer>> {
        for kept in self.0.iter_mut().filter(|kept| kept.at == place && kept.draft.is_none()) {
            let errors = &kept.turn.errors;
            match &draft.content {
                Content::Unread => return Ok(Some(errors.body_to_keep())),
                Content::Whole(body) if body.len() as u64 <= errors.body_to_keep() => {
                    kept.draft = Some(Box::new(draft.clone()));
                }
                Content::Whole(_) | Content::TooLong if errors.is_strict() => {
                    return Err(Box::new(OwnAnswer::refusal(Reason::BodyTooLarge, 413, phrase(413))));
                }
                Content::Whole(_) | Content::TooLong => {}
            }
        }
        Ok(None)
    }

    /// Which failover at this place does not accept an answer of this status; the innermost. One whose other service can't
    /// serve either has nothing better.
    pub(super) fn caught(&self, place: usize, status: u16) -> Option<usize> {
        self.0.iter().rposition(|kept| {
            kept.at == place
                && kept.draft.is_some()
                && kept.turn.errors.catches(status)
                && kept.turn.other.can_serve()
        })
    }

    /// Takes this one off, with those further in: where the request goes on, from which place, and as what.
    pub(super) fn take(&mut self, index: usize) -> Option<(Arc<Destination>, usize, Box<Draft>)> {
        self.0.truncate(index.saturating_add(1));
        let kept = self.0.pop()?;
        Some((kept.turn.other, kept.at, kept.draft?))
    }
}

/// How much of a body is to be gathered for that, besides what steps before need.
pub(super) fn with_body(mut keep: Keep, bytes: u64) -> Keep {
    keep.at_least(bytes);
    keep.is_asked_with = true;
    keep
}
