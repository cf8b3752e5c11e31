//! How a connection to an entry point begins where it is by TLS.
//!
//! It knows handshakes and what comes of them, and nothing of requests.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Reason;
use super::entry_point::EntryPoint;
use crate::limits::{LINGER, TLS_HANDSHAKE_TIMEOUT};
use crate::stream::Stream;
use crate::table::Choice;
use crate::tls::{self, ClientChain, Failure};
use crate::worker::{Buffer, Worker};

pub(super) use crate::tls::begins_handshake;

/// What a handshake came to.
#[derive(Debug)]
pub(super) struct Secured {
    /// The name that the client asked for.
    server_name: Option<String>,
    /// The name of the options that counted.
    options: Arc<str>,
    /// The certificates that the client showed.
    client_chain: Option<Arc<ClientChain>>,
}

impl Secured {
    /// The certificates that the client showed.
    pub(super) fn client_chain(&self) -> Option<Arc<ClientChain>> {
        self.client_chain.clone()
    }

    /// Whether a request for this host may come here: its options are those of this connection. Otherwise, who has no
    /// certificate to show would ask for one name, and then for what is behind another.
    pub(super) fn may_ask_for(&self, host: &str, choice: &Choice) -> bool {
        self.server_name.as_deref() == Some(host) || *choice.of(Some(host)) == self.options
    }
}

/// Goes through a handshake whose first bytes are in `first`. `None` is one that failed.
pub(super) async fn secure(
    client: TcpStream,
    first: Buffer,
    peer: SocketAddr,
    entry_point: &EntryPoint,
    worker: &Worker,
) -> Option<(Stream, Secured)> {
    let name = &entry_point.settings.name;
    let shaken = timeout(TLS_HANDSHAKE_TIMEOUT, shake_hands(client, first, name, worker)).await;
    let failure = match shaken.unwrap_or(Err(Failure::Timeout)) {
        Ok(secured) => return Some(secured),
        Err(failure) => failure,
    };
    let reason = if failure == Failure::Timeout { Reason::TlsTimeout } else { Reason::TlsHandshake };
    worker.metrics.tls.failed(name, failure);
    worker.metrics.refused(name, reason);
    tracing::debug!(reason = failure.as_str(), client = %peer, entry_point = name, "no TLS handshake");
    None
}

async fn shake_hands(
    client: TcpStream,
    first: Buffer,
    entry_point: &str,
    worker: &Worker,
) -> Result<(Stream, Secured), Failure> {
    let hello = tls::hello(client, first).await?;
    let server_name = hello.server_name();
    let options = {
        let table = worker.table();
        let choice = table.entry_points.get(entry_point).map(|entry| &entry.options);
        choice.map_or_else(
            || Choice::default().of(None).clone(),
            |choice| choice.of(server_name.as_deref()).clone(),
        )
    };
    let Some(config) = worker.tls().server(&options).cloned() else {
        hello.refuse().await;
        return Err(Failure::Options);
    };
    let session = hello.accept(config).await?;
    worker.metrics.tls.shook_hands(entry_point, tls::version(&session), tls::kind(&session));
    let client_chain = tls::client_chain(&session);
    Ok((Stream::tls(session), Secured { server_name, options, client_chain }))
}

/// Says goodbye where that means something: without it, the other side can't tell an end from a break (RFC 8446 §6.1).
pub(super) async fn part(client: &mut Stream) {
    if matches!(client, Stream::Tls(_)) {
        let _ = timeout(LINGER, client.shutdown()).await;
    }
}
