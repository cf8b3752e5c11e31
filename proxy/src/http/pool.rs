//! Connections to endpoints that wait for the next request. Each worker has its own.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Instant;

use foldhash::fast::RandomState;
use tokio::net::TcpStream;

use crate::limits::{POOL_IDLE_TIMEOUT, POOL_PER_TARGET_MAX};
use crate::table::{Table, Target};

/// Waiting connections, by the target's identity: an address that was given to another container finds nothing here.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    waiting: RefCell<HashMap<u64, Vec<Waiting>, RandomState>>,
}

#[derive(Debug)]
struct Waiting {
    connection: TcpStream,
    since: Instant,
}

impl Pool {
    /// A connection that the endpoint has not closed, as far as is known: the one used last, which is likeliest to be
    /// open still.
    pub(crate) fn take(&self, target: &Target) -> Option<TcpStream> {
        let mut waiting = self.waiting.borrow_mut();
        let connections = waiting.get_mut(&target.id)?;
        while let Some(candidate) = connections.pop() {
            if candidate.since.elapsed() < POOL_IDLE_TIMEOUT && is_silent(&candidate.connection) {
                return Some(candidate.connection);
            }
        }
        None
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn put(&self, target: &Target, connection: TcpStream) {
        let mut waiting = self.waiting.borrow_mut();
        let connections = waiting.entry(target.id).or_default();
        if connections.len() < POOL_PER_TARGET_MAX {
            connections.push(Waiting { connection, since: Instant::now() });
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
        let available: HashSet<u64> = table
            .upstreams
            .values()
            .flat_map(|upstream| &upstream.available)
            .map(|target| target.id)
            .collect();
        waiting.retain(|target, connections| {
            connections.retain(|waiting| waiting.since.elapsed() < POOL_IDLE_TIMEOUT);
            available.contains(target) && !connections.is_empty()
        });
    }
}

/// Whether nothing was received: neither the end, nor bytes that nobody asked for and that would be taken for the
/// answer to the next request.
pub(crate) fn is_silent(connection: &TcpStream) -> bool {
    matches!(connection.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
