//! Copies of requests, for services that see what others answer: sent when the answer is there, and what they answer is
//! read and dropped.

use std::cell::Cell;
use std::rc::Rc;

use tokio::io::AsyncWriteExt;

use super::carrier::Leg;
use super::{Carrier, Client, Exchange, Failure, Outcome, Upload, attempt};
use crate::deadline::timeout;
use crate::http::Reason;
use crate::http::body::{Body, Framing};
use crate::http::head::{fields, parse_response};
use crate::limits::{BODY_IDLE, MIRROR_TIME, MIRRORS_MAX};
use crate::stream::ReadHalf;
use crate::table::Mirror;
use crate::worker::Worker;

thread_local! {
    /// How many are on their way from this thread.
    static ON_THEIR_WAY: Cell<usize> = const { Cell::new(0) };
}

/// Copies that are ready to be sent.
pub(in crate::http) struct Copies(Vec<Exchange>);

impl Copies {
    /// The copies of a request, before it is sent itself. Where its body is longer than is copied, there are none for
    /// those that would have it.
    pub(in crate::http) fn of(request: &mut Exchange, worker: &Worker) -> Self {
        let mirrors = std::mem::take(&mut request.mirrors);
        let is_whole = request.framing == Framing::Empty;
        let head = request.head.filled();
        let length = memchr::memmem::find(head, b"\r\n\r\n").map_or(head.len(), |at| at + 4);
        let body = request.gathered;
        let copy = |mirror: Mirror| {
            let has_body = mirror.body_bytes_max.is_some_and(|max| is_whole && body <= max);
            if request.upgrade || (mirror.body_bytes_max.is_some() && !has_body) {
                return None;
            }
            let mut copied = worker.buffers.take();
            if has_body {
                copied.put(head);
            } else {
                put_without_body(&head[..length], &mut copied);
            }
            Some(Exchange {
                deadlines: request.deadlines,
                host_at: request.host_at,
                ..Exchange::plain(request.method, Framing::Empty, copied, mirror.upstream)
            })
        };
        Self(mirrors.into_iter().filter_map(copy).collect())
    }

    /// Sends them, beside whatever else the worker does.
    pub(in crate::http) fn send(self, worker: &Rc<Worker>) {
        for copy in self.0 {
            if ON_THEIR_WAY.get() >= MIRRORS_MAX {
                tracing::debug!(
                    service = copy.upstream.name,
                    "a copy was not sent: too many are on their way"
                );
                worker.metrics.copy_dropped(&copy.upstream.name, "limit");
                continue;
            }
            ON_THEIR_WAY.set(ON_THEIR_WAY.get() + 1);
            let (place, worker) = (Place, worker.clone());
            tokio::task::spawn_local(Box::pin(async move {
                let (mut aside, mut carrier) = (Aside, Carrier::Pooled);
                let sent = attempt(&mut aside, &copy, &mut carrier, &worker);
                if timeout(MIRROR_TIME, Box::pin(sent)).await.is_err() {
                    tracing::debug!(service = copy.upstream.name, "a copy was given up: it took too long");
                    worker.metrics.copy_dropped(&copy.upstream.name, "timeout");
                }
                drop(place);
            }));
        }
    }
}

/// One of those that may be on their way.
struct Place;

impl Drop for Place {
    fn drop(&mut self) {
        ON_THEIR_WAY.set(ON_THEIR_WAY.get().saturating_sub(1));
    }
}

/// Writes a head that says that nothing follows it.
fn put_without_body(head: &[u8], out: &mut crate::worker::Buffer) {
    let says_length = |line: &[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        ["content-length", "transfer-encoding", "trailer", "expect"]
            .iter()
            .any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
    };
    for line in head.split_inclusive(|byte| *byte == b'\n').filter(|line| !says_length(line)) {
        out.put(line);
    }
}

/// Nobody: what is answered is dropped.
struct Aside;

impl Client for Aside {
    fn has_whole_body(&self) -> bool {
        true
    }

    fn leave_body(&mut self) {}

    /// A copy does not wait for a place that a request could have.
    async fn gone(&mut self) {}

    async fn send(
        &mut self,
        request: &Exchange,
        mut leg: Leg,
        carrier: &mut Carrier<'_>,
        worker: &Worker,
    ) -> Result<Outcome, Failure> {
        let upload = Upload::new(true, request, &leg.target);
        let answered = {
            let (mut from_endpoint, mut to_endpoint) = leg.endpoint.split();
            let addressed = request.addressed_to(&leg.target, worker);
            let head = addressed.as_ref().unwrap_or(&request.head);
            // A failed write is not yet the end: the endpoint may have answered before it stopped reading.
            let _ = timeout(BODY_IDLE, to_endpoint.write_all(head.filled())).await;
            drop(addressed);
            drop_answer(&mut from_endpoint, request, worker).await
        };
        match answered {
            Ok((status, reusable)) => {
                if reusable {
                    carrier.give_back(leg, worker);
                }
                Ok(Outcome { status: Some(status), ..Outcome::default() })
            }
            Err(reason) => Err(Failure::unanswered(reason, request, &upload, &leg)),
        }
    }
}

/// Reads an answer to its end. Gives its status, and whether the connection can be used again.
async fn drop_answer(
    endpoint: &mut ReadHalf<'_>,
    request: &Exchange,
    worker: &Worker,
) -> Result<(u16, bool), Reason> {
    let mut input = worker.buffers.take();
    loop {
        let mut room = fields();
        let parsed =
            parse_response(input.filled(), &mut room, request.method).map_err(|_| Reason::BadResponse)?;
        let head = parsed.map(|head| (head.length, head.status, head.framing, head.keep_alive));
        let Some((length, status, framing, keep_alive)) = head else {
            match input.read_from(endpoint).await {
                Ok(1..) => continue,
                Ok(0) | Err(_) if input.is_empty() => return Err(Reason::EndpointReset),
                Ok(0) | Err(_) => return Err(Reason::BadResponse),
            }
        };
        input.consume(length);
        if status < 200 {
            continue;
        }
        let mut body = Body::new(framing);
        while !body.is_done() {
            let Ok(scanned) = body.scan(input.filled()) else { return Ok((status, false)) };
            input.consume(scanned.length);
            if !body.is_done() && !matches!(input.read_bulk_from(endpoint).await, Ok(1..)) {
                return Ok((status, false));
            }
        }
        return Ok((status, keep_alive && input.is_empty() && framing != Framing::UntilClose));
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;
    use tokio::time::Instant;

    use super::*;
    use crate::http::Method;
    use crate::table::{Target, Upstream};
    use crate::worker::Buffers;

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_is_not_answered_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut upstream = Upstream::made_up("aside", 1);
        let target =
            Target { address: listener.local_addr().unwrap(), ..Target::clone(&upstream.available[0]) };
        upstream.available = vec![Arc::new(target)];
        let (worker, _drain) = Worker::alone();
        let mut head = worker.buffers.take();
        head.put(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let copy = Exchange::plain(Method::Get, Framing::Empty, head, Arc::new(upstream));
        let begun = Instant::now();
        let heard = async {
            Copies(vec![copy]).send(&worker);
            let (mut copied, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            copied.read_to_end(&mut heard).await.unwrap();
            String::from_utf8(heard).unwrap()
        };
        let heard = LocalSet::new().run_until(heard).await;
        let took = begun.elapsed();
        assert!(heard.starts_with("GET / HTTP/1.1"), "{heard}");
        assert!(took >= MIRROR_TIME && took < MIRROR_TIME * 2, "{took:?}");
        assert_eq!(worker.metrics.copies_dropped("aside", "timeout"), 1);
        assert_eq!(ON_THEIR_WAY.get(), 0);
    }

    #[test]
    fn a_copy_without_the_body_does_not_announce_one() {
        let mut out = Rc::new(Buffers::default()).take();
        let head =
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX-Length: 3\r\nExpect: 100-continue\r\n\r\n";
        put_without_body(head, &mut out);
        assert_eq!(out.filled(), b"POST / HTTP/1.1\r\nHost: a\r\nX-Length: 3\r\n\r\n");
    }
}
