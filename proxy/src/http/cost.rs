//! The way of a request and its answer without their sockets, so that what it costs can be counted
//! (`benches/instructions`). It does what a connection does between reading and writing, and nothing else.

use std::rc::Rc;
use std::sync::Arc;

use portolan_config::Rule;
use portolan_config::settings::Forwarded;
use portolan_discovery::Router;

use super::exchange::Cookies;
use super::head::{fields, parse_request, parse_response};
use super::peer::Peer;
use super::response::{self, Manner};
use super::{Method, request};
use crate::metrics::{Metrics, Recorder, Scope, Version};
use crate::table::{Destination, Route, Routes, Upstream, routing_host, routing_path};
use crate::worker::Buffers;

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

impl Way {
    /// One with so many routers.
    ///
    /// # Panics
    /// Not with metrics of its own.
    pub fn new(routers: usize) -> Self {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("a registry of its own");
        let mut routes = Routes::default();
        for index in 0..routers {
            let name = format!("{index}@bench");
            let rule = Rule::parse(&format!("Host(`{index}.bench.test`)")).expect("a rule");
            let router = Router::new(name.clone(), rule, name);
            let destination =
                Arc::new(Destination::Upstream(Arc::new(Upstream::made_up(&router.upstream, 0))));
            let scope = Arc::new(metrics.router(&router.name));
            let route = Route { router: Arc::new(router), destination, chain: None, scope };
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
        response::write(&head, Manner { close: false, is_http10: false }, &self.cookies, &mut out);
        let took = std::time::Duration::from_millis(1);
        self.recorder.count(&self.entry_point, Method::Get, Version::Http1, head.status, took, (0, 0));
        out.filled().len()
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
}
