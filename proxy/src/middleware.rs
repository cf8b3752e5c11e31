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

use std::fmt;
use std::sync::Arc;

use crate::worker::Worker;

mod allow_list;
mod answer;
mod draft;
mod encoded_characters;
mod fields;
mod headers;
mod limits;
mod path;
mod redirect;
mod slots;
mod source;
mod step;
mod target;

pub(crate) use answer::{AnswerHead, OwnAnswer};
pub(crate) use draft::Draft;
pub(crate) use fields::FieldList;
pub(crate) use step::{Note, Step};

/// The middlewares of a route, those of its router before those of its service.
pub(crate) struct Chain {
    steps: Vec<Arc<Step>>,
}

impl Chain {
    /// A chain of these; none where there are none.
    pub(crate) fn of(steps: Vec<Arc<Step>>) -> Option<Arc<Self>> {
        (!steps.is_empty()).then(|| Arc::new(Self { steps }))
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
/// it is dropped: keep it until the answer is done.
pub(crate) struct Passage {
    chain: Arc<Chain>,
    /// How many steps the request has passed.
    passed: usize,
    /// What steps wrote down for the way back, by their place.
    notes: Vec<(usize, Note)>,
    /// The request as it is by now.
    pub(crate) draft: Draft,
}

impl Passage {
    /// A request at the beginning of its way.
    pub(crate) fn new(chain: &Arc<Chain>, draft: Draft) -> Box<Self> {
        Box::new(Self { chain: chain.clone(), passed: 0, notes: Vec::new(), draft })
    }

    /// Takes the request through the steps, until one answers it. That answer has gone out already through those
    /// before it.
    pub(crate) async fn go_in(&mut self, worker: &Worker) -> Result<(), Box<OwnAnswer>> {
        let chain = self.chain.clone();
        for (place, step) in chain.steps.iter().enumerate() {
            match step.request(&mut self.draft, worker).await {
                Ok(None) => {}
                Ok(Some(note)) => self.notes.push((place, note)),
                Err(mut answer) => {
                    self.go_out(&mut answer.head);
                    return Err(answer);
                }
            }
            self.passed = place + 1;
        }
        Ok(())
    }

    /// Takes the head of an answer through the steps that the request has passed, the last one first.
    pub(crate) fn go_out(&self, head: &mut AnswerHead) {
        for place in (0..self.passed).rev() {
            let note = self.notes.iter().find(|(of, _)| *of == place).map(|(_, note)| note);
            self.chain.steps[place].answer(head, &self.draft, note);
        }
    }
}

impl fmt::Debug for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passage at {} of {:?}", self.passed, self.chain)
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
