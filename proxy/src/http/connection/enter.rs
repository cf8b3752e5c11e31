//! How a request of a client connection goes through its middlewares, and what one of them answers.

use std::time::Instant;

use tokio::io::AsyncWriteExt;

use super::{Connection, Turned, linger};
use crate::access_log::Asked;
use crate::deadline::timeout;
use crate::http::Method;
use crate::http::body::Framing;
use crate::http::exchange::{Exchange, gather};
use crate::http::response::{self, Manner};
use crate::limits::BODY_IDLE;
use crate::middleware::{Keep, OwnAnswer, Passage, Verdict};
use crate::table::Route;
use crate::worker::Buffer;

/// What became of a request's body when it went through its middlewares.
#[derive(Default)]
pub(super) struct Entered {
    /// Bytes of it that stand behind the head by now.
    pub(super) received: u64,
    /// Whether some of it is still to come that nobody is to have.
    pub(super) is_body_left: bool,
}

impl Connection {
    /// Takes a request through its middlewares, and gathers its body where they ask for it.
    pub(super) async fn enter(
        &mut self,
        passage: Box<Passage>,
        request: &mut Exchange,
        inbound: &mut Buffer,
        mut asked: Option<&mut Asked>,
    ) -> Result<Entered, Box<OwnAnswer>> {
        let mut framing = request.framing;
        let mut entered = Entered::default();
        let mut needed = request.enter(passage, asked.as_deref_mut(), &self.worker).await?;
        while let Some(keep) = needed {
            let gathered = self.gather_so_much(request, inbound, &keep).await?;
            if gathered.is_body_left {
                return Ok(gathered);
            }
            (framing, entered.received) = (request.framing, entered.received + gathered.received);
            needed = request.go_further_in(asked.as_deref_mut(), &self.worker).await?;
        }
        if request.framing != framing {
            // It is another request by now, and nobody is to have the body of the first.
            entered.is_body_left = !take_body(framing, inbound);
            request.keep_alive &= !entered.is_body_left;
            return Ok(entered);
        }
        let gathered = self.gather(request, inbound).await?;
        entered.received += gathered.received;
        entered.is_body_left = gathered.is_body_left;
        Ok(entered)
    }

    /// Gathers a request's body, where somebody needs it whole.
    pub(super) async fn gather(
        &mut self,
        request: &mut Exchange,
        inbound: &mut Buffer,
    ) -> Result<Entered, Box<OwnAnswer>> {
        match request.keeps() {
            Some(keep) => self.gather_so_much(request, inbound, &keep).await,
            None => Ok(Entered::default()),
        }
    }

    async fn gather_so_much(
        &mut self,
        request: &mut Exchange,
        inbound: &mut Buffer,
        keep: &Keep,
    ) -> Result<Entered, Box<OwnAnswer>> {
        let mut entered = Entered::default();
        match gather(&mut self.client, inbound, request, keep).await {
            Ok(received) => entered.received = received,
            Err(reason) => {
                request.keep_alive = false;
                let mut answer = response::refusal(reason, "");
                let passage = request.passage.clone();
                if let Some(Verdict::Page(page)) =
                    passage.and_then(|passage| passage.go_out_whole(&mut answer, None, false))
                {
                    request.ask_for(&page, &self.worker);
                    entered.is_body_left = true;
                    return Ok(entered);
                }
                return Err(Box::new(answer));
            }
        }
        Ok(entered)
    }

    /// Sends the answer of a middleware. Gives whether the connection can take another request.
    pub(super) async fn answer_own(
        &mut self,
        answer: &OwnAnswer,
        turned: &Turned,
        started: Instant,
        route: &Route,
    ) -> bool {
        let keep_alive = turned.keep_alive && !self.worker.is_leaving();
        let manner = Manner { close: !keep_alive, is_http10: turned.is_http10 };
        let mut out = self.worker.buffers.take();
        response::write_own(answer, manner, turned.method != Method::Head, &mut out);
        let sent = out.filled().len() as u64;
        self.account().answered_here(route, turned.method, answer, sent, turned.asked.as_deref(), started);
        let written = timeout(BODY_IDLE, self.client.write_all(out.filled())).await;
        if !keep_alive {
            linger(&mut self.client, &self.worker.buffers).await;
        }
        keep_alive && matches!(written, Ok(Ok(())))
    }
}

/// Passes over a body that nobody is to have, if all of it is here already.
pub(super) fn take_body(framing: Framing, inbound: &mut Buffer) -> bool {
    let Framing::Length(length) = framing else { return framing == Framing::Empty };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let is_here = inbound.filled().len() >= length;
    if is_here {
        inbound.consume(length);
    }
    is_here
}
