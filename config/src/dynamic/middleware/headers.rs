//! The `headers` middleware: fields of requests and answers, CORS, and what browsers are to heed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dynamic::value::Pattern;

/// `headers`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// Fields the server is sent; an empty one is taken away.
    pub custom_request_headers: BTreeMap<String, String>,
    /// Fields the client is sent; an empty one is taken away.
    pub custom_response_headers: BTreeMap<String, String>,
    /// `Access-Control-Allow-Credentials`
    pub access_control_allow_credentials: bool,
    /// `Access-Control-Allow-Headers`
    pub access_control_allow_headers: Vec<String>,
    /// `Access-Control-Allow-Methods`
    pub access_control_allow_methods: Vec<String>,
    /// The origins that may ask; `*` is any.
    pub access_control_allow_origin_list: Vec<String>,
    /// The same, by patterns.
    pub access_control_allow_origin_list_regex: Vec<Pattern>,
    /// `Access-Control-Expose-Headers`
    pub access_control_expose_headers: Vec<String>,
    /// `Access-Control-Max-Age`, seconds.
    pub access_control_max_age: Option<i64>,
    /// Whether `Vary: Origin` is added.
    pub add_vary_header: bool,
    /// The hosts that may be asked for; any where it is empty.
    pub allowed_hosts: Vec<String>,
    /// Fields in which a proxy in front says what host was asked for.
    pub hosts_proxy_headers: Vec<String>,
    /// Fields by which a proxy in front says that the client came by TLS.
    pub ssl_proxy_headers: BTreeMap<String, String>,
    /// `Strict-Transport-Security` (RFC 6797), seconds; none with 0.
    pub sts_seconds: i64,
    /// Whether it holds for subdomains.
    pub sts_include_subdomains: bool,
    /// Whether browsers may know it beforehand.
    pub sts_preload: bool,
    /// Whether it is sent in the clear as well.
    #[serde(rename = "forceSTSHeader")]
    pub force_sts_header: bool,
    /// `X-Frame-Options: DENY`
    pub frame_deny: bool,
    /// `X-Frame-Options` of another value.
    pub custom_frame_options_value: String,
    /// `X-Content-Type-Options: nosniff`
    pub content_type_nosniff: bool,
    /// `X-XSS-Protection: 1; mode=block`
    pub browser_xss_filter: bool,
    /// `X-XSS-Protection` of another value.
    #[serde(rename = "customBrowserXSSValue")]
    pub custom_browser_xss_value: String,
    /// `Content-Security-Policy`
    pub content_security_policy: String,
    /// `Content-Security-Policy-Report-Only`
    pub content_security_policy_report_only: String,
    /// `Public-Key-Pins`, which browsers no longer heed.
    pub public_key: String,
    /// `Referrer-Policy`
    pub referrer_policy: String,
    /// `Permissions-Policy`
    pub permissions_policy: String,
    /// Whether hosts, redirections and STS are not heeded.
    pub is_development: bool,
    /// `Feature-Policy`, the old name of `Permissions-Policy`.
    pub feature_policy: Option<String>,
    /// The old way to send clients to HTTPS.
    pub ssl_redirect: Option<bool>,
    /// The old way to do so for now.
    pub ssl_temporary_redirect: Option<bool>,
    /// The old way to name the host there.
    pub ssl_host: Option<String>,
    /// The old way to insist on it.
    pub ssl_force_host: Option<bool>,
}
