//! A server behind the proxy: one that answers by a script, or one whose connections the test takes itself.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};

use super::{Link, Wire, soon};

/// A request as it reached an origin.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The path and query.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

/// What an origin does with a request once it has read it.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

/// What becomes of the connection afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
    Reset,
}

impl Reply {
    /// These bytes, and the next request.
    pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self { bytes: bytes.as_ref().to_vec(), then: Then::Keep }
    }

    /// A reset without an answer.
    pub(crate) fn reset() -> Self {
        Self::raw("").then(Then::Reset)
    }

    pub(crate) fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }
}

/// 200 with this body.
pub(crate) fn ok(body: &str) -> Reply {
    Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// A server of a test's own.
pub(crate) struct Origin {
    /// Where it is.
    pub(crate) at: SocketAddr,
    accepts: Option<TcpListener>,
    seen: UnboundedReceiver<Seen>,
    task: Option<AbortHandle>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Origin {
    /// One that reads each request whole and answers by `script`.
    pub(crate) async fn answering(script: impl Fn(&Seen) -> Reply + Clone + Send + 'static) -> Self {
        Self::serving(None, script).await
    }

    /// The same, by TLS.
    pub(crate) async fn secured(
        config: ServerConfig,
        script: impl Fn(&Seen) -> Reply + Clone + Send + 'static,
    ) -> Self {
        Self::serving(Some(Arc::new(config)), script).await
    }

    async fn serving(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&Seen) -> Reply + Clone + Send + 'static,
    ) -> Self {
        let mut origin = Self::manual().await;
        let listener = origin.accepts.take().expect("just bound");
        let (report, seen) = unbounded_channel();
        origin.seen = seen;
        origin.task = Some(tokio::spawn(serve(listener, tls, script, report)).abort_handle());
        origin
    }

    /// One whose connections the test takes with [`Origin::accept`].
    pub(crate) async fn manual() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("a bound socket");
        Self { at, accepts: Some(listener), seen: unbounded_channel().1, task: None }
    }

    /// An address where nothing listens.
    pub(crate) async fn nobody() -> SocketAddr {
        Self::manual().await.at
    }

    pub(crate) async fn accept(&mut self) -> Wire {
        let listener = self.accepts.as_ref().expect("a manual origin that was not stopped");
        Wire::over(soon("a connection to the origin", listener.accept()).await.expect("a connection").0)
    }

    /// The same, by TLS.
    pub(crate) async fn accept_tls(&mut self, config: Arc<ServerConfig>) -> Wire {
        let listener = self.accepts.as_ref().expect("a manual origin that was not stopped");
        let (stream, _) = soon("a connection to the origin", listener.accept()).await.expect("a connection");
        Wire::by(Link::accept(stream, config).await.expect("a handshake"))
    }

    /// The next request.
    pub(crate) async fn seen(&mut self) -> Seen {
        soon("a request at the origin", self.seen.recv()).await.expect("the origin runs")
    }

    /// The requests that came by now and were not asked for yet.
    pub(crate) fn seen_by_now(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }

    /// Closes its socket and all its connections.
    pub(crate) fn stop(&mut self) {
        self.accepts = None;
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    script: impl Fn(&Seen) -> Reply + Clone + Send + 'static,
    report: UnboundedSender<Seen>,
) {
    // Aborted together with this task.
    let mut connections = JoinSet::new();
    for connection in 0.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (tls, script, report) = (tls.clone(), script.clone(), report.clone());
        connections.spawn(async move {
            let link = match tls {
                None => Ok(stream.into()),
                Some(tls) => Link::accept(stream, tls).await,
            };
            if let Ok(link) = link {
                converse(Wire::by(link), connection, script, report).await;
            }
        });
    }
}

async fn converse(
    mut wire: Wire,
    connection: usize,
    script: impl Fn(&Seen) -> Reply,
    report: UnboundedSender<Seen>,
) {
    while let Some(head) = wire.next_head().await {
        let body = wire.body(&head).await;
        let seen = Seen { connection, head, body };
        let reply = script(&seen);
        // The test may be over.
        let _ = report.send(seen);
        if wire.try_send(&reply.bytes).await.is_err() {
            return;
        }
        match reply.then {
            Then::Keep => {}
            Then::Close => return,
            Then::Reset => return wire.reset(),
        }
    }
}
