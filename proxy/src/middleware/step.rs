//! One middleware as a chain has it: the list of those that are done, and what each does with requests and answers.

use portolan_config::dynamic::middleware::Middleware;

use super::path::PathStep;
use super::{AnswerHead, Draft, OwnAnswer};
use crate::worker::Worker;

/// A middleware, compiled.
#[derive(Debug)]
pub(crate) enum Step {
    /// `addPrefix`, `stripPrefix` and whatever else is about the path.
    Path(PathStep),
}

/// What a step writes down about a request for its answer, or holds until it is done.
pub(crate) enum Note {}

impl Step {
    /// Compiles a middleware. `before` is the step of the same name in the table before, whose counts go on. What can't
    /// be done costs the routers that ask for it.
    pub(crate) fn compile(written: &Middleware, _before: Option<&Self>) -> Result<Self, String> {
        if let Some(step) = PathStep::compile(written) {
            return step.map(Self::Path);
        }
        Err(format!("Portolan can't do `{}` yet", written.name()))
    }

    /// Edits a request, or answers it. What is to be known for the answer is the note.
    #[expect(clippy::unused_async, reason = "some wait")]
    pub(super) async fn request(
        &self,
        draft: &mut Draft,
        _worker: &Worker,
    ) -> Result<Option<Note>, Box<OwnAnswer>> {
        match self {
            Self::Path(step) => step.request(draft).map(|()| None),
        }
    }

    /// Edits the head of an answer.
    pub(super) fn answer(&self, _head: &mut AnswerHead, _draft: &Draft, _note: Option<&Note>) {
        match self {
            Self::Path(_) => {}
        }
    }
}
