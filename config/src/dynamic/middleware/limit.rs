//! Middlewares that hold requests back, or send them again.

use serde::{Deserialize, Serialize};

use super::IpStrategy;
use crate::dynamic::value::{Span, StatusRange};

/// `sourceCriterion`: whose requests count together. One of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceCriterion {
    /// By the client's address.
    pub ip_strategy: Option<IpStrategy>,
    /// By a field of the request.
    pub request_header_name: String,
    /// By the host asked for.
    pub request_host: bool,
}

impl SourceCriterion {
    pub(super) fn check(&self) -> Result<(), String> {
        let written = [self.ip_strategy.is_some(), !self.request_header_name.is_empty(), self.request_host];
        if written.into_iter().filter(|written| *written).count() > 1 {
            return Err(
                "`sourceCriterion` is several at once: write one of `ipStrategy`, `requestHeaderName` and \
                        `requestHost`"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// `rateLimit`: requests in a time, by a token bucket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RateLimit {
    /// So many in each `period`; 0 is any number.
    pub average: u64,
    /// The time.
    pub period: Span,
    /// So many at once.
    pub burst: u64,
    /// Whose count together; those of one address unless written.
    pub source_criterion: SourceCriterion,
    /// A count that several Traefiks share, which Portolan has not.
    pub redis: Option<Redis>,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            average: 0,
            period: Span::secs(1),
            burst: 1,
            source_criterion: SourceCriterion::default(),
            redis: None,
        }
    }
}

impl RateLimit {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.period.positive().is_none() {
            return Err("`period` must be more than nothing".to_owned());
        }
        self.source_criterion.check()
    }
}

/// `redis` of `rateLimit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Redis {
    /// Where it is.
    pub endpoints: Vec<String>,
    /// TLS to there.
    pub tls: Option<RedisTls>,
    /// Who asks.
    pub username: String,
    /// With which password.
    pub password: String,
    /// Which database.
    pub db: i64,
    /// Connections.
    pub pool_size: i64,
    /// Connections that wait.
    pub min_idle_conns: i64,
    /// Connections at most.
    pub max_active_conns: i64,
    /// How long an answer may take.
    pub read_timeout: Span,
    /// How long a question may take.
    pub write_timeout: Span,
    /// How long connecting may take.
    pub dial_timeout: Span,
}

/// `tls` of `redis`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisTls {
    /// Who must have signed its certificate.
    pub ca: String,
    /// Shown to it.
    pub cert: String,
    /// The key to that.
    pub key: String,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
}

/// `inFlightReq`: requests at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InFlightReq {
    /// So many; with 0 none gets through.
    pub amount: u64,
    /// Whose count together; those for one host unless written.
    pub source_criterion: SourceCriterion,
}

/// `buffering`: bodies whole, before they are passed on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Buffering {
    /// Bytes of a request's body, at most; 0 is any number.
    pub max_request_body_bytes: i64,
    /// Bytes from which on it is kept on disk.
    pub mem_request_body_bytes: i64,
    /// Bytes of an answer's body, at most; 0 is any number.
    pub max_response_body_bytes: i64,
    /// Bytes from which on it is kept on disk.
    pub mem_response_body_bytes: i64,
    /// When a request is sent again: `IsNetworkError() && Attempts() < 2`.
    pub retry_expression: String,
}

impl Default for Buffering {
    fn default() -> Self {
        Self {
            max_request_body_bytes: 0,
            mem_request_body_bytes: 1024 * 1024,
            max_response_body_bytes: 0,
            mem_response_body_bytes: 1024 * 1024,
            retry_expression: String::new(),
        }
    }
}

/// `circuitBreaker`: stops asking who fails.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CircuitBreaker {
    /// When: `NetworkErrorRatio() > 0.5`, `ResponseCodeRatio(500, 600, 0, 600) > 0.25`, `LatencyAtQuantileMS(50) > 100`.
    pub expression: String,
    /// How often it is looked at.
    pub check_period: Span,
    /// How long nothing is asked.
    pub fallback_duration: Span,
    /// How long more and more is asked again.
    pub recovery_duration: Span,
    /// The answer meanwhile.
    pub response_code: u16,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            expression: String::new(),
            check_period: Span::millis(100),
            fallback_duration: Span::secs(10),
            recovery_duration: Span::secs(10),
            response_code: 503,
        }
    }
}

/// `retry`: once more.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retry {
    /// How often in all.
    pub attempts: u32,
    /// How long all of them together may take; zero is any time.
    pub timeout: Span,
    /// Before the second; then twice as long each time. Zero is at once.
    pub initial_interval: Span,
    /// Bytes of a body that is kept to be sent again; below zero any number.
    pub max_request_body_bytes: i64,
    /// Answers that are not good enough.
    pub status: Vec<StatusRange>,
    /// Whether a connection that failed is no reason.
    pub disable_retry_on_network_error: bool,
    /// Whether requests are sent again that do something each time.
    pub retry_non_idempotent_method: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 0,
            timeout: Span::default(),
            initial_interval: Span::default(),
            max_request_body_bytes: 2 * 1024 * 1024,
            status: Vec::new(),
            disable_retry_on_network_error: false,
            retry_non_idempotent_method: false,
        }
    }
}

impl Retry {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.attempts == 0 {
            return Err("needs `attempts`: 1 or more".to_owned());
        }
        if self.disable_retry_on_network_error && self.status.is_empty() {
            return Err(
                "`disableRetryOnNetworkError` without `status` leaves no reason to send again".to_owned()
            );
        }
        Ok(())
    }
}
