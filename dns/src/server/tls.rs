//! What DNS over TLS (RFC 7858) and over HTTPS (RFC 8484) begin with: the certificate, and the handshake.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portolan_config::settings::dns::Secure;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Goes through handshakes, with one certificate.
#[derive(Clone)]
pub(super) struct Handshakes(TlsAcceptor);

impl std::fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handshakes")
    }
}

impl Handshakes {
    /// Reads certificate and key. Errors name the file. `protocols` are those of ALPN, the preferred one first.
    pub(super) fn new(settings: &Secure, protocols: &[&[u8]]) -> io::Result<Self> {
        let chain = CertificateDer::pem_slice_iter(&read(&settings.certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| fault(&settings.certificate, &error))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&settings.key)?)
            .map_err(|error| fault(&settings.key, &error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(|error| fault(&settings.certificate, &error))?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The connection, once it is safe; `None` where the client does not get there in time.
    pub(super) async fn take(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        timeout(HANDSHAKE, self.0.accept(stream)).await.ok()?.ok()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| fault(path, &error))
}

fn fault(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {error}", path.display()))
}
