//! `headers`: fields of requests and answers, as they are written.
//!
//! Where several parts of it say something of one answer, they do so in Traefik's order: what browsers are to heed, then
//! the custom fields, then CORS.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use portolan_config::dynamic::middleware::Headers;

use super::{AnswerHead, Draft, OwnAnswer};

mod cors;
mod secure;

use cors::Cors;
use secure::Secure;

/// Edits fields.
#[derive(Debug)]
pub(crate) struct HeadersStep {
    request: Vec<Edit>,
    answer: Vec<Edit>,
    cors: Option<Cors>,
    secure: Option<Secure>,
}

/// What becomes of a field: it is set, or taken away.
#[derive(Debug)]
struct Edit {
    name: String,
    value: Option<String>,
}

impl HeadersStep {
    pub(super) fn compile(written: &Headers) -> Result<Self, String> {
        let step = Self {
            request: edits("customRequestHeaders", &written.custom_request_headers)?,
            answer: edits("customResponseHeaders", &written.custom_response_headers)?,
            cors: Cors::compile(written)?,
            secure: Secure::compile(written)?,
        };
        let is_empty =
            written.custom_request_headers.is_empty() && written.custom_response_headers.is_empty();
        if is_empty && step.cors.is_none() && step.secure.is_none() {
            return Err("`headers` says nothing".to_owned());
        }
        Ok(step)
    }

    pub(super) fn request(&self, draft: &mut Draft) -> Result<(), Box<OwnAnswer>> {
        if let Some(answer) = self.cors.as_ref().and_then(|cors| cors.preflight(draft)) {
            return Err(answer.into());
        }
        for edit in &self.request {
            let is = |name: &str| edit.name.eq_ignore_ascii_case(name);
            match &edit.value {
                Some(host) if is("host") => draft.host.clone_from(host),
                Some(value) => draft.fields.claim(&edit.name, value.as_bytes()),
                None => {
                    draft.tells_client &= !is("x-forwarded-for");
                    draft.fields.remove_alike(&edit.name);
                }
            }
        }
        match &self.secure {
            Some(secure) => secure.request(draft),
            None => Ok(()),
        }
    }

    pub(super) fn answer(&self, head: &mut AnswerHead, draft: &Draft) {
        if let Some(secure) = &self.secure {
            secure.answer(head, draft);
        }
        for edit in &self.answer {
            match &edit.value {
                Some(value) => head.fields.set(&edit.name, value.as_bytes()),
                None => head.fields.remove(&edit.name),
            }
        }
        if let Some(cors) = &self.cors {
            cors.answer(head, draft);
        }
    }
}

fn edits(option: &str, written: &BTreeMap<String, String>) -> Result<Vec<Edit>, String> {
    let mut edits = Vec::with_capacity(written.len());
    for (name, value) in written {
        check_name(name).map_err(|why| format!("`{option}`: {why}"))?;
        let is_host = name.eq_ignore_ascii_case("host");
        if is_of_the_hop(name) || (is_host && value.is_empty()) {
            // Nobody sees it in any case.
            if value.is_empty() {
                continue;
            }
            return Err(format!(
                "`{option}`: `{name}` is for one connection only, and is set as that needs it"
            ));
        }
        if is_host && !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)) {
            return Err(format!("`{option}`: `{value}` is not a host"));
        }
        check_value(value).map_err(|why| format!("`{option}.{name}`: {why}"))?;
        edits.push(Edit { name: name.clone(), value: Some(value.clone()).filter(|value| !value.is_empty()) });
    }
    Ok(edits)
}

/// Whether a field is about the connection or how a message is read, which is for the engine to say.
pub(super) fn is_of_the_hop(name: &str) -> bool {
    let names = ["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer"];
    names.iter().chain(&["transfer-encoding", "upgrade"]).any(|of| name.eq_ignore_ascii_case(of))
}

/// Whether this can be the name of a field.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("`{name}` is not the name of a field")),
    }
}

/// Whether this can be the value of a field.
pub(super) fn check_value(value: &str) -> Result<(), String> {
    match HeaderValue::from_bytes(value.as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("`{}` is not the value of a field", value.escape_debug())),
    }
}

#[cfg(test)]
mod tests;
