//! What operators order of endpoints, for `POST /api/drain` and `/api/undrain`: finds what is meant by a word, tells the
//! registry, and answers once traffic and names go by it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use portolan_discovery::{
    Change, Endpoint, InstanceId, Order, ProviderName, Snapshot, State, Subject, Target, TcpUpstream,
    UdpUpstream, Update,
};
use serde_json::{Value, json};

use super::Admin;
use super::resolve::decode;

/// The paths that change what is given work. They are taken at the admin address only, by POST.
pub const PATHS: [&str; 2] = ["/api/drain", "/api/undrain"];
/// Who tells of orders, as metrics have it.
const NAME: &str = "operator";
/// Until an order is to be in place.
const DEADLINE: Duration = Duration::from_secs(5);
/// The shortest beginning of an id that is taken for it.
const ID_MIN: usize = 4;
/// Characters of a reason, at most; the rest is cut off.
const WORDS_MAX: usize = 200;
/// Names in a message, at most.
const NAMED_MAX: usize = 10;

/// Why an order is not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nothing is meant by it, or several things are.
    Unknown(String),
    /// It was taken and is not in place yet.
    Late,
}

impl Admin {
    /// Drains what `target=…` means, or takes that back.
    pub(super) async fn drain(&self, query: &str, drain: bool) -> Result<Value, Refused> {
        let value = |name: &str| {
            let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            decode(found.unwrap_or_default())
        };
        let target = value("target");
        let why = in_words(&value("reason"));
        let mut applied = self.status.applied.subscribe();
        let before = self.status.snapshot.load_full();
        let subject = meant(&before, &target).map_err(Refused::Unknown)?;
        let changed = before.orders.stands(&subject) != drain;
        // The same order again may be for another reason.
        if changed || (drain && !why.is_empty()) {
            let order = Order { subject: subject.clone(), drain, why: why.clone() };
            let change = Change::Ordered(order);
            let update = Update { provider: ProviderName::new(NAME), observed_at: Instant::now(), change };
            let in_place = async {
                self.updates.send(update).await.ok()?;
                while !is_in_place(&self.status.snapshot.load(), &subject, drain, &why) {
                    applied.changed().await.ok()?;
                }
                Some(())
            };
            if !matches!(tokio::time::timeout(DEADLINE, in_place).await, Ok(Some(()))) {
                return Err(Refused::Late);
            }
            tracing::info!(target = %subject, drain, why, "ordered by an operator");
        }
        Ok(shown(&self.status.snapshot.load(), &subject, changed))
    }
}

/// Whether what is steered by heeds an order.
fn is_in_place(snapshot: &Snapshot, subject: &Subject, drain: bool, why: &str) -> bool {
    let standing = snapshot.orders.standing();
    let order = standing.iter().find(|order| order.subject == *subject);
    order.is_some() == drain && order.is_none_or(|order| why.is_empty() || order.why == why)
}

/// An operator's words as they are shown: on one line, and no more of them than fit there.
fn in_words(text: &str) -> String {
    let words = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    words.take(WORDS_MAX).collect::<String>().trim().to_owned()
}

/// What is in place by now, as JSON.
fn shown(snapshot: &Snapshot, subject: &Subject, changed: bool) -> Value {
    let all = endpoints(snapshot);
    let mine: Vec<&Known<'_>> = all.values().filter(|known| subject.holds(known.endpoint)).collect();
    // Services that nobody serves any more while these drain.
    let left = snapshot.services.iter().filter(|service| {
        let mut endpoints = service.endpoints.iter();
        snapshot.orders.stands(subject)
            && service.endpoints.iter().any(|endpoint| subject.holds(endpoint))
            && !endpoints.any(|endpoint| endpoint.is_available())
    });
    json!({
        "target": subject.to_string(),
        "drains": snapshot.orders.stands(subject),
        "changed": changed,
        "endpoints": mine.iter().map(|known| json!({
            "name": known.endpoint.instance.name,
            "service": known.service,
            "state": known.endpoint.state.as_str(),
            "reason": known.endpoint.reason,
        })).collect::<Vec<_>>(),
        "unserved": left.map(|service| service.name.as_str()).collect::<Vec<_>>(),
    })
}

/// One that an order may be about.
struct Known<'a> {
    endpoint: &'a Endpoint,
    /// What it is a replica of, or a server of.
    service: &'a str,
}

/// Every endpoint, once: those of services, and the servers that files name.
fn endpoints(snapshot: &Snapshot) -> BTreeMap<(ProviderName, InstanceId), Known<'_>> {
    let replicas = snapshot.services.iter().flat_map(|service| {
        service.endpoints.iter().map(|endpoint| (service.name.as_str(), endpoint.as_ref()))
    });
    let http = snapshot.upstreams.iter().flat_map(|upstream| servers(&upstream.name, &upstream.targets));
    let tcp = snapshot.layer_four.tcp_upstreams.iter().flat_map(|(name, upstream)| match &**upstream {
        TcpUpstream::Targets { upstream, .. } => servers(name, &upstream.targets),
        TcpUpstream::Weighted(_) => Vec::new(),
    });
    let udp = snapshot.layer_four.udp_upstreams.iter().flat_map(|(name, upstream)| match &**upstream {
        UdpUpstream::Targets(targets) => servers(name, targets),
        UdpUpstream::Weighted(_) => Vec::new(),
    });
    let mut known = BTreeMap::new();
    for (service, endpoint) in replicas.chain(http).chain(tcp).chain(udp) {
        let key = (endpoint.key.provider.clone(), endpoint.key.instance.clone());
        known.entry(key).or_insert(Known { endpoint, service });
    }
    known
}

fn servers<'a>(name: &'a str, targets: &'a [Target]) -> Vec<(&'a str, &'a Endpoint)> {
    targets.iter().map(|target| (name, target.endpoint.as_ref())).collect()
}

/// What a word means: a node, or an endpoint by its container's or task's name, its id or a beginning of it, or its
/// address. An error says why it means nothing, or names all that it could mean.
fn meant(snapshot: &Snapshot, target: &str) -> Result<Subject, String> {
    if target.is_empty() {
        return Err("expected target=NAME: a container, task, node, id or address".to_owned());
    }
    let known = endpoints(snapshot);
    let mut nodes: Vec<&str> = known
        .values()
        .filter_map(|known| Some(known.endpoint.instance.node.as_ref()?.name.as_str()))
        .collect();
    let ordered: Vec<Subject> = snapshot.orders.subjects().collect();
    nodes.extend(
        ordered
            .iter()
            .filter_map(|subject| if let Subject::Node(node) = subject { Some(&**node) } else { None }),
    );
    nodes.sort_unstable();
    nodes.dedup();
    if let Some(node) = target.strip_prefix("node/") {
        let found = nodes.contains(&node).then(|| Subject::Node(node.to_owned()));
        return found.ok_or_else(|| format!("no task runs on a node `{node}`{}", some_of("nodes", &nodes)));
    }
    let by = |matches: &dyn Fn(&Endpoint) -> bool| -> Vec<(Subject, String)> {
        let found = known.iter().filter(|(_, known)| matches(known.endpoint));
        found
            .map(|((provider, id), known)| {
                let subject = Subject::Instance(provider.clone(), id.clone());
                let name = format!("{} ({subject})", known.endpoint.instance.name);
                (subject, name)
            })
            .collect()
    };
    // A server, as its file has it.
    let target = target.split_once("://").map_or(target, |(_, host)| host.trim_end_matches('/'));
    let mut found = by(&|endpoint| is_called(endpoint, target));
    if nodes.contains(&target) {
        found.push((Subject::Node(target.to_owned()), format!("node/{target}")));
    }
    if found.is_empty() && target.len() >= ID_MIN {
        found = by(&|endpoint| {
            let (id, provider) = target.split_once('@').unwrap_or((target, &endpoint.key.provider.0));
            endpoint.key.instance.0.starts_with(id) && *endpoint.key.provider.0 == *provider
        });
    }
    // A file's server that is drained and is not named any more.
    if found.is_empty() {
        let id = |subject: &Subject| matches!(subject, Subject::Instance(_, id) if *id.0 == *target);
        found.extend(ordered.into_iter().filter(id).map(|subject| (subject, target.to_owned())));
    }
    match found.as_slice() {
        [(subject, _)] => Ok(subject.clone()),
        [] => Err(nothing(snapshot, target)),
        several => {
            let names: Vec<&str> = several.iter().map(|(_, name)| name.as_str()).collect();
            Err(format!(
                "`{target}` may mean several; say which by its id or as node/NAME{}",
                some_of("they are", &names)
            ))
        }
    }
}

/// Whether this is how people call it.
fn is_called(endpoint: &Endpoint, target: &str) -> bool {
    let (instance, provider) = (&endpoint.instance, &*endpoint.key.provider.0);
    let is_name = |target: &str| {
        let task = instance.name.strip_suffix(&*instance.id.0).and_then(|rest| rest.strip_suffix('.'));
        [instance.name.as_str(), &instance.id.0, instance.id.short()].contains(&target)
            || task == Some(target)
    };
    is_name(target)
        || target.strip_suffix(provider).and_then(|rest| rest.strip_suffix('@')).is_some_and(is_name)
        || target
            .parse::<IpAddr>()
            .is_ok_and(|ip| endpoint.address() == Some(ip) && endpoint.state != State::Stopped)
}

fn nothing(snapshot: &Snapshot, target: &str) -> String {
    let service = snapshot.services.iter().find(|service| {
        service.name == target || service.name.split_once('@').is_some_and(|(name, _)| name == target)
    });
    match service {
        Some(service) => {
            let names: Vec<&str> =
                service.endpoints.iter().map(|endpoint| endpoint.instance.name.as_str()).collect();
            format!("`{target}` is a service; choose of its endpoints{}", some_of("they are", &names))
        }
        None => format!("nothing is called `{target}`; `portolan ps` shows what there is"),
    }
}

/// `: they are a, b`, or nothing.
fn some_of(what: &str, names: &[&str]) -> String {
    match names.len() {
        0 => String::new(),
        count if count > NAMED_MAX => {
            format!(": {what} {} and {} more", names[..NAMED_MAX].join(", "), count - NAMED_MAX)
        }
        _ => format!(": {what} {}", names.join(", ")),
    }
}
