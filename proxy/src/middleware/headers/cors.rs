//! CORS (the Fetch standard, §3.2): which pages of other origins may read answers, and asking beforehand.

use portolan_config::dynamic::middleware::Headers;
use portolan_config::dynamic::value::Pattern;

use super::check_value;
use crate::http::Method;
use crate::middleware::{AnswerHead, Draft, OwnAnswer};

/// What pages of other origins may do.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Vec<String>,
    patterns: Vec<Pattern>,
    credentials: bool,
    /// Joined, and whether `*` is among them.
    headers: (String, bool),
    methods: (String, bool),
    expose: (String, bool),
    max_age: Option<i64>,
    vary: bool,
}

impl Cors {
    /// What is written of it, if anything.
    pub(super) fn compile(written: &Headers) -> Result<Option<Self>, String> {
        let joined = |list: &[String]| (list.join(","), list.iter().any(|item| item == "*"));
        let cors = Self {
            origins: written.access_control_allow_origin_list.clone(),
            patterns: written.access_control_allow_origin_list_regex.clone(),
            credentials: written.access_control_allow_credentials,
            headers: joined(&written.access_control_allow_headers),
            methods: joined(&written.access_control_allow_methods),
            expose: joined(&written.access_control_expose_headers),
            max_age: written.access_control_max_age,
            vary: written.add_vary_header,
        };
        let texts = [&cors.headers.0, &cors.methods.0, &cors.expose.0].into_iter().chain(&cors.origins);
        for text in texts {
            check_value(text).map_err(|why| format!("`accessControl…`: {why}"))?;
        }
        let says_something = cors.credentials
            || cors.vary
            || cors.max_age.is_some()
            || !(cors.origins.is_empty() && cors.patterns.is_empty())
            || [&cors.headers, &cors.methods, &cors.expose].iter().any(|(text, _)| !text.is_empty());
        Ok(says_something.then_some(cors))
    }

    /// The answer to a request that asks whether another one may be sent.
    pub(super) fn preflight(&self, draft: &Draft) -> Option<OwnAnswer> {
        let (method, origin) =
            (draft.fields.text("Access-Control-Request-Method"), draft.fields.text("Origin"));
        if draft.method != Method::Options || method.is_empty() || origin.is_empty() {
            return None;
        }
        let mut answer = OwnAnswer::new(200);
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                answer.head.fields.add(name, value.as_bytes());
            }
        };
        if self.credentials {
            add("Access-Control-Allow-Credentials", "true");
        }
        // Browsers take `*` literally where credentials are sent.
        let asked = draft.fields.text("Access-Control-Request-Headers");
        add(
            "Access-Control-Allow-Headers",
            if self.headers.1 && self.credentials { asked } else { &self.headers.0 },
        );
        add(
            "Access-Control-Allow-Methods",
            if self.methods.1 && self.credentials { method } else { &self.methods.0 },
        );
        add("Access-Control-Allow-Origin", self.allowed(origin).unwrap_or_default());
        if let Some(seconds) = self.max_age {
            add("Access-Control-Max-Age", &seconds.to_string());
        }
        add("Access-Control-Expose-Headers", self.exposed());
        Some(answer)
    }

    pub(super) fn answer(&self, head: &mut AnswerHead, draft: &Draft) {
        let fields = &mut head.fields;
        if let Some(origin) = self.allowed(draft.fields.text("Origin")).filter(|origin| !origin.is_empty()) {
            fields.set("Access-Control-Allow-Origin", origin.as_bytes());
        }
        if self.credentials {
            fields.set("Access-Control-Allow-Credentials", b"true");
        }
        if !self.exposed().is_empty() {
            fields.set("Access-Control-Expose-Headers", self.exposed().as_bytes());
        }
        if self.vary {
            let vary = match fields.text("Vary") {
                "Origin" => return,
                "" => "Origin".to_owned(),
                vary => format!("{vary},Origin"),
            };
            fields.set("Vary", vary.as_bytes());
        }
    }

    fn exposed(&self) -> &str {
        if self.expose.1 && self.credentials { "" } else { &self.expose.0 }
    }

    /// What is said to pages of this origin.
    fn allowed<'a>(&'a self, origin: &'a str) -> Option<&'a str> {
        for allowed in &self.origins {
            if allowed == origin || (allowed == "*" && self.credentials) {
                return Some(origin);
            }
            if allowed == "*" {
                return Some(allowed);
            }
        }
        self.patterns.iter().any(|pattern| pattern.is_match(origin)).then_some(origin)
    }
}
