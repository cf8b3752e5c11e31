//! The routes of one entry point: ten thousand host rules cost what one does.
//!
//! A rule that can only hold for certain hosts is filed under those hosts; a request looks at the few routes of its
//! own host, of its parent domain (for `*.` patterns) and of any host, merged by rank.

use std::sync::Arc;

use portolan_config::Rule;
use portolan_config::rule::{Expression, HostPattern, Matcher, RequestView};
use portolan_discovery::Router;

use super::{Destination, Map};
use crate::metrics::Scope;
use crate::middleware::Chain;

/// One router, ready to be asked.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The router as it was drawn: its name, and which requests it takes.
    pub router: Arc<Router>,
    /// Where they go.
    pub destination: Arc<Destination>,
    /// What they go through before.
    pub chain: Option<Arc<Chain>>,
    /// What it counts into.
    pub scope: Arc<Scope>,
}

/// A route with its rank: 0 is asked first.
type Ranked = (u32, Arc<Route>);

/// The routes of one entry point.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    by_host: Map<String, Vec<Ranked>>,
    by_parent: Map<String, Vec<Ranked>>,
    any_host: Vec<Ranked>,
}

impl Routes {
    /// Files a route. Routes are added by descending priority.
    pub(crate) fn add(&mut self, rank: u32, route: &Arc<Route>) {
        match hosts(&route.router.rule) {
            None => self.any_host.push((rank, route.clone())),
            Some(patterns) => {
                for pattern in patterns {
                    let filed = match pattern {
                        HostPattern::Exact(host) => self.by_host.entry(host.clone()).or_default(),
                        HostPattern::OneLabelUnder(parent) => {
                            self.by_parent.entry(parent.clone()).or_default()
                        }
                        HostPattern::Any => &mut self.any_host,
                    };
                    if filed.last().is_none_or(|(last, _)| *last != rank) {
                        filed.push((rank, route.clone()));
                    }
                }
            }
        }
    }

    /// The route that takes the request.
    pub(crate) fn find(&self, request: &RequestView<'_>) -> Option<&Arc<Route>> {
        let host = request.host;
        let own = self.by_host.get(host).map_or(&[][..], Vec::as_slice);
        let parent = host.split_once('.').map_or("", |(_, parent)| parent);
        let wild = self.by_parent.get(parent).map_or(&[][..], Vec::as_slice);
        let mut lists = [own, wild, &self.any_host];
        loop {
            let next = lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list[0].0)?;
            let (_, route) = &next[0];
            if route.router.rule.matches(request) {
                return Some(route);
            }
            *next = &next[1..];
        }
    }
}

/// The hosts that a rule can hold for; `None` if it can hold for any.
pub(super) fn hosts(rule: &Rule) -> Option<Vec<&HostPattern>> {
    match rule {
        Expression::Is(Matcher::Host(HostPattern::Any)) | Expression::Not(_) => None,
        Expression::Is(Matcher::Host(pattern)) => Some(vec![pattern]),
        Expression::Is(_) => None,
        // Any part's hosts would do; the shortest list files it in the fewest places.
        Expression::And(parts) => parts.iter().filter_map(hosts).min_by_key(Vec::len),
        Expression::Or(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(hosts(part)?);
            }
            Some(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::table::tests::upstream;

    fn routes(rules: &[&str]) -> Routes {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let destination = Arc::new(Destination::Upstream(Arc::new(upstream(&[true]))));
        let mut routes = Routes::default();
        for (rank, rule) in rules.iter().enumerate() {
            let router = Router::new(*rule, Rule::parse(rule).unwrap(), "test");
            let scope = Arc::new(metrics.router(rule));
            let route =
                Route { router: Arc::new(router), destination: destination.clone(), chain: None, scope };
            routes.add(rank as u32, &Arc::new(route));
        }
        routes
    }

    #[test]
    fn the_first_in_rank_that_holds_takes_the_request() {
        let rules = [
            "PathPrefix(`/api`) && Host(`a.test`)",
            "Host(`a.test`) || Host(`b.test`)",
            "PathPrefix(`/public`)",
            "Host(`*.test`) && !Host(`c.test`)",
            "Host(`*`)",
        ];
        let routes = routes(&rules);
        for (host, path, expected) in [
            ("a.test", "/api/x", Some(0)),
            ("a.test", "/", Some(1)),
            ("b.test", "/public", Some(1)),
            ("c.test", "/public", Some(2)),
            ("d.test", "/", Some(3)),
            ("c.test", "/", Some(4)),
            ("e.f.test", "/", Some(4)),
        ] {
            let found = routes.find(&RequestView::get(host, path)).map(|route| route.router.name.as_str());
            assert_eq!(found, expected.map(|index: usize| rules[index]), "{host}{path}");
        }
    }

    #[test]
    fn the_index_answers_as_asking_every_rule_would() {
        let hosts = ["a.test", "b.test", "x.a.test", "test", "other"];
        let paths = ["/", "/a", "/a/b", "/b"];
        let atoms = [
            "Host(`a.test`)",
            "Host(`b.test`)",
            "Host(`*.a.test`)",
            "Host(`*.test`)",
            "PathPrefix(`/a`)",
            "Path(`/b`)",
            "!Host(`a.test`)",
            "!PathPrefix(`/a`)",
        ];
        let mut rules = Vec::new();
        for left in atoms {
            for right in atoms {
                rules.push(format!("{left} && {right}"));
                rules.push(format!("{left} || {right}"));
                rules.push(format!("!({left} && {right})"));
            }
        }
        let mut asked = 0;
        for window in rules.windows(5) {
            let window: Vec<&str> = window.iter().map(String::as_str).collect();
            let routes = routes(&window);
            for host in hosts {
                for path in paths {
                    let expected = window
                        .iter()
                        .find(|rule| Rule::parse(rule).unwrap().matches(&RequestView::get(host, path)));
                    let found =
                        routes.find(&RequestView::get(host, path)).map(|route| route.router.name.as_str());
                    assert_eq!(found, expected.copied(), "{window:?} for {host}{path}");
                    asked += 1;
                }
            }
        }
        assert_eq!(asked, (rules.len() - 4) * hosts.len() * paths.len());
    }

    #[test]
    fn nothing_takes_what_no_rule_holds_for() {
        assert!(routes(&["Host(`a.test`)"]).find(&RequestView::get("b.test", "/")).is_none());
        assert!(routes(&[]).find(&RequestView::get("b.test", "/")).is_none());
    }
}
