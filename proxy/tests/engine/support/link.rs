//! What a test's bytes go over: TCP, or TLS over it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::soon;

/// A connection of a test.
pub(crate) enum Link {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<TcpStream> for Link {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl Link {
    /// A client's handshake. `name` is asked for, and expected.
    pub(crate) async fn connect(to: SocketAddr, name: &str, config: Arc<ClientConfig>) -> io::Result<Self> {
        Self::upgrade(soon("a connection", TcpStream::connect(to)).await?, name, config).await
    }

    /// A client's handshake over this connection.
    pub(crate) async fn upgrade(tcp: TcpStream, name: &str, config: Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let session = soon("a handshake", TlsConnector::from(config).connect(name, tcp)).await?;
        Ok(Self::Tls(Box::new(session.into())))
    }

    /// A server's handshake.
    pub(crate) async fn accept(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let session = soon("a handshake", TlsAcceptor::from(config).accept(tcp)).await?;
        Ok(Self::Tls(Box::new(session.into())))
    }

    /// The connection below.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(session) => session.get_ref().0,
        }
    }

    /// The certificate that the other side showed.
    pub(crate) fn certificate(&self) -> Option<CertificateDer<'static>> {
        let Self::Tls(session) = self else { return None };
        let chain = session.get_ref().1.peer_certificates()?;
        chain.first().map(|first| first.clone().into_owned())
    }

    /// Whether a session was taken up again.
    pub(crate) fn is_resumed(&self) -> bool {
        let Self::Tls(session) = self else { return false };
        session.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The TLS session.
    pub(crate) fn session(&self) -> &TlsStream<TcpStream> {
        match self {
            Self::Tls(session) => session,
            Self::Tcp(_) => panic!("it is in the clear"),
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(context, room),
            Self::Tls(session) => Pin::new(session).poll_read(context, room),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(session) => Pin::new(session).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(session) => Pin::new(session).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(session) => Pin::new(session).poll_shutdown(context),
        }
    }
}
