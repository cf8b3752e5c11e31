//! `/api/certificates`: the certificates that clients are shown.

use std::time::{SystemTime, UNIX_EPOCH};

use portolan_proxy::ShownCertificate;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Seconds before its end from which a certificate is warned of, as in Traefik.
const WARNED_BEFORE: i64 = 30 * 24 * 60 * 60;

/// Each as an item, by their names.
pub fn items(mut shown: Vec<ShownCertificate>) -> Vec<Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    shown.sort_by(|a, b| (&a.common_name, &a.fingerprint).cmp(&(&b.common_name, &b.fingerprint)));
    shown.dedup();
    shown.iter().map(|certificate| item(certificate, now)).collect()
}

fn item(certificate: &ShownCertificate, now: i64) -> Value {
    let mut item = Map::new();
    item.insert("name".to_owned(), json!(certificate.fingerprint));
    if !certificate.names.is_empty() {
        item.insert("sans".to_owned(), json!(certificate.names));
    }
    for (name, value) in [
        ("notAfter", date(certificate.not_after).as_str()),
        ("notBefore", &date(certificate.not_before)),
        ("serialNumber", &certificate.serial_number),
        ("commonName", &certificate.common_name),
        ("issuerOrg", &certificate.issuer_organization),
        ("issuerCN", &certificate.issuer_common_name),
        ("organization", &certificate.organization),
        ("version", &format!("v{}", certificate.version)),
        ("keyType", certificate.key_type),
        ("signatureAlgorithm", certificate.signature_algorithm),
        ("certFingerprint", &certificate.fingerprint),
        ("publicKeyFingerprint", &certificate.key_fingerprint),
    ] {
        if !value.is_empty() {
            item.insert(name.to_owned(), json!(value));
        }
    }
    if certificate.key_size > 0 {
        item.insert("keySize".to_owned(), json!(certificate.key_size));
    }
    item.insert("status".to_owned(), json!(state(certificate, now)));
    Value::Object(item)
}

fn state(certificate: &ShownCertificate, now: i64) -> &'static str {
    match certificate.not_after - now {
        ..=0 => "disabled",
        1..WARNED_BEFORE => "warning",
        _ => "enabled",
    }
}

/// As RFC 3339 has it.
fn date(seconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_of_as_traefik_tells_it() {
        let certificate = |days: i64| ShownCertificate {
            fingerprint: "f".to_owned(),
            names: vec!["a.test".to_owned()],
            not_after: days * 24 * 60 * 60,
            common_name: "a.test".to_owned(),
            version: 3,
            key_type: "ECDSA",
            key_size: 256,
            ..ShownCertificate::default()
        };
        let told = item(&certificate(100), 0);
        assert_eq!(
            told,
            json!({
                "name": "f", "sans": ["a.test"], "notAfter": "1970-04-11T00:00:00Z",
                "notBefore": "1970-01-01T00:00:00Z", "commonName": "a.test", "version": "v3",
                "keyType": "ECDSA", "keySize": 256, "certFingerprint": "f", "status": "enabled",
            })
        );
        for (days, expected) in [(31, "enabled"), (29, "warning"), (0, "disabled"), (-1, "disabled")] {
            assert_eq!(item(&certificate(days), 0)["status"], expected, "{days}");
        }
    }
}
