//! A server behind the proxy that speaks HTTP/2: the test answers its requests itself.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::{Link, soon};

/// A server.
pub(crate) struct Http2Origin {
    pub(crate) at: SocketAddr,
    asked: UnboundedReceiver<Asked>,
    /// Told to take no further requests on the connections there are.
    leave: watch::Sender<()>,
    task: AbortHandle,
}

/// A request as it reached the server.
pub(crate) struct Asked {
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
}

impl Drop for Http2Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Http2Origin {
    /// One in the clear.
    pub(crate) async fn start() -> Self {
        Self::tuned(None, |_| {}).await
    }

    /// One with something said of it; by TLS where there is a configuration.
    pub(crate) async fn tuned(
        tls: Option<Arc<ServerConfig>>,
        tune: impl Fn(&mut Builder) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("a bound socket");
        let (report, asked) = unbounded_channel();
        let (leave, leaving) = watch::channel(());
        let task = tokio::spawn(async move {
            // Aborted together with this task.
            let mut connections = JoinSet::new();
            for connection in 0.. {
                let Ok((tcp, _)) = listener.accept().await else { return };
                let mut builder = Builder::new();
                tune(&mut builder);
                let (tls, report, leaving) = (tls.clone(), report.clone(), leaving.clone());
                connections.spawn(async move {
                    let link = match tls {
                        None => Ok(tcp.into()),
                        Some(tls) => Link::accept(tcp, tls).await,
                    };
                    if let Ok(link) = link {
                        serve(builder, link, connection, report, leaving).await;
                    }
                });
            }
        });
        Self { at, asked, leave, task: task.abort_handle() }
    }

    /// The next request.
    pub(crate) async fn asked(&mut self) -> Asked {
        soon("a request at the origin", self.asked.recv()).await.expect("the origin runs")
    }

    /// Whether no request came by now.
    pub(crate) fn is_unasked(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }

    /// Takes no further requests on the connections there are.
    pub(crate) fn leave(&self) {
        self.leave.send_replace(());
    }

    /// Answers each request with the number of its connection, from now on.
    pub(crate) fn answers_by_itself(mut self) -> AbortHandle {
        tokio::spawn(async move {
            while let Some(asked) = self.asked.recv().await {
                asked.answer(200, &[], asked_text);
            }
        })
        .abort_handle()
    }
}

fn asked_text(connection: usize) -> String {
    connection.to_string()
}

async fn serve(
    builder: Builder,
    link: Link,
    connection: usize,
    report: UnboundedSender<Asked>,
    mut leaving: watch::Receiver<()>,
) {
    let Ok(mut requests) = builder.handshake::<_, Bytes>(link).await else { return };
    leaving.mark_unchanged();
    loop {
        tokio::select! {
            accepted = requests.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    // The test may be over.
                    let _ = report.send(Asked { connection, request, respond });
                }
                Some(Err(_)) | None => return,
            },
            Ok(()) = leaving.changed() => requests.graceful_shutdown(),
        }
    }
}

/// The head of an answer.
pub(crate) fn head(status: u16, fields: &[(&'static str, &'static str)]) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = status.try_into().expect("a status");
    for (name, value) in fields {
        head.headers_mut().append(*name, value.parse().expect("a value"));
    }
    head
}

impl Asked {
    /// Answers with this head, and a body made of the connection's number.
    pub(crate) fn answer(
        mut self,
        status: u16,
        fields: &[(&'static str, &'static str)],
        body: impl Fn(usize) -> String,
    ) {
        let body = body(self.connection);
        if let Ok(mut stream) = self.respond.send_response(head(status, fields), body.is_empty())
            && !body.is_empty()
        {
            let _ = stream.send_data(body.into(), true);
        }
    }

    /// Answers 200 with this body.
    pub(crate) fn say(self, body: &str) {
        self.answer(200, &[], |_| body.to_owned());
    }

    /// The body, and what is said behind it.
    pub(crate) async fn body(&mut self) -> (String, Option<HeaderMap>) {
        let stream = self.request.body_mut();
        let mut body = Vec::new();
        while let Some(data) = soon("more of a body", stream.data()).await {
            let data = data.expect("the body goes on");
            stream.flow_control().release_capacity(data.len()).expect("it was received");
            body.extend_from_slice(&data);
        }
        let trailers = soon("trailers", stream.trailers()).await.expect("an end");
        (String::from_utf8(body).expect("text"), trailers)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn path(&self) -> &str {
        self.request.uri().path_and_query().map_or("", |path| path.as_str())
    }
}
