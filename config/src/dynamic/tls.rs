//! `tls` and `http.serversTransports` as written, and how they become what [`crate::tls`] means.
//!
//! A certificate or key is PEM text or the name of a file, as Traefik takes either; nothing here reads a file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::http::Domain;
use super::tcp::TcpClientTls;
use super::value::Span;
use crate::tls::{self as meant, ClientAuthKind, KeyPair, Pem, TlsVersion};

/// `tls.certificates[n]`, and the certificates of transports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Certificate {
    /// The certificate with its chain: PEM, or a file.
    pub cert_file: String,
    /// The key: PEM, or a file.
    pub key_file: String,
    /// The stores it is in; none is `default`.
    pub stores: Vec<String>,
}

impl Certificate {
    /// The pair.
    pub fn key_pair(&self) -> Result<KeyPair, String> {
        match (self.cert_file.as_str(), self.key_file.as_str()) {
            ("", _) => Err("needs `certFile`".to_owned()),
            (_, "") => Err("needs `keyFile`".to_owned()),
            (certificate, key) => Ok(KeyPair { certificate: pem(certificate), key: pem(key) }),
        }
    }
}

/// PEM text begins with its armour (RFC 7468 §2); anything else is the name of a file.
fn pem(text: &str) -> Pem {
    if text.trim_start().starts_with("-----BEGIN") {
        Pem::Inline(text.to_owned())
    } else {
        Pem::File(PathBuf::from(text))
    }
}

fn pems(texts: &[String]) -> Vec<Pem> {
    texts.iter().map(|text| pem(text)).collect()
}

/// A version of TLS, by Go's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub enum Version {
    /// TLS 1.0, which is broken.
    #[serde(rename = "VersionTLS10")]
    V10,
    /// TLS 1.1, which is broken.
    #[serde(rename = "VersionTLS11")]
    V11,
    /// TLS 1.2
    #[serde(rename = "VersionTLS12")]
    V12,
    /// TLS 1.3
    #[serde(rename = "VersionTLS13")]
    V13,
}

impl Version {
    /// The version as the least that is spoken; broken ones are never (RFC 8996).
    fn at_least(self) -> TlsVersion {
        if self == Self::V13 { TlsVersion::V13 } else { TlsVersion::V12 }
    }

    /// The version as the most that is spoken. An error for one that is broken: nothing would be left.
    fn at_most(self) -> Result<TlsVersion, String> {
        match self {
            Self::V13 => Ok(TlsVersion::V13),
            Self::V12 => Ok(TlsVersion::V12),
            Self::V10 | Self::V11 => Err("TLS before 1.2 is broken (RFC 8996) and not spoken: \
                                          write `VersionTLS12` or `VersionTLS13`"
                .to_owned()),
        }
    }
}

/// `tls.options.<name>`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsOptions {
    /// The least that is spoken; TLS 1.2 unless written.
    pub min_version: Option<Version>,
    /// The most that is spoken; TLS 1.3 unless written.
    pub max_version: Option<Version>,
    /// By IANA's names, for TLS 1.2.
    pub cipher_suites: Vec<String>,
    /// By Traefik's names.
    pub curve_preferences: Vec<String>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// Whether a name without a certificate is refused.
    pub sni_strict: bool,
    /// The one liked most first; HTTP/2 and HTTP/1.1 unless written.
    pub alpn_protocols: Vec<String>,
    /// Whether sessions are not resumed by tickets.
    pub disable_session_tickets: bool,
    /// Passed over, as Go does since 1.17.
    pub prefer_server_cipher_suites: bool,
}

impl TlsOptions {
    /// What they mean.
    pub fn meant(&self) -> Result<meant::TlsOptions, String> {
        let default = meant::TlsOptions::default();
        let max_version = self.max_version.map_or(Ok(default.max_version), Version::at_most)?;
        let min_version = self.min_version.map_or(default.min_version, Version::at_least);
        if min_version > max_version {
            return Err("`minVersion` is above `maxVersion`".to_owned());
        }
        let kind = self.client_auth.kind()?;
        Ok(meant::TlsOptions {
            min_version,
            max_version,
            cipher_suites: self.cipher_suites.clone(),
            curves: self.curve_preferences.clone(),
            alpn: if self.alpn_protocols.is_empty() { default.alpn } else { self.alpn_protocols.clone() },
            client_auth: meant::ClientAuth { authorities: pems(&self.client_auth.ca_files), kind },
            sni_strict: self.sni_strict,
            disable_session_tickets: self.disable_session_tickets,
        })
    }
}

/// `clientAuth`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientAuth {
    /// Who must have signed it: PEM, or files.
    pub ca_files: Vec<String>,
    /// By Go's names.
    pub client_auth_type: String,
}

impl ClientAuth {
    fn kind(&self) -> Result<ClientAuthKind, String> {
        let known = [
            ("NoClientCert", ClientAuthKind::None),
            ("RequestClientCert", ClientAuthKind::Request),
            ("RequireAnyClientCert", ClientAuthKind::RequireAny),
            ("VerifyClientCertIfGiven", ClientAuthKind::VerifyIfGiven),
            ("RequireAndVerifyClientCert", ClientAuthKind::RequireAndVerify),
        ];
        let kind = match self.client_auth_type.as_str() {
            // As Traefik has it: who names authorities wants them heeded.
            "" if self.ca_files.is_empty() => ClientAuthKind::None,
            "" => ClientAuthKind::RequireAndVerify,
            written => known
                .into_iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(written))
                .map(|(_, kind)| kind)
                .ok_or_else(|| {
                    let names = known.map(|(name, _)| name);
                    format!(
                        "clientAuthType `{written}` is not known: {}",
                        super::nearest::hint(written, &names)
                    )
                })?,
        };
        let verifies = matches!(kind, ClientAuthKind::VerifyIfGiven | ClientAuthKind::RequireAndVerify);
        if verifies && self.ca_files.is_empty() {
            return Err("certificates of clients can't be verified without `clientAuth.caFiles`".to_owned());
        }
        Ok(kind)
    }
}

/// `tls.stores.<name>`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Store {
    /// Shown where no certificate fits the name.
    pub default_certificate: Option<Certificate>,
    /// The same, got by a resolver.
    pub default_generated_cert: Option<GeneratedCertificate>,
}

/// `defaultGeneratedCert`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct GeneratedCertificate {
    /// Who gets it.
    pub resolver: String,
    /// For which names.
    pub domain: Option<Domain>,
}

/// `http.serversTransports.<name>`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServersTransport {
    /// The name asked for and expected.
    pub server_name: String,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
    /// Who must have signed it: PEM, or files.
    #[serde(rename = "rootCAs")]
    pub root_cas: Vec<String>,
    /// Shown to servers that ask.
    pub certificates: Vec<Certificate>,
    /// By IANA's names, for TLS 1.2.
    pub cipher_suites: Vec<String>,
    /// The least that is spoken.
    pub min_version: Option<Version>,
    /// The most that is spoken.
    pub max_version: Option<Version>,
    /// Connections that wait for the next request, for each server; 0 is the data plane's own limit.
    pub max_idle_conns_per_host: u32,
    /// How long each step may take.
    pub forwarding_timeouts: ForwardingTimeouts,
    /// Whether HTTP/2 is not spoken.
    #[serde(rename = "disableHTTP2")]
    pub disable_http2: bool,
    /// The URI that the server's certificate must have.
    #[serde(rename = "peerCertURI")]
    pub peer_cert_uri: String,
    /// By SPIFFE's identities.
    pub spiffe: Option<Spiffe>,
}

/// `forwardingTimeouts`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ForwardingTimeouts {
    /// Until connected; zero is any time.
    pub dial_timeout: Span,
    /// From the end of a request until the head of its answer; zero is any time.
    pub response_header_timeout: Span,
    /// That a connection waits for the next request; zero is any time.
    pub idle_conn_timeout: Span,
    /// HTTP/2: without a frame until a ping is sent; zero is never.
    pub read_idle_timeout: Span,
    /// HTTP/2: until a ping is answered.
    pub ping_timeout: Span,
}

impl Default for ForwardingTimeouts {
    fn default() -> Self {
        Self {
            dial_timeout: Span::secs(30),
            response_header_timeout: Span::default(),
            idle_conn_timeout: Span::secs(90),
            read_idle_timeout: Span::default(),
            ping_timeout: Span::secs(15),
        }
    }
}

/// `spiffe`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spiffe {
    /// Who is taken.
    pub ids: Vec<String>,
    /// The domain whose members are taken.
    pub trust_domain: String,
}

impl TcpClientTls {
    /// What it means.
    pub(super) fn meant(&self) -> Result<meant::ServersTransport, String> {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let pair = |(index, pair): (usize, &Certificate)| {
            pair.key_pair().map_err(|error| format!("tls.certificates[{index}] {error}"))
        };
        let certificates: Result<_, String> = self.certificates.iter().enumerate().map(pair).collect();
        Ok(meant::ServersTransport {
            server_name: text(&self.server_name),
            insecure_skip_verify: self.insecure_skip_verify,
            root_cas: pems(&self.root_cas),
            certificates: certificates?,
            peer_cert_uri: text(&self.peer_cert_uri),
            ..meant::ServersTransport::default()
        })
    }
}

impl ServersTransport {
    /// What it means.
    pub fn meant(&self) -> Result<meant::ServersTransport, String> {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let certificates: Result<_, String> = self
            .certificates
            .iter()
            .enumerate()
            .map(|(index, pair)| pair.key_pair().map_err(|error| format!("certificates[{index}] {error}")))
            .collect();
        let timeouts = &self.forwarding_timeouts;
        // What is as Traefik has it unless written is left to the data plane, which has limits of its own.
        let default = ForwardingTimeouts::default();
        let written = |span: Span, default: Span| if span == default { None } else { span.positive() };
        Ok(meant::ServersTransport {
            server_name: text(&self.server_name),
            insecure_skip_verify: self.insecure_skip_verify,
            root_cas: pems(&self.root_cas),
            certificates: certificates?,
            cipher_suites: self.cipher_suites.clone(),
            min_version: self.min_version.map(Version::at_least),
            max_version: self.max_version.map(Version::at_most).transpose()?,
            peer_cert_uri: text(&self.peer_cert_uri),
            disable_http2: self.disable_http2,
            max_idle_per_target: Some(self.max_idle_conns_per_host as usize).filter(|most| *most > 0),
            dial_timeout: written(timeouts.dial_timeout, default.dial_timeout),
            response_head_timeout: written(timeouts.response_header_timeout, default.response_header_timeout),
            pool_idle_timeout: written(timeouts.idle_conn_timeout, default.idle_conn_timeout),
            ping_after: written(timeouts.read_idle_timeout, default.read_idle_timeout),
            pong_within: written(timeouts.ping_timeout, default.ping_timeout),
        })
    }
}
