//! What a connection to a name server over TLS (RFC 7858) begins with: whose certificates are good, and whose one it must
//! be.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;

/// Whose certificates are good.
pub(super) type Trust = Arc<ClientConfig>;

/// How a connection is made safe, and whose certificate it must show.
#[derive(Clone)]
pub(crate) struct Secure {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Secure").field(&self.name).finish()
    }
}

impl Secure {
    /// By those that vouch for `name`, or for the address where there is none.
    pub(crate) fn new(client: Arc<ClientConfig>, address: SocketAddr, name: Option<&str>) -> Option<Self> {
        let name = match name {
            Some(name) => ServerName::try_from(name.to_owned()).ok()?,
            None => ServerName::from(address.ip()),
        };
        Some(Self { connector: TlsConnector::from(client), name })
    }

    /// The connection, once the server has shown who it is.
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

/// Certificates are good that this host's own programs take.
pub(super) fn trusting_as_this_host() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        warn!("no certificates to trust were found on this host: name servers over TLS can't be asked");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .expect("the library's own versions go with the library's own ciphers")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"dot".to_vec()];
    Arc::new(client)
}
