//! Asks one endpoint once, in the way it is spoken to.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use portolan_config::tls::Scheme;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::probe::{Probe, Question};
use super::{http1, http2};
use crate::tls::Front;

/// A connection to an endpoint, and whether it speaks HTTP/2.
pub(super) struct Line {
    pub(super) io: Box<dyn Io>,
    pub(super) speaks_http2: bool,
}

/// Bytes both ways.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How an endpoint is reached.
pub(super) struct Lines<'a> {
    pub(super) probe: &'a Probe,
    service: &'a str,
    tls: &'a Arc<ArcSwap<Front>>,
}

/// Asks, and says why the answer is none that is wanted.
pub(super) async fn ask(probe: &Probe, service: &str, tls: &Arc<ArcSwap<Front>>) -> Result<(), String> {
    let lines = Lines { probe, service, tls };
    let asked = async {
        match &probe.question {
            Question::Http(check) => http1::ask(&lines, check).await,
            Question::Grpc(check) => http2::ask_grpc(probe, check, lines.connect(probe.address).await?).await,
            Question::Tcp { send, expect } => converse(probe, send, expect).await,
        }
    };
    let limit = probe.timeout;
    tokio::time::timeout(limit, asked)
        .await
        .unwrap_or_else(|_| Err(format!("{}: no answer within {limit:?}", probe.address)))
}

impl Lines<'_> {
    /// Connects to the probe's endpoint, or to another address that it sent us to.
    pub(super) async fn connect(&self, address: SocketAddr) -> Result<Line, String> {
        let tcp = connect_tcp(address).await?;
        if self.probe.scheme != Scheme::Https {
            return Ok(Line { io: Box::new(tcp), speaks_http2: self.probe.scheme == Scheme::H2c });
        }
        let speaker = self.tls.load().speaker(self.service).cloned();
        let speaker = speaker.ok_or("its TLS is not set up")?;
        let session = speaker.session(tcp, &self.probe.host, address.ip(), true).await;
        let session = session.map_err(|error| format!("{address}: TLS: {error}"))?;
        let speaks_http2 = session.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Line { io: Box::new(session), speaks_http2 })
    }
}

async fn connect_tcp(address: SocketAddr) -> Result<TcpStream, String> {
    let tcp = TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))?;
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

/// Connects, says what is to be said, and hears whether the answer begins as it should.
async fn converse(probe: &Probe, send: &str, expect: &str) -> Result<(), String> {
    let mut tcp = connect_tcp(probe.address).await?;
    let failed = |error: std::io::Error| format!("{}: {error}", probe.address);
    tcp.write_all(send.as_bytes()).await.map_err(failed)?;
    let mut heard = vec![0; expect.len()];
    tcp.read_exact(&mut heard)
        .await
        .map_err(|_| format!("{}: not the answer that is expected", probe.address))?;
    if heard == expect.as_bytes() {
        return Ok(());
    }
    Err(format!("{}: not the answer that is expected", probe.address))
}
