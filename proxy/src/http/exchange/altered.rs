//! Altered answers from an endpoint and to a client that speak HTTP/1.

use http::HeaderMap;

use super::{Delivery, Exchange};
use crate::deadline::timeout;
use crate::http::altered::{Sink, Source};
use crate::http::body::{Body, Framing};
use crate::http::response::{self, Manner};
use crate::http::{Reason, trailers};
use crate::limits::TUNNEL_IDLE_TIMEOUT;
use crate::middleware::AnswerHead;
use crate::stream::{ReadHalf, WriteHalf};
use crate::worker::Buffer;

/// An answer's body as an endpoint sends it.
pub(in crate::http) struct FromHttp1<'a, 's> {
    endpoint: &'a mut ReadHalf<'s>,
    input: &'a mut Buffer,
    body: Body,
    trailers: Vec<u8>,
}

impl<'a, 's> FromHttp1<'a, 's> {
    /// What follows a head; `input` holds what came with that.
    pub(in crate::http) fn new(
        endpoint: &'a mut ReadHalf<'s>,
        input: &'a mut Buffer,
        framing: Framing,
    ) -> Self {
        Self { endpoint, input, body: Body::new(framing), trailers: Vec::new() }
    }
}

impl Source for FromHttp1<'_, '_> {
    fn take(&mut self, content: &mut Vec<u8>) -> Result<bool, Reason> {
        let Self { input, body, trailers, .. } = self;
        let scanned = body.scan_parts(
            input.filled(),
            |piece| content.extend_from_slice(piece),
            |byte| trailers.push(byte),
        );
        let length = scanned.map_err(|_| Reason::ResponseTruncated)?.length;
        input.consume(length);
        Ok(body.is_done())
    }

    async fn more(&mut self) -> Result<(), Reason> {
        match self.input.read_bulk_from(self.endpoint).await {
            Ok(1..) => Ok(()),
            Ok(0) if self.body.ends_with_connection() => {
                self.body = Body::new(Framing::Empty);
                Ok(())
            }
            Ok(0) | Err(_) => Err(Reason::ResponseTruncated),
        }
    }

    async fn trailers(&mut self) -> Result<Option<HeaderMap>, Reason> {
        if !self.endpoint.may_say_more() {
            return trailers::read(&self.trailers).map_err(|_| Reason::ResponseTruncated);
        }
        match timeout(TUNNEL_IDLE_TIMEOUT, self.endpoint.trailers()).await {
            Ok(Ok(fields)) => Ok(trailers::allowed(fields)),
            Ok(Err(_)) => Err(Reason::ResponseTruncated),
            Err(_) => Err(Reason::ResponseTimeout),
        }
    }
}

/// A client that speaks HTTP/1.
pub(super) struct ToHttp1<'a, 's> {
    pub(super) client: &'a mut WriteHalf<'s>,
    pub(super) request: &'a Exchange,
    pub(super) delivery: &'a Delivery,
    pub(super) out: &'a mut Buffer,
    /// What becomes of the connection.
    pub(super) manner: Manner,
    /// Whether the body is sent in chunks.
    pub(super) is_chunked: bool,
}

impl ToHttp1<'_, '_> {
    async fn flush(&mut self) -> Result<(), Reason> {
        self.delivery.send(self.client, self.out.filled(), self.request).await?;
        self.out.clear();
        Ok(())
    }
}

impl Sink for ToHttp1<'_, '_> {
    async fn begin(&mut self, head: &AnswerHead, length: Option<usize>) -> Result<(), Reason> {
        let mut head = head.clone();
        head.fields.remove("Content-Length");
        head.fields.remove("Transfer-Encoding");
        match length {
            Some(length) if response::may_have_length(head.status) => {
                // All of it is here.
                self.request.is_ending();
                head.fields.add("Content-Length", length.to_string().as_bytes());
            }
            Some(_) => {}
            None if self.manner.is_http10 => {
                self.manner.close = true;
                self.delivery.ends_with_connection.set(true);
            }
            None => {
                self.is_chunked = true;
                head.fields.add("Transfer-Encoding", b"chunked");
            }
        }
        self.delivery.head_came(head.status);
        if let Some(told) = &self.request.told {
            told.leaves(head.fields.iter());
        }
        response::write_edited(&head, self.manner, self.out);
        Ok(())
    }

    async fn send(&mut self, bytes: &mut Vec<u8>) -> Result<(), Reason> {
        if !bytes.is_empty() {
            if self.is_chunked {
                self.out.put(format!("{:x}\r\n", bytes.len()).as_bytes());
            }
            self.out.put(bytes);
            if self.is_chunked {
                self.out.put(b"\r\n");
            }
            bytes.clear();
        }
        self.flush().await
    }

    async fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Reason> {
        self.request.is_ending();
        if self.is_chunked {
            self.out.put(b"0\r\n");
            trailers::write(trailers.as_ref(), self.out);
            self.out.put(b"\r\n");
        }
        self.flush().await
    }

    async fn gone(&mut self) {
        self.client.broken_off().await;
    }
}
