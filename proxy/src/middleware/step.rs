//! One middleware as a chain has it: the list of those that are done, and what each does with requests and answers.

use std::path::Path;

use portolan_config::dynamic::middleware::Middleware;

use super::allow_list::AllowList;
use super::auth::{BasicStep, Cookies, DigestStep, ForwardStep};
use super::client_certificate::ClientCertificateStep;
use super::encoded_characters::Encoded;
use super::headers::HeadersStep;
use super::limits::{InFlightStep, RateStep};
use super::path::PathStep;
use super::redirect::Redirect;
use super::slots::Held;
use super::watcher::{Keep, Seen, Watcher, Wish};
use super::{Alteration, AnswerHead, Arrival, Draft, OwnAnswer};
use crate::worker::Worker;

/// A middleware, compiled.
#[derive(Debug)]
pub(crate) enum Step {
    /// `addPrefix`, `stripPrefix` and whatever else is about the path.
    Path(PathStep),
    /// `redirectScheme`, `redirectRegex`
    Redirect(Redirect),
    /// `ipAllowList`
    AllowList(AllowList),
    /// `headers`
    Headers(Box<HeadersStep>),
    /// `encodedCharacters`
    Encoded(Encoded),
    /// `passTLSClientCert`
    ClientCertificate(ClientCertificateStep),
    /// `basicAuth`
    Basic(Box<BasicStep>),
    /// `digestAuth`
    Digest(Box<DigestStep>),
    /// `forwardAuth`
    Forward(Box<ForwardStep>),
    /// `rateLimit`
    Rate(RateStep),
    /// `inFlightReq`
    InFlight(InFlightStep),
    /// `noop@internal`: what is left to say where nothing is to be done.
    Nothing,
    /// What looks at answers for more than their fields.
    Watch(Watcher),
}

/// What a step writes down about a request for its answer, or holds until it is done.
pub(crate) enum Note {
    /// A place among the requests in flight.
    Held(Held),
    /// Cookies that the client gets with the answer.
    Cookies(Cookies),
    /// What a watcher goes by.
    Seen(Seen),
}

impl Step {
    /// Compiles a middleware. `before` is the step of the same name in the table before, whose counts go on. What can't
    /// be done costs the routers that ask for it.
    pub(crate) fn compile(written: &Middleware, before: Option<&Self>) -> Result<Self, String> {
        if let Some(step) = PathStep::compile(written) {
            return step.map(Self::Path);
        }
        if let Some(watcher) = Watcher::compile(written) {
            return watcher.map(Self::Watch);
        }
        Ok(match written {
            Middleware::RedirectScheme(written) => Self::Redirect(Redirect::by_scheme(written)),
            Middleware::RedirectRegex(written) => Self::Redirect(Redirect::by_pattern(written)),
            Middleware::IpAllowList(written) | Middleware::IpWhiteList(written) => {
                Self::AllowList(AllowList::compile(written)?)
            }
            Middleware::Headers(written) => Self::Headers(Box::new(HeadersStep::compile(written)?)),
            Middleware::EncodedCharacters(written) => Self::Encoded(Encoded::compile(*written)),
            Middleware::PassTlsClientCert(written) => {
                Self::ClientCertificate(ClientCertificateStep::compile(*written))
            }
            Middleware::BasicAuth(written) => Self::Basic(Box::new(BasicStep::compile(written)?)),
            Middleware::DigestAuth(written) => {
                let before = before
                    .and_then(|before| if let Self::Digest(step) = before { Some(&**step) } else { None });
                Self::Digest(Box::new(DigestStep::compile(written, before)?))
            }
            Middleware::ForwardAuth(written) => {
                let before = before
                    .and_then(|before| if let Self::Forward(step) = before { Some(&**step) } else { None });
                Self::Forward(Box::new(ForwardStep::compile(written, before)?))
            }
            Middleware::RateLimit(written) => {
                let before =
                    before.and_then(|before| if let Self::Rate(step) = before { Some(step) } else { None });
                Self::Rate(RateStep::compile(written, before)?)
            }
            Middleware::InFlightReq(written) => {
                let before = before
                    .and_then(|before| if let Self::InFlight(step) = before { Some(step) } else { None });
                Self::InFlight(InFlightStep::compile(written, before)?)
            }
            other => return Err(format!("Portolan can't do `{}` yet", other.name())),
        })
    }

    /// The file of users that it goes by, where there is one.
    pub(crate) fn users_file(&self) -> Option<&Path> {
        match self {
            Self::Basic(step) => step.users_file(),
            Self::Digest(step) => step.users_file(),
            _ => None,
        }
    }

    /// Takes what that file says. What can't be understood is told, and costs its lines.
    pub(crate) fn take_users(&self, text: &str) -> Result<(), String> {
        match self {
            Self::Basic(step) => step.take_users(text),
            Self::Digest(step) => step.take_users(text),
            _ => Ok(()),
        }
    }

    /// Bytes of the request's body that have to be here before it can edit or answer the request.
    pub(super) fn asks_with_body(&self) -> Option<u64> {
        match self {
            Self::Forward(step) => step.asks_with_body(),
            _ => None,
        }
    }

    /// Edits a request, or answers it. What is to be known for the answer is the note.
    pub(super) async fn request(
        &self,
        draft: &mut Draft,
        worker: &Worker,
    ) -> Result<Option<Note>, Box<OwnAnswer>> {
        match self {
            Self::Path(step) => step.request(draft)?,
            Self::Redirect(step) => step.request(draft)?,
            Self::AllowList(step) => step.request(draft)?,
            Self::Headers(step) => step.request(draft)?,
            Self::Encoded(step) => step.request(draft)?,
            Self::ClientCertificate(step) => step.request(draft),
            Self::Nothing => return Err(OwnAnswer::new(418).into()),
            Self::Basic(step) => step.request(draft).await?,
            Self::Digest(step) => step.request(draft)?,
            Self::Forward(step) => {
                return step.request(draft, worker).await.map(|cookies| cookies.map(Note::Cookies));
            }
            Self::Rate(step) => step.request(draft).await?,
            Self::InFlight(step) => return step.request(draft).map(|held| Some(Note::Held(held))),
            Self::Watch(watcher) => return watcher.request(draft).map(|seen| seen.map(Note::Seen)),
        }
        Ok(None)
    }

    /// How much of the request's body it needs.
    pub(super) fn keeps(&self, draft: &Draft, note: Option<&Note>, keep: &mut Keep) {
        if let Self::Watch(watcher) = self {
            watcher.keeps(draft, seen(note), keep);
        }
    }

    /// Edits the head of an answer, and says what is to be done to its body, or what it wants instead.
    pub(super) fn answer(
        &self,
        head: &mut AnswerHead,
        draft: &Draft,
        note: Option<&Note>,
        arrival: &Arrival,
        alteration: &mut Alteration,
    ) -> Option<Wish> {
        match self {
            Self::Headers(step) => step.answer(head, draft),
            Self::Forward(step) => {
                if let Some(Note::Cookies(cookies)) = note {
                    step.answer(head, cookies);
                }
            }
            Self::Watch(watcher) => return watcher.answer(head, draft, seen(note), arrival, alteration),
            Self::Path(_)
            | Self::Redirect(_)
            | Self::AllowList(_)
            | Self::Encoded(_)
            | Self::ClientCertificate(_)
            | Self::Nothing
            | Self::Basic(_)
            | Self::Digest(_)
            | Self::Rate(_)
            | Self::InFlight(_) => {}
        }
        None
    }
}

fn seen(note: Option<&Note>) -> Option<&Seen> {
    match note {
        Some(Note::Seen(seen)) => Some(seen),
        _ => None,
    }
}
