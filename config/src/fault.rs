//! A fault: something an operator wrote that can't be done as written.

use std::fmt;

/// One thing that is wrong, who wrote it, and what to do about it.
///
/// A fault costs what it is about (a router, an option, a port), never the container and never the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Who wrote it: `container web-1`, `flag`, `environment`.
    pub origin: String,
    /// What they wrote it in: the label, flag or variable.
    pub key: String,
    /// What is wrong, what was expected, and where it helps, what to write instead.
    pub message: String,
}

impl Fault {
    /// A fault of `key`, written by `origin`.
    pub fn new(origin: impl Into<String>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { origin: origin.into(), key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.key, self.message)
    }
}
