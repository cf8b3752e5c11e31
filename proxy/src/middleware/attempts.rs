//! Middlewares that are about attempts and failures, on the way of a request: what they say to its answer.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use super::buffering::Buffering;
use super::circuit_breaker::CircuitBreaker;
use super::error_pages::ErrorPages;
use super::retry::Retry;
use super::watcher::{Seen, Wish};
use super::{Alteration, AnswerHead, Arrival, Draft, OwnAnswer, Page, phrase};
use crate::deadline::Moment;
use crate::http::{Method, Reason};

/// Lets a request through, or answers in the place of those who fail.
pub(super) fn break_off(breaker: &CircuitBreaker) -> Result<Seen, Box<OwnAnswer>> {
    if breaker.admits(Moment::now().millis()) {
        return Ok(Seen::Since(Instant::now()));
    }
    let mut answer = OwnAnswer::new(breaker.response_code);
    answer.body = phrase(breaker.response_code).into();
    answer.reason = Some(Reason::CircuitOpen);
    Err(Box::new(answer))
}

/// Tells the breaker how it went. It is told when the answer begins: how long its client takes to read it is not the
/// endpoint's fault.
pub(super) fn record(breaker: &CircuitBreaker, head: &AnswerHead, since: Instant) {
    if breaker.record(Moment::now().millis(), head.status, since.elapsed()) {
        tracing::warn!("a circuit breaker has opened");
    }
}

/// Refuses a request whose body is announced to be larger than it may be.
pub(super) fn check_length(buffering: &Buffering, draft: &Draft) -> Result<(), Box<OwnAnswer>> {
    let length = draft.fields.text("Content-Length").parse().ok();
    if length.is_some_and(|length| !buffering.request.allows(length)) {
        return Err(Box::new(OwnAnswer::refusal(Reason::BodyTooLarge, 413, phrase(413))));
    }
    Ok(())
}

/// A page in the place of this answer, if there is one for it.
pub(super) fn page(pages: &ErrorPages, service: &Arc<str>, head: &AnswerHead, draft: &Draft) -> Option<Wish> {
    let shown = pages.catches(head.status)?;
    let scheme = if draft.is_secure() { "https" } else { "http" };
    let url = format!("{scheme}://{}{}{}", draft.host, draft.path, draft.query);
    let target = pages.target(shown, head.status, &url);
    let at = target.find('?').unwrap_or(target.len());
    let mut question = draft.clone();
    question.method = if draft.method == Method::Head { Method::Head } else { Method::Get };
    if draft.method == Method::Head { "HEAD" } else { "GET" }.clone_into(&mut question.method_text);
    (question.path, question.query) = (target[..at].to_owned(), target[at..].to_owned());
    question.fields.retain(|name| pages.passes(name));
    question.upgrade = false;
    Some(Wish::Page { page: Page { service: service.clone(), draft: Box::new(question) }, shown })
}

/// Whether the request is sent again.
pub(super) fn retry(
    retry: &Retry,
    made: &Cell<u32>,
    since: Instant,
    head: &AnswerHead,
    draft: &Draft,
    arrival: &Arrival,
) -> Option<Wish> {
    let body = draft.fields.text("Content-Length").parse().unwrap_or(0);
    let may_repeat = || {
        let most = retry.body_to_keep(&draft.method_text);
        arrival.may_repeat && most.is_some_and(|most| body <= most)
    };
    // Nothing was sent, or it can be sent again.
    let is_reason = match arrival.failure {
        Some(Reason::ConnectRefused | Reason::ConnectTimeout | Reason::EndpointTls)
            if retry.on_network_error =>
        {
            true
        }
        _ => retry.is_refused(head.status) && may_repeat(),
    };
    let in_time = retry.timeout.is_none_or(|timeout| since.elapsed() < timeout);
    if !is_reason || !in_time || made.get() >= retry.attempts {
        return None;
    }
    let pause = retry.pause(made.get(), random());
    made.set(made.get() + 1);
    Some(Wish::Again(pause))
}

/// Whether the request is sent again; what is to be done about the answer's body otherwise.
pub(super) fn buffer(
    buffering: &Buffering,
    made: &Cell<u32>,
    head: &AnswerHead,
    draft: &Draft,
    arrival: &Arrival,
    alteration: &mut Alteration,
) -> Option<Wish> {
    if head.status == 101 {
        return None;
    }
    if arrival.length.is_some_and(|length| !buffering.answer.allows(length)) {
        return Some(Wish::Refuse(Reason::AnswerTooLarge));
    }
    if arrival.may_repeat && buffering.repeats(made.get(), head.status, &draft.method_text) {
        made.set(made.get() + 1);
        return Some(Wish::Again(std::time::Duration::ZERO));
    }
    if arrival.length != Some(0) {
        alteration.gather(buffering.answer);
    }
    None
}

/// A number from 0 to 1, good enough to scatter those who come back.
fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let bits = foldhash::fast::RandomState::default().build_hasher().finish();
    bits as f64 / u64::MAX as f64
}
