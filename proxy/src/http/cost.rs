//! The way of a request and its answer without their sockets, so that what it costs can be counted
//! (`benches/instructions`) and timed (`benches/middlewares.rs`). It does what a connection does between reading and writing, and
//! nothing else.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use portolan_config::Rule;
use portolan_config::dynamic::{Format, read_file};
use portolan_config::settings::Forwarded;
use portolan_discovery::Router;
use tokio::runtime::{Builder, Runtime};

use super::exchange::Cookies;
use super::head::{fields, parse_request, parse_response};
use super::peer::Peer;
use super::response::{self, Manner};
use super::{Method, request};
use crate::metrics::{Metrics, Recorder, Scope, Version};
use crate::middleware::{AnswerHead, Arrival, Chain, Draft, OwnAnswer, Passage, Step, Verdict};
use crate::table::{Destination, Route, Routes, Upstream, routing_host, routing_path};
use crate::tls::ClientChain;
use crate::worker::{Buffer, Buffers, Worker};

const MANNER: Manner = Manner { close: false, is_http10: false };

/// A worker without sockets, in front of services `0.bench.test` and so on.
#[derive(Debug)]
pub struct Way {
    routes: Routes,
    peer: Peer,
    buffers: Rc<Buffers>,
    recorder: Recorder,
    entry_point: Scope,
    cookies: Cookies,
}

/// What stands behind a worker that takes requests through middlewares.
pub struct Steps {
    way: Way,
    worker: Rc<Worker>,
    runtime: Runtime,
    /// Whether one of them waits for somebody else.
    waits: bool,
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steps").field("way", &self.way).finish_non_exhaustive()
    }
}

impl Way {
    /// One with so many routers.
    ///
    /// # Panics
    /// Not with metrics of its own.
    pub fn new(routers: usize) -> Self {
        Self::before(routers, None)
    }

    /// The same, each with this chain.
    fn before(routers: usize, chain: Option<&Arc<Chain>>) -> Self {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("a registry of its own");
        let mut routes = Routes::default();
        for index in 0..routers {
            let name = format!("{index}@bench");
            let rule = Rule::parse(&format!("Host(`{index}.bench.test`)")).expect("a rule");
            let router = Router::new(name.clone(), rule, name);
            let destination =
                Arc::new(Destination::Upstream(Arc::new(Upstream::made_up(&router.upstream, 0))));
            let scope = Arc::new(metrics.router(&router.name));
            let route = Route { router: Arc::new(router), destination, chain: chain.cloned(), scope };
            routes.add(index as u32, &Arc::new(route));
        }
        let address = "192.0.2.7:1234".parse().expect("an address");
        Self {
            routes,
            peer: Peer::new(address, false, &Forwarded::default()),
            buffers: Rc::default(),
            recorder: Recorder::default(),
            entry_point: metrics.entry_point("bench"),
            cookies: Cookies::default(),
        }
    }

    /// Reads the head of a request, routes it, and writes it as it is sent on. Gives the bytes of that; 0 where it was
    /// refused or not routed.
    pub fn request(&self, bytes: &[u8]) -> usize {
        let mut room = fields();
        let Ok(Some(head)) = parse_request(bytes, &mut room) else { return 0 };
        let path = routing_path(request::path(head.target));
        let host = routing_host(head.authority);
        if self.routes.find(&request::view(&head, &host, &path, &self.peer)).is_none() {
            return 0;
        }
        let mut out = self.buffers.take();
        request::write(&head, &path, true, &self.peer, "portolan-1", &mut out);
        out.filled().len()
    }

    /// Reads the head of an answer, writes it as it is sent back, and counts it. Gives the bytes of that; 0 where it can't
    /// be read.
    pub fn answer(&self, bytes: &[u8]) -> usize {
        let mut room = fields();
        let Ok(Some(head)) = parse_response(bytes, &mut room, Method::Get) else { return 0 };
        let mut out = self.buffers.take();
        response::write(&head, MANNER, &self.cookies, &mut out);
        self.count(head.status);
        out.filled().len()
    }

    fn count(&self, status: u16) {
        let took = std::time::Duration::from_millis(1);
        self.recorder.count(&self.entry_point, Method::Get, Version::Http1, status, took, (0, 0));
    }
}

impl Steps {
    /// A way through middlewares that are written as in a file, in flow style: `addPrefix: {prefix: /x}`. What has to be
    /// learned from a first request (a password, a connection) is learned from `first`.
    ///
    /// # Errors
    /// What can't be read or done.
    pub fn new(middlewares: &[&str], first: &[u8]) -> Result<Self, String> {
        let mut steps = Vec::new();
        for written in middlewares {
            let file = format!("http: {{middlewares: {{m: {{{written}}}}}}}");
            let read =
                read_file("m.yml", Format::Yaml, &file).map_err(|wrong| format!("{written}: {wrong:?}"))?;
            let value = read.middlewares.into_values().next().and_then(|item| item.value);
            let value = value.ok_or_else(|| format!("{written}: {:?}", read.wrong))?;
            steps.push(Arc::new(Step::compile(&value, None)?));
        }
        let waits = steps.iter().any(|step| matches!(**step, Step::Forward(_)));
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let worker = runtime.block_on(async { Worker::alone().0 });
        let steps = Self { way: Way::before(10, Chain::of(steps).as_ref()), worker, runtime, waits };
        steps.runtime.block_on(steps.enter(first, &mut steps.way.buffers.take()));
        Ok(steps)
    }

    /// The same for a client that comes by TLS and shows a certificate.
    ///
    /// # Errors
    /// No certificate could be made.
    pub fn by_tls(mut self) -> Result<Self, String> {
        let made = rcgen::generate_simple_self_signed(["client.test".to_owned()])
            .map_err(|error| error.to_string())?;
        let chain = ClientChain::of(Some(&[made.cert.der().clone()])).map(Arc::new);
        let address = self.way.peer.address();
        self.way.peer = Peer::new(address, true, &Forwarded::default()).showing(chain);
        Ok(self)
    }

    /// Takes a request in and its answer out. Gives the bytes that the client gets; 0 where either can't be read.
    pub fn pass(&self, request: &[u8], answer: &[u8], body: &[u8]) -> usize {
        let mut out = self.way.buffers.take();
        let entered = self.enter(request, &mut out);
        let entered = if self.waits { self.runtime.block_on(entered) } else { at_once(entered) };
        let (passage, own) = match entered {
            None => return 0,
            Some(Ok(passage)) => (passage, None),
            Some(Err((passage, own))) => (Some(passage), Some(own)),
        };
        out.clear();
        if let (Some(passage), Some(mut own)) = (&passage, own) {
            let _ = passage.go_out_whole(&mut own, None, false);
            response::write_own(&own, MANNER, true, &mut out);
            self.way.count(own.head.status);
            return out.filled().len();
        }
        self.leave(passage.as_deref(), answer, body, &mut out)
    }

    /// What a connection does with a head: reads it, routes it, writes it, and takes it through the chain of its route.
    #[allow(clippy::type_complexity)] // a named type would be used here alone
    async fn enter(
        &self,
        request: &[u8],
        out: &mut Buffer,
    ) -> Option<Result<Option<Box<Passage>>, (Box<Passage>, Box<OwnAnswer>)>> {
        let mut room = fields();
        let head = parse_request(request, &mut room).ok().flatten()?;
        let path = routing_path(request::path(head.target));
        let host = routing_host(head.authority);
        let view = request::view(&head, &host, &path, &self.way.peer);
        let route = self.way.routes.find(&view)?.clone();
        request::write(&head, &path, true, &self.way.peer, "portolan-1", out);
        let Some(chain) = &route.chain else { return Some(Ok(None)) };
        let mut passage = Passage::new(chain, Draft::of(&head, out.filled(), &self.way.peer));
        if let Err(own) = passage.go_in(&self.worker).await {
            return Some(Err((passage, own)));
        }
        out.clear();
        passage.draft.write(true, out);
        let _ = std::hint::black_box(passage.keeps());
        Some(Ok(Some(passage)))
    }

    /// What is done with an answer: its head goes out through the chain, and its body through what changes it.
    fn leave(&self, passage: Option<&Passage>, answer: &[u8], body: &[u8], out: &mut Buffer) -> usize {
        let mut room = fields();
        let Ok(Some(head)) = parse_response(answer, &mut room, Method::Get) else { return 0 };
        let mut sent = body.len();
        let Some(passage) = passage else {
            response::write(&head, MANNER, &self.way.cookies, out);
            self.way.count(head.status);
            return out.filled().len() + sent;
        };
        let mut edited: AnswerHead = response::to_edit(&head, MANNER);
        let arrival = Arrival { failure: None, length: head.framing.length(), may_repeat: true };
        if let Verdict::Pass(Some(mut alteration)) = passage.go_out(&mut edited, &arrival) {
            if alteration.push(&mut edited, body).and_then(|()| alteration.end(&mut edited, None)).is_err() {
                return 0;
            }
            sent = alteration.out().len();
        }
        response::write_edited(&edited, MANNER, out);
        self.way.count(edited.status);
        out.filled().len() + sent
    }
}

/// What a future gives that waits for nothing.
///
/// # Panics
/// It waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a middleware waits where none was thought to"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_done() {
        let way = Way::new(3);
        let head = b"GET /x HTTP/1.1\r\nHost: 2.bench.test\r\n\r\n";
        assert!(way.request(head) > head.len());
        assert_eq!(way.request(b"GET /x HTTP/1.1\r\nHost: 3.bench.test\r\n\r\n"), 0);
        let head = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(way.answer(head), head.len());
    }

    #[test]
    fn what_middlewares_do_is_done() {
        let request = b"GET /x HTTP/1.1\r\nHost: 2.bench.test\r\nAccept-Encoding: gzip\r\n\r\n";
        let answer =
            b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
            Content-Length: 4096\r\n\r\n";
        let pass = |middlewares: &[&str]| {
            Steps::new(middlewares, request).expect("it can be done").pass(request, answer, &[b'x'; 4096])
        };
        // Without middlewares there is no passage, and no draft is made.
        let plain = Steps::new(&[], request).expect("there is nothing to do");
        let mut out = plain.way.buffers.take();
        assert!(matches!(at_once(plain.enter(request, &mut out)), Some(Ok(None))));
        let none = pass(&[]);
        assert_eq!(none, answer.len() + 4096);
        assert_eq!(pass(&["headers: {customResponseHeaders: {X-A: b}}"]), none + "X-A: b\r\n".len());
        assert!(pass(&["compress: {}"]) < 400);
        assert!(pass(&["redirectScheme: {scheme: https}", "compress: {}"]) < 400);
        assert!(Steps::new(&["addPrefix: {}"], request).is_err());
    }
}
