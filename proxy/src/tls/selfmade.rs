//! The certificate that is shown where no other fits: made by Portolan itself at its start, trusted by nobody.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::certificate::{Certificate, Wrong};

/// What it is called, so that whoever meets it knows that none was set up.
pub(super) const COMMON_NAME: &str = "PORTOLAN DEFAULT CERT";

/// How long it can be used; it is made anew with every start.
const VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

/// Makes one that is valid from a day before `now` on, for clocks that are behind.
pub(super) fn make(now: SystemTime, provider: &CryptoProvider) -> Result<Certificate, String> {
    let text = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate().map_err(text)?;
    let mut params =
        CertificateParams::new(["localhost".to_owned(), "*.localhost".to_owned()]).map_err(text)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
    params.not_before = (now - Duration::from_secs(24 * 3600)).into();
    params.not_after = (now + VALIDITY).into();
    let made = params.self_signed(&key).map_err(text)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Certificate::of(vec![made.der().clone()], key.into(), provider).map_err(|wrong| match wrong {
        Wrong::Certificate(why) | Wrong::Key(why) => why,
    })
}
