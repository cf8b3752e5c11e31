//! Whether an engine or a manager still answers, and how following it ends.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Between two pings: a connection that hangs does not end by itself.
pub(super) const PING_EVERY: Duration = Duration::from_secs(5);
pub(super) const PING_DEADLINE: Duration = Duration::from_secs(3);

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nobody listens any more.
    Unheard,
    /// The engine does not answer, for this reason.
    Lost(String),
}

/// Ends, with the reason, when what is pinged stops answering.
pub(super) async fn dead<P: Future<Output = Result<(), String>>>(ping: impl Fn() -> P) -> String {
    loop {
        sleep(PING_EVERY).await;
        match timeout(PING_DEADLINE, ping()).await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => return format!("the engine does not answer a ping: {reason}"),
            Err(_) => {
                return format!("the engine does not answer a ping within {} s", PING_DEADLINE.as_secs());
            }
        }
    }
}
