//! What checks found of endpoints, and what operators ordered of them, laid over the chart: whoever steers by it, traffic and names alike, sees one state of
//! each endpoint, with the reason.
//!
//! An endpoint is as well as the worst that is said of it: first by its provider, then by whoever checks it. A verdict is
//! of one life of an instance, so that neither a new table nor new labels make anybody healthy, and who comes back at an
//! address starts anew.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use crate::chart::{Chart, Whole};
use crate::instance::{Instance, InstanceId, State};
use crate::order::{Order, Orders, Standing, Subject};
use crate::provider::ProviderName;
use crate::snapshot::{
    Endpoint, EndpointKey, LayerFour, Service, Target, TcpUpstream, UdpUpstream, Upstream,
};

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It serves.
    Up,
    /// It was not asked yet, and is to be given no work before.
    Unknown,
    /// It does not serve, for this reason: `GET /health: 503 (expected 200 to 399)`.
    Down(String),
}

/// One word of a check on an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// Which check: several may look at one endpoint.
    pub check: Arc<str>,
    /// What it found; `None` where it looks no longer.
    pub verdict: Option<Verdict>,
}

/// All that checks have said and not taken back.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    /// What is not well, by endpoint and check; who is up is not in it.
    bad: BTreeMap<EndpointKey, BTreeMap<Arc<str>, Verdict>>,
    orders: Arc<Orders>,
    endpoints: HashMap<EndpointKey, Laid<Endpoint>>,
    services: HashMap<String, Laid<Service>>,
    upstreams: HashMap<String, Laid<Upstream>>,
}

/// Something of the chart, and what it is with verdicts laid over it; the same for as long as both are.
#[derive(Debug)]
struct Laid<T> {
    drawn: Arc<T>,
    shown: Arc<T>,
}

impl Verdicts {
    /// Takes a word.
    pub(crate) fn take(&mut self, judgement: Judgement) {
        let Judgement { endpoint, check, verdict } = judgement;
        self.endpoints.remove(&endpoint);
        match verdict {
            Some(verdict @ (Verdict::Unknown | Verdict::Down(_))) => {
                self.bad.entry(endpoint).or_default().insert(check, verdict);
            }
            Some(Verdict::Up) | None => {
                if let Some(checks) = self.bad.get_mut(&endpoint) {
                    checks.remove(&check);
                    if checks.is_empty() {
                        self.bad.remove(&endpoint);
                    }
                }
            }
        }
    }

    /// Takes an order given at `now`.
    pub(crate) fn obey(&mut self, order: Order, now: SystemTime) {
        self.endpoints.retain(|_, laid| !order.subject.holds(&laid.drawn));
        Arc::make_mut(&mut self.orders).take(order, now);
    }

    /// Takes the orders that an earlier process kept, before anything is known.
    pub(crate) fn obey_kept(&mut self, kept: Vec<Standing>) {
        self.orders = Arc::new(Orders::of_kept(kept));
    }

    /// Forgets orders of instances of `provider` that are not there any more.
    pub(crate) fn keep_orders(&mut self, provider: &ProviderName, is_there: impl Fn(&InstanceId) -> bool) {
        if !self.orders.is_empty() {
            Arc::make_mut(&mut self.orders).keep(provider, is_there);
        }
    }

    /// The orders that stand.
    pub(crate) fn orders(&self) -> Arc<Orders> {
        self.orders.clone()
    }

    /// The chart with what is known laid over it.
    pub(crate) fn lay_over(&mut self, whole: &Whole) -> Chart {
        let mut chart = whole.chart().clone();
        if self.bad.is_empty() && self.orders.is_empty() {
            self.endpoints.clear();
            self.services.clear();
            self.upstreams.clear();
            return chart;
        }
        let parts = self.parts(whole);
        let mut services = std::mem::take(&mut self.services);
        for service in parts.iter().flat_map(|part| &part.services) {
            let Some(service) = find(&mut chart.services, |other| other.name.cmp(&service.name)) else {
                continue;
            };
            let endpoints: Vec<_> = service.endpoints.iter().map(|endpoint| self.shown(endpoint)).collect();
            let same = endpoints.iter().zip(&service.endpoints).all(|(a, b)| Arc::ptr_eq(a, b));
            let before = services.remove(&service.name);
            if same {
                continue;
            }
            let laid = before.filter(|laid| {
                Arc::ptr_eq(&laid.drawn, service)
                    && laid.shown.endpoints.iter().zip(&endpoints).all(|(a, b)| Arc::ptr_eq(a, b))
            });
            let laid = laid.unwrap_or_else(|| Laid {
                drawn: service.clone(),
                shown: Arc::new(Service { endpoints, ..Service::clone(service) }),
            });
            let name = service.name.clone();
            *service = laid.shown.clone();
            self.services.insert(name, laid);
        }
        let mut upstreams = std::mem::take(&mut self.upstreams);
        for upstream in parts.iter().flat_map(|part| &part.upstreams) {
            let Some(upstream) = find(&mut chart.upstreams, |other| other.name.cmp(&upstream.name)) else {
                continue;
            };
            let before = upstreams.remove(&upstream.name);
            let Some(targets) = self.laid_over(&upstream.targets) else { continue };
            let laid = before.filter(|laid| {
                let same = |(a, b): (&Target, &Target)| Arc::ptr_eq(&a.endpoint, &b.endpoint);
                Arc::ptr_eq(&laid.drawn, upstream) && laid.shown.targets.iter().zip(&targets).all(same)
            });
            let laid = laid.unwrap_or_else(|| Laid {
                drawn: upstream.clone(),
                shown: Arc::new(Upstream { targets, ..Upstream::clone(upstream) }),
            });
            let name = upstream.name.clone();
            *upstream = laid.shown.clone();
            self.upstreams.insert(name, laid);
        }
        chart.layer_four = self.layer_four(&chart.layer_four);
        chart
    }

    /// The parts of the chart that anything is known about: all of them, where that is about a node.
    fn parts<'w>(&self, whole: &'w Whole) -> Vec<&'w Chart> {
        let of_orders = self.orders.subjects().map(|subject| match subject {
            Subject::Instance(provider, id) => Some((provider, id)),
            Subject::Node(_) => None,
        });
        let of_checks = self.bad.keys().map(|key| Some((key.provider.clone(), key.instance.clone())));
        match of_orders.chain(of_checks).collect::<Option<BTreeSet<_>>>() {
            Some(known) => whole.parts_of(known.iter()),
            None => vec![whole.chart()],
        }
    }

    /// The same targets, unless all are as drawn.
    fn laid_over(&mut self, targets: &[Target]) -> Option<Vec<Target>> {
        let is_as_drawn =
            |endpoint: &Endpoint| !self.bad.contains_key(&endpoint.key) && self.orders.of(endpoint).is_none();
        if targets.iter().all(|target| is_as_drawn(&target.endpoint)) {
            return None;
        }
        let shown = |target: &Target| Target { endpoint: self.shown(&target.endpoint), ..target.clone() };
        Some(targets.iter().map(shown).collect())
    }

    fn layer_four(&mut self, drawn: &Arc<LayerFour>) -> Arc<LayerFour> {
        let mut shown = None;
        for (name, upstream) in &drawn.tcp_upstreams {
            if let TcpUpstream::Targets { upstream: places, .. } = &**upstream
                && let Some(targets) = self.laid_over(&places.targets)
            {
                let laid = Arc::new(Upstream { targets, ..Upstream::clone(places) });
                let mut upstream = TcpUpstream::clone(upstream);
                if let TcpUpstream::Targets { upstream, .. } = &mut upstream {
                    *upstream = laid;
                }
                let shown = shown.get_or_insert_with(|| LayerFour::clone(drawn));
                shown.tcp_upstreams.insert(name.clone(), Arc::new(upstream));
            }
        }
        for (name, upstream) in &drawn.udp_upstreams {
            if let UdpUpstream::Targets(targets) = &**upstream
                && let Some(laid) = self.laid_over(targets)
            {
                let shown = shown.get_or_insert_with(|| LayerFour::clone(drawn));
                shown.udp_upstreams.insert(name.clone(), Arc::new(UdpUpstream::Targets(laid)));
            }
        }
        shown.map_or_else(|| drawn.clone(), Arc::new)
    }

    /// The endpoint as it is known by now.
    fn shown(&mut self, drawn: &Arc<Endpoint>) -> Arc<Endpoint> {
        let (checks, order) = (self.bad.get(&drawn.key), self.orders.of(drawn));
        // What its provider says goes first: who is stopped is not unhealthy.
        if order.is_none() && (checks.is_none() || !drawn.is_available()) {
            return drawn.clone();
        }
        if let Some(laid) = self.endpoints.get(&drawn.key)
            && Arc::ptr_eq(&laid.drawn, drawn)
        {
            return laid.shown.clone();
        }
        let shown = match order {
            Some((since, reason)) => Endpoint {
                state: State::Draining,
                reason,
                instance: Arc::new(Instance { since, ..Instance::clone(&drawn.instance) }),
                ..Endpoint::clone(drawn)
            },
            None => judged(drawn, checks.into_iter().flat_map(BTreeMap::values)),
        };
        let shown = Arc::new(shown);
        let laid = Laid { drawn: drawn.clone(), shown: shown.clone() };
        self.endpoints.insert(drawn.key.clone(), laid);
        shown
    }
}

/// What of a list that is sorted by name has this one.
fn find<T>(sorted: &mut [Arc<T>], order: impl Fn(&T) -> Ordering) -> Option<&mut Arc<T>> {
    let at = sorted.binary_search_by(|thing| order(thing)).ok()?;
    sorted.get_mut(at)
}

/// The endpoint as checks found it.
fn judged<'a>(drawn: &Endpoint, verdicts: impl Iterator<Item = &'a Verdict>) -> Endpoint {
    let reason = |verdict: &'a Verdict| match verdict {
        Verdict::Down(reason) => Some(reason.as_str()),
        Verdict::Up | Verdict::Unknown => None,
    };
    let down: Vec<&str> = verdicts.filter_map(reason).collect();
    let (state, reason) = match down[..] {
        [] => (State::Starting, "not checked yet".to_owned()),
        _ => (State::Unhealthy, down.join("; ")),
    };
    Endpoint { state, reason, ..Endpoint::clone(drawn) }
}

#[cfg(test)]
mod tests {
    use portolan_config::Protocol;

    use super::*;
    use crate::instance::{Node, Port, ServiceKey};
    use crate::provider::{Change, Update};
    use crate::snapshot::Snapshot;
    use crate::{Registry, chart::Policy};

    fn instance(name: &str, state: State) -> Instance {
        Instance {
            id: InstanceId::new(name),
            name: name.to_owned(),
            service: ServiceKey::Label("app".to_owned()),
            labels: BTreeMap::new(),
            networks: vec![crate::instance::NetworkAddress {
                network: "n".to_owned(),
                endpoint_id: format!("{name}-1"),
                ipv4: Some([10, 0, 0, 1].into()),
                ipv6: None,
                aliases: Vec::new(),
                reached: true,
            }],
            ports: vec![Port { number: 80, protocol: Protocol::Tcp }],
            bindings: Vec::new(),
            node: None,
            virtual_host: BTreeMap::new(),
            state,
            reason: "running".to_owned(),
            since: SystemTime::UNIX_EPOCH,
            created: SystemTime::UNIX_EPOCH,
        }
    }

    fn apply(registry: &mut Registry, change: Change) -> Snapshot {
        let provider = ProviderName::new("docker");
        let update = Update { provider, observed_at: std::time::Instant::now(), change };
        registry.apply(update, SystemTime::now());
        registry.snapshot()
    }

    fn judged(snapshot: &Snapshot, name: &str, check: &str, verdict: Option<Verdict>) -> Change {
        let endpoints = snapshot.services.iter().flat_map(|service| &service.endpoints);
        let endpoint = endpoints.map(|endpoint| &endpoint.key).find(|key| key.instance.short() == name);
        Change::Judged(Judgement { endpoint: endpoint.unwrap().clone(), check: check.into(), verdict })
    }

    fn states(snapshot: &Snapshot) -> Vec<(State, String)> {
        let told = |endpoint: &Endpoint| (endpoint.state, endpoint.reason.clone());
        let of_service: Vec<_> =
            snapshot.services[0].endpoints.iter().map(|endpoint| told(endpoint)).collect();
        let of_upstream: Vec<_> =
            snapshot.upstreams[0].targets.iter().map(|target| told(&target.endpoint)).collect();
        assert_eq!(of_service, of_upstream, "traffic and names see the same");
        of_service
    }

    fn down(reason: &str) -> Verdict {
        Verdict::Down(reason.to_owned())
    }

    fn both() -> (Registry, Snapshot) {
        let policy = Policy { exposed_by_default: true, ..Policy::default() };
        let mut registry = Registry::new(policy, [ProviderName::new("docker")]);
        let all = vec![instance("a", State::Ready), instance("b", State::Ready)];
        let snapshot = apply(&mut registry, Change::Reset(all));
        (registry, snapshot)
    }

    fn ready() -> (State, String) {
        (State::Ready, "running".to_owned())
    }

    #[test]
    fn what_is_down_is_unhealthy_for_traffic_and_names_with_the_reason() {
        let (mut registry, snapshot) = both();
        let snapshot = apply(&mut registry, judged(&snapshot, "a", "x", Some(down("GET /: 500"))));
        let unhealthy = (State::Unhealthy, "GET /: 500".to_owned());
        assert_eq!(states(&snapshot), [unhealthy.clone(), ready()]);
        let more = apply(&mut registry, judged(&snapshot, "a", "y", Some(down("refused"))));
        assert_eq!(states(&more)[0].1, "GET /: 500; refused");
        let less = apply(&mut registry, judged(&snapshot, "a", "y", Some(Verdict::Up)));
        assert_eq!(states(&less), [unhealthy, ready()]);
        let gone = apply(&mut registry, judged(&snapshot, "a", "x", None));
        assert_eq!(states(&gone), [ready(), ready()]);
    }

    #[test]
    fn neither_a_list_nor_new_labels_make_anybody_healthy_but_another_life_does() {
        let (mut registry, snapshot) = both();
        apply(&mut registry, judged(&snapshot, "a", "x", Some(down("no"))));
        let mut labelled = instance("a", State::Ready);
        labelled.labels.insert("portolan.dns.names".to_owned(), "other".to_owned());
        let all = vec![labelled, instance("b", State::Ready)];
        assert_eq!(states(&apply(&mut registry, Change::Reset(all)))[0].0, State::Unhealthy);
        let mut restarted = instance("a", State::Ready);
        restarted.networks[0].endpoint_id = "a-2".to_owned();
        let snapshot = apply(&mut registry, Change::Upsert(Box::new(restarted)));
        assert_eq!(states(&snapshot), [ready(), ready()]);
    }

    #[test]
    fn what_the_provider_says_goes_first_and_unknown_is_not_ready() {
        let (mut registry, snapshot) = both();
        let snapshot = apply(&mut registry, judged(&snapshot, "a", "x", Some(Verdict::Unknown)));
        assert_eq!(states(&snapshot)[0], (State::Starting, "not checked yet".to_owned()));
        let snapshot = apply(&mut registry, Change::Upsert(Box::new(instance("a", State::Draining))));
        assert_eq!(states(&snapshot)[0].0, State::Draining);
    }

    #[test]
    fn parts_that_are_as_they_were_are_the_same() {
        let (mut registry, snapshot) = both();
        let one = apply(&mut registry, judged(&snapshot, "a", "x", Some(down("no"))));
        let two = apply(&mut registry, Change::Upsert(Box::new(instance("b", State::Ready))));
        assert!(Arc::ptr_eq(&one.upstreams[0], &two.upstreams[0]));
        assert!(Arc::ptr_eq(&one.services[0], &two.services[0]));
        assert!(!Arc::ptr_eq(&one.upstreams[0], &snapshot.upstreams[0]));
    }

    fn ordered(name: &str, drain: bool) -> Change {
        let subject = Subject::Instance(ProviderName::new("docker"), InstanceId::new(name));
        Change::Ordered(Order { subject, drain, why: String::new() })
    }

    fn drained() -> (State, String) {
        (State::Draining, "operator".to_owned())
    }

    #[test]
    fn what_an_operator_drains_stays_so_through_lists_checks_and_restarts_until_undrained() {
        let (mut registry, snapshot) = both();
        assert_eq!(states(&apply(&mut registry, ordered("a", true))), [drained(), ready()]);
        let down = judged(&snapshot, "a", "x", Some(down("no")));
        assert_eq!(states(&apply(&mut registry, down)), [drained(), ready()]);
        let mut restarted = instance("a", State::Starting);
        restarted.networks[0].endpoint_id = "a-2".to_owned();
        let all = vec![restarted, instance("b", State::Ready)];
        let listed = apply(&mut registry, Change::Reset(all));
        assert_eq!(states(&listed), [drained(), ready()]);
        assert!(listed.services[0].endpoints[0].instance.since > SystemTime::UNIX_EPOCH, "since the order");
        // Who is stopped is not draining.
        let stopped = Change::Upsert(Box::new(instance("a", State::Stopped)));
        assert_eq!(states(&apply(&mut registry, stopped))[0].0, State::Stopped);
        apply(&mut registry, judged(&snapshot, "a", "x", None));
        apply(&mut registry, Change::Upsert(Box::new(instance("a", State::Ready))));
        let undrained = apply(&mut registry, ordered("a", false));
        assert_eq!(states(&undrained), [ready(), ready()]);
        assert!(undrained.orders.is_empty());
    }

    #[test]
    fn an_order_ends_with_its_instance_and_one_of_a_node_does_not() {
        let (mut registry, _) = both();
        apply(&mut registry, ordered("a", true));
        let node = || Some(Node { name: "n1".to_owned(), here: false });
        let on_node = |name: &str| Instance { node: node(), ..instance(name, State::Ready) };
        let order = |drain| {
            let (subject, why) = (Subject::Node("n1".to_owned()), "disk".to_owned());
            Change::Ordered(Order { subject, drain, why })
        };
        apply(&mut registry, order(true));
        apply(&mut registry, Change::Remove(InstanceId::new("a")));
        let all = vec![instance("a", State::Ready), on_node("b")];
        let by_node = (State::Draining, "operator (node n1): disk".to_owned());
        assert_eq!(states(&apply(&mut registry, Change::Reset(all))), [ready(), by_node.clone()]);
        let both = Change::Reset(vec![on_node("c"), on_node("d")]);
        assert_eq!(states(&apply(&mut registry, both)), [by_node.clone(), by_node]);
        assert_eq!(states(&apply(&mut registry, order(false))), [ready(), ready()]);
    }
}
