//! Passes an answer's body on that middlewares change: content in, content out, framed anew.
//!
//! Knows neither which version of HTTP the endpoint speaks nor which the client does: either is a few lines here, a
//! [`Source`] and a [`Sink`].

use std::time::Duration;

use http::HeaderMap;

use super::Reason;
use crate::deadline::timeout;
use crate::limits::{ALTERED_BYTES, ALTERED_PAUSE, TUNNEL_IDLE_TIMEOUT};
use crate::middleware::{Alteration, AnswerHead, Fault};

/// Where content comes from.
pub(super) trait Source {
    /// Takes what is here of it. Gives whether it ends there.
    fn take(&mut self, content: &mut Vec<u8>) -> Result<bool, Reason>;

    /// Waits until there is more, or the end.
    async fn more(&mut self) -> Result<(), Reason>;

    /// What is said behind it.
    async fn trailers(&mut self) -> Result<Option<HeaderMap>, Reason>;
}

/// Where it goes.
pub(super) trait Sink {
    /// Sends the head; the length is known where all of the content is here.
    async fn begin(&mut self, head: &AnswerHead, length: Option<usize>) -> Result<(), Reason>;

    /// Sends content, and takes it out of `bytes`.
    async fn send(&mut self, bytes: &mut Vec<u8>) -> Result<(), Reason>;

    /// Sends the end.
    async fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Reason>;

    /// Ready when nobody wants it any longer.
    async fn gone(&mut self);
}

/// Whether an answer was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// To its end.
    Whole,
    /// Nothing of it was sent: it is larger than it may be.
    TooLarge,
}

/// Passes the body on, and the head before it as soon as that is known. `is_stream` is one whose length nobody knows: what
/// comes of it is let out at once.
pub(super) async fn pass(
    source: &mut impl Source,
    sink: &mut impl Sink,
    mut head: AnswerHead,
    mut alteration: Box<Alteration>,
    is_stream: bool,
) -> Result<Passed, Reason> {
    let mut content = Vec::new();
    let mut begun = false;
    loop {
        let ends = source.take(&mut content)?;
        let mut told = alteration.push(&mut head, &content);
        content.clear();
        let mut trailers = None;
        if ends && told.is_ok() {
            trailers = source.trailers().await?;
            told = alteration.end(&mut head, trailers.as_ref());
            trailers = trailers.filter(|_| !alteration.takes_trailers());
        }
        match told {
            Ok(()) => {}
            Err(Fault::TooLarge) if !begun => return Ok(Passed::TooLarge),
            Err(Fault::TooLarge) => return Err(Reason::AnswerTooLarge),
            Err(Fault::Encoder) => return Err(Reason::ResponseTruncated),
        }
        if ends {
            if !begun {
                let length = Some(alteration.out().len()).filter(|_| trailers.is_none());
                sink.begin(&head, length).await?;
            }
            sink.send(alteration.out()).await?;
            sink.end(trailers).await?;
            return Ok(Passed::Whole);
        }
        if alteration.out().len() >= ALTERED_BYTES {
            let_out(sink, &head, &mut alteration, &mut begun).await?;
        }
        // Others of this worker get their turn: to compress takes longer than to pass on.
        tokio::task::yield_now().await;
        let patience = if is_stream { Duration::ZERO } else { ALTERED_PAUSE };
        if let Ok(came) = timeout(patience, source.more()).await {
            came?;
            continue;
        }
        // Nothing more for the moment: whoever waits for it gets what there is.
        if alteration.pause(&mut head).is_err() {
            return Err(Reason::ResponseTruncated);
        }
        let_out(sink, &head, &mut alteration, &mut begun).await?;
        tokio::select! {
            biased;
            came = timeout(TUNNEL_IDLE_TIMEOUT, source.more()) => came.map_err(|_| Reason::ResponseTimeout)??,
            () = sink.gone() => return Err(Reason::ClientGone),
        }
    }
}

/// Sends what there is, if the head may be sent.
async fn let_out(
    sink: &mut impl Sink,
    head: &AnswerHead,
    alteration: &mut Alteration,
    begun: &mut bool,
) -> Result<(), Reason> {
    if !alteration.is_settled() {
        return Ok(());
    }
    if !*begun {
        sink.begin(head, None).await?;
        *begun = true;
    }
    sink.send(alteration.out()).await
}
