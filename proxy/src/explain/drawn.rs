//! A router of either protocol, as far as both are told of in the same words.

use std::fmt::Display;

use portolan_discovery::{Router, TcpRouter};

use super::Taken;

/// What is told of a router.
pub(super) struct Drawn<'a> {
    pub(super) name: &'a str,
    /// `http` or `tcp`.
    pub(super) protocol: &'static str,
    pub(super) rule: &'a dyn Display,
    pub(super) priority: i64,
    pub(super) entry_points: &'a [String],
    pub(super) origin: &'a str,
}

impl<'a> From<&'a Router> for Drawn<'a> {
    fn from(router: &'a Router) -> Self {
        let Router { name, rule, priority, entry_points, origin, .. } = router;
        Self { name, protocol: "http", rule, priority: *priority, entry_points, origin }
    }
}

impl<'a> From<&'a TcpRouter> for Drawn<'a> {
    fn from(router: &'a TcpRouter) -> Self {
        let TcpRouter { name, rule, priority, entry_points, origin, .. } = router;
        Self { name, protocol: "tcp", rule, priority: *priority, entry_points, origin }
    }
}

impl From<Drawn<'_>> for Taken {
    fn from(drawn: Drawn<'_>) -> Self {
        let Drawn { name, protocol, rule, priority, origin, .. } = drawn;
        Self { name: name.to_owned(), protocol, rule: rule.to_string(), priority, origin: origin.to_owned() }
    }
}
