//! What browsers are told to heed, and which hosts may be asked for.

use portolan_config::dynamic::middleware::Headers;

use super::check_value;
use crate::http::Reason;
use crate::middleware::{AnswerHead, Draft, OwnAnswer};

/// The hosts, and the fields that are set.
#[derive(Debug)]
pub(super) struct Secure {
    hosts: Vec<String>,
    host_fields: Vec<String>,
    /// A field with this value says that the client came by TLS.
    tls_fields: Vec<(String, String)>,
    /// Set in every answer.
    always: Vec<(&'static str, String)>,
    /// Set in answers to those that came by TLS.
    secured: Vec<(&'static str, String)>,
}

impl Secure {
    /// What is written of it, if anything.
    pub(super) fn compile(written: &Headers) -> Result<Option<Self>, String> {
        let (mut always, mut secured) = (Vec::new(), Vec::new());
        if written.sts_seconds != 0 && !written.is_development {
            let subdomains = if written.sts_include_subdomains { "; includeSubDomains" } else { "" };
            let preload = if written.sts_preload { "; preload" } else { "" };
            let field = (
                "Strict-Transport-Security",
                format!("max-age={}{subdomains}{preload}", written.sts_seconds),
            );
            if written.force_sts_header { &mut always } else { &mut secured }.push(field);
        }
        let or = |custom: &str, flag: bool, usual: &str| match custom {
            "" if flag => usual.to_owned(),
            custom => custom.to_owned(),
        };
        let fields = [
            ("X-Frame-Options", or(&written.custom_frame_options_value, written.frame_deny, "DENY")),
            ("X-Content-Type-Options", or("", written.content_type_nosniff, "nosniff")),
            (
                "X-XSS-Protection",
                or(&written.custom_browser_xss_value, written.browser_xss_filter, "1; mode=block"),
            ),
            ("Content-Security-Policy", written.content_security_policy.clone()),
            ("Content-Security-Policy-Report-Only", written.content_security_policy_report_only.clone()),
            ("Referrer-Policy", written.referrer_policy.clone()),
            ("Permissions-Policy", written.permissions_policy.clone()),
        ];
        always.extend(fields.into_iter().filter(|(_, value)| !value.is_empty()));
        if !written.public_key.is_empty() && !written.is_development {
            secured.push(("Public-Key-Pins", written.public_key.clone()));
        }
        for (name, value) in always.iter().chain(&secured) {
            check_value(value).map_err(|why| format!("`{name}`: {why}"))?;
        }
        let secure = Self {
            hosts: if written.is_development { Vec::new() } else { written.allowed_hosts.clone() },
            host_fields: written.hosts_proxy_headers.clone(),
            tls_fields: written.ssl_proxy_headers.clone().into_iter().collect(),
            always,
            secured,
        };
        Ok(says_something(written).then_some(secure))
    }

    /// Refuses hosts that may not be asked for.
    pub(super) fn request(&self, draft: &Draft) -> Result<(), Box<OwnAnswer>> {
        if self.hosts.is_empty() {
            return Ok(());
        }
        let said = self.host_fields.iter().map(|name| draft.fields.text(name)).find(|host| !host.is_empty());
        let host = said.unwrap_or(&draft.host);
        if self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)) {
            return Ok(());
        }
        Err(OwnAnswer::refusal(Reason::BadHost, 500, "Bad Host\n").into())
    }

    pub(super) fn answer(&self, head: &mut AnswerHead, draft: &Draft) {
        let is_secure = || {
            let says = |(name, value): &(String, String)| {
                draft.fields.get(name).unwrap_or_default() == value.as_bytes()
            };
            draft.is_secure() || self.tls_fields.iter().any(says)
        };
        for (name, value) in &self.always {
            head.fields.set(name, value.as_bytes());
        }
        if !self.secured.is_empty() && is_secure() {
            for (name, value) in &self.secured {
                head.fields.set(name, value.as_bytes());
            }
        }
    }
}

/// Whether anything of it is written, if only what does nothing by itself, or since Traefik 3.
fn says_something(written: &Headers) -> bool {
    let flags = [
        written.sts_include_subdomains,
        written.sts_preload,
        written.force_sts_header,
        written.frame_deny,
        written.content_type_nosniff,
        written.browser_xss_filter,
        written.is_development,
        written.ssl_redirect == Some(true),
        written.ssl_temporary_redirect == Some(true),
        written.ssl_force_host == Some(true),
    ];
    let texts = [
        &written.custom_frame_options_value,
        &written.custom_browser_xss_value,
        &written.content_security_policy,
        &written.content_security_policy_report_only,
        &written.public_key,
        &written.referrer_policy,
        &written.permissions_policy,
    ];
    let old = [&written.ssl_host, &written.feature_policy];
    flags.contains(&true)
        || written.sts_seconds != 0
        || texts.iter().any(|text| !text.is_empty())
        || old.iter().any(|text| text.as_ref().is_some_and(|text| !text.is_empty()))
        || !(written.allowed_hosts.is_empty()
            && written.hosts_proxy_headers.is_empty()
            && written.ssl_proxy_headers.is_empty())
}
