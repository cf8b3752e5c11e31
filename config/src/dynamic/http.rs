//! `http.routers`: which requests go where.

use serde::{Deserialize, Serialize};

/// `http.routers.<name>`, as written; its rule is read by [`crate::rule`], as its language depends on `ruleSyntax`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Router {
    /// On which entry points; empty means every default one.
    pub entry_points: Vec<String>,
    /// What its requests go through, in order.
    pub middlewares: Vec<String>,
    /// Where they go.
    pub service: String,
    /// Which requests. The provider may have a rule for routers without one.
    pub rule: String,
    /// The routers that hand requests on to this one.
    pub parent_refs: Vec<String>,
    /// The language of the rule: `v3`, or `v2` as Traefik had it before.
    pub rule_syntax: RuleSyntax,
    /// Higher is asked first; 0 is the length of the rule.
    pub priority: i64,
    /// Present where it takes HTTPS, and then only that.
    pub tls: Option<RouterTls>,
    /// What is told of its requests.
    pub observability: Observability,
}

/// The language that a rule is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleSyntax {
    /// The present one.
    #[default]
    V3,
    /// The one of Traefik 2.
    V2,
}

/// `tls` of a router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouterTls {
    /// The TLS options by name; empty means `default`.
    pub options: String,
    /// Who gets its certificates; empty means nobody.
    pub cert_resolver: String,
    /// What certificates are got for; the hosts of the rule unless written.
    pub domains: Vec<Domain>,
}

/// Names of one certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default)]
pub struct Domain {
    /// The first name.
    pub main: String,
    /// The others.
    pub sans: Vec<String>,
}

/// `observability` of a router: what is told of its requests; what is not written is as the entry point has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observability {
    /// Whether they are in the access log.
    pub access_logs: Option<bool>,
    /// Whether they are counted.
    pub metrics: Option<bool>,
    /// Whether they are traced.
    pub tracing: Option<bool>,
    /// How much a trace tells.
    pub trace_verbosity: Option<TraceVerbosity>,
}

/// How much a trace tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceVerbosity {
    /// A span for each request, and one for its service.
    #[default]
    Minimal,
    /// Spans for middlewares as well.
    Detailed,
}
