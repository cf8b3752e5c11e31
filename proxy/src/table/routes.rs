//! The routes of requests at one entry point, filed by the hosts that their rules can hold for ([`super::filed`]).

use std::sync::Arc;

use portolan_config::Rule;
use portolan_config::rule::{HostPattern, Matcher, RequestView};
use portolan_discovery::Router;

use super::{Destination, Filed, filed};
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

/// The routes of one entry point.
#[derive(Debug, Default)]
pub(crate) struct Routes(Filed<Route>);

impl Routes {
    /// Files a route. Routes are added by descending priority.
    pub(crate) fn add(&mut self, rank: u32, route: &Arc<Route>) {
        self.0.add(rank, hosts(&route.router.rule), route);
    }

    /// The route that takes the request.
    pub(crate) fn find(&self, request: &RequestView<'_>) -> Option<&Arc<Route>> {
        self.0.find(request.host, |route| route.router.rule.matches(request))
    }

    /// How they are filed.
    pub(crate) fn filed(&self) -> &Filed<Route> {
        &self.0
    }
}

/// The hosts that a rule can hold for; `None` if it can hold for any.
pub(super) fn hosts(rule: &Rule) -> Option<Vec<&HostPattern>> {
    filed::hosts(rule, &|matcher| match matcher {
        Matcher::Host(pattern) => Some(pattern),
        _ => None,
    })
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
