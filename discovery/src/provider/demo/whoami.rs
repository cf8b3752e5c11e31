//! A small HTTP service that says who it is and what it was asked, in the manner of traefik/whoami.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long a client may take to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// How long a client may take to send the body of a request.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// How much of a body is read, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;
/// How long a stopped server waits for requests in flight, as `docker stop` does.
const GRACE: Duration = Duration::from_secs(10);
/// Between attempts to accept when the process has run out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves as `name` until the sender of `stop` is gone, then finishes what is in flight.
pub(super) async fn serve(listener: TcpListener, name: String, mut stop: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    let mut handles = Vec::new();
    loop {
        tokio::select! {
            _ = &mut stop => break,
            Some(_) = connections.join_next() => handles.retain(|handle: &oneshot::Sender<()>| !handle.is_closed()),
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    let (close, closed) = oneshot::channel();
                    handles.push(close);
                    connections.spawn(connection(stream, name.clone(), closed));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    drop(listener);
    drop(handles);
    // What is not finished by then is cut off as the set is dropped.
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, name: String, close: impl Future) {
    let Ok(local) = stream.local_addr() else { return };
    let service = service_fn(|request| {
        let name = &name;
        async move { Ok::<_, Infallible>(answer(request, name, local).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), service);
    let (mut served, mut close) = (pin!(served), pin!(close));
    let ended = tokio::select! {
        ended = &mut served => ended,
        _ = &mut close => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the demo broke");
    }
}

async fn answer(request: Request<Incoming>, name: &str, local: SocketAddr) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = timeout(BODY_DEADLINE, http_body_util::Limited::new(body, BODY_MAX).collect()).await;
    let mut text = format!("Name: {name}\nHostname: {name}\nIP: {}\n", local.ip());
    let _ = writeln!(text, "{} {} {:?}", head.method, head.uri, head.version);
    for (name, value) in &head.headers {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    if let Ok(Ok(body)) = body {
        let length = body.to_bytes().len();
        if length > 0 {
            let _ = writeln!(text, "Body: {length} bytes");
        }
    }
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
