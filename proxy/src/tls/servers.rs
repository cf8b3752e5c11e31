//! How endpoints are spoken to by TLS: who must have signed their certificates, and what they are shown.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_config::tls::ServersTransport;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::Certificate;

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
) -> Result<ClientConfig, String> {
    let mut provider = aws_lc_rs::default_provider();
    // The key is agreed on by what costs least; what a server can't do without, it asks for.
    provider.kx_groups.sort_by_key(|group| group.name() != rustls::NamedGroup::X25519);
    let provider = Arc::new(provider);
    let verifier: Arc<dyn ServerCertVerifier> = if transport.insecure_skip_verify {
        Arc::new(Anyone(provider.clone()))
    } else {
        let mut store = RootCertStore::empty();
        for root in roots {
            // Systems have some that nobody can read; the others count.
            let _ = store.add(root.clone());
        }
        let by_signature = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
            .build()
            .map_err(|error| error.to_string())?;
        let given = if transport.root_cas.is_empty() { Vec::new() } else { roots.to_vec() };
        Arc::new(Known { by_signature, given })
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
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

/// Takes what an authority signed, and what was given as an authority itself: a self-signed certificate that is named
/// as its own root is the usual way to trust one server (RFC 5280 would have it sign others only).
#[derive(Debug)]
struct Known {
    by_signature: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.by_signature.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(Error::InvalidCertificate(CertificateError::Other(why)))
                if is_authority(&why) && self.given.contains(end_entity) =>
            {
                check_dates(end_entity, now)?;
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_signature.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_signature.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_signature.supported_verify_schemes()
    }
}

/// Whether a certificate was turned down for being an authority's.
fn is_authority(why: &OtherError) -> bool {
    why.to_string().contains("CaUsedAsEndEntity")
}

fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let now = now.as_secs() as i64;
    let validity = parsed.validity();
    let wrong = if now < validity.not_before.timestamp() {
        CertificateError::NotValidYet
    } else if now > validity.not_after.timestamp() {
        CertificateError::Expired
    } else {
        return Ok(());
    };
    Err(Error::InvalidCertificate(wrong))
}

/// `insecureSkipVerify`: takes any certificate, but only from whoever has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
