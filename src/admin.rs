//! The admin server: metrics, health, the chart as JSON, and what steers the demo.
//!
//! It is for operators: on loopback unless told otherwise, and never in the way of traffic.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use portolan_config::{ListenAddress, Protocol, Settings};
use portolan_discovery::Update;
use portolan_discovery::provider::demo::DemoControl;
use portolan_proxy::Inherited;
use prometheus::{Encoder, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

pub use part::Part;

use crate::steer::Status;

pub mod chart;
mod drain;
pub mod explain;
pub mod metrics;
mod part;
mod resolve;
mod traefik;

/// Admin connections at a time; more wait.
const CONNECTIONS_MAX: usize = 64;
/// A request's head, then the connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What the admin server shows.
pub struct Admin {
    pub registry: prometheus::Registry,
    pub status: Arc<Status>,
    /// What traffic is steered by.
    pub table: portolan_proxy::SharedTable,
    pub settings: Settings,
    /// What clients are shown.
    pub certificates: portolan_proxy::ShownCertificates,
    pub demo: Option<DemoControl>,
    /// Where orders of operators go.
    pub updates: mpsc::Sender<Update>,
}

/// Which of it is served at an address.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// All of it.
    All,
    /// What Traefik's options ask for on the entry point `traefik`. It may be reached by anybody, so nothing else is.
    AsTraefik,
    /// A part of it, to which a router of the operator's leads: what the part has was looked at already.
    AsService,
}

/// Takes the admin address, which `option` says. Another Portolan that has it is found out, as the port is not shared.
pub fn bind(
    address: ListenAddress,
    option: &str,
    inherited: &mut Inherited,
) -> io::Result<std::net::TcpListener> {
    if let Some(socket) = inherited.take(address, Protocol::Tcp).into_iter().next() {
        socket.set_nonblocking(true)?;
        return Ok(socket.into());
    }
    let listener = std::net::TcpListener::bind(address.socket()).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => io::Error::new(
            error.kind(),
            format!("another program has it; stop that, or choose another with {option}"),
        ),
        _ => error,
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Admin {
    /// Serves for as long as the process lives.
    pub async fn serve(self: Arc<Self>, listener: std::net::TcpListener, shown: Shown) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the admin socket can't be watched"),
        };
        let admin = self;
        let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(seat) = seats.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "an admin connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let admin = admin.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let admin = admin.clone();
                    async move { Ok::<_, Infallible>(admin.answer(request, shown).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                // A client that breaks off is its own affair.
                let _ = connection.await;
                drop(seat);
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>, mut shown: Shown) -> Response<Full<Bytes>> {
        let mut path = request.uri().path().to_owned();
        if let (Shown::All, Some((part, rest))) = (shown, Part::of(&path)) {
            let Some(leads_to) = part.leads_to(rest) else { return not_found() };
            path = leads_to.to_owned();
            shown = Shown::AsService;
        }
        if matches!(shown, Shown::AsTraefik) && !self.is_shown_as_traefik(&path) {
            return not_found();
        }
        let replica = path.strip_prefix("/api/demo/replicas/");
        let changes = replica.is_some() || drain::PATHS.contains(&path.as_str());
        let allowed = if changes { "POST" } else { "GET, HEAD" };
        let method_fits = matches!(
            (changes, request.method()),
            (true, &Method::POST) | (false, &Method::GET | &Method::HEAD)
        );
        if !method_fits {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("expected {allowed}\n"));
            response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static(allowed));
            return response;
        }
        // A page that somebody has open in a browser on this machine is not to change anything. Browsers say so.
        if changes && request.headers().contains_key(ORIGIN) {
            return text(StatusCode::FORBIDDEN, "orders are not taken from pages\n".to_owned());
        }
        match path.as_str() {
            "/" => text(StatusCode::OK, INDEX.to_owned()),
            "/livez" => text(StatusCode::OK, "OK\n".to_owned()),
            "/ping" => self.ping(),
            "/readyz" | "/healthz" => self.ready(),
            "/metrics" => self.metrics(),
            "/api/snapshot" => json(&chart::snapshot(&self.status)),
            "/api/resolve" => self.resolve(request.uri().query().unwrap_or_default()),
            "/api/explain" => match self.explain(request.uri().query().unwrap_or_default()) {
                Ok(explained) => json(&explained),
                Err(fault) => text(StatusCode::BAD_REQUEST, format!("{fault}\n")),
            },
            "/api/drain" | "/api/undrain" => {
                let query = request.uri().query().unwrap_or_default();
                match self.drain(query, path == "/api/drain").await {
                    Ok(done) => json(&done),
                    Err(drain::Refused::Unknown(why)) => text(StatusCode::NOT_FOUND, format!("{why}\n")),
                    Err(drain::Refused::Late) => {
                        text(StatusCode::SERVICE_UNAVAILABLE, "ordered, and not in place yet\n".to_owned())
                    }
                }
            }
            "/api/version" => json(&crate::command::version::as_json()),
            _ => match replica {
                Some(rest) => self.replica(rest).await,
                None => self.traefik(&path, request.uri().query().unwrap_or_default(), shown),
            },
        }
    }

    /// Whether the entry point `traefik` has this path. Nothing can be changed there.
    fn is_shown_as_traefik(&self, path: &str) -> bool {
        let internal = &self.settings.internal;
        match path {
            "/ping" => internal.has_ping(),
            "/metrics" => internal.has_metrics(),
            _ => internal.has_api() && part::is_of_the_api(path),
        }
    }

    fn ping(&self) -> Response<Full<Bytes>> {
        if self.status.draining.load(std::sync::atomic::Ordering::Relaxed) {
            let status = self.settings.internal.ping.as_ref().map_or(503, |ping| ping.terminating_status);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            return text(status, "draining\n".to_owned());
        }
        text(StatusCode::OK, "OK".to_owned())
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let reasons = self.status.not_ready();
        if reasons.is_empty() {
            return text(StatusCode::OK, "OK\n".to_owned());
        }
        text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{}\n", reasons.join("\n")))
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut body = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut body) {
            return text(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics can't be written: {error}\n"));
        }
        respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body)
    }

    fn resolve(&self, query: &str) -> Response<Full<Bytes>> {
        let zone = self.status.zone.load_full();
        let Some(zone) = &*zone else {
            return text(
                StatusCode::NOT_FOUND,
                "this Portolan answers no names (--dns-address=off)\n".to_owned(),
            );
        };
        match resolve::resolve(&zone.load(), &self.status.snapshot.load(), query) {
            Ok(answer) => json(&answer),
            Err(fault) => text(StatusCode::BAD_REQUEST, format!("{fault}\n")),
        }
    }

    /// What Traefik's API has besides.
    fn traefik(&self, path: &str, query: &str, shown: Shown) -> Response<Full<Bytes>> {
        let below = path.strip_prefix("/api/").unwrap_or_default();
        match traefik::answer(&self.status, &self.settings, &self.certificates, below, query) {
            Some(traefik::Answer::Found(value)) => json(&value),
            Some(traefik::Answer::Page(page, next)) => {
                let mut response = json(&page);
                response.headers_mut().insert("x-next-page", next.into());
                response
            }
            Some(traefik::Answer::Missing(message)) => refusal(StatusCode::NOT_FOUND, &message),
            Some(traefik::Answer::Wrong(message)) => refusal(StatusCode::BAD_REQUEST, &message),
            None if !matches!(shown, Shown::All) => not_found(),
            None => text(StatusCode::NOT_FOUND, format!("there is no {path} here\n\n{INDEX}")),
        }
    }

    /// `N/stop` and `N/start`.
    async fn replica(&self, rest: &str) -> Response<Full<Bytes>> {
        let Some(demo) = &self.demo else {
            return text(StatusCode::NOT_FOUND, "this Portolan does not show the demo\n".to_owned());
        };
        let Some((Ok(number), order)) = rest.split_once('/').map(|(number, order)| (number.parse(), order))
        else {
            return text(
                StatusCode::NOT_FOUND,
                "expected /api/demo/replicas/NUMBER/stop or /start\n".to_owned(),
            );
        };
        let done = match order {
            "stop" => demo.stop(number).await,
            "start" => demo.start(number).await,
            _ => return text(StatusCode::NOT_FOUND, format!("`{order}` is neither `stop` nor `start`\n")),
        };
        match done {
            Ok(()) => text(StatusCode::OK, format!("{order} whoami-{number}\n")),
            Err(unknown) => text(StatusCode::NOT_FOUND, format!("{unknown}\n")),
        }
    }
}

const INDEX: &str = "\
Portolan admin
  GET  /metrics                           Prometheus
  GET  /livez                             the process runs
  GET  /readyz                            it may be given traffic, or why not
  GET  /ping                              OK until told to stop
  GET  /api/snapshot                      services, endpoints with state and reason, routers, ports, faults
  GET  /api/resolve?name=NAME&type=TYPE   an answer of the name server, explained
  GET  /api/explain?url=URL               who would take a request, and why nobody else; method, header, client, on
  GET  /api/version                       version
  GET  /api/rawdata, /api/overview, /api/entrypoints, /api/http/routers, services, middlewares; tcp, udp
                                          the same in Traefik's shapes
  POST /api/drain?target=NAME&reason=TEXT nothing new for a container, task or node; /api/undrain takes it back
  POST /api/demo/replicas/NUMBER/stop     stop a replica of the demo; /start brings it back
";

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, "application/json", format!("{value:#}\n").into_bytes())
}

/// As Traefik answers where there is nothing.
fn not_found() -> Response<Full<Bytes>> {
    text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned())
}

/// As Traefik says no: JSON, but not by its type.
fn refusal(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "message": message });
    respond(status, "text/plain; charset=utf-8", format!("{body}\n").into_bytes())
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", body.into_bytes())
}

fn respond(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}
