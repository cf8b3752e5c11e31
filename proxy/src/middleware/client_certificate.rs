//! `passTLSClientCert`: the certificate that the client showed, told to the endpoint in fields.
//!
//! The fields, their order and how they are escaped are Traefik's, because programs that read them are written for that.
//! Whoever speaks no TLS, or shows no certificate, is told of in none; what it says of itself in such a field was dropped
//! before, unless its word is taken.

use std::fmt::Write;

use data_encoding::BASE64;
use portolan_config::dynamic::middleware::{ClientCertificateInfo, NameInfo, PassTlsClientCert};

use super::Draft;
use crate::tls::{ClientChain, Name, Written};

const WHOLE: &str = "X-Forwarded-Tls-Client-Cert";
const PARTS: &str = "X-Forwarded-Tls-Client-Cert-Info";

/// Tells the endpoint of the client's certificate.
#[derive(Debug)]
pub(crate) struct ClientCertificateStep {
    written: PassTlsClientCert,
}

impl ClientCertificateStep {
    pub(super) fn compile(written: PassTlsClientCert) -> Self {
        Self { written }
    }

    pub(super) fn request(&self, draft: &mut Draft) {
        let Some(chain) = draft.peer.client_chain().cloned() else { return };
        if self.written.pem {
            draft.fields.claim(WHOLE, whole(&chain).as_bytes());
        }
        if let Some(wanted) = &self.written.info {
            draft.fields.claim(PARTS, parts(&chain, wanted).as_bytes());
        }
    }
}

/// Each certificate as PEM has it, without what is around it and without line ends.
fn whole(chain: &ClientChain) -> String {
    let mut text = String::new();
    for der in chain.der() {
        if !text.is_empty() {
            text.push(',');
        }
        BASE64.encode_append(der, &mut text);
    }
    text
}

/// What is wanted of each certificate, escaped as a value of a query.
fn parts(chain: &ClientChain, wanted: &ClientCertificateInfo) -> String {
    let told: Vec<String> = chain.written().iter().map(|written| parts_of(written, wanted)).collect();
    escape(&told.join(","))
}

fn parts_of(written: &Written, wanted: &ClientCertificateInfo) -> String {
    let mut parts = Vec::new();
    let mut tell = |name: &str, value: &str| {
        if !value.is_empty() {
            parts.push(format!("{name}=\"{value}\""));
        }
    };
    if let Some(wanted) = wanted.subject {
        tell("Subject", &name(&written.subject, wanted, true));
    }
    if let Some(wanted) = wanted.issuer {
        tell("Issuer", &name(&written.issuer, wanted, false));
    }
    if wanted.serial_number {
        tell("SerialNumber", &written.serial_number);
    }
    if wanted.not_before {
        tell("NB", &written.not_before.to_string());
    }
    if wanted.not_after {
        tell("NA", &written.not_after.to_string());
    }
    if wanted.sans {
        tell("SAN", &written.alternative_names.join(","));
    }
    parts.join(";")
}

/// What is wanted of a name. An issuer's unit is not told.
fn name(written: &Name, wanted: NameInfo, is_subject: bool) -> String {
    let mut text = String::new();
    let mut tell = |is_wanted: bool, name: &str, values: &[String]| {
        for value in values.iter().filter(|value| is_wanted && !value.is_empty()) {
            // Writing to a string does not fail.
            let _ = write!(text, "{name}={value},");
        }
    };
    tell(wanted.domain_component, "DC", &written.domain_component);
    tell(wanted.country, "C", &written.country);
    tell(wanted.province, "ST", &written.province);
    tell(wanted.locality, "L", &written.locality);
    tell(wanted.organization, "O", &written.organization);
    tell(wanted.organizational_unit && is_subject, "OU", &written.organizational_unit);
    tell(wanted.serial_number, "SN", std::slice::from_ref(&written.serial_number));
    tell(wanted.common_name, "CN", std::slice::from_ref(&written.common));
    text.pop();
    text
}

/// As Go escapes what stands in a query (`url.QueryEscape`): a space is a plus sign.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            b' ' => out.push('+'),
            // Writing to a string does not fail.
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portolan_config::dynamic::middleware::Middleware;

    use super::*;
    use crate::middleware::draft::tests::asked;
    use crate::middleware::tests::written;
    use crate::tls::client_chain;

    const CLAIM: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Tls-Client-Cert: mine\r\n\r\n";

    /// The two fields behind a middleware that is written so.
    fn told(yaml: &str, shows: bool) -> (String, String) {
        let Middleware::PassTlsClientCert(written) = written(&format!("passTLSClientCert: {{{yaml}}}"))
        else {
            panic!("{yaml}")
        };
        let mut draft = asked(CLAIM);
        if shows {
            draft.peer = draft.peer.clone().showing(Some(Arc::new(client_chain::tests::chain())));
        }
        ClientCertificateStep::compile(written).request(&mut draft);
        (draft.fields.text(WHOLE).to_owned(), draft.fields.text(PARTS).to_owned())
    }

    fn unescaped(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits: String = rest.by_ref().take(2).map(char::from).collect();
                    u8::from_str_radix(&digits, 16).unwrap()
                }
                other => other,
            });
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_whole_certificate_is_told_as_base64() {
        let (whole, parts) = told("pem: true", true);
        let der = BASE64.decode(whole.as_bytes()).unwrap();
        assert!(der.starts_with(&[0x30, 0x82]), "{whole}");
        assert_eq!(parts, "");
    }

    #[test]
    fn parts_are_told_in_their_order_and_as_wanted() {
        let every = "country: true, province: true, locality: true, organization: true, organizationalUnit: true, \
                     commonName: true, serialNumber: true, domainComponent: true";
        let subject =
            "DC=example,C=DE,ST=Bayern,L=Straubing,O=Käse, GmbH,OU=Simple \"Unit\",SN=42,CN=*.cheese.example";
        let issuer =
            "DC=example,C=DE,ST=Bayern,L=Straubing,O=Käse, GmbH,SN=42,CN=*.cheese.example".to_owned();
        let names = "www.cheese.example,a@cheese.example,2001:db8::1,192.0.2.1,spiffe://a/b";
        for (wanted, expected) in [
            (String::new(), String::new()),
            (format!("subject: {{{every}}}"), format!("Subject=\"{subject}\"")),
            ("subject: {commonName: true}".to_owned(), "Subject=\"CN=*.cheese.example\"".to_owned()),
            (
                format!(
                    "sans: true, notAfter: true, notBefore: true, serialNumber: true, issuer: {{{}}}, subject: {{country: true}}",
                    every.replace("organizationalUnit: true, ", ""),
                ),
                format!(
                    "Subject=\"C=DE\";Issuer=\"{issuer}\";SerialNumber=\"18446744073709551616\";NB=\"1767312000\";\
                     NA=\"2082844800\";SAN=\"{names}\""
                ),
            ),
        ] {
            let (_, parts) = told(&format!("info: {{{wanted}}}"), true);
            assert_eq!(unescaped(&parts), expected, "{wanted}");
        }
        assert_eq!(
            told("info: {subject: {organization: true}}", true).1,
            "Subject%3D%22O%3DK%C3%A4se%2C+GmbH%22"
        );
    }

    #[test]
    fn without_a_certificate_nothing_is_told_and_a_trusted_word_stands() {
        assert_eq!(told("pem: true, info: {sans: true}", false), ("mine".to_owned(), String::new()));
    }
}
