//! Which options of TLS a connection is taken by: those of the routers that the name it asks for belongs to.
//!
//! The handshake comes before the request, so the name in it is all there is to go by. Two routers of one host that want
//! different options can't both have them: the default ones count then, as in Traefik.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_config::Fault;
use portolan_config::rule::{HostPattern, Matcher};
use portolan_config::settings::EntryPoint;
use portolan_discovery::{Router, Snapshot};

use super::Map;
use super::routes::hosts;

/// The name of the options that count where no others are asked for.
pub(crate) const DEFAULT: &str = "default";

/// The names of options, by the hosts of one entry point.
#[derive(Debug)]
pub(crate) struct Choice {
    by_host: Map<String, Arc<str>>,
    by_parent: Map<String, Arc<str>>,
    otherwise: Arc<str>,
}

impl Default for Choice {
    fn default() -> Self {
        Self { by_host: Map::default(), by_parent: Map::default(), otherwise: DEFAULT.into() }
    }
}

impl Choice {
    /// One for an entry point where no router has said anything yet.
    pub(super) fn new(entry_point: &EntryPoint) -> Self {
        let otherwise = entry_point.tls.as_ref().and_then(|tls| tls.options.as_deref()).unwrap_or(DEFAULT);
        Self { otherwise: otherwise.into(), ..Self::default() }
    }

    /// The options for a host (lower case, without port or trailing dot), or for a client that names none.
    pub(crate) fn of(&self, host: Option<&str>) -> &Arc<str> {
        let Some(host) = host else { return &self.otherwise };
        let parent = host.split_once('.').map_or("", |(_, parent)| parent);
        self.by_host.get(host).or_else(|| self.by_parent.get(parent)).unwrap_or(&self.otherwise)
    }
}

/// What routers of one entry point want, by host.
#[derive(Default)]
pub(super) struct Wishes<'s> {
    by_host: BTreeMap<&'s HostPattern, Vec<(&'s str, &'s Router)>>,
}

/// The options that a router wants on an entry point; `None` where it takes requests in the clear.
pub(super) fn wanted<'s>(router: &'s Router, entry_point: &'s EntryPoint) -> Option<&'s str> {
    let of_entry_point = entry_point.tls.as_ref().map(|tls| tls.options.as_deref().unwrap_or(DEFAULT));
    let of_router = router.tls.as_ref().map(|tls| tls.options.as_deref());
    match (of_router, of_entry_point) {
        (Some(Some(own)), _) => Some(own),
        (_, Some(inherited)) => Some(inherited),
        (Some(None), None) => Some(DEFAULT),
        (None, None) => None,
    }
}

impl<'s> Wishes<'s> {
    /// Notes a router's options. The error says why it can't have them.
    pub(super) fn add(
        &mut self,
        options: &'s str,
        router: &'s Router,
        choice: &Choice,
        snapshot: &Snapshot,
    ) -> Result<(), String> {
        if options != DEFAULT && !snapshot.tls.options.contains_key(options) {
            let known: Vec<&str> =
                std::iter::once(DEFAULT).chain(snapshot.tls.options.keys().map(String::as_str)).collect();
            return Err(format!("there are no TLS options `{options}`: known are {}", known.join(", ")));
        }
        let patterns = hosts(&router.rule).unwrap_or_default();
        let nameless = patterns.is_empty() || patterns.contains(&&HostPattern::Any);
        if nameless && *options != *choice.otherwise {
            return Err(format!(
                "`{options}` is chosen by the host that a client asks for, and the rule takes any: write Host(`…`)"
            ));
        }
        for pattern in patterns {
            self.by_host.entry(pattern).or_default().push((options, router));
        }
        Ok(())
    }

    /// Settles what each host gets.
    pub(super) fn settle(self, choice: &mut Choice, entry_point: &EntryPoint, faults: &mut Vec<Fault>) {
        for (pattern, wishes) in self.by_host {
            let (mut options, first) = wishes[0];
            if let Some((other, second)) = wishes.iter().find(|(wanted, _)| *wanted != options) {
                let (one, two) = (&first.name, &second.name);
                faults.push(Fault::new(
                    first.origin.clone(),
                    key(first),
                    format!(
                        "{one} wants `{options}` for {host} on {at}, and {two} wants `{other}`: `{DEFAULT}` counts for both",
                        host = Matcher::Host(pattern.clone()),
                        at = entry_point.name,
                    ),
                ));
                options = DEFAULT;
            }
            match pattern {
                HostPattern::Exact(host) => choice.by_host.insert(host.clone(), options.into()),
                HostPattern::OneLabelUnder(parent) => choice.by_parent.insert(parent.clone(), options.into()),
                HostPattern::Any => None,
            };
        }
    }
}

/// Where a router says which options it wants.
pub(super) fn key(router: &Router) -> String {
    format!("http.routers.{}.tls.options", router.name.split('@').next().unwrap_or_default())
}
