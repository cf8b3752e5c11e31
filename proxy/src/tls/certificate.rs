//! A certificate with its key, read from PEM and checked: what it is good for, and until when.
//!
//! It knows bytes, and not where they came from.

use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// A certificate that can be shown, with what choosing it needs.
#[derive(Debug)]
pub(super) struct Certificate {
    /// The chain and the key.
    pub(super) key: Arc<CertifiedKey>,
    /// The names it is for, lower case: `a.example`, `*.example`.
    pub(super) names: Vec<String>,
    /// Seconds since the epoch after which it is worth nothing.
    pub(super) not_after: i64,
    /// Its common name; empty where it has none.
    pub(super) common_name: String,
    /// Its serial number, in hexadecimal.
    pub(super) serial: String,
}

/// Which half of a pair is wrong, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Certificate(String),
    Key(String),
}

impl Certificate {
    /// Reads a pair, and holds its halves against each other.
    pub(super) fn read(chain: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<Self, Wrong> {
        let chain = certificates(chain).map_err(Wrong::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| Wrong::Key(format!("no private key can be read from it: {error}")))?;
        Self::of(chain, key, provider)
    }

    /// The same, of what is read already.
    pub(super) fn of(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, Wrong> {
        let Some(first) = chain.first() else {
            return Err(Wrong::Certificate("no certificate is in it".to_owned()));
        };
        let (_, parsed) = X509Certificate::from_der(first)
            .map_err(|error| Wrong::Certificate(format!("it is no X.509 certificate: {error}")))?;
        let common_name = parsed
            .subject()
            .iter_common_name()
            .find_map(|name| name.as_str().ok())
            .unwrap_or_default()
            .to_owned();
        let names = names(&parsed, &common_name);
        let (not_after, serial) =
            (parsed.validity().not_after.timestamp(), parsed.tbs_certificate.serial.to_str_radix(16));
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                Wrong::Key("it is not the key to the certificate".to_owned())
            }
            error => Wrong::Key(format!("it can't be used: {error}")),
        })?;
        Ok(Self { key: Arc::new(key), names, not_after, common_name, serial })
    }

    /// What it signs with, the cheapest first: a signature by P-256 costs a tenth of one by RSA.
    pub(super) fn cost(&self) -> u8 {
        match self.key.key.algorithm() {
            SignatureAlgorithm::ECDSA => 0,
            SignatureAlgorithm::ED25519 | SignatureAlgorithm::ED448 => 1,
            _ => 2,
        }
    }
}

/// Every certificate of a PEM text; an error where there is none.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(read) if read.is_empty() => Err("no certificate is in it".to_owned()),
        Ok(read) => Ok(read),
        Err(error) => Err(format!("no certificate can be read from it: {error}")),
    }
}

/// The names of a certificate. The common name is one of them, as it is for Traefik: clients do not go by it, but the
/// certificate is better than none.
fn names(certificate: &X509Certificate<'_>, common_name: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for extension in certificate.extensions() {
        let ParsedExtension::SubjectAlternativeName(alternatives) = extension.parsed_extension() else {
            continue;
        };
        for name in &alternatives.general_names {
            match name {
                GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                GeneralName::IPAddress([a, b, c, d]) => {
                    names.push(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string());
                }
                GeneralName::IPAddress(bytes) => {
                    if let Ok(bytes) = <[u8; 16]>::try_from(*bytes) {
                        names.push(std::net::Ipv6Addr::from(bytes).to_string());
                    }
                }
                _ => {}
            }
        }
    }
    if !common_name.is_empty() {
        names.push(common_name.to_ascii_lowercase());
    }
    names.sort();
    names.dedup();
    names
}
