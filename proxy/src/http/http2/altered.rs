//! Altered answers to a client that speaks HTTP/2.

use std::future::poll_fn;

use http::HeaderMap;
use http::header::CONTENT_LENGTH;

use super::answer::edited;
use super::reply::Reply;
use crate::deadline::Moment;
use crate::http::altered::Sink;
use crate::http::exchange::Delivery;
use crate::http::{Reason, response};
use crate::middleware::AnswerHead;

pub(super) struct ToHttp2<'a> {
    pub(super) reply: &'a mut Reply,
    pub(super) delivery: &'a Delivery,
    /// By when the answer must be done.
    pub(super) limit: Option<Moment>,
}

impl Sink for ToHttp2<'_> {
    async fn begin(&mut self, head: &AnswerHead, length: Option<usize>) -> Result<(), Reason> {
        let mut response = edited(head)?;
        response.headers_mut().remove(CONTENT_LENGTH);
        if let Some(length) = length.filter(|_| response::may_have_length(head.status)) {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        self.delivery.begun.set(true);
        self.delivery.head_came(head.status);
        self.reply.head(response, false)
    }

    async fn send(&mut self, bytes: &mut Vec<u8>) -> Result<(), Reason> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.delivery.sent.set(self.delivery.sent.get() + bytes.len() as u64);
        self.reply.data(std::mem::take(bytes).into(), false)?;
        self.reply.room(self.limit).await
    }

    async fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Reason> {
        match trailers {
            Some(trailers) => self.reply.trailers(trailers),
            None => self.reply.data(bytes::Bytes::new(), true),
        }
    }

    async fn gone(&mut self) {
        poll_fn(|context| self.reply.poll_gone(context)).await;
    }
}
