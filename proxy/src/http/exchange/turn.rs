//! A request whose answer a failover does not accept: it goes on to the other service, as it came to the first.

use std::rc::Rc;

use super::Exchange;
use crate::http::asker::bind_draft;
use crate::http::body::Framing;
use crate::worker::Worker;

impl Exchange {
    /// Becomes the request to the other service, which has yet to go through the middlewares there. Gives whether there is
    /// anything to send it to.
    pub(super) fn turn_to_other(&mut self, turn: usize, worker: &Worker) -> bool {
        let Some(passage) = self.passage.as_mut().and_then(Rc::get_mut) else { return false };
        let Some(other) = passage.turn(turn) else { return false };
        let Some(bound) = bind_draft(&other, &passage.draft) else { return false };
        if !bound.mirrors.is_empty() {
            tracing::debug!(service = bound.upstream.name, "a request that fell back is not copied");
        }
        passage.go_on_along(bound.way);
        (self.method, self.upgrade) = (passage.draft.method, passage.draft.upgrade);
        // Its body is kept, whole.
        (self.framing, self.expects_continue) = (Framing::Empty, false);
        self.upstream = worker.table().upstreams.get(&bound.upstream.name).unwrap_or(&bound.upstream).clone();
        self.asker = bound.asker;
        self.cookies.join(bound.cookies);
        true
    }
}
