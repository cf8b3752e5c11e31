//! What is waited for at an endpoint, given up as soon as that leaves: at an address that is gone nobody answers, and
//! nobody says so.

use std::pin::pin;

use super::Worker;
use crate::http::Reason;
use crate::table::{Target, Upstream};

impl Worker {
    /// Waits for `work` at a target that was chosen of `upstream`, unless it leaves meanwhile, which is
    /// [`Reason::NoEndpoint`]. Where the whole upstream left, nobody else is there, and it is waited for all the same.
    pub(crate) async fn unless_left<T>(
        &self,
        target: &Target,
        upstream: &Upstream,
        work: impl Future<Output = Result<T, Reason>>,
    ) -> Result<T, Reason> {
        let mut work = pin!(work);
        loop {
            let mut news = pin!(self.news.notified());
            // From here on no table is missed.
            news.as_mut().enable();
            if self.has_left(target, upstream) {
                tracing::debug!(
                    endpoint = target.endpoint,
                    service = upstream.name,
                    "it left while it was connected to"
                );
                return Err(Reason::NoEndpoint);
            }
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = news => {}
            }
        }
    }

    fn has_left(&self, target: &Target, upstream: &Upstream) -> bool {
        let table = self.table();
        let Some(newest) = table.upstreams.get(&upstream.name) else { return false };
        !std::ptr::eq(&raw const **newest, upstream)
            && !newest.available.iter().any(|known| known.id == target.id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::table::Table;
    use crate::table::tests::upstream;

    fn table(available: &[bool]) -> Table {
        let upstream = Arc::new(upstream(available));
        Table { upstreams: [("test".to_owned(), upstream)].into_iter().collect(), ..Table::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_given_up_when_its_endpoint_leaves_and_only_then() {
        let (worker, _drain) = Worker::alone();
        worker.put_in_place(table(&[true, true]));
        let chosen = worker.table().upstreams["test"].clone();
        let target = chosen.available[0].clone();
        let hang = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(())
        };
        let begun = tokio::time::Instant::now();
        let change = async {
            for available in [[true, false], [true, true], [false, true]] {
                tokio::time::sleep(Duration::from_secs(1)).await;
                worker.put_in_place(table(&available));
            }
        };
        let (given_up, ()) = tokio::join!(worker.unless_left(&target, &chosen, hang), change);
        assert_eq!(given_up, Err(Reason::NoEndpoint));
        assert_eq!(begun.elapsed().as_secs(), 3, "not when others leave or come back");
        let ready = async { Ok(7) };
        assert_eq!(worker.unless_left(&target, &chosen, ready).await, Err(Reason::NoEndpoint), "it is gone");
        worker.put_in_place(Table::default());
        assert_eq!(worker.unless_left(&target, &chosen, async { Ok(7) }).await, Ok(7), "so are all");
    }
}
