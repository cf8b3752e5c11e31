//! Heads of answers while middlewares edit them, and whole answers of Portolan's own.

use bytes::Bytes;
use http::StatusCode;

use super::FieldList;
use crate::http::Reason;

/// The head of an answer on its way to the client: status and fields, none that is for one hop only.
#[derive(Clone, Debug)]
pub(crate) struct AnswerHead {
    pub(crate) status: u16,
    /// What stands behind the status in HTTP/1.
    pub(crate) phrase: String,
    pub(crate) fields: FieldList,
}

impl AnswerHead {
    /// One with this status, and nothing else yet.
    pub(crate) fn new(status: u16) -> Self {
        Self { status, phrase: phrase(status).to_owned(), fields: FieldList::default() }
    }
}

/// An answer of Portolan's own, whole.
#[derive(Clone, Debug)]
pub(crate) struct OwnAnswer {
    pub(crate) head: AnswerHead,
    pub(crate) body: Bytes,
    /// Why, where it is a refusal.
    pub(crate) reason: Option<Reason>,
}

impl OwnAnswer {
    /// One with this status and without a body.
    pub(crate) fn new(status: u16) -> Self {
        Self { head: AnswerHead::new(status), body: Bytes::new(), reason: None }
    }

    /// A refusal with this text, as servers say it: plain, and not to be taken for anything else.
    pub(crate) fn refusal(reason: Reason, status: u16, text: impl Into<Bytes>) -> Self {
        let mut answer = Self::new(status);
        answer.head.fields.add("Content-Type", b"text/plain; charset=utf-8");
        answer.head.fields.add("X-Content-Type-Options", b"nosniff");
        answer.body = text.into();
        answer.reason = Some(reason);
        answer
    }
}

/// What a status is called (RFC 9110 §15); nothing where it has no name.
pub(crate) fn phrase(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default()
}
