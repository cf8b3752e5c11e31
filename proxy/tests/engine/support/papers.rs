//! Certificates of a test's own, and clients that trust them.

use std::sync::Arc;

use portolan_config::tls::{self, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    SanType,
};
use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, SupportedProtocolVersion};

/// One who signs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub(crate) struct Papers {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) certificate: String,
    pub(crate) key: String,
    key_der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    pub(crate) fn pem(&self) -> Pem {
        Pem::Inline(self.0.pem())
    }

    /// A certificate for these names, signed.
    pub(crate) fn sign(&self, names: &[&str]) -> Papers {
        let key = KeyPair::generate().expect("a key");
        let (uris, names): (Vec<_>, Vec<_>) =
            names.iter().map(|name| (*name).to_owned()).partition(|name: &String| name.contains("://"));
        let mut params = CertificateParams::new(names).expect("names");
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into().expect("ASCII")));
        }
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Papers {
            der: certificate.der().clone(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            key_der: key.serialize_der(),
        }
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        roots
    }

    /// A client that trusts nobody else.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::new(self.client_of(rustls::DEFAULT_VERSIONS).with_no_client_auth())
    }

    /// A client that shows these papers where it is asked for some.
    pub(crate) fn client_with(&self, papers: &Papers) -> Arc<ClientConfig> {
        let config = self.client_of(rustls::DEFAULT_VERSIONS);
        Arc::new(config.with_client_auth_cert(papers.chain(), papers.private_key()).expect("papers"))
    }

    /// A client of these versions.
    pub(crate) fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(self.roots())
    }
}

impl Papers {
    /// As an operator writes them.
    pub(crate) fn pair(&self) -> tls::KeyPair {
        tls::KeyPair {
            certificate: Pem::Inline(self.certificate.clone()),
            key: Pem::Inline(self.key.clone()),
        }
    }

    /// As what may be shown.
    pub(crate) fn shown(&self) -> tls::Tls {
        tls::Tls { certificates: vec![(self.pair(), Vec::new())], ..tls::Tls::default() }
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.der.clone()]
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key_der.clone()).into()
    }
}
