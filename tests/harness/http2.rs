//! Steady load by HTTP/2: a client that goes elsewhere when it is told to (GOAWAY), and takes nothing else for an excuse.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Requests of a connection at a time.
const STREAMS: usize = 8;
/// For an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Requests by one connection after the other, from the sandbox of the thread that started it.
#[derive(Debug)]
pub struct Http2Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Http2Report>,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Http2Report {
    /// Good answers.
    pub answers: u64,
    /// Connections that were made.
    pub connections: u64,
    /// What failed.
    pub failures: Vec<String>,
}

/// What became of one.
enum Answered {
    Good,
    /// It was not processed, and the server said so (RFC 9113 §8.7): it is sent again by another connection.
    Elsewhere,
    Bad(String),
}

impl Http2Load {
    /// Asks for `http://host/` at this address until it is stopped.
    pub fn start(address: &str, host: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, uri) = (address.parse().expect("an address"), format!("http://{host}/"));
        let told = stop.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let mut report = Http2Report::default();
            runtime.expect("a runtime").block_on(async {
                while !told.load(Ordering::Relaxed) && report.failures.len() < 10 {
                    converse(address, &uri, &told, &mut report).await;
                }
            });
            report
        });
        Self { stop, thread }
    }

    /// Stops it.
    pub fn stop(self) -> Http2Report {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic in the load")
    }
}

/// One connection, until it takes no more.
async fn converse(address: SocketAddr, uri: &str, told: &AtomicBool, report: &mut Http2Report) {
    let connected = async {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        h2::client::handshake(stream).await.map_err(|error| error.to_string())
    };
    let (sender, connection) = match connected.await {
        Ok(both) => both,
        Err(error) => return report.failures.push(format!("no connection: {error}")),
    };
    report.connections += 1;
    let driven = tokio::spawn(connection);
    let mut running = JoinSet::new();
    let mut open = true;
    while open || !running.is_empty() {
        open &= !told.load(Ordering::Relaxed);
        while open && running.len() < STREAMS {
            match sender.clone().ready().await {
                Ok(ready) => drop(running.spawn(ask(ready, uri.to_owned()))),
                // Told to go elsewhere.
                Err(error) if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) => {
                    open = false;
                }
                Err(error) => {
                    report.failures.push(format!("a request could not be sent: {error}"));
                    open = false;
                }
            }
        }
        match running.join_next().await {
            Some(Ok(Answered::Good)) => report.answers += 1,
            Some(Ok(Answered::Elsewhere)) => open = false,
            Some(Ok(Answered::Bad(why))) => {
                report.failures.push(why);
                open = false;
            }
            Some(Err(error)) => report.failures.push(error.to_string()),
            None => {}
        }
    }
    driven.abort();
}

async fn ask(mut sender: SendRequest<hyper::body::Bytes>, uri: String) -> Answered {
    let request = Request::get(uri).body(()).expect("a request");
    let answer = async {
        let (answer, _) = sender.send_request(request, true)?;
        let answer = answer.await?;
        let status = answer.status();
        let mut body = answer.into_body();
        while let Some(chunk) = body.data().await {
            let length = chunk?.len();
            body.flow_control().release_capacity(length)?;
        }
        Ok::<_, h2::Error>(status)
    };
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(Ok(status)) if status.is_success() => Answered::Good,
        Ok(Ok(status)) => Answered::Bad(format!("status {status}")),
        Ok(Err(error))
            if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
                || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM) =>
        {
            Answered::Elsewhere
        }
        Ok(Err(error)) => Answered::Bad(format!("no answer: {error}")),
        Err(_) => Answered::Bad("no answer in time".to_owned()),
    }
}
