//! Whose certificates are taken of servers. That whoever shows one has its key is looked at in any case.

use std::fmt::Debug;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What a server shows, and whom it is asked to be.
pub(super) struct Shown<'a> {
    certificate: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    ocsp_response: &'a [u8],
    now: UnixTime,
}

/// One who says whether a certificate is taken.
pub(super) trait Judge: Debug + Send + Sync {
    fn judge(&self, shown: &Shown) -> Result<(), Error>;
}

/// Looks at certificates as this one says, and at signatures as they are looked at.
pub(super) fn by(judge: impl Judge + 'static, provider: &CryptoProvider) -> Arc<dyn ServerCertVerifier> {
    Arc::new(By { judge, algorithms: provider.signature_verification_algorithms })
}

#[derive(Debug)]
struct By<J> {
    judge: J,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<J: Judge> ServerCertVerifier for By<J> {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge.judge(&Shown { certificate, intermediates, name, ocsp_response, now })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// `insecureSkipVerify`: takes any certificate.
#[derive(Debug)]
pub(super) struct Anyone;

impl Judge for Anyone {
    fn judge(&self, _shown: &Shown) -> Result<(), Error> {
        Ok(())
    }
}

/// Takes what an authority signed, and what was given as an authority itself: a self-signed certificate that is named
/// as its own root is the usual way to trust one server (RFC 5280 would have it sign others only).
#[derive(Debug)]
pub(super) struct Known {
    pub(super) by_signature: Arc<WebPkiServerVerifier>,
    pub(super) given: Vec<CertificateDer<'static>>,
}

impl Judge for Known {
    fn judge(&self, shown: &Shown) -> Result<(), Error> {
        let Shown { certificate, intermediates, name, ocsp_response, now } = shown;
        match self.by_signature.verify_server_cert(certificate, intermediates, name, ocsp_response, *now) {
            Err(Error::InvalidCertificate(CertificateError::Other(why)))
                if is_authority(&why) && self.given.contains(certificate) =>
            {
                check_dates(certificate, *now)?;
                verify_server_name(&ParsedCertificate::try_from(*certificate)?, name)
            }
            verified => verified.map(|_| ()),
        }
    }
}

/// `peerCertURI`: takes what is known, if it has this URI among its names. With `insecureSkipVerify` it need not have the
/// name that was asked for, but somebody known must still have signed it: else the URI would prove nothing.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) uri: String,
    pub(super) known: Known,
    pub(super) by_any_name: bool,
}

impl Judge for Called {
    fn judge(&self, shown: &Shown) -> Result<(), Error> {
        match self.known.judge(shown) {
            // Names are looked at last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.by_any_name => {}
            judged => judged?,
        }
        if has_uri(shown.certificate, &self.uri)? {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
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
