//! `forwardAuth`: somebody else is asked whether to let a request through.

use std::sync::Arc;

use bytes::Bytes;
use portolan_config::dynamic::middleware::ForwardAuth;
use portolan_config::dynamic::value::Pattern;

use super::server::{Answered, Server, ServerError};
use crate::http::{Method, Reason};
use crate::limits::GATHERED_BYTES_MAX;
use crate::middleware::headers::{check_name, check_value, is_of_the_hop};
use crate::middleware::redirect::as_location;
use crate::middleware::{AnswerHead, Content, Draft, OwnAnswer, phrase};
use crate::worker::Worker;

/// Asks a server of the operator's.
#[derive(Debug)]
pub(crate) struct ForwardStep {
    server: Arc<Server>,
    trusts: bool,
    /// Fields of the request that the server sees; all of them where there are none.
    asks_with: Vec<String>,
    /// Fields of its answer that the endpoint sees.
    passes_on: Vec<String>,
    passes_on_alike: Option<Pattern>,
    /// Cookies of its answer that the client gets with the endpoint's.
    cookies: Vec<String>,
    user_field: String,
    body_max: Option<usize>,
    sends_body: Option<BodySent>,
    keeps_location: bool,
    keeps_method: bool,
    signin: String,
}

/// How much of a request's body the server sees.
#[derive(Clone, Copy, Debug)]
struct BodySent {
    /// Bytes, at most.
    most: u64,
    /// Whether the operator has said so, and not Portolan's own limit.
    is_written: bool,
}

/// The cookies that a client gets with the answer.
pub(crate) type Cookies = Vec<Vec<u8>>;

impl ForwardStep {
    /// `before` is the step of the same name until now, whose server is asked on where it is the same.
    pub(crate) fn compile(written: &ForwardAuth, before: Option<&Self>) -> Result<Self, String> {
        let names = written.auth_response_headers.iter().chain(&written.auth_request_headers);
        for name in names.map(|name| name.trim()) {
            check_name(name)?;
        }
        check_value(&written.auth_signin_url).map_err(|why| format!("`authSigninURL`: {why}"))?;
        let trimmed = |names: &[String]| names.iter().map(|name| name.trim().to_owned()).collect();
        let server = Server::of(written)?;
        Ok(Self {
            server: match before.filter(|before| before.server.is_same(&server)) {
                Some(before) => before.server.clone(),
                None => server.watched(),
            },
            trusts: written.trust_forward_header,
            asks_with: trimmed(&written.auth_request_headers),
            passes_on: trimmed(&written.auth_response_headers),
            passes_on_alike: written.auth_response_headers_regex.clone(),
            cookies: written.add_auth_cookies_to_response.clone(),
            user_field: written.header_field.clone(),
            body_max: written.max_response_body_size.and_then(|max| usize::try_from(max).ok()),
            sends_body: written.forward_body.then(|| BodySent::of(written.max_body_size)),
            keeps_location: written.preserve_location_header,
            keeps_method: written.preserve_request_method,
            signin: written.auth_signin_url.clone(),
        })
    }

    /// Who is asked.
    pub(crate) fn address(&self) -> &str {
        &self.server.address
    }

    /// Bytes of the request's body that are to be here when it is asked.
    pub(crate) fn asks_with_body(&self) -> Option<u64> {
        self.sends_body.map(|sent| sent.most)
    }

    pub(crate) async fn request(
        &self,
        draft: &mut Draft,
        worker: &Worker,
    ) -> Result<Option<Cookies>, Box<OwnAnswer>> {
        let method = if self.keeps_method { draft.method_text.as_str() } else { "GET" };
        let kind = if self.keeps_method { draft.method } else { Method::Get };
        let body = match &self.sends_body {
            None => &[],
            Some(sent) => sent.take(&draft.content)?,
        };
        let question = self.question(method, draft, body);
        let answered = match self.server.ask(&question, kind, self.body_max, worker).await {
            Ok(answered) => answered,
            Err(ServerError::TooLarge) => return Err(refusal(401, Reason::AuthRefused).into()),
            Err(ServerError::Failed(why)) => {
                tracing::debug!(
                    address = self.server.address,
                    why,
                    "nobody could be asked whether to let a request through"
                );
                return Err(refusal(500, Reason::AuthFailed).into());
            }
        };
        if !self.user_field.is_empty() {
            answered.head.fields.text(&self.user_field).clone_into(&mut draft.user);
        }
        match answered.head.status {
            401 if !self.signin.is_empty() => Err(signin(&self.signin).into()),
            200..300 => Ok(self.let_through(draft, &answered)),
            _ => Err(self.turned_away(answered).into()),
        }
    }

    /// The question: the request as it is by now, where it is for, and what is shown of its body.
    fn question(&self, method: &str, draft: &Draft, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        let mut put = |name: &str, value: &[u8]| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        };
        let is_ours = |name: &str| {
            [
                "X-Forwarded-For",
                "X-Forwarded-Method",
                "X-Forwarded-Proto",
                "X-Forwarded-Host",
                "X-Forwarded-Uri",
            ]
            .iter()
            .any(|ours| name.eq_ignore_ascii_case(ours))
        };
        for (name, value) in draft.fields.iter() {
            let wanted = self.asks_with.is_empty()
                || self.asks_with.iter().any(|asked| asked.eq_ignore_ascii_case(name))
                || (self.trusts && crate::http::is_forwarding_field(name));
            if wanted && !is_ours(name) && !is_of_the_hop(name) && !name.eq_ignore_ascii_case("expect") {
                put(name, value);
            }
        }
        let said =
            |name: &'static str| Some(draft.fields.text(name)).filter(|said| self.trusts && !said.is_empty());
        let said_for = said("X-Forwarded-For").map(|said| format!("{said}, ")).unwrap_or_default();
        let scheme = if draft.is_secure() { "https" } else { "http" };
        let path = if draft.path.is_empty() { "/" } else { &draft.path };
        let uri = format!("{path}{}", draft.query);
        put("X-Forwarded-For", format!("{said_for}{}", draft.peer.text()).as_bytes());
        put("X-Forwarded-Method", said("X-Forwarded-Method").unwrap_or(&draft.method_text).as_bytes());
        put("X-Forwarded-Proto", said("X-Forwarded-Proto").unwrap_or(scheme).as_bytes());
        put("X-Forwarded-Host", said("X-Forwarded-Host").unwrap_or(&draft.host).as_bytes());
        put("X-Forwarded-Uri", said("X-Forwarded-Uri").unwrap_or(&uri).as_bytes());
        if !body.is_empty() || !matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE") {
            put("Content-Length", body.len().to_string().as_bytes());
        }
        put("Host", self.server.host.as_bytes());
        let line = format!("{method} {} HTTP/1.1\r\n", self.server.target);
        [line.as_bytes(), &out, b"\r\n", body].concat()
    }

    /// Tells the endpoint what the server said. Gives the cookies that the client is to get with its answer.
    fn let_through(&self, draft: &mut Draft, answered: &Answered) -> Option<Cookies> {
        let fields = &answered.head.fields;
        for name in &self.passes_on {
            draft.fields.remove_alike(name);
            if !is_of_the_hop(name) {
                for value in fields.all(name) {
                    draft.fields.add(name, value);
                }
            }
        }
        if let Some(pattern) = &self.passes_on_alike {
            draft.fields.retain(|name| is_of_the_hop(name) || !pattern.is_match(&canonical(name)));
            for (name, value) in fields.iter() {
                if pattern.is_match(&canonical(name)) && !is_of_the_hop(name) {
                    draft.fields.add(name, value);
                }
            }
        }
        let all: Cookies = fields.all("Set-Cookie").map(<[u8]>::to_vec).collect();
        if all.is_empty() {
            return None;
        }
        Some(all.into_iter().filter(|cookie| self.is_added(cookie)).collect())
    }

    /// Puts the server's cookies in the place of the endpoint's of the same names.
    pub(crate) fn answer(&self, head: &mut AnswerHead, cookies: &Cookies) {
        let own: Cookies = head.fields.all("Set-Cookie").map(<[u8]>::to_vec).collect();
        head.fields.remove("Set-Cookie");
        for cookie in own.iter().filter(|cookie| !self.is_added(cookie)).chain(cookies) {
            head.fields.add("Set-Cookie", cookie);
        }
    }

    fn is_added(&self, cookie: &[u8]) -> bool {
        let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        self.cookies.iter().any(|added| added.as_bytes() == name)
    }

    /// The server's own answer, for the client.
    fn turned_away(&self, answered: Answered) -> OwnAnswer {
        let Answered { mut head, body } = answered;
        let location = head.fields.text("Location").to_owned();
        head.fields.retain(|name| !is_of_the_hop(name));
        if !location.is_empty() && !self.keeps_location {
            head.fields.set("Location", as_location(&self.server.resolve(&location)).as_bytes());
        }
        OwnAnswer { head, body, reason: Some(Reason::AuthRefused) }
    }
}

impl BodySent {
    fn of(max_body_size: i64) -> Self {
        let written = u64::try_from(max_body_size).ok().filter(|max| *max <= GATHERED_BYTES_MAX);
        Self { most: written.unwrap_or(GATHERED_BYTES_MAX), is_written: written.is_some() }
    }

    /// The body, if there is no more of it: nobody is let through by a part of what is asked.
    fn take(self, content: &Content) -> Result<&[u8], Box<OwnAnswer>> {
        match content {
            Content::Whole(body) if body.len() as u64 <= self.most => Ok(body),
            _ if self.is_written => Err(refusal(401, Reason::AuthRefused).into()),
            _ => Err(OwnAnswer::refusal(Reason::BodyTooLarge, 413, phrase(413)).into()),
        }
    }
}

/// Where clients are sent to say who they are.
fn signin(url: &str) -> OwnAnswer {
    let mut answer = OwnAnswer::new(302);
    answer.head.fields.add("Location", as_location(url).as_bytes());
    answer.head.fields.add("Content-Type", b"text/html; charset=utf-8");
    let shown = url.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;");
    answer.body = format!("<a href=\"{shown}\">Found</a>.\n\n").into();
    answer.reason = Some(Reason::AuthRefused);
    answer
}

fn refusal(status: u16, reason: Reason) -> OwnAnswer {
    OwnAnswer { body: Bytes::new(), reason: Some(reason), ..OwnAnswer::new(status) }
}

/// A name as patterns are written for it: `X-Auth-User`.
fn canonical(name: &str) -> String {
    let mut at_start = true;
    let mut letter = |letter: char| {
        let shown = if at_start { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        at_start = letter == '-';
        shown
    };
    name.chars().map(&mut letter).collect()
}
