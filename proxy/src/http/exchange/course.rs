//! A request whose middlewares may want another answer than the first: it is sent again, or a page is fetched in the
//! place of what it was answered.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::{Carrier, Client, Cookies, Exchange, Outcome, attempt};
use crate::access_log::Asked;
use crate::balancer::Asker;
use crate::deadline::{Moment, sleep_until};
use crate::http::body::Framing;
use crate::http::{Method, Reason, response};
use crate::middleware::{Content, Keep, OwnAnswer, Page, Passage, Verdict};
use crate::table::Ask;
use crate::worker::Worker;

/// Has a request answered, until its middlewares are content.
pub(in crate::http) async fn course(
    client: &mut impl Client,
    request: &mut Exchange,
    carrier: &mut Carrier<'_>,
    worker: &Worker,
) -> Outcome {
    let (mut retries, mut is_body_lost) = (0, false);
    // The service that it was for, where another one has the page.
    let mut asked_first = None;
    loop {
        let mut outcome = attempt(client, request, carrier, worker).await;
        outcome.retries += retries;
        if let Some((upstream, target)) = &asked_first {
            outcome.upstream.clone_from(upstream);
            outcome.target.clone_from(target);
        }
        outcome.still_sending |= is_body_lost;
        let mut verdict = outcome.withheld.take().map(|verdict| *verdict);
        if let Some(Verdict::Refuse(reason)) = verdict {
            outcome.failure = Some(reason);
            verdict = None;
        }
        if verdict.is_none() {
            verdict = refuse(&mut outcome, request, client.has_whole_body(), worker);
        }
        match verdict {
            Some(Verdict::Again(pause)) => {
                worker.metrics.retried(&request.upstream.name);
                retries = outcome.retries + 1;
                wait(pause).await;
                if let Some(newer) = worker.table().upstreams.get(&request.upstream.name) {
                    request.upstream.clone_from(newer);
                }
            }
            Some(Verdict::Page(page)) => {
                if !client.has_whole_body() {
                    // Nobody reads it any more: the answer is the last of this connection.
                    client.leave_body();
                    request.keep_alive = false;
                    is_body_lost = true;
                }
                asked_first.get_or_insert((outcome.upstream.take(), outcome.target.take()));
                request.ask_for(&page, worker);
            }
            Some(Verdict::Elsewhere(turn)) => {
                retries = outcome.retries + 1;
                if !request.turn_to_other(turn, worker) {
                    outcome.failure = Some(Reason::NoEndpoint);
                    return outcome;
                }
                if let Err(answer) = request.go_in(None, worker).await {
                    outcome.here = Some(answer);
                    return outcome;
                }
            }
            Some(Verdict::Pass(_) | Verdict::Refuse(_)) | None => return outcome,
        }
    }
}

/// Makes the answer for a request that no endpoint answered, and takes it through the middlewares. Gives what they want
/// instead.
fn refuse(outcome: &mut Outcome, request: &Exchange, may_repeat: bool, worker: &Worker) -> Option<Verdict> {
    let (Some(reason), None, Some(passage)) = (outcome.failure, outcome.status, &request.passage) else {
        return None;
    };
    if reason == Reason::ClientGone {
        return None;
    }
    let detail = match reason {
        Reason::NoEndpoint => worker
            .table()
            .upstreams
            .get(&request.upstream.name)
            .unwrap_or(&request.upstream)
            .why_unavailable(),
        _ => String::new(),
    };
    let mut answer = response::refusal(reason, &detail);
    let verdict = passage.go_out_whole(&mut answer, Some(reason), may_repeat);
    if verdict.is_none() {
        outcome.own = Some(Box::new(answer));
    }
    verdict
}

async fn wait(pause: Duration) {
    if !pause.is_zero() {
        sleep_until(Moment::now() + pause).await;
    }
}

impl Exchange {
    /// Takes the request through its middlewares, until one of them answers it; what it becomes by that goes on. Where one
    /// needs its body first, this gives how much of it is to be gathered before it goes further in.
    pub(in crate::http) async fn enter(
        &mut self,
        mut passage: Box<Passage>,
        asked: Option<&mut Asked>,
        worker: &Worker,
    ) -> Result<Option<Keep>, Box<OwnAnswer>> {
        if self.framing == Framing::Empty {
            passage.draft.content = Content::Whole(Bytes::new());
        }
        self.passage = Some(Rc::from(passage));
        self.go_in(asked, worker).await
    }

    /// Takes it further in, with its body gathered as far as it was asked for.
    pub(in crate::http) async fn go_further_in(
        &mut self,
        asked: Option<&mut Asked>,
        worker: &Worker,
    ) -> Result<Option<Keep>, Box<OwnAnswer>> {
        if let Some(passage) = self.passage.as_mut().and_then(Rc::get_mut)
            && matches!(passage.draft.content, Content::Unread)
        {
            passage.draft.content = Content::TooLong;
        }
        self.go_in(asked, worker).await
    }

    async fn go_in(
        &mut self,
        mut asked: Option<&mut Asked>,
        worker: &Worker,
    ) -> Result<Option<Keep>, Box<OwnAnswer>> {
        loop {
            let Some(passage) = self.passage.as_mut().and_then(Rc::get_mut) else { return Ok(None) };
            let entered = passage.go_in(worker).await;
            if let Some(asked) = asked.as_deref_mut()
                && !passage.draft.user.is_empty()
            {
                asked.user = std::mem::take(&mut passage.draft.user);
            }
            let mut answer = match entered {
                Ok(None) => {
                    self.head.clear();
                    self.host_at = passage.draft.write(self.upstream.pass_host_header, &mut self.head);
                    if let Content::Whole(body) = std::mem::take(&mut passage.draft.content) {
                        self.head.put(&body);
                    }
                    self.upgrade = passage.draft.upgrade;
                    return Ok(None);
                }
                Ok(needed) => {
                    if let Some(keep) = &needed {
                        self.bound_body(keep);
                    }
                    return Ok(needed);
                }
                Err(answer) => answer,
            };
            match passage.go_out_whole(&mut answer, None, false) {
                Some(Verdict::Page(page)) => {
                    self.ask_for(&page, worker);
                    return Ok(None);
                }
                Some(Verdict::Elsewhere(turn)) if self.turn_to_other(turn, worker) => {}
                _ => return Err(answer),
            }
        }
    }

    /// Becomes the question for a page. A service that is gone has no endpoint to ask.
    pub(in crate::http) fn ask_for(&mut self, page: &Page, worker: &Worker) {
        let table = worker.table();
        let client = page.draft.peer.address().ip();
        let ask = Ask::new(client, &|_| None);
        // Pages keep nobody to themselves.
        let mut cookies = Vec::new();
        let destination = table.destinations.get(&*page.service);
        match destination.and_then(|destination| destination.resolve(&ask, &mut cookies)) {
            Some(upstream) => self.upstream.clone_from(upstream),
            None => tracing::debug!(service = &*page.service, "nobody has the page"),
        }
        (self.asker, self.cookies) = (Asker::default(), Cookies::default());
        self.head.clear();
        self.host_at = page.draft.write(self.upstream.pass_host_header, &mut self.head);
        self.method = if self.method == Method::Head { Method::Head } else { Method::Get };
        self.framing = Framing::Empty;
        self.upgrade = false;
        self.expects_continue = false;
        self.mirrors.clear();
    }
}
