//! What the requests of a route go through, and their answers on the way back.
//!
//! ```text
//! client ──▶ step 0 ──▶ step 1 ──▶ … ──▶ endpoint      request: each edits the draft, or answers at once
//! client ◀── step 0 ◀── step 1 ◀── … ◀── endpoint      answer: each that was passed edits the head
//! ```
//!
//! A [`Chain`] is compiled for a route and shared by all workers; what it has to remember (buckets, counters) is kept by
//! middleware, over any number of tables. A [`Passage`] is one request's way through it. It knows neither sockets nor
//! versions of HTTP: whoever serves a client calls [`Passage::go_in`] before the exchange and [`Passage::go_out`] for
//! the head of whatever answers, be it an endpoint, a step or Portolan itself. A route without middlewares has no chain,
//! and pays one look for it.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use crate::http::{Method, Reason};
use crate::worker::Worker;

mod allow_list;
mod alteration;
mod answer;
mod attempts;
mod auth;
mod buffering;
mod circuit_breaker;
mod client_certificate;
mod compress;
mod content_type;
mod draft;
mod encoded_characters;
mod error_pages;
mod expression;
mod fields;
mod foresee;
mod grpc_web;
mod headers;
mod limits;
mod path;
mod redirect;
mod retry;
mod slots;
mod source;
mod step;
mod target;
mod turns;
mod verdict;
mod watcher;

pub(crate) use alteration::{Alteration, Fault};
pub(crate) use answer::{AnswerHead, OwnAnswer, phrase};
pub(crate) use auth::{Idle, ServerError, auth_key, auth_transport};
pub(crate) use draft::{Content, Draft};
pub(crate) use encoded_characters::Encoded;
pub(crate) use fields::FieldList;
pub(crate) use foresee::Foreseen;
pub(crate) use grpc_web::decode;
use slots::Held;
pub(crate) use step::{Note, Step};
use turns::Turns;
pub(crate) use verdict::{Arrival, Page, Verdict};
pub(crate) use watcher::Keep;
use watcher::Wish;

use crate::table::{Destination, Way};

/// The middlewares of a route, those of its router before those of its service.
pub(crate) struct Chain {
    steps: Vec<Arc<Step>>,
}

impl Chain {
    /// A chain of these; none where there are none.
    pub(crate) fn of(steps: Vec<Arc<Step>>) -> Option<Arc<Self>> {
        (!steps.is_empty()).then(|| Arc::new(Self { steps }))
    }

    /// This one behind the steps of an entry point.
    pub(crate) fn behind(front: &[Arc<Step>], rest: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let rest = rest.map(|chain| chain.steps.as_slice()).unwrap_or_default();
        Self::of(front.iter().chain(rest).cloned().collect())
    }

    /// Whether two chains are of the same steps.
    pub(crate) fn is_same(one: Option<&Arc<Self>>, other: Option<&Arc<Self>>) -> bool {
        match (one, other) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                one.steps.len() == other.steps.len()
                    && one.steps.iter().zip(&other.steps).all(|(a, b)| Arc::ptr_eq(a, b))
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain of {}", self.steps.len())
    }
}

/// One request on its way through a chain. What it holds of it (a place among the requests in flight) is let go of when
/// it is dropped, or told to: keep it until the answer is done.
pub(crate) struct Passage {
    chain: Arc<Chain>,
    /// How many steps have yet to see the answer: those that the request has passed, and that did not put another in
    /// its place.
    ahead: Cell<usize>,
    /// The status under which the answer is shown, where it is a page in the place of another.
    shown: Cell<Option<u16>>,
    /// What steps wrote down for the way back, by their place.
    notes: Vec<(usize, Note)>,
    /// The failovers on its way.
    turns: Turns,
    /// The request as it is by now.
    pub(crate) draft: Draft,
}

impl Passage {
    /// A request at the beginning of its way.
    pub(crate) fn new(chain: &Arc<Chain>, draft: Draft) -> Box<Self> {
        let (ahead, shown) = (Cell::new(0), Cell::new(None));
        let (notes, turns) = (Vec::new(), Turns::default());
        Box::new(Self { chain: chain.clone(), ahead, shown, notes, turns, draft })
    }

    /// One on this way behind the chain of its router; none, where there is neither.
    pub(crate) fn along(
        chain: Option<&Arc<Chain>>,
        way: Way,
        draft: impl FnOnce() -> Draft,
    ) -> Option<Box<Self>> {
        if way.is_empty() {
            return chain.map(|chain| Self::new(chain, draft()));
        }
        let mut passage = match chain {
            Some(chain) => Self::new(chain, draft()),
            None => Self::new(&Arc::new(Chain { steps: Vec::new() }), draft()),
        };
        passage.go_on_along(way);
        Some(passage)
    }

    /// Adds to its way.
    pub(crate) fn go_on_along(&mut self, way: Way) {
        let mut steps = self.chain.steps.clone();
        let mut turns = way.turns.into_iter().peekable();
        for (behind, chain) in way.chains.iter().enumerate() {
            while let Some(turn) = turns.next_if(|turn| turn.behind == behind) {
                self.turns.add(turn, steps.len());
            }
            steps.extend(chain.steps.iter().cloned());
        }
        turns.for_each(|turn| self.turns.add(turn, steps.len()));
        self.chain = Arc::new(Chain { steps });
    }

    /// Goes back to where this failover is, whose other service it gives: the way ends there, until it is added to.
    pub(crate) fn turn(&mut self, turn: usize) -> Option<Arc<Destination>> {
        let (other, place, draft) = self.turns.take(turn)?;
        self.draft = *draft;
        self.ahead.set(place);
        self.notes.retain(|(of, _)| *of < place);
        let steps = self.chain.steps.iter().take(place).cloned().collect();
        self.chain = Arc::new(Chain { steps });
        Some(other)
    }

    /// Takes the request through the steps, until one answers it: that answer has yet to go out. Where one needs the body
    /// first, this gives how much of it is to be gathered; then it goes on from there.
    pub(crate) async fn go_in(&mut self, worker: &Worker) -> Result<Option<Keep>, Box<OwnAnswer>> {
        let chain = self.chain.clone();
        for place in self.ahead.get().. {
            if let Some(bytes) = self.turns.keep(place, &self.draft)? {
                return Ok(Some(turns::with_body(self.keeps_until(place), bytes)));
            }
            let Some(step) = chain.steps.get(place) else { break };
            if matches!(self.draft.content, Content::Unread)
                && let Some(bytes) = step.asks_with_body()
            {
                return Ok(Some(turns::with_body(self.keeps_until(place), bytes)));
            }
            if let Some(note) = step.request(&mut self.draft, worker).await? {
                self.notes.push((place, note));
            }
            self.ahead.set(place + 1);
        }
        Ok(None)
    }

    /// How much of the request's body is to be gathered before it is sent on.
    pub(crate) fn keeps(&self) -> Keep {
        self.keeps_until(self.chain.steps.len())
    }

    /// The same for the steps before this one.
    fn keeps_until(&self, end: usize) -> Keep {
        let mut keep = Keep::default();
        for (place, step) in self.chain.steps.iter().enumerate().take(end) {
            step.keeps(&self.draft, self.note(place), &mut keep);
        }
        keep
    }

    /// Takes the head of an answer through the steps that the request has passed, the last one first, until one of them
    /// wants another answer.
    pub(crate) fn go_out(&self, head: &mut AnswerHead, arrival: &Arrival) -> Verdict {
        if let Some(status) = self.shown.get() {
            head.status = status;
            phrase(status).clone_into(&mut head.phrase);
        }
        let mut alteration = Alteration::default();
        let ahead = self.ahead.get();
        if let Some(turn) = self.turns.caught(ahead, head.status) {
            return Verdict::Elsewhere(turn);
        }
        for place in (0..ahead).rev() {
            let step = &self.chain.steps[place];
            let Some(verdict) = step.answer(head, &self.draft, self.note(place), arrival, &mut alteration)
            else {
                if let Some(turn) = self.turns.caught(place, head.status) {
                    return Verdict::Elsewhere(turn);
                }
                continue;
            };
            match &verdict {
                // The steps inside may see its next answer, too.
                Wish::Again(_) => {}
                Wish::Page { .. } | Wish::Refuse(_) => self.ahead.set(place),
            }
            return match verdict {
                Wish::Again(pause) => Verdict::Again(pause),
                Wish::Refuse(reason) => {
                    self.shown.set(None);
                    Verdict::Refuse(reason)
                }
                Wish::Page { page, shown } => {
                    self.shown.set(Some(shown));
                    Verdict::Page(page)
                }
            };
        }
        let has_body = arrival.length != Some(0);
        Verdict::Pass((!alteration.is_idle(has_body)).then(|| Box::new(alteration)))
    }

    /// Takes a whole answer of Portolan's own through them. Where one wants another in its place, that is what this gives.
    /// `failure` is why no endpoint answered, `may_repeat` whether the request can be sent again.
    pub(crate) fn go_out_whole(
        &self,
        answer: &mut OwnAnswer,
        failure: Option<Reason>,
        may_repeat: bool,
    ) -> Option<Verdict> {
        let arrival = Arrival { failure, length: Some(answer.body.len() as u64), may_repeat };
        match self.go_out(&mut answer.head, &arrival) {
            Verdict::Pass(None) => None,
            Verdict::Pass(Some(mut alteration)) => {
                if self.draft.method != Method::Head
                    && alteration.push(&mut answer.head, &answer.body).is_ok()
                    && alteration.end(&mut answer.head, None).is_ok()
                {
                    answer.body = std::mem::take(alteration.out()).into();
                }
                None
            }
            other => Some(other),
        }
    }

    /// Lets go of what it holds of the request: the last of the answer is about to leave, and who has it may ask again.
    pub(crate) fn let_go(&self) {
        self.held().for_each(Held::let_go);
    }

    /// Whether it holds anything for as long as the request lasts.
    pub(crate) fn holds(&self) -> bool {
        self.held().next().is_some()
    }

    fn held(&self) -> impl Iterator<Item = &Held> {
        self.notes.iter().filter_map(|(_, note)| if let Note::Held(held) = note { Some(held) } else { None })
    }

    fn note(&self, place: usize) -> Option<&Note> {
        self.notes.iter().find(|(of, _)| *of == place).map(|(_, note)| note)
    }
}

impl fmt::Debug for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passage at {} of {:?}", self.ahead.get(), self.chain)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use portolan_config::dynamic::middleware::Middleware;
    use portolan_config::dynamic::{Format, read_file};

    /// The middleware that is written so in a file.
    pub(crate) fn written(yaml: &str) -> Middleware {
        let file = format!("http: {{middlewares: {{m: {{{yaml}}}}}}}");
        let read = read_file("m.yml", Format::Yaml, &file).unwrap_or_else(|_| panic!("{file}"));
        let written = read.middlewares.into_values().next().and_then(|item| item.value);
        Middleware::clone(&written.unwrap_or_else(|| panic!("{file}: {:?}", read.wrong)))
    }
}
