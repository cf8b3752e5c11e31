//! How endpoints are spoken to by TLS: who must have signed their certificates, and what they are shown.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_config::tls::{ServersTransport, TlsVersion};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

use super::certificate::Certificate;
use super::options::{self, Problem};
use super::verify::{self, Anyone, Called, Known};

/// How the endpoints of one upstream are spoken to.
#[derive(Debug)]
pub(crate) struct Speaker {
    /// Offers HTTP/2 and HTTP/1.1.
    pub(super) any_version: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone, for what can't be had otherwise.
    pub(super) http1: Arc<ClientConfig>,
    /// The name asked for and expected, where it is not the server's own.
    pub(super) name: Option<ServerName<'static>>,
}

impl Speaker {
    /// One that promises no protocol: what is spoken is not ours to know.
    pub(super) fn of_anything(&self) -> Self {
        let mut config = ClientConfig::clone(&self.http1);
        config.alpn_protocols.clear();
        let config = Arc::new(config);
        Self { any_version: config.clone(), http1: config, name: self.name.clone() }
    }

    /// The name to ask for and expect: the one that was written, the server's own, or its address.
    pub(super) fn name_of(&self, host: &str, address: IpAddr) -> ServerName<'static> {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let port_at = host.rfind(':').filter(|at| !host[*at..].contains(']'));
        let own = host[..port_at.unwrap_or(host.len())].trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(own.to_owned()).unwrap_or_else(|_| ServerName::from(address))
    }
}

impl Speaker {
    /// One that goes by this, in either version of HTTP.
    pub(super) fn new(config: ClientConfig, name: Option<ServerName<'static>>) -> Self {
        let mut http1 = config.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { any_version: Arc::new(config), http1: Arc::new(http1), name }
    }
}

/// Reads a name as an operator writes it.
pub(super) fn name(written: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(written.to_owned()).map_err(|_| format!("`{written}` is no host name"))
}

/// Makes what connections to servers are begun by.
pub(super) fn client_config(
    transport: &ServersTransport,
    roots: &[CertificateDer<'static>],
    papers: &[Arc<Certificate>],
    problems: &mut Vec<Problem>,
) -> Result<ClientConfig, Problem> {
    let least = transport.min_version.unwrap_or(TlsVersion::V12);
    let versions = options::versions(least, transport.max_version.unwrap_or(TlsVersion::V13))
        .ok_or_else(|| ("minVersion", "it is above maxVersion: no version is left".to_owned()))?;
    let mut provider = aws_lc_rs::default_provider();
    options::choose_suites(&mut provider, &transport.cipher_suites, problems);
    // The key is agreed on by what costs least; what a server can't do without, it asks for.
    provider.kx_groups.sort_by_key(|group| group.name() != rustls::NamedGroup::X25519);
    let provider = Arc::new(provider);
    let takes_any = transport.insecure_skip_verify && transport.peer_cert_uri.is_none();
    let verifier = if takes_any {
        verify::by(Anyone, &provider)
    } else {
        let mut store = RootCertStore::empty();
        for root in roots {
            // Systems have some that nobody can read; the others count.
            let _ = store.add(root.clone());
        }
        let by_signature = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
            .build()
            .map_err(|error| ("rootCAs", error.to_string()))?;
        let given = if transport.root_cas.is_empty() { Vec::new() } else { roots.to_vec() };
        let known = Known { by_signature, given };
        match &transport.peer_cert_uri {
            None => verify::by(known, &provider),
            Some(uri) => {
                let by_any_name = transport.insecure_skip_verify;
                verify::by(Called { uri: uri.clone(), known, by_any_name }, &provider)
            }
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| ("cipherSuites", format!("no suite is left for these versions: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = if papers.is_empty() {
        builder.with_no_client_auth()
    } else {
        let keys = papers.iter().map(|papers| papers.key.clone()).collect();
        builder.with_client_cert_resolver(Arc::new(Papers(keys)))
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What is shown to servers that ask: the first that they can read.
#[derive(Debug)]
struct Papers(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Papers {
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.iter().find(|papers| papers.key.choose_scheme(schemes).is_some()).cloned()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
