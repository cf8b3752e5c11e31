//! Routes of one entry point, filed by host: ten thousand host rules cost what one does.
//!
//! A rule that can only hold for certain hosts is filed under those hosts; who asks looks at the few routes of its own
//! host, of its parent domain (for `*.` patterns) and of any host, merged by rank. What a route is, and which matcher asks
//! for a host, is not known here.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_config::rule::{Expression, HostPattern};

use super::Map;

/// A route with its rank: 0 is asked first.
type Ranked<R> = (u32, Arc<R>);

/// The routes of one entry point.
#[derive(Debug)]
pub(crate) struct Filed<R> {
    by_host: Map<String, Vec<Ranked<R>>>,
    by_parent: Map<String, Vec<Ranked<R>>>,
    any_host: Vec<Ranked<R>>,
}

impl<R> Default for Filed<R> {
    fn default() -> Self {
        Self { by_host: Map::default(), by_parent: Map::default(), any_host: Vec::new() }
    }
}

impl<R> Filed<R> {
    /// Files a route under the hosts that its rule can hold for; `None` if that is any. Routes are added by descending
    /// priority.
    pub(crate) fn add(&mut self, rank: u32, hosts: Option<Vec<&HostPattern>>, route: &Arc<R>) {
        let Some(patterns) = hosts else { return self.any_host.push((rank, route.clone())) };
        for pattern in patterns {
            let filed = match pattern {
                HostPattern::Exact(host) => self.by_host.entry(host.clone()).or_default(),
                HostPattern::OneLabelUnder(parent) => self.by_parent.entry(parent.clone()).or_default(),
                HostPattern::Any => &mut self.any_host,
            };
            if filed.last().is_none_or(|(last, _)| *last != rank) {
                filed.push((rank, route.clone()));
            }
        }
    }

    /// The first in rank that holds for this host.
    pub(crate) fn find(&self, host: &str, holds: impl Fn(&R) -> bool) -> Option<&Arc<R>> {
        let own = self.by_host.get(host).map_or(&[][..], Vec::as_slice);
        let parent = host.split_once('.').map_or("", |(_, parent)| parent);
        let wild = self.by_parent.get(parent).map_or(&[][..], Vec::as_slice);
        let mut lists = [own, wild, &self.any_host];
        loop {
            let next = lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list[0].0)?;
            let (_, route) = &next[0];
            if holds(route) {
                return Some(route);
            }
            *next = &next[1..];
        }
    }

    /// All of them in rank, each once, for whoever explains.
    pub(crate) fn all(&self) -> Vec<&Arc<R>> {
        let lists = self.by_host.values().chain(self.by_parent.values()).chain([&self.any_host]);
        let by_rank: BTreeMap<u32, &Arc<R>> = lists.flatten().map(|(rank, route)| (*rank, route)).collect();
        by_rank.into_values().collect()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_host.is_empty() && self.by_parent.is_empty() && self.any_host.is_empty()
    }

    /// Whether there are routes for this very host, or for names like it.
    pub(crate) fn names(&self, host: &str) -> bool {
        let parent = host.split_once('.').map_or("", |(_, parent)| parent);
        self.by_host.contains_key(host) || self.by_parent.contains_key(parent)
    }

    /// Whether there are routes for any host.
    pub(crate) fn has_any_host(&self) -> bool {
        !self.any_host.is_empty()
    }
}

/// The names that a rule can hold for, where `named` gives the one that a matcher asks for; `None` if it can hold for any.
pub(super) fn hosts<'r, M>(
    rule: &'r Expression<M>,
    named: &impl Fn(&'r M) -> Option<&'r HostPattern>,
) -> Option<Vec<&'r HostPattern>> {
    match rule {
        Expression::Is(matcher) => {
            named(matcher).filter(|pattern| !matches!(pattern, HostPattern::Any)).map(|pattern| vec![pattern])
        }
        Expression::Not(_) => None,
        // Any part's names would do; the shortest list files it in the fewest places.
        Expression::And(parts) => parts.iter().filter_map(|part| hosts(part, named)).min_by_key(Vec::len),
        Expression::Or(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(hosts(part, named)?);
            }
            Some(all)
        }
    }
}
