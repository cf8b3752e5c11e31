//! How names are answered, beyond where and for which zone: from flags as written ([`Written`]) to [`Options`].

use super::flag;
use crate::Fault;

/// The flags that begin with `--dns-`, but for the address, the zone and the time to live.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// `--dns-workers`
    pub workers: Option<usize>,
}

/// How names are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads that answer datagrams, each with a socket of its own.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { workers: 1 }
    }
}

impl Options {
    /// Fills in the defaults and checks everything.
    pub(super) fn resolve(written: &Written, cores: usize, faults: &mut Vec<Fault>) -> Self {
        let workers = written.workers.unwrap_or(cores);
        if workers == 0 || workers > 1024 {
            faults.push(flag("--dns-workers", "expected 1 to 1024"));
        }
        Self { workers }
    }
}
