//! The thread that checks passwords: one after the other, so that those who guess take one core at most, and none of a
//! worker's.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, LazyLock};

use tokio::sync::oneshot;

use super::cache::Cache;
use super::secret::Secret;
use crate::deadline::timeout;
use crate::limits::{PASSWORD_TIMEOUT, PASSWORDS_WAITING_MAX};

/// A password to be checked.
struct Question {
    secret: Arc<Known>,
    password: Vec<u8>,
    cache: Arc<Cache>,
    answer: oneshot::Sender<bool>,
}

/// A user's hash.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// As written.
    pub(super) written: String,
    pub(super) secret: Secret,
}

/// Too many passwords wait to be checked.
pub(super) struct Busy;

/// Whether this is the password.
pub(super) async fn is_right(known: &Arc<Known>, password: &[u8], cache: &Arc<Cache>) -> Result<bool, Busy> {
    let mark = cache.mark(&known.written, password);
    if mark.as_ref().is_some_and(|mark| cache.has(mark)) {
        return Ok(true);
    }
    let (answer, answered) = oneshot::channel();
    let question =
        Question { secret: known.clone(), password: password.to_vec(), cache: cache.clone(), answer };
    QUESTIONS.as_ref().ok_or(Busy)?.try_send(question).map_err(|_| Busy)?;
    match timeout(PASSWORD_TIMEOUT, answered).await {
        Ok(Ok(is_right)) => Ok(is_right),
        Ok(Err(_)) | Err(_) => Err(Busy),
    }
}

/// The way to the thread, which is started by the first question. None where there can't be one.
static QUESTIONS: LazyLock<Option<SyncSender<Question>>> = LazyLock::new(|| {
    let (sender, receiver) = sync_channel(PASSWORDS_WAITING_MAX);
    let thread = std::thread::Builder::new().name("passwords".to_owned());
    match thread.spawn(move || answer_all(&receiver)) {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::error!(%error, "passwords can't be checked");
            None
        }
    }
});

fn answer_all(questions: &Receiver<Question>) {
    while let Ok(Question { secret, password, cache, answer }) = questions.recv() {
        // Whoever asked may be gone, or was answered by another's question meanwhile.
        if answer.is_closed() {
            continue;
        }
        let mark = cache.mark(&secret.written, &password);
        let is_known = mark.as_ref().is_some_and(|mark| cache.has(mark));
        let is_right = is_known || secret.secret.is(&password);
        if let Some(mark) = mark.filter(|_| is_right && !is_known) {
            cache.remember(mark);
        }
        let _ = answer.send(is_right);
    }
}
