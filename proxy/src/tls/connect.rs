//! A handshake with an endpoint.

use std::io;
use std::net::IpAddr;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::servers::Speaker;
use crate::stream::Stream;

impl Speaker {
    /// Goes through a handshake over a new connection. `host` is what the server goes by; empty where that is its
    /// address. Gives whether it is HTTP/2 that the server chose; `offer_http2` where it may.
    pub(crate) async fn connect(
        &self,
        tcp: TcpStream,
        host: &str,
        address: IpAddr,
        offer_http2: bool,
    ) -> io::Result<(Stream, bool)> {
        let session = self.session(tcp, host, address, offer_http2).await?;
        let chosen = session.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Stream::tls(session), chosen))
    }

    /// The same, for who is no worker.
    pub(crate) async fn session(
        &self,
        tcp: TcpStream,
        host: &str,
        address: IpAddr,
        offer_http2: bool,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = self.name_of(host, address);
        let config = if offer_http2 { &self.any_version } else { &self.http1 };
        TlsConnector::from(config.clone()).connect(name, tcp).await
    }
}
