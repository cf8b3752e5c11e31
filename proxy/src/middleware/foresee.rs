//! What a middleware would do to a request that nobody sends, in words: for whoever explains.
//!
//! What is pure is done, by the code that does it to requests. What would count, ask somebody or take long (a rate, an
//! authentication server, a password's hash) is only named. Nothing is changed by it.

use super::watcher::Watcher;
use super::{AnswerHead, Chain, Draft, FieldList, OwnAnswer, Step, compress};

/// What would become of a request.
pub(crate) struct Foreseen {
    /// What each step that it comes to would do, in their order; nothing where it lets it pass as it is.
    pub(crate) steps: Vec<String>,
    /// What the last of those answers itself, if it does.
    pub(crate) answer: Option<Box<OwnAnswer>>,
}

impl Chain {
    /// How many steps it has.
    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Takes a draft through the steps, until one answers it.
    pub(crate) fn foresee(&self, draft: &mut Draft) -> Foreseen {
        let mut foreseen = Foreseen { steps: Vec::new(), answer: None };
        for step in &self.steps {
            let before = draft.clone();
            match step.foresee(draft) {
                Ok(words) => {
                    let does: Vec<String> = edits(&before, draft).into_iter().chain(words).collect();
                    foreseen.steps.push(does.join("; "));
                }
                Err(answer) => {
                    foreseen.steps.push(answered(&answer));
                    foreseen.answer = Some(answer);
                    return foreseen;
                }
            }
        }
        foreseen
    }
}

/// An answer in a few words.
fn answered(answer: &OwnAnswer) -> String {
    let status = answer.head.status;
    match answer.head.fields.text("Location") {
        "" => format!("answers {status}"),
        location => format!("answers {status}, to {location}"),
    }
}

/// What is other in a draft than it was. Values are not told: they may be secrets.
fn edits(before: &Draft, after: &Draft) -> Vec<String> {
    let mut found = Vec::new();
    if (&before.path, &before.query) != (&after.path, &after.query) {
        found.push(format!("the path becomes {}{}", after.path, after.query));
    }
    if before.host != after.host {
        found.push(format!("the host becomes {}", after.host));
    }
    if before.method_text != after.method_text {
        found.push(format!("the method becomes {}", after.method_text));
    }
    found.extend(fields(&before.fields, &after.fields));
    found
}

/// The fields that were set, and those that were removed.
fn fields(before: &FieldList, after: &FieldList) -> Vec<String> {
    let differs = |one: &FieldList, other: &FieldList, name: &str| !one.all(name).eq(other.all(name));
    let mut set: Vec<&str> = Vec::new();
    for (name, _) in after.iter().filter(|(name, _)| differs(after, before, name)) {
        if !set.contains(&name) {
            set.push(name);
        }
    }
    let mut gone: Vec<&str> = Vec::new();
    for (name, _) in before.iter().filter(|(name, _)| after.get(name).is_none()) {
        if !gone.contains(&name) {
            gone.push(name);
        }
    }
    let told =
        |word: &str, names: Vec<&str>| (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")));
    [told("sets", set), told("removes", gone)].into_iter().flatten().collect()
}

impl Step {
    /// Edits the draft or answers it, as far as that can be known here; with what else there is to be said.
    fn foresee(&self, draft: &mut Draft) -> Result<Option<String>, Box<OwnAnswer>> {
        let said = |text: &str| Ok(Some(text.to_owned()));
        match self {
            Self::Path(step) => step.request(draft)?,
            Self::Redirect(step) => step.request(draft)?,
            Self::Encoded(step) => step.request(draft)?,
            Self::AllowList(step) => {
                step.request(draft)?;
                return said("the client is on its list");
            }
            Self::Headers(step) => {
                step.request(draft)?;
                let mut answer = AnswerHead::new(200);
                step.answer(&mut answer, draft);
                let names: Vec<&str> = answer.fields.iter().map(|(name, _)| name).collect();
                let told = (!names.is_empty()).then(|| format!("answers get {}", names.join(", ")));
                return Ok(told);
            }
            Self::ClientCertificate(step) => {
                step.request(draft);
                return said("the server is told of the client's certificate, if it shows one");
            }
            Self::Nothing => return Err(OwnAnswer::new(418).into()),
            Self::Basic(step) => {
                step.foresee(draft)?;
                return said("asks for name and password: those of the request are not tried here");
            }
            Self::Digest(step) => {
                step.foresee(draft)?;
                return said("asks for a proof of the password: that of the request is not tried here");
            }
            Self::Forward(step) => {
                return Ok(Some(format!("asks {}, which is not done here", step.address())));
            }
            Self::Rate(_) => return said("passes unless its rate is used up, which is not counted here"),
            Self::InFlight(_) => {
                return said("passes unless as many are in flight, which is not counted here");
            }
            Self::Watch(watcher) => return Ok(watcher.foresee(draft)),
        }
        Ok(None)
    }
}

impl Watcher {
    /// What it would do about the answer.
    fn foresee(&self, draft: &mut Draft) -> Option<String> {
        match self {
            Self::Compress(step) => Some(match compress::request(step, draft) {
                Some(encoding) => format!("the answer may be compressed by {}", compress::name(encoding)),
                None => "the client takes no coding that it has".to_owned(),
            }),
            Self::CircuitBreaker(step) if step.is_open() => {
                Some(format!("it is open: most requests are answered {}", step.response_code))
            }
            Self::CircuitBreaker(_) => Some("it is closed".to_owned()),
            Self::Errors { service, .. } => Some(format!("pages of {service} in the place of some answers")),
            Self::Retry(step) => Some(format!("it is sent {} times at most", step.attempts)),
            Self::Buffering(_) => Some("bodies are gathered before they are sent on".to_owned()),
            Self::ContentType => Some("an answer without a type gets one".to_owned()),
            Self::GrpcWeb(_) | Self::Idle => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::middleware::draft::tests::asked;
    use crate::middleware::tests::written;

    /// What these would do to `GET /shop/x?y`, and what arrives or is answered.
    fn foreseen(middlewares: &[&str]) -> (Vec<String>, String) {
        let compiled = |yaml: &&str| Arc::new(Step::compile(&written(yaml), None).expect("it can be done"));
        let chain = Chain::of(middlewares.iter().map(compiled).collect()).expect("there are some");
        let head = "GET /shop/x?y HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: br\r\nX-Old: 1\r\n\r\n";
        let mut draft = asked(head);
        let foreseen = chain.foresee(&mut draft);
        let end = match foreseen.answer {
            Some(answer) => answer.head.status.to_string(),
            None => format!("{}{}", draft.path, draft.query),
        };
        (foreseen.steps, end)
    }

    #[test]
    fn each_middleware_says_what_it_would_do() {
        let hash = "joe:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
        let basic = format!("basicAuth: {{users: ['{hash}']}}");
        for (middleware, does, end) in [
            ("stripPrefix: {prefixes: [/shop]}", "the path becomes /x?y; sets X-Forwarded-Prefix", "/x?y"),
            ("stripPrefix: {prefixes: [/other]}", "", "/shop/x?y"),
            (
                "replacePathRegex: {regex: '^/shop(.*)', replacement: '/v2$1'}",
                "the path becomes /v2/x?y; sets X-Replaced-Path",
                "/v2/x?y",
            ),
            (
                "headers: {customRequestHeaders: {X-New: secret, X-Old: ''}, frameDeny: true}",
                "sets X-New; removes X-Old; answers get X-Frame-Options",
                "/shop/x?y",
            ),
            ("redirectScheme: {scheme: https}", "answers 302, to https://a.test/shop/x?y", "302"),
            ("ipAllowList: {sourceRange: [192.0.2.0/24]}", "the client is on its list", "/shop/x?y"),
            ("ipAllowList: {sourceRange: [10.0.0.0/8]}", "answers 403", "403"),
            (&basic, "answers 401", "401"),
            ("compress: {}", "the answer may be compressed by br", "/shop/x?y"),
            ("circuitBreaker: {expression: 'NetworkErrorRatio() > 0.3'}", "it is closed", "/shop/x?y"),
            ("retry: {attempts: 3}", "it is sent 3 times at most", "/shop/x?y"),
        ] {
            assert_eq!(foreseen(&[middleware]), (vec![does.to_owned()], end.to_owned()), "{middleware}");
        }
    }

    #[test]
    fn nothing_comes_behind_an_answer() {
        let (steps, end) = foreseen(&[
            "addPrefix: {prefix: /v1}",
            "redirectRegex: {regex: '^http://a.test/v1/(.*)', replacement: 'https://b.test/$1'}",
            "addPrefix: {prefix: /v2}",
        ]);
        assert_eq!(steps, ["the path becomes /v1/shop/x?y", "answers 302, to https://b.test/shop/x?y"]);
        assert_eq!(end, "302");
    }
}
