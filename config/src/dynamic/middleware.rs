//! `http.middlewares`: what requests and answers go through on the way.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::value::{IpRange, Pattern, StatusRange};

mod auth;
mod content;
mod headers;
mod limit;

pub use auth::{
    AuthTls, BasicAuth, ClientCertificateInfo, DigestAuth, ForwardAuth, NameInfo, PassTlsClientCert,
};
pub use content::{Compress, ContentType, EncodedCharacters, Encoding, GrpcWeb};
pub use headers::Headers;
pub use limit::{Buffering, CircuitBreaker, InFlightReq, RateLimit, Redis, RedisTls, Retry, SourceCriterion};

/// `http.middlewares.<name>`: one of these.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Middleware {
    /// Puts something before the path.
    AddPrefix(AddPrefix),
    /// Takes something off the front of the path.
    StripPrefix(StripPrefix),
    /// The same by patterns.
    StripPrefixRegex(StripPrefixRegex),
    /// Another path.
    ReplacePath(ReplacePath),
    /// Another path, made from the old one.
    ReplacePathRegex(ReplacePathRegex),
    /// Others, in order.
    Chain(Chain),
    /// The old name of [`Self::IpAllowList`].
    IpWhiteList(IpAllowList),
    /// Who may ask.
    IpAllowList(IpAllowList),
    /// Fields of requests and answers.
    Headers(Headers),
    /// What may be percent-encoded in a path.
    EncodedCharacters(EncodedCharacters),
    /// Pages in the place of faulty answers.
    Errors(Errors),
    /// Requests in a time.
    RateLimit(RateLimit),
    /// Sends clients elsewhere, by a pattern.
    RedirectRegex(RedirectRegex),
    /// Sends clients to another scheme.
    RedirectScheme(RedirectScheme),
    /// Asks for name and password.
    BasicAuth(BasicAuth),
    /// The same by a challenge (RFC 7616).
    DigestAuth(DigestAuth),
    /// Asks somebody else whether to let it through.
    ForwardAuth(ForwardAuth),
    /// Requests at once.
    InFlightReq(InFlightReq),
    /// Bodies whole, before they are passed on.
    Buffering(Buffering),
    /// Stops asking who fails.
    CircuitBreaker(CircuitBreaker),
    /// Answers made smaller.
    Compress(Compress),
    /// The client's certificate, in fields.
    #[serde(rename = "passTLSClientCert")]
    PassTlsClientCert(PassTlsClientCert),
    /// Once more.
    Retry(Retry),
    /// What kind of answer it is.
    ContentType(ContentType),
    /// gRPC for browsers.
    GrpcWeb(GrpcWeb),
    /// A plugin of Traefik's catalogue, which is code that Portolan does not run.
    Plugin(Plugins),
}

impl Middleware {
    /// The option's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AddPrefix(_) => "addPrefix",
            Self::StripPrefix(_) => "stripPrefix",
            Self::StripPrefixRegex(_) => "stripPrefixRegex",
            Self::ReplacePath(_) => "replacePath",
            Self::ReplacePathRegex(_) => "replacePathRegex",
            Self::Chain(_) => "chain",
            Self::IpWhiteList(_) => "ipWhiteList",
            Self::IpAllowList(_) => "ipAllowList",
            Self::Headers(_) => "headers",
            Self::EncodedCharacters(_) => "encodedCharacters",
            Self::Errors(_) => "errors",
            Self::RateLimit(_) => "rateLimit",
            Self::RedirectRegex(_) => "redirectRegex",
            Self::RedirectScheme(_) => "redirectScheme",
            Self::BasicAuth(_) => "basicAuth",
            Self::DigestAuth(_) => "digestAuth",
            Self::ForwardAuth(_) => "forwardAuth",
            Self::InFlightReq(_) => "inFlightReq",
            Self::Buffering(_) => "buffering",
            Self::CircuitBreaker(_) => "circuitBreaker",
            Self::Compress(_) => "compress",
            Self::PassTlsClientCert(_) => "passTLSClientCert",
            Self::Retry(_) => "retry",
            Self::ContentType(_) => "contentType",
            Self::GrpcWeb(_) => "grpcWeb",
            Self::Plugin(_) => "plugin",
        }
    }

    /// What serde can't see: values that don't go together.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::AddPrefix(add) if add.prefix.is_empty() => Err("needs `prefix`".to_owned()),
            Self::Chain(chain) if chain.middlewares.is_empty() => Err("needs `middlewares`".to_owned()),
            Self::IpAllowList(list) | Self::IpWhiteList(list) => list.check(),
            Self::RedirectScheme(redirect) => redirect.check(),
            Self::BasicAuth(auth) => auth.check(),
            Self::DigestAuth(auth) => auth.check(),
            Self::ForwardAuth(auth) => auth.check(),
            Self::Retry(retry) => retry.check(),
            Self::Compress(compress) => compress.check(),
            Self::RateLimit(limit) => limit.check(),
            Self::InFlightReq(limit) => limit.source_criterion.check(),
            Self::CircuitBreaker(breaker) if breaker.expression.is_empty() => {
                Err("needs `expression`".to_owned())
            }
            Self::Errors(errors) if errors.service.is_empty() => Err("needs `service`".to_owned()),
            _ => Ok(()),
        }
    }
}

/// `addPrefix`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct AddPrefix {
    /// Put before the path.
    pub prefix: String,
}

/// `stripPrefix`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StripPrefix {
    /// The first that fits is taken off.
    pub prefixes: Vec<String>,
    /// Passed over, as Traefik does since 3.0.
    pub force_slash: bool,
}

/// `stripPrefixRegex`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct StripPrefixRegex {
    /// What the first that fits finds at the front is taken off.
    pub regex: Vec<Pattern>,
}

/// `replacePath`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ReplacePath {
    /// The new path.
    pub path: String,
}

/// `replacePathRegex`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ReplacePathRegex {
    /// What is sought in the path.
    pub regex: Pattern,
    /// What it becomes; `$1` is the first group.
    #[serde(default)]
    pub replacement: String,
}

/// `chain`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Chain {
    /// In this order.
    pub middlewares: Vec<String>,
}

/// `ipAllowList`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpAllowList {
    /// The addresses.
    pub source_range: Vec<IpRange>,
    /// How the client's address is found; the connection's unless written.
    pub ip_strategy: Option<IpStrategy>,
    /// The answer to others; 403 unless written.
    pub reject_status_code: u16,
}

impl Default for IpAllowList {
    fn default() -> Self {
        Self { source_range: Vec::new(), ip_strategy: None, reject_status_code: 403 }
    }
}

impl IpAllowList {
    fn check(&self) -> Result<(), String> {
        if self.source_range.is_empty() {
            return Err("needs `sourceRange`: nobody is on the list".to_owned());
        }
        if !(100..1000).contains(&self.reject_status_code) {
            return Err(format!("`rejectStatusCode`: {} is not a status code", self.reject_status_code));
        }
        Ok(())
    }
}

/// `ipStrategy`: how the client's address is found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpStrategy {
    /// The so many-th address of `X-Forwarded-For`, from the right; 0 is the connection's.
    pub depth: u32,
    /// The first address of `X-Forwarded-For`, from the right, that is none of these.
    #[serde(rename = "excludedIPs")]
    pub excluded_ips: Vec<IpRange>,
    /// IPv6 addresses count by so many bits.
    pub ipv6_subnet: Option<u8>,
}

/// `errors`: pages in the place of faulty answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Errors {
    /// Which answers.
    pub status: Vec<StatusRange>,
    /// The status that is shown instead: from which, to which.
    pub status_rewrites: BTreeMap<String, u16>,
    /// Who has the pages.
    pub service: String,
    /// The path there, with `{status}`, `{originalStatus}` and `{url}`.
    pub query: String,
    /// Fields of the request that the page's server is sent; all of them unless written.
    pub error_request_headers: Option<Vec<String>>,
}

/// `redirectRegex`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct RedirectRegex {
    /// What is sought in the URL.
    pub regex: Pattern,
    /// What it becomes; `$1` is the first group.
    #[serde(default)]
    pub replacement: String,
    /// Whether clients may remember it.
    #[serde(default)]
    pub permanent: bool,
}

/// `redirectScheme`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RedirectScheme {
    /// The scheme.
    pub scheme: String,
    /// The port; the scheme's unless written.
    pub port: String,
    /// Whether clients may remember it.
    pub permanent: bool,
}

impl RedirectScheme {
    fn check(&self) -> Result<(), String> {
        if self.scheme.is_empty() {
            return Err("needs `scheme`".to_owned());
        }
        if !self.port.is_empty() && self.port.parse::<u16>().is_err() {
            return Err(format!("`port`: `{}` is not a port (1-65535)", self.port));
        }
        Ok(())
    }
}

/// `plugin`: names of plugins; what they are told is not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Plugins(BTreeSet<String>);

impl<'de> Deserialize<'de> for Plugins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[allow(clippy::zero_sized_map_values)] // what is ignored has no size
        let plugins = BTreeMap::<String, IgnoredAny>::deserialize(deserializer)?;
        Ok(Self(plugins.into_keys().collect()))
    }
}
