//! A handshake with the client of a TCP router, where TLS ends here.

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http::Reason;
use crate::limits::TLS_HANDSHAKE_TIMEOUT;
use crate::stream::Stream;
use crate::tls::client_hello::ClientHello;
use crate::tls::{self, Failure};
use crate::worker::{Buffer, Worker};

/// Goes through a handshake whose beginning is in `early`, by the options of this name.
pub(super) async fn terminate(
    client: TcpStream,
    early: Buffer,
    hello: &ClientHello,
    options: &str,
    entry_point: &str,
    worker: &Worker,
) -> Result<Stream, Reason> {
    let shaken =
        timeout(TLS_HANDSHAKE_TIMEOUT, shake_hands(client, early, hello, options, entry_point, worker)).await;
    let failure = match shaken.unwrap_or(Err(Failure::Timeout)) {
        Ok(stream) => return Ok(stream),
        Err(failure) => failure,
    };
    worker.metrics.tls.failed(entry_point, failure);
    tracing::debug!(reason = failure.as_str(), entry_point, "no TLS handshake");
    Err(if failure == Failure::Timeout { Reason::TlsTimeout } else { Reason::TlsHandshake })
}

async fn shake_hands(
    client: TcpStream,
    early: Buffer,
    hello: &ClientHello,
    options: &str,
    entry_point: &str,
    worker: &Worker,
) -> Result<Stream, Failure> {
    let understood = tls::hello(client, early).await?;
    let Some(config) = worker.tls().server_of_any(options, &hello.alpn) else {
        understood.refuse().await;
        return Err(Failure::Options);
    };
    let session = understood.accept(config).await?;
    worker.metrics.tls.shook_hands(entry_point, tls::version(&session), tls::kind(&session));
    Ok(Stream::tls(session))
}
