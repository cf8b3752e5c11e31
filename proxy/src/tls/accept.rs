//! A handshake with a client: from its first bytes to a connection that is safe, or a reason why not.

use std::io;
use std::sync::Arc;

use rustls::server::{Accepted, Acceptor};
use rustls::{Error, HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::client_chain::ClientChain;
use crate::worker::Buffer;

/// The first byte of a TLS record that begins a handshake (RFC 8446 §5.1). No request begins with it.
const HANDSHAKE: u8 = 22;

/// A fatal `internal_error`, in the clear (RFC 8446 §6.2).
const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// Why there was no connection; the word is a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client was too slow.
    Timeout,
    /// The client left.
    Closed,
    /// What came is no handshake, or a broken one.
    Malformed,
    /// The client has no version, suite or curve that is allowed.
    Incompatible,
    /// The client speaks none of the protocols.
    Protocol,
    /// No certificate fits the name, and the default is shown to nobody.
    UnknownName,
    /// The client's certificate is missing, or not good enough.
    ClientCertificate,
    /// The client did not like what it saw: most often, the certificate.
    Alert,
    /// The options for this name can't be met.
    Options,
    /// Anything else.
    Other,
}

impl Failure {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Malformed => "malformed",
            Self::Incompatible => "incompatible",
            Self::Protocol => "protocol",
            Self::UnknownName => "unknown_name",
            Self::ClientCertificate => "client_certificate",
            Self::Alert => "alert",
            Self::Options => "options",
            Self::Other => "other",
        }
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::PeerIncompatible(_) => Self::Incompatible,
            Error::NoApplicationProtocol => Self::Protocol,
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) => Self::ClientCertificate,
            Error::AlertReceived(_) => Self::Alert,
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord => Self::Malformed,
            // So rustls says that the resolver found none.
            Error::General(why) if why.contains("certificate chain") => Self::UnknownName,
            _ => Self::Other,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => Self::of(error),
            None => Self::Closed,
        }
    }
}

/// A client's first message, understood.
pub(crate) struct Hello {
    tcp: TcpStream,
    accepted: Accepted,
}

/// Whether these are the first bytes of a handshake.
pub(crate) fn begins_handshake(bytes: &[u8]) -> bool {
    bytes.first() == Some(&HANDSHAKE)
}

/// Reads until the client's first message is whole. `inbound` has its first bytes, and is given up.
pub(crate) async fn hello(mut tcp: TcpStream, mut inbound: Buffer) -> Result<Hello, Failure> {
    let mut acceptor = Acceptor::default();
    loop {
        while !inbound.is_empty() {
            let taken = acceptor.read_tls(&mut inbound.filled()).map_err(|_| Failure::Malformed)?;
            inbound.consume(taken);
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(Hello { tcp, accepted }),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                if alert.write_all(&mut bytes).is_ok() {
                    let _ = tcp.write_all(&bytes).await;
                }
                return Err(Failure::of(&error));
            }
        }
        if inbound.read_from(&mut tcp).await? == 0 {
            return Err(Failure::Closed);
        }
    }
}

impl Hello {
    /// The name that the client asks for, in lower case.
    pub(crate) fn server_name(&self) -> Option<String> {
        self.accepted.client_hello().server_name().map(str::to_ascii_lowercase)
    }

    /// Goes through with it.
    pub(crate) async fn accept(self, config: Arc<ServerConfig>) -> Result<TlsStream<TcpStream>, Failure> {
        Ok(StartHandshake::from_parts(self.accepted, self.tcp).into_stream(config).await?)
    }

    /// Says that it can't be gone through with.
    pub(crate) async fn refuse(mut self) {
        let _ = self.tcp.write_all(&INTERNAL_ERROR).await;
    }
}

/// The version that was agreed on, as a label.
pub(crate) fn version(session: &TlsStream<TcpStream>) -> &'static str {
    match session.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        _ => "1.3",
    }
}

/// The certificates that the client showed.
pub(crate) fn client_chain(session: &TlsStream<TcpStream>) -> Option<Arc<ClientChain>> {
    ClientChain::of(session.get_ref().1.peer_certificates()).map(Arc::new)
}

/// Whether an earlier session was taken up again, as a label.
pub(crate) fn kind(session: &TlsStream<TcpStream>) -> &'static str {
    match session.get_ref().1.handshake_kind() {
        Some(HandshakeKind::Resumed) => "resumed",
        _ => "full",
    }
}
