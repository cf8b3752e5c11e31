//! A client that speaks HTTP/2, as the engine sees it: its request goes to an endpoint that speaks HTTP/1.1, and the
//! answer back.

use std::future::poll_fn;
use std::pin::pin;

use tokio::io::AsyncWriteExt;

use super::answer;
use super::body::{Incoming, Piece};
use super::reply::Reply;
use super::websocket::Handshake;
use crate::deadline::{Moment, timeout};
use crate::http::body::Framing;
use crate::http::exchange::{
    Carrier, Client, Delivery, Exchange, Failure, Leg, Outcome, PumpError, Upload, both, conclude,
};
use crate::http::{Reason, trailers};
use crate::limits::BODY_IDLE;
use crate::stream::WriteHalf;
use crate::worker::Worker;

/// One stream: the request's body and the way back.
pub(super) struct Http2<'a> {
    /// What is left of the body, unless all of it stands behind the head already.
    pub(super) body: Option<&'a mut Incoming>,
    pub(super) reply: &'a mut Reply,
    /// Where a WebSocket is asked for.
    pub(super) handshake: Option<&'a Handshake>,
}

impl Client for Http2<'_> {
    fn has_whole_body(&self) -> bool {
        self.body.is_none()
    }

    fn leave_body(&mut self) {
        self.body = None;
    }

    async fn gone(&mut self) {
        poll_fn(|context| self.reply.poll_gone(context)).await;
    }

    async fn send(
        &mut self,
        request: &Exchange,
        mut leg: Leg,
        carrier: &mut Carrier<'_>,
        worker: &Worker,
    ) -> Result<Outcome, Failure> {
        let upload = Upload::new(self.body.is_none(), request, &leg.target);
        let delivery = Delivery::of(&mut leg);
        let answered = {
            let (mut from_endpoint, mut to_endpoint) = leg.endpoint.split();
            let addressed = request.addressed_to(&leg.target, worker);
            let head = addressed.as_ref().unwrap_or(&request.head);
            let written = timeout(BODY_IDLE, to_endpoint.write_all(head.filled())).await;
            drop(addressed);
            // A failed write is not yet the end: the endpoint may have answered before it stopped reading.
            let written = matches!(written, Ok(Ok(())));
            let answer = answer::answer(
                &mut from_endpoint,
                self.reply,
                request,
                &upload,
                &delivery,
                self.handshake,
                worker,
            );
            let answer = pin!(answer);
            match self.body.as_mut().filter(|_| written) {
                None => answer.await,
                Some(body) => {
                    let mut pump = pin!(pump(body, request, &mut to_endpoint, &upload, worker));
                    both(answer, pump.as_mut(), &mut true).await
                }
            }
        };
        conclude(answered, request, leg, carrier, (&upload, delivery), worker)
    }
}

/// Passes the request's body on as it comes.
async fn pump(
    body: &mut Incoming,
    request: &Exchange,
    endpoint: &mut WriteHalf<'_>,
    upload: &Upload,
    worker: &Worker,
) -> Result<(), PumpError> {
    let chunked = request.framing == Framing::Chunked;
    let mut out = worker.buffers.take();
    loop {
        out.rest();
        let piece = body.next(request.deadlines.request).await.map_err(PumpError::Client)?;
        upload.begun.set(true);
        let ends = matches!(piece, Piece::End(_));
        match piece {
            Piece::Data(bytes) => {
                if chunked {
                    out.put(format!("{:x}\r\n", bytes.len()).as_bytes());
                } else {
                    endpoint.body_ends_itself(body.is_over());
                }
                out.put(&bytes);
                if chunked {
                    out.put(b"\r\n");
                }
                upload.received.set(upload.received.get() + bytes.len() as u64);
                if upload.received.get() > request.body_bytes_max {
                    return Err(PumpError::Client(Reason::BodyTooLarge));
                }
            }
            Piece::End(fields) if chunked => {
                out.put(b"0\r\n");
                trailers::write(fields.as_ref(), &mut out);
                out.put(b"\r\n");
            }
            Piece::End(fields) => {
                let fields = trailers::allowed(fields);
                endpoint.end_body(fields).map_err(|_| PumpError::Endpoint)?;
            }
        }
        while !out.is_empty() {
            match timeout(BODY_IDLE, endpoint.write(out.filled())).await {
                Ok(Ok(count @ 1..)) => {
                    out.consume(count);
                    upload.moved.set(Moment::now());
                }
                Ok(Ok(0) | Err(_)) | Err(_) => return Err(PumpError::Endpoint),
            }
        }
        if ends {
            upload.whole.set(true);
            return Ok(());
        }
    }
}
