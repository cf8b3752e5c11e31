//! What an operator says about TLS, as meant: certificates, options of connections, and how servers are spoken to.
//!
//! Names and defaults are Traefik's. Nothing here reads a file: a [`Pem`] says where the bytes are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// PEM text, or the file that holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pem {
    /// The file, read when it is needed and again when it changes.
    File(PathBuf),
    /// The text itself.
    Inline(String),
}

/// A certificate with its chain, and the key to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPair {
    /// The certificate, then those that signed it.
    pub certificate: Pem,
    /// The private key.
    pub key: Pem,
}

/// `tls`: everything that clients may be shown, by whoever takes connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `certificates`, each with the stores it is in; no store is `default`.
    pub certificates: Vec<(KeyPair, Vec<String>)>,
    /// `options`, by qualified name; `default` counts where no other is asked for.
    pub options: BTreeMap<String, TlsOptions>,
    /// `stores.NAME.defaultCertificate`: shown where no certificate fits the name.
    pub default_certificates: BTreeMap<String, KeyPair>,
}

/// `tls.options.NAME`: what a connection must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// `minVersion`
    pub min_version: TlsVersion,
    /// `maxVersion`
    pub max_version: TlsVersion,
    /// `cipherSuites`, by their IANA names; none is the library's choice. TLS 1.3 has its own.
    pub cipher_suites: Vec<String>,
    /// `curvePreferences`, by Traefik's names (`X25519`, `CurveP256`, …); none is the library's choice.
    pub curves: Vec<String>,
    /// `alpnProtocols`, the one liked most first.
    pub alpn: Vec<String>,
    /// `clientAuth`
    pub client_auth: ClientAuth,
    /// `sniStrict`: no certificate that fits the name is no connection.
    pub sni_strict: bool,
    /// `disableSessionTickets`
    pub disable_session_tickets: bool,
}

/// A version of TLS that may be spoken. Older ones than 1.2 are broken, and can't be asked for (RFC 8996).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    V12,
    /// TLS 1.3, RFC 8446.
    V13,
}

/// `clientAuth`: whether clients show a certificate, and who must have signed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientAuth {
    /// `caFiles`
    pub authorities: Vec<Pem>,
    /// `clientAuthType`
    pub kind: ClientAuthKind,
}

/// `clientAuthType`, by Go's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuthKind {
    /// `NoClientCert`
    #[default]
    None,
    /// `RequestClientCert`: asked for, taken whoever signed it.
    Request,
    /// `RequireAnyClientCert`: needed, whoever signed it.
    RequireAny,
    /// `VerifyClientCertIfGiven`
    VerifyIfGiven,
    /// `RequireAndVerifyClientCert`
    RequireAndVerify,
}

/// `routers.NAME.tls`: this router takes requests that came by TLS, and no others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterTls {
    /// `options`: the qualified name; unless written, `default`.
    pub options: Option<String>,
    /// `certResolver`: who gets certificates for it.
    pub cert_resolver: Option<String>,
    /// `domains`: what certificates are got for, each the first name and the others; the rule's hosts unless written.
    pub domains: Vec<(String, Vec<String>)>,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1 in the clear.
    #[default]
    Http,
    /// By TLS: HTTP/2 where the server takes it, HTTP/1.1 elsewhere.
    Https,
    /// HTTP/2 in the clear, by prior knowledge (RFC 9113 §3.3).
    H2c,
}

/// `serversTransports.NAME`: what connections to servers are like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServersTransport {
    /// `serverName`: the name asked for and expected; unless written, the server's own.
    pub server_name: Option<String>,
    /// `insecureSkipVerify`: any certificate will do.
    pub insecure_skip_verify: bool,
    /// `rootCAs`: who must have signed the server's certificate; none is the system's.
    pub root_cas: Vec<Pem>,
    /// `certificates`: shown to servers that ask.
    pub certificates: Vec<KeyPair>,
    /// `cipherSuites`, by their IANA names; none is the library's choice.
    pub cipher_suites: Vec<String>,
    /// `minVersion`; unless written, the library's choice.
    pub min_version: Option<TlsVersion>,
    /// `maxVersion`; unless written, the library's choice.
    pub max_version: Option<TlsVersion>,
    /// `peerCertURI`: a URI that the server's certificate must have among its names.
    pub peer_cert_uri: Option<String>,
    /// `disableHTTP2`
    pub disable_http2: bool,
    /// `maxIdleConnsPerHost`; unless written, the data plane's own limit.
    pub max_idle_per_target: Option<usize>,
    /// `forwardingTimeouts.dialTimeout`; unless written, the data plane's own.
    pub dial_timeout: Option<Duration>,
    /// `forwardingTimeouts.responseHeaderTimeout`; unless written, the data plane's own.
    pub response_head_timeout: Option<Duration>,
    /// `forwardingTimeouts.idleConnTimeout`; unless written, the data plane's own.
    pub pool_idle_timeout: Option<Duration>,
    /// `forwardingTimeouts.readIdleTimeout`: by HTTP/2, how long a silence is until the server is asked whether it is
    /// there; unless written, it is not.
    pub ping_after: Option<Duration>,
    /// `forwardingTimeouts.pingTimeout`: how long its answer may take; unless written, the data plane's own.
    pub pong_within: Option<Duration>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            min_version: TlsVersion::V12,
            max_version: TlsVersion::V13,
            cipher_suites: Vec::new(),
            curves: Vec::new(),
            alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
            client_auth: ClientAuth::default(),
            sni_strict: false,
            disable_session_tickets: false,
        }
    }
}
