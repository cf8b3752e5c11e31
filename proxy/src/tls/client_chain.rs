//! The certificates that a client showed in its handshake, and what is written in them.
//!
//! It knows X.509 (RFC 5280), and nothing of HTTP. Whether they are good enough was decided before.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::Tag;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, GeneralName, X509Certificate, X509Name};

/// The client's own certificate, and those that signed it, as they were shown.
#[derive(Debug)]
pub(crate) struct ClientChain {
    der: Vec<CertificateDer<'static>>,
    /// What is written in them; read when somebody asks for the first time.
    read: OnceLock<Vec<Written>>,
}

/// What is written in a certificate.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) subject: Name,
    pub(crate) issuer: Name,
    /// In decimal.
    pub(crate) serial_number: String,
    /// Seconds since the epoch.
    pub(crate) not_before: i64,
    /// Seconds since the epoch.
    pub(crate) not_after: i64,
    /// Names of hosts, then addresses of mail, then those of the network, then URIs.
    pub(crate) alternative_names: Vec<String>,
}

/// A distinguished name (RFC 5280 §4.1.2.4), by its attributes. An attribute may be there several times.
#[derive(Debug, Default)]
pub(crate) struct Name {
    pub(crate) domain_component: Vec<String>,
    pub(crate) country: Vec<String>,
    pub(crate) province: Vec<String>,
    pub(crate) locality: Vec<String>,
    pub(crate) organization: Vec<String>,
    pub(crate) organizational_unit: Vec<String>,
    pub(crate) serial_number: String,
    /// `CN`
    pub(crate) common: String,
}

impl ClientChain {
    /// The certificates of a session; none where the client showed none.
    pub(crate) fn of(shown: Option<&[CertificateDer<'static>]>) -> Option<Self> {
        let der = shown.filter(|shown| !shown.is_empty())?.to_vec();
        Some(Self { der, read: OnceLock::new() })
    }

    /// Each as it was shown (DER), the client's own first.
    pub(crate) fn der(&self) -> impl Iterator<Item = &[u8]> {
        self.der.iter().map(AsRef::as_ref)
    }

    /// What is written in each. Nothing is in one that can't be read.
    pub(crate) fn written(&self) -> &[Written] {
        self.read.get_or_init(|| self.der().map(|der| Written::read(der).unwrap_or_default()).collect())
    }
}

impl Written {
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self {
            subject: Name::read(certificate.subject()),
            issuer: Name::read(certificate.issuer()),
            serial_number: certificate.tbs_certificate.serial.to_string(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            alternative_names: alternative_names(&certificate),
        })
    }
}

impl Name {
    fn read(written: &X509Name<'_>) -> Self {
        let mut name = Self::default();
        for attribute in written.iter_attributes() {
            let Some(value) = text(attribute) else { continue };
            match attribute.attr_type().to_id_string().as_str() {
                "0.9.2342.19200300.100.1.25" => name.domain_component.push(value),
                "2.5.4.3" => name.common = value,
                "2.5.4.5" => name.serial_number = value,
                "2.5.4.6" => name.country.push(value),
                "2.5.4.7" => name.locality.push(value),
                "2.5.4.8" => name.province.push(value),
                "2.5.4.10" => name.organization.push(value),
                "2.5.4.11" => name.organizational_unit.push(value),
                _ => {}
            }
        }
        name
    }
}

/// The value of an attribute, where it is text.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    if let Ok(text) = attribute.as_str() {
        return Some(text.to_owned());
    }
    let bytes = attribute.as_slice();
    match attribute.attr_value().tag() {
        // Latin-1, as everybody writes it, whatever its standard says.
        Tag::T61String => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            Some(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        _ => None,
    }
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let (mut hosts, mut mail, mut addresses, mut uris) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => hosts.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => mail.push((*name).to_owned()),
            GeneralName::IPAddress([a, b, c, d]) => addresses.push(Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            GeneralName::IPAddress(bytes) => {
                if let Ok(bytes) = <[u8; 16]>::try_from(*bytes) {
                    addresses.push(Ipv6Addr::from(bytes).to_string());
                }
            }
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            _ => {}
        }
    }
    [hosts, mail, addresses, uris].concat()
}

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, SerialNumber};

    use super::*;

    /// A chain of one certificate that has everything in it.
    pub(crate) fn chain() -> ClientChain {
        let mut name = DistinguishedName::new();
        for (kind, value) in [
            (DnType::CountryName, "DE"),
            (DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]), "example"),
            (DnType::StateOrProvinceName, "Bayern"),
            (DnType::LocalityName, "Straubing"),
            (DnType::OrganizationName, "Käse, GmbH"),
            (DnType::OrganizationalUnitName, "Simple \"Unit\""),
            (DnType::CustomDnType(vec![2, 5, 4, 5]), "42"),
            (DnType::CommonName, "*.cheese.example"),
        ] {
            name.push(kind, value);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        params.serial_number = Some(SerialNumber::from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0]));
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2036, 1, 2);
        params.subject_alt_names = vec![
            SanType::URI("spiffe://a/b".try_into().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
            SanType::Rfc822Name("a@cheese.example".try_into().unwrap()),
            SanType::DnsName("www.cheese.example".try_into().unwrap()),
        ];
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientChain::of(Some(&[certificate.der().clone()])).unwrap()
    }

    #[test]
    fn what_is_written_in_a_certificate_is_read() {
        let chain = chain();
        let [written] = chain.written() else { panic!("{:?}", chain.written()) };
        assert_eq!(written.serial_number, "18446744073709551616");
        assert_eq!((written.not_before, written.not_after), (1_767_312_000, 2_082_844_800));
        assert_eq!(
            written.alternative_names,
            ["www.cheese.example", "a@cheese.example", "2001:db8::1", "192.0.2.1", "spiffe://a/b"]
        );
        for name in [&written.subject, &written.issuer] {
            assert_eq!(name.organization, ["Käse, GmbH"]);
            assert_eq!(name.domain_component, ["example"]);
            assert_eq!((name.serial_number.as_str(), name.common.as_str()), ("42", "*.cheese.example"));
        }
    }

    #[test]
    fn no_certificate_is_no_chain_and_an_unreadable_one_says_nothing() {
        assert!(ClientChain::of(None).is_none() && ClientChain::of(Some(&[])).is_none());
        let chain = ClientChain::of(Some(&[CertificateDer::from(vec![1, 2, 3])])).unwrap();
        assert_eq!(chain.written().len(), 1);
        assert!(chain.written()[0].serial_number.is_empty());
    }
}
