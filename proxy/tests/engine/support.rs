//! What the tests share.

#[path = "support/http2.rs"]
pub(crate) mod http2;
#[path = "support/http2_origin.rs"]
pub(crate) mod http2_origin;
#[path = "support/layer_four.rs"]
pub(crate) mod layer_four;
#[path = "support/link.rs"]
mod link;
#[path = "support/origin.rs"]
mod origin;
#[path = "support/papers.rs"]
pub(crate) mod papers;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/world.rs"]
mod world;

use std::future::Future;
use std::time::Duration;

pub(crate) use link::Link;
pub(crate) use origin::{Origin, Reply, Seen, Then, ok};
pub(crate) use wire::{Answer, End, Wire};
pub(crate) use world::{Checks, World, place};

/// After this long, what was waited for is not coming.
const DEADLINE: Duration = Duration::from_secs(20);

/// The outcome of `work`, which must not take forever.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let Ok(outcome) = tokio::time::timeout(DEADLINE, work).await else { panic!("waited in vain: {what}") };
    outcome
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    soon(what, async {
        let mut again = tokio::time::interval(Duration::from_millis(2));
        while !condition() {
            again.tick().await;
        }
    })
    .await;
}
