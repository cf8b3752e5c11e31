//! The certificates that clients are shown, as operators are told of them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::Front;
use super::client_chain::Written;

/// All of them that were asked for, at any time.
#[derive(Clone, Debug)]
pub struct ShownCertificates(Arc<ArcSwap<Front>>);

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownCertificate {
    /// SHA-256 of it, in hexadecimal.
    pub fingerprint: String,
    /// The same of its public key.
    pub key_fingerprint: String,
    /// What it is for: hosts, addresses of mail and of the network, URIs; in alphabetical order.
    pub names: Vec<String>,
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
    /// In decimal.
    pub serial_number: String,
    /// `CN` of its subject.
    pub common_name: String,
    /// `O` of its subject.
    pub organization: String,
    /// `CN` of who signed it.
    pub issuer_common_name: String,
    /// `O` of who signed it.
    pub issuer_organization: String,
    /// The version of X.509.
    pub version: u32,
    /// `RSA`, `ECDSA` or `Ed25519`; empty where it is something else.
    pub key_type: &'static str,
    /// Bits.
    pub key_size: usize,
    /// What it is signed with, as Go calls it: `ECDSA-SHA256`.
    pub signature_algorithm: &'static str,
}

impl ShownCertificates {
    pub(crate) fn of(front: Arc<ArcSwap<Front>>) -> Self {
        Self(front)
    }

    /// Those that are shown now; the one that Portolan makes itself is not among them.
    pub fn list(&self) -> Vec<ShownCertificate> {
        let front = self.0.load();
        front.shown.iter().filter_map(|certificate| read(certificate.key.cert.first()?)).collect()
    }
}

fn read(der: &[u8]) -> Option<ShownCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let Written { subject, issuer, serial_number, not_before, not_after, mut alternative_names } =
        Written::read(der)?;
    alternative_names.sort();
    let sha256 = |bytes: &[u8]| HEXLOWER.encode(digest(&SHA256, bytes).as_ref());
    let (key_type, key_size) = key(&certificate);
    Some(ShownCertificate {
        fingerprint: sha256(der),
        key_fingerprint: sha256(certificate.public_key().raw),
        names: alternative_names,
        not_before,
        not_after,
        serial_number,
        common_name: subject.common,
        organization: subject.organization.join(", "),
        issuer_common_name: issuer.common,
        issuer_organization: issuer.organization.join(", "),
        version: certificate.version().0 + 1,
        key_type,
        key_size,
        signature_algorithm: signed_with(&certificate.signature_algorithm.algorithm.to_id_string()),
    })
}

fn key(certificate: &X509Certificate<'_>) -> (&'static str, usize) {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => ("RSA", key.key_size()),
        Ok(PublicKey::EC(key)) => ("ECDSA", key.key_size()),
        _ if certificate.public_key().algorithm.algorithm.to_id_string() == "1.3.101.112" => ("Ed25519", 256),
        _ => ("", 0),
    }
}

/// An algorithm by its identifier (RFC 4055, RFC 5758, RFC 8410).
fn signed_with(identifier: &str) -> &'static str {
    match identifier {
        "1.2.840.113549.1.1.5" => "SHA1-RSA",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.113549.1.1.11" => "SHA256-RSA",
        "1.2.840.113549.1.1.12" => "SHA384-RSA",
        "1.2.840.113549.1.1.13" => "SHA512-RSA",
        "1.2.840.10045.4.1" => "ECDSA-SHA1",
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
        "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
        "1.3.101.112" => "Ed25519",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn what_is_in_a_certificate_is_told_as_openssl_tells_it() {
        let mut params =
            CertificateParams::new(vec!["b.test".to_owned(), "a.test".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, "a.test");
        params.distinguished_name.push(DnType::OrganizationName, "Org");
        params.not_after = rcgen::date_time_ymd(2036, 1, 2);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let told = read(certificate.der()).expect("it can be read");
        assert_eq!(told.names, ["a.test", "b.test"]);
        assert_eq!((told.common_name.as_str(), told.issuer_organization.as_str()), ("a.test", "Org"));
        assert_eq!((told.key_type, told.key_size, told.version), ("ECDSA", 256, 3));
        assert_eq!((told.signature_algorithm, told.not_after), ("ECDSA-SHA256", 2_082_844_800));
        assert_eq!((told.key_fingerprint.len(), told.fingerprint.len()), (64, 64));
        assert_ne!(told.key_fingerprint, told.fingerprint);
        assert_eq!(read(b"nonsense"), None);
    }
}
