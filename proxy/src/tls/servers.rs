//! How endpoints are spoken to by TLS: who must have signed their certificates, and what they are shown.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_config::tls::{ServersTransport, TlsVersion};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::certificate::Certificate;
use super::options::{self, Problem};

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
    let verifier: Arc<dyn ServerCertVerifier> = if takes_any {
        Arc::new(Anyone(provider.clone()))
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
        let known = Arc::new(Known { by_signature, given });
        match &transport.peer_cert_uri {
            None => known,
            Some(uri) => {
                Arc::new(Called { uri: uri.clone(), known, by_any_name: transport.insecure_skip_verify })
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

/// `peerCertURI`: takes what is known, if it has this URI among its names. With `insecureSkipVerify` it need not have the
/// name that was asked for, but somebody known must still have signed it: else the URI would prove nothing.
#[derive(Debug)]
struct Called {
    uri: String,
    known: Arc<Known>,
    by_any_name: bool,
}

impl ServerCertVerifier for Called {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.known.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // Names are looked at last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.by_any_name => {}
            verified => {
                verified?;
            }
        }
        if has_uri(end_entity, &self.uri)? {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.known.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.known.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.known.supported_verify_schemes()
    }
}

fn has_uri(certificate: &CertificateDer<'_>, uri: &str) -> Result<bool, Error> {
    let unreadable = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| unreadable())?;
    let names = parsed.subject_alternative_name().map_err(|_| unreadable())?;
    Ok(names.is_some_and(|names| {
        names.value.general_names.iter().any(|name| matches!(name, GeneralName::URI(found) if *found == uri))
    }))
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
