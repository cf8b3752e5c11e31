//! The middlewares that look at answers for more than their fields: what they note of a request, what they want of an
//! answer, and what is to be done to its body.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_config::dynamic::middleware::{Encoding, Middleware};

use super::buffering::Buffering;
use super::circuit_breaker::CircuitBreaker;
use super::compress::{self, Compress};
use super::error_pages::ErrorPages;
use super::grpc_web::{self, GrpcWeb};
use super::retry::Retry;
use super::{Alteration, AnswerHead, Arrival, Draft, OwnAnswer, Page, attempts};
use crate::http::Reason;

/// A middleware, compiled.
#[derive(Debug)]
pub(crate) enum Watcher {
    Compress(Compress),
    CircuitBreaker(Box<CircuitBreaker>),
    Errors {
        pages: ErrorPages,
        service: Arc<str>,
    },
    Retry(Retry),
    Buffering(Buffering),
    ContentType,
    GrpcWeb(GrpcWeb),
    /// One that does nothing.
    Idle,
}

/// What it writes down about a request for its answer.
pub(crate) enum Seen {
    /// How its answer may be made smaller.
    Encoding(Encoding),
    /// When it came.
    Since(Instant),
    /// How often it was sent, and when it came.
    Attempts(Cell<u32>, Instant),
    /// It is a call from a browser.
    Call(grpc_web::Call),
}

/// What a step wants of a request or its answer besides what it edits.
pub(super) enum Wish {
    Again(Duration),
    Page { page: Page, shown: u16 },
    Refuse(Reason),
}

/// How much of a request's body is gathered before it is sent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keep {
    /// Bytes that are gathered, if there are as many.
    pub(crate) bytes: u64,
    /// Bytes that there may be; `None` is any number.
    pub(crate) bytes_max: Option<u64>,
    /// Whether it is base64, and sent on without.
    pub(crate) is_text: bool,
    /// Whether somebody is asked with it before the request goes on.
    pub(crate) is_asked_with: bool,
}

impl Keep {
    /// So much of it is needed.
    pub(crate) fn at_least(&mut self, bytes: u64) {
        self.bytes = self.bytes.max(bytes.min(crate::limits::GATHERED_BYTES_MAX));
    }
}

impl Watcher {
    /// Compiles a middleware, if it is one of these.
    pub(super) fn compile(written: &Middleware) -> Option<Result<Self, String>> {
        Some(Ok(match written {
            Middleware::Compress(written) => return Some(Compress::compile(written).map(Self::Compress)),
            Middleware::CircuitBreaker(written) => {
                return Some(CircuitBreaker::compile(written).map(Box::new).map(Self::CircuitBreaker));
            }
            Middleware::Errors(written) => {
                let service = written.service.as_str().into();
                return Some(ErrorPages::compile(written).map(|pages| Self::Errors { pages, service }));
            }
            Middleware::Retry(written) => Self::Retry(Retry::compile(written)),
            Middleware::Buffering(written) => return Some(Buffering::compile(written).map(Self::Buffering)),
            Middleware::ContentType(written) if written.auto_detect == Some(false) => Self::Idle,
            Middleware::ContentType(_) => Self::ContentType,
            Middleware::GrpcWeb(written) => Self::GrpcWeb(GrpcWeb::compile(written)),
            _ => return None,
        }))
    }

    /// Edits a request, or answers it. What is to be known for the answer is what it gives.
    pub(super) fn request(&self, draft: &mut Draft) -> Result<Option<Seen>, Box<OwnAnswer>> {
        match self {
            Self::Compress(step) => Ok(compress::request(step, draft).map(Seen::Encoding)),
            Self::CircuitBreaker(step) => attempts::break_off(step).map(Some),
            Self::Retry(_) => Ok(Some(Seen::Attempts(Cell::new(1), Instant::now()))),
            Self::Buffering(step) => {
                attempts::check_length(step, draft)?;
                Ok(Some(Seen::Attempts(Cell::new(1), Instant::now())))
            }
            Self::GrpcWeb(step) => grpc_web::request(step, draft).map(|call| call.map(Seen::Call)),
            Self::Errors { .. } | Self::ContentType | Self::Idle => Ok(None),
        }
    }

    /// How much of the request's body it needs.
    pub(super) fn keeps(&self, draft: &Draft, note: Option<&Seen>, keep: &mut Keep) {
        match self {
            Self::Retry(step) => keep.at_least(step.body_to_keep(&draft.method_text).unwrap_or(0)),
            Self::Buffering(step) => {
                keep.at_least(step.request.gathered_max);
                keep.bytes_max = [keep.bytes_max, step.request.bytes_max].into_iter().flatten().min();
            }
            Self::GrpcWeb(_) if matches!(note, Some(Seen::Call(grpc_web::Call { is_text: true }))) => {
                keep.at_least(u64::MAX);
                keep.is_text = true;
            }
            _ => {}
        }
    }

    /// Edits the head of an answer, and says what is to be done to its body.
    pub(super) fn answer(
        &self,
        head: &mut AnswerHead,
        draft: &Draft,
        note: Option<&Seen>,
        arrival: &Arrival,
        alteration: &mut Alteration,
    ) -> Option<Wish> {
        match (self, note) {
            (Self::Compress(step), Some(Seen::Encoding(encoding))) => {
                compress::answer(step, *encoding, head, arrival, alteration);
            }
            (Self::CircuitBreaker(step), Some(Seen::Since(since))) => attempts::record(step, head, *since),
            (Self::Errors { pages, service }, _) => return attempts::page(pages, service, head, draft),
            (Self::Retry(step), Some(Seen::Attempts(made, since))) => {
                return attempts::retry(step, made, *since, head, draft, arrival);
            }
            (Self::Buffering(step), Some(Seen::Attempts(made, _))) => {
                return attempts::buffer(step, made, head, draft, arrival, alteration);
            }
            (Self::ContentType, _) if head.fields.get("Content-Type").is_none() => alteration.sniff(),
            (Self::GrpcWeb(step), note) => {
                let call = match note {
                    Some(Seen::Call(call)) => Some(*call),
                    _ => None,
                };
                grpc_web::answer(step, call, head, draft, alteration);
            }
            _ => {}
        }
        None
    }
}
