//! What DNS over TLS (RFC 7858) and over HTTPS (RFC 8484) begin with: the certificate, and the handshake.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use portolan_config::settings::dns::Secure;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use crate::watched::{LOOK, Watched};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Goes through handshakes, with one certificate at a time.
#[derive(Clone)]
pub(super) struct Handshakes(Arc<ArcSwap<ServerConfig>>);

impl std::fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handshakes")
    }
}

impl Handshakes {
    /// Reads certificate and key. Errors name the file. `protocols` are those of ALPN, the preferred one first.
    pub(super) fn new(settings: &Secure, protocols: &[&[u8]]) -> io::Result<Self> {
        Ok(Self(Arc::new(ArcSwap::new(config(settings, protocols)?))))
    }

    /// Has files that changed read again, for as long as it is polled. Where they can't be used, such as a certificate
    /// whose key is not there yet, those before stay in use.
    pub(super) async fn follow(self, settings: Secure, protocols: &'static [&'static [u8]]) {
        let mut files = [&settings.certificate, &settings.key].map(|path| Watched::new(path));
        loop {
            sleep(LOOK).await;
            let [certificate, key] = &mut files;
            if !(certificate.has_changed() | key.has_changed()) {
                continue;
            }
            match config(&settings, protocols) {
                Ok(config) => {
                    self.0.store(config);
                    info!(certificate = %settings.certificate.display(), "the certificate for DNS is read again");
                }
                Err(error) => warn!(%error, "the certificate for DNS stays as it was"),
            }
        }
    }

    /// The connection, once it is safe; `None` where the client does not get there in time.
    pub(super) async fn take(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.0.load_full());
        timeout(HANDSHAKE, acceptor.accept(stream)).await.ok()?.ok()
    }
}

fn config(settings: &Secure, protocols: &[&[u8]]) -> io::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_slice_iter(&read(&settings.certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fault(&settings.certificate, &error))?;
    let key =
        PrivateKeyDer::from_pem_slice(&read(&settings.key)?).map_err(|error| fault(&settings.key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| fault(&settings.certificate, &error))?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| fault(path, &error))
}

fn fault(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {error}", path.display()))
}
