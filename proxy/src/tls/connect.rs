//! A handshake with an endpoint.

use std::io;
use std::net::IpAddr;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::servers::Speaker;
use crate::stream::Stream;

impl Speaker {
    /// Goes through a handshake over a new connection. `host` is what the server goes by; empty where that is its
    /// address.
    pub(crate) async fn connect(&self, tcp: TcpStream, host: &str, address: IpAddr) -> io::Result<Stream> {
        let name = self.name_of(host, address);
        Ok(Stream::tls(TlsConnector::from(self.config.clone()).connect(name, tcp).await?))
    }
}
