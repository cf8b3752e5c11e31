//! A server that is asked before a request goes on: where it is, connections that wait in the worker for the next
//! question, and how its answer is read.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;

use arc_swap::ArcSwap;
use bytes::Bytes;
use portolan_config::dynamic::middleware::ForwardAuth;
use portolan_config::tls::{KeyPair, Pem, ServersTransport};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::names;
use crate::deadline::{Moment, sleep_until, timeout, timeout_at};
use crate::http::{Method, read_answer};
use crate::limits::{
    AUTH_BODY_BYTES_MAX, AUTH_IDLE_MAX, AUTH_TIMEOUT, CONNECT_TIMEOUT, NAME_POLL, POOL_IDLE_TIMEOUT,
};
use crate::middleware::AnswerHead;
use crate::stream::Stream;
use crate::worker::Worker;

/// Where questions go.
#[derive(Debug)]
pub(crate) struct Server {
    /// As written.
    pub(crate) address: String,
    /// What its TLS goes by, under this name; none where it speaks none.
    tls: Option<String>,
    /// The host, and a port that is not the scheme's own.
    pub(crate) host: String,
    /// The path and query.
    pub(crate) target: String,
    pub(super) name: String,
    pub(super) port: u16,
    /// The addresses that the name has at present; none before it was looked up.
    pub(super) addresses: ArcSwap<Vec<SocketAddr>>,
}

/// A whole answer.
pub(super) struct Answered {
    pub(super) head: AnswerHead,
    pub(super) body: Bytes,
}

/// Why there is none.
pub(crate) enum ServerError {
    /// Its body is larger than it may be.
    TooLarge,
    Failed(&'static str),
}

/// Connections of one worker that wait for the next question.
#[derive(Debug, Default)]
pub(crate) struct Idle(RefCell<Vec<Waiting>>);

#[derive(Debug)]
struct Waiting {
    server: Weak<Server>,
    stream: Stream,
    since: Moment,
}

impl Server {
    /// Reads where questions go.
    pub(super) fn of(written: &ForwardAuth) -> Result<Arc<Self>, String> {
        let fault = |why: &str| format!("`address`: `{}` {why}", written.address);
        let uri = written.address.parse::<http::Uri>().map_err(|error| fault(&error.to_string()))?;
        let secure = uri.scheme_str() == Some("https");
        let authority = uri.authority().ok_or_else(|| fault("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(fault("has a user in it, which is not sent"));
        }
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let name = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let fixed = name.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)).ok();
        Ok(Arc::new(Self {
            address: written.address.clone(),
            tls: secure.then(|| key(written)),
            host: authority.as_str().to_owned(),
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
            name,
            port,
            addresses: ArcSwap::new(Arc::new(fixed.into_iter().collect())),
        }))
    }

    /// The same, with its name looked up now and then.
    pub(super) fn watched(self: Arc<Self>) -> Arc<Self> {
        if self.name.parse::<IpAddr>().is_err() {
            names::watch(&self);
        }
        self
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.address == other.address && self.tls == other.tls
    }

    /// Asks. A connection that waited may be closed by now: then it is asked once more over a new one.
    pub(super) async fn ask(
        self: &Arc<Self>,
        question: &[u8],
        method: Method,
        body_max: Option<usize>,
        worker: &Worker,
    ) -> Result<Answered, ServerError> {
        let deadline = Moment::now() + AUTH_TIMEOUT;
        while let Some(stream) = worker.auth.take(self) {
            match self.ask_over(stream, question, method, body_max, deadline, worker).await {
                Err(ServerError::Failed(_)) if deadline > Moment::now() => {}
                answered => return answered,
            }
        }
        let stream = self.connect(worker).await.map_err(ServerError::Failed)?;
        self.ask_over(stream, question, method, body_max, deadline, worker).await
    }

    async fn ask_over(
        self: &Arc<Self>,
        mut stream: Stream,
        question: &[u8],
        method: Method,
        body_max: Option<usize>,
        deadline: Moment,
        worker: &Worker,
    ) -> Result<Answered, ServerError> {
        let most = body_max.unwrap_or(AUTH_BODY_BYTES_MAX);
        let mut is_said = None;
        let answered = {
            let (mut from_server, mut to_server) = stream.split();
            let mut said = pin!(async {
                to_server.write_all(question).await?;
                to_server.flush().await
            });
            let mut heard = pin!(read_answer(&mut from_server, method, most, &worker.buffers));
            // It may answer before it has heard all of a long question, and not listen any longer.
            let both = poll_fn(|context| {
                if is_said.is_none()
                    && let Poll::Ready(result) = said.as_mut().poll(context)
                {
                    is_said = Some(result.is_ok());
                }
                heard.as_mut().poll(context)
            });
            timeout_at(deadline, both).await
        };
        let answer = answered.map_err(|_| ServerError::Failed("it took too long"))??;
        let (head, body, reusable) = answer.ok_or(ServerError::TooLarge)?;
        if reusable && is_said == Some(true) {
            worker.auth.put(self, stream);
        }
        Ok(Answered { head, body: body.into() })
    }

    async fn connect(&self, worker: &Worker) -> Result<Stream, &'static str> {
        let deadline = Moment::now() + CONNECT_TIMEOUT;
        // It may be looked up for the first time just now.
        while self.addresses.load().is_empty() {
            if deadline <= Moment::now() {
                return Err("its name has no address");
            }
            sleep_until(Moment::now() + NAME_POLL).await;
        }
        let addresses = self.addresses.load_full();
        for address in addresses.iter() {
            let Ok(Ok(tcp)) = timeout_at(deadline, TcpStream::connect(address)).await else { continue };
            let _ = tcp.set_nodelay(true);
            let Some(key) = &self.tls else { return Ok(tcp.into()) };
            let speaker = worker.tls().speaker(key).cloned().ok_or("its TLS can't be had")?;
            let shaken =
                timeout(CONNECT_TIMEOUT, Box::pin(speaker.connect(tcp, &self.host, address.ip(), false)));
            if let Ok(Ok((stream, _))) = shaken.await {
                return Ok(stream);
            }
            return Err("no TLS handshake with it");
        }
        Err("it accepts no connection")
    }

    /// Where a `Location` of its answer leads.
    pub(super) fn resolve(&self, location: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        if location.contains("://") {
            return location.to_owned();
        }
        if location.starts_with("//") {
            return format!("{scheme}:{location}");
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let base = match location.as_bytes().first() {
            Some(b'/') => "",
            Some(b'?') => path,
            _ => &path[..=path.rfind('/').unwrap_or(0)],
        };
        format!("{scheme}://{}{base}{location}", self.host)
    }
}

impl Idle {
    fn take(&self, server: &Arc<Server>) -> Option<Stream> {
        let mut waiting = self.0.borrow_mut();
        let now = Moment::now();
        waiting.retain(|one| one.server.strong_count() > 0 && one.since + POOL_IDLE_TIMEOUT > now);
        while let Some(at) = waiting.iter().rposition(|one| one.server.as_ptr() == Arc::as_ptr(server)) {
            let mut stream = waiting.swap_remove(at).stream;
            if stream.is_silent() {
                return Some(stream);
            }
        }
        None
    }

    fn put(&self, server: &Arc<Server>, stream: Stream) {
        let mut waiting = self.0.borrow_mut();
        if waiting.len() < AUTH_IDLE_MAX {
            waiting.push(Waiting { server: Arc::downgrade(server), stream, since: Moment::now() });
        }
    }
}

/// What stands for the TLS of such a server, among those of services.
pub(crate) fn key(written: &ForwardAuth) -> String {
    format!("forwardAuth {} {:?}", written.address, written.tls)
}

/// What its TLS goes by, where it speaks it.
pub(crate) fn transport(written: &ForwardAuth) -> Option<ServersTransport> {
    let tls = written.tls.clone().unwrap_or_default();
    let pem = |text: &str| {
        if text.contains("-----BEGIN") { Pem::Inline(text.to_owned()) } else { Pem::File(text.into()) }
    };
    let pair = KeyPair { certificate: pem(&tls.cert), key: pem(&tls.key) };
    written.address.starts_with("https://").then(|| ServersTransport {
        insecure_skip_verify: tls.insecure_skip_verify,
        root_cas: Some(&tls.ca).filter(|ca| !ca.is_empty()).map(|ca| pem(ca)).into_iter().collect(),
        certificates: Some(pair)
            .filter(|_| !tls.cert.is_empty() && !tls.key.is_empty())
            .into_iter()
            .collect(),
        ..ServersTransport::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_leads_where_the_server_meant() {
        let written =
            ForwardAuth { address: "http://auth.test:81/check/it?x=y".to_owned(), ..ForwardAuth::default() };
        let server = Server::of(&written).expect("an address");
        assert_eq!((server.host.as_str(), server.target.as_str()), ("auth.test:81", "/check/it?x=y"));
        for (location, leads_to) in [
            ("https://b.test/x", "https://b.test/x"),
            ("//b.test/x", "http://b.test/x"),
            ("/login", "http://auth.test:81/login"),
            ("login?a", "http://auth.test:81/check/login?a"),
            ("?a", "http://auth.test:81/check/it?a"),
        ] {
            assert_eq!(server.resolve(location), leads_to, "{location}");
        }
        for address in ["http://", "http://u@a.test/", "http://a b/"] {
            let written = ForwardAuth { address: address.to_owned(), ..ForwardAuth::default() };
            assert!(Server::of(&written).is_err(), "{address}");
        }
    }
}
