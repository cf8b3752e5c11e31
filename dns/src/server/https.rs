//! DNS over HTTPS (RFC 8484): one query and its answer, as bodies of a request and its response, by HTTP/2 or HTTP/1.1.
//!
//! It knows HTTP as far as that needs. HTTP itself is hyper's.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use hickory_proto::op::Message;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::tcp::{IDLE, MAX_CONNECTIONS, PAUSE};
use super::tls::Handshakes;
use super::{Asking, Context, Verdict};
use crate::answer::Transport;

/// Where queries are asked (RFC 8484 §4.1 leaves it to us; this is what everybody uses).
const PATH: &str = "/dns-query";
/// What both bodies are (RFC 8484 §6).
const MEDIA_TYPE: &str = "application/dns-message";
/// Bytes of a query: many times what an honest one has.
const QUERY_MAX: usize = 4096;
/// Queries at once on one connection.
const STREAMS_MAX: u32 = 100;
/// How long a connection is kept.
const AGE_MAX: Duration = Duration::from_secs(300);

/// The connections over HTTPS.
#[derive(Debug)]
pub(super) struct Connections {
    context: Context,
    seats: Arc<Semaphore>,
    running: JoinSet<()>,
    leave: Arc<Notify>,
}

impl Connections {
    pub(super) fn new(context: Context) -> Self {
        let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Self { context, seats, running: JoinSet::new(), leave: Arc::default() }
    }

    /// Accepts connections, for as long as it is polled.
    pub(super) async fn accept(&mut self, listener: &TcpListener, handshakes: &Handshakes) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer.ip(), handshakes.clone()),
                Err(error) => {
                    warn!(%error, "accepting a connection for DNS over HTTPS failed");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Lets every connection finish what it is answering, for at most `grace`.
    pub(super) async fn finish(mut self, grace: Duration) {
        self.leave.notify_waiters();
        let _ = timeout(grace, async { while self.running.join_next().await.is_some() {} }).await;
    }

    fn admit(&mut self, stream: TcpStream, client: IpAddr, handshakes: Handshakes) {
        while let Some(ended) = self.running.try_join_next() {
            if ended.is_err() {
                self.context.metrics.panicked(); // and took nobody with it
            }
        }
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
            return self.context.metrics.dropped();
        };
        let _ = stream.set_nodelay(true);
        let (context, leave) = (self.context.clone(), Arc::clone(&self.leave));
        self.running.spawn(serve(stream, client, handshakes, context, leave, seat));
    }
}

async fn serve(
    stream: TcpStream,
    client: IpAddr,
    handshakes: Handshakes,
    context: Context,
    leave: Arc<Notify>,
    _seat: OwnedSemaphorePermit,
) {
    let Some(stream) = handshakes.take(stream).await else { return context.metrics.dropped() };
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(IDLE)
        .keep_alive_timeout(IDLE);
    let service = service_fn(|request| {
        let context = context.clone();
        async move { Ok::<_, Infallible>(answer(request, client, &context).await) }
    });
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    let over = async {
        tokio::select! {
            () = leave.notified() => {}
            () = sleep(AGE_MAX) => {}
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = over => {
            connection.as_mut().graceful_shutdown();
            timeout(IDLE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection for DNS over HTTPS ended");
    }
}

async fn answer(request: Request<Incoming>, client: IpAddr, context: &Context) -> Response<Full<Bytes>> {
    let begun = Instant::now();
    let asked = Asking { transport: Transport::Https, client, begun };
    let query = match timeout(IDLE, read(request)).await {
        Ok(Ok(query)) => query,
        Ok(Err(status)) => return refuse(status),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT),
    };
    let mut reply = Vec::new();
    let verdict = context.moment().answer(&query, Transport::Https, client, &mut reply);
    match verdict {
        Verdict::Silence => {
            context.metrics.dropped();
            return refuse(StatusCode::BAD_REQUEST);
        }
        Verdict::Answered(outcome) => context.answered(&query, &reply, asked, outcome),
        Verdict::Elsewhere(elsewhere) => {
            let given = context.ask(elsewhere).await;
            reply = context.relay(&query, asked, &given);
        }
    }
    let age = max_age(&reply).map_or_else(|| "no-store".to_owned(), |age| format!("max-age={age}"));
    let response = Response::builder().header(CONTENT_TYPE, MEDIA_TYPE).header(CACHE_CONTROL, age);
    response.body(Full::from(reply)).unwrap_or_else(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR))
}

/// The query of a GET or a POST (RFC 8484 §4.1).
async fn read(request: Request<Incoming>) -> Result<Vec<u8>, StatusCode> {
    if request.uri().path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    let accepted = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let takes =
        |one: &str| [MEDIA_TYPE, "application/*", "*/*"].iter().any(|kind| one.trim().starts_with(kind));
    if accepted.is_some_and(|accepted| !accepted.split(',').any(takes)) {
        return Err(StatusCode::NOT_ACCEPTABLE);
    }
    match *request.method() {
        Method::GET | Method::HEAD => {
            let query = request.uri().query().unwrap_or_default();
            let dns = query.split('&').find_map(|pair| pair.strip_prefix("dns="));
            let dns = dns.ok_or(StatusCode::BAD_REQUEST)?;
            if dns.len() > QUERY_MAX * 4 / 3 {
                return Err(StatusCode::URI_TOO_LONG);
            }
            BASE64URL_NOPAD.decode(dns.trim_end_matches('=').as_bytes()).map_err(|_| StatusCode::BAD_REQUEST)
        }
        Method::POST => {
            if request.headers().get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes() != MEDIA_TYPE.as_bytes())
            {
                return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            }
            let body = Limited::new(request.into_body(), QUERY_MAX).collect().await;
            body.map(|body| body.to_bytes().into()).map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)
        }
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn refuse(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{status}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD, POST"));
    }
    response
}

/// How long a cache may keep the answer: as long as the shortest of its records lives (RFC 8484 §5.1).
fn max_age(reply: &[u8]) -> Option<u32> {
    let message = Message::from_vec(reply).ok()?;
    message.answers.iter().chain(&message.authorities).map(|record| record.ttl).min()
}
