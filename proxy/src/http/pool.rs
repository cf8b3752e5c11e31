//! Connections to endpoints that wait for the next request. Each worker has its own.

use std::cell::RefCell;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::net::TcpStream;

use crate::deadline::Moment;
use crate::stream::Stream;
use crate::table::{Table, Target};

/// Waiting connections, by the target's identity: an address that was given to another container finds nothing here.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    waiting: RefCell<HashMap<u64, Vec<Waiting>, RandomState>>,
}

#[derive(Debug)]
struct Waiting {
    connection: Stream,
    /// When it has waited too long.
    until: Moment,
}

impl Pool {
    /// A connection that the endpoint has not closed, as far as is known: the one used last, which is likeliest to be
    /// open still.
    pub(crate) fn take(&self, target: &Target, care: Care) -> Option<Stream> {
        let mut waiting = self.waiting.borrow_mut();
        let connections = waiting.get_mut(&target.id)?;
        let now = Moment::now();
        while let Some(mut candidate) = connections.pop() {
            if candidate.until > now && care.finds_silent(&mut candidate.connection) {
                return Some(candidate.connection);
            }
        }
        None
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn put(&self, target: &Target, connection: Stream) {
        let mut waiting = self.waiting.borrow_mut();
        let connections = waiting.entry(target.id).or_default();
        if connections.len() < target.reach.pool_max {
            let until = Moment::now() + target.reach.pool_idle;
            connections.push(Waiting { connection, until });
        }
    }

    /// Closes the connections to a target, after one of them turned out to be dead.
    pub(crate) fn forget(&self, target: &Target) {
        self.waiting.borrow_mut().remove(&target.id);
    }

    /// Closes what waited too long, and what leads to endpoints that may be given no work any more.
    pub(crate) fn sweep(&self, table: &Table) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            return;
        }
        let now = Moment::now();
        let offered = table.offered();
        waiting.retain(|target, connections| {
            connections.retain(|waiting| waiting.until > now);
            offered.contains(target) && !connections.is_empty()
        });
    }
}

/// How closely a connection is looked at before it is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// As far as the runtime knows. What it has not heard of yet costs another try.
    Usual,
    /// The kernel is asked, for a system call: the request can't be tried again.
    Utmost,
}

impl Care {
    pub(super) fn finds_silent(self, connection: &mut Stream) -> bool {
        connection.is_silent()
            && (self == Self::Usual || connection.with_tcp(is_silent_to_the_kernel) == Some(true))
    }
}

fn is_silent_to_the_kernel(connection: &TcpStream) -> bool {
    let peeked = recv(connection, &mut [0_u8], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(peeked, Err(Errno::AGAIN))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::limits::{POOL_IDLE_TIMEOUT, POOL_PER_TARGET_MAX};
    use crate::table::tests::upstream;

    /// Puts `count` connections to a target into the pool; gives the ends they lead to.
    async fn fill(pool: &Pool, target: &Target, count: usize) -> Vec<std::net::TcpStream> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ends = Vec::new();
        for _ in 0..count {
            let connection = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            ends.push(listener.accept().unwrap().0);
            pool.put(target, connection.into());
        }
        ends
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_waits_no_longer_than_it_may() {
        let mut upstream = upstream(&[true]);
        for idle in [POOL_IDLE_TIMEOUT, Duration::from_secs(3)] {
            Arc::get_mut(&mut upstream.available[0]).unwrap().reach.pool_idle = idle;
            let target = &upstream.available[0];
            let pool = Pool::default();
            let _ends = fill(&pool, target, 3).await;
            tokio::time::advance(idle * 9 / 10).await;
            assert!(pool.take(target, Care::Usual).is_some());
            tokio::time::advance(idle / 5).await;
            assert!(pool.take(target, Care::Usual).is_none());
            let mut ends = fill(&pool, target, 1).await;
            tokio::time::advance(idle * 2).await;
            let table = Table {
                upstreams: [("test".to_owned(), Arc::new(crate::table::tests::upstream(&[true])))]
                    .into_iter()
                    .collect(),
                ..Table::default()
            };
            pool.sweep(&table);
            let end = std::io::Read::read(&mut ends[0], &mut [0]).unwrap();
            assert_eq!(end, 0, "swept is closed");
        }
    }

    #[tokio::test]
    async fn no_more_connections_wait_than_may() {
        let mut upstream = upstream(&[true]);
        for max in [0, 2, POOL_PER_TARGET_MAX] {
            Arc::get_mut(&mut upstream.available[0]).unwrap().reach.pool_max = max;
            let target = &upstream.available[0];
            let pool = Pool::default();
            let _ends = fill(&pool, target, max + 1).await;
            let kept = std::iter::from_fn(|| pool.take(target, Care::Usual)).count();
            assert_eq!(kept, max);
        }
    }

    #[tokio::test]
    async fn the_kernel_knows_of_an_end_before_the_runtime_has_heard_of_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (endpoint, _) = listener.accept().unwrap();
        connection.writable().await.unwrap();
        let mut connection = Stream::from(connection);
        assert!(Care::Utmost.finds_silent(&mut connection));
        // From here on nothing is awaited: the runtime can't hear of what happens.
        drop(endpoint);
        assert!(Care::Usual.finds_silent(&mut connection));
        assert!(!Care::Utmost.finds_silent(&mut connection));
    }
}
