//! `http.services`: where requests go, and how they are spread.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::{Span, StatusRange};

mod own;

pub use own::{HashBy, Initial, Panic, RetryBudget};

/// `http.services.<name>`: one of the five kinds, and middlewares of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Service {
    /// What its requests go through, after the router's.
    pub middlewares: Vec<String>,
    /// Which kind, with its options.
    #[serde(flatten)]
    pub kind: ServiceKind,
}

/// `http.services.<name>` as written, where it may still be several kinds at once.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServiceWritten {
    pub(super) middlewares: Vec<String>,
    pub(super) load_balancer: Option<LoadBalancer>,
    pub(super) weighted: Option<Weighted>,
    pub(super) highest_random_weight: Option<HighestRandomWeight>,
    pub(super) mirroring: Option<Mirroring>,
    pub(super) failover: Option<Failover>,
}

impl ServiceWritten {
    /// The one kind that was written; an error says what was written instead.
    pub(super) fn meant(self) -> Result<Service, String> {
        let kinds = [
            self.load_balancer.map(ServiceKind::LoadBalancer),
            self.weighted.map(ServiceKind::Weighted),
            self.highest_random_weight.map(ServiceKind::HighestRandomWeight),
            self.mirroring.map(ServiceKind::Mirroring),
            self.failover.map(ServiceKind::Failover),
        ];
        let mut kinds: Vec<ServiceKind> = kinds.into_iter().flatten().collect();
        match kinds.len() {
            1 => Ok(Service { middlewares: self.middlewares, kind: kinds.swap_remove(0) }),
            0 => Err("says nothing of where requests go: write `loadBalancer`, `weighted`, \
                      `highestRandomWeight`, `mirroring` or `failover`"
                .to_owned()),
            _ => Err(format!(
                "is {} at once: write one each",
                kinds.iter().map(ServiceKind::name).collect::<Vec<_>>().join(" and ")
            )),
        }
    }
}

/// What kind of service it is.
#[allow(clippy::large_enum_variant)] // nearly all of them are the large one
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ServiceKind {
    /// Spread over servers.
    LoadBalancer(LoadBalancer),
    /// Spread over other services, by weight.
    Weighted(Weighted),
    /// Spread over other services, each client to the same one.
    HighestRandomWeight(HighestRandomWeight),
    /// Sent to one service, and copies to others.
    Mirroring(Mirroring),
    /// Sent to one service, and to another while that can't serve.
    Failover(Failover),
}

impl ServiceKind {
    /// The option's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LoadBalancer(_) => "loadBalancer",
            Self::Weighted(_) => "weighted",
            Self::HighestRandomWeight(_) => "highestRandomWeight",
            Self::Mirroring(_) => "mirroring",
            Self::Failover(_) => "failover",
        }
    }

    /// The services that it sends to, as written; each with the option that names it.
    pub fn children(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::LoadBalancer(_) => Vec::new(),
            Self::Weighted(weighted) => {
                weighted.services.iter().map(|child| ("weighted.services", child.name.as_str())).collect()
            }
            Self::HighestRandomWeight(hashed) => hashed
                .services
                .iter()
                .map(|child| ("highestRandomWeight.services", child.name.as_str()))
                .collect(),
            Self::Mirroring(mirroring) => std::iter::once(("mirroring.service", mirroring.service.as_str()))
                .chain(mirroring.mirrors.iter().map(|mirror| ("mirroring.mirrors", mirror.name.as_str())))
                .collect(),
            Self::Failover(failover) => {
                vec![
                    ("failover.service", failover.service.as_str()),
                    ("failover.fallback", failover.fallback.as_str()),
                ]
            }
        }
    }

    /// The same names, to be qualified.
    pub fn children_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::LoadBalancer(_) => Vec::new(),
            Self::Weighted(weighted) => weighted.services.iter_mut().map(|child| &mut child.name).collect(),
            Self::HighestRandomWeight(hashed) => {
                hashed.services.iter_mut().map(|child| &mut child.name).collect()
            }
            Self::Mirroring(mirroring) => std::iter::once(&mut mirroring.service)
                .chain(mirroring.mirrors.iter_mut().map(|mirror| &mut mirror.name))
                .collect(),
            Self::Failover(failover) => vec![&mut failover.service, &mut failover.fallback],
        }
    }
}

/// `loadBalancer`: spread over servers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancer {
    /// Whether a client stays with its server.
    pub sticky: Option<Sticky>,
    /// The servers; by label there is one, on the container that has the label.
    pub servers: Vec<Server>,
    /// Who is next.
    pub strategy: Strategy,
    /// Asked whether they serve, at intervals.
    pub health_check: Option<HealthCheck>,
    /// Judged by their answers.
    pub passive_health_check: Option<PassiveHealthCheck>,
    /// Whether servers see the client's `Host`; their own otherwise.
    pub pass_host_header: bool,
    /// How answers are passed on.
    pub response_forwarding: ResponseForwarding,
    /// How servers are spoken to, by name; empty means the default.
    pub servers_transport: String,
    /// Portolan's own: what of a request decides where it goes, where the strategy goes by that.
    pub hash_by: HashBy,
    /// Portolan's own: how long a new server gets less than its share.
    pub slow_start: Span,
    /// Portolan's own: who serves when nobody is healthy.
    pub panic: Panic,
    /// Portolan's own: whether servers on this machine go before all others.
    pub prefer_local: bool,
    /// Portolan's own: requests that servers have to do with at a time, all of them together; any with 0.
    pub max_requests: u32,
    /// Portolan's own: those that one server has to do with; any with 0.
    pub max_requests_per_endpoint: u32,
    /// Portolan's own: requests that wait until one of those is over; none with 0.
    pub max_pending: u32,
    /// Portolan's own: how long one waits.
    pub pending_timeout: Span,
    /// Portolan's own: how many may be sent again.
    pub retry_budget: Option<RetryBudget>,
}

impl Default for LoadBalancer {
    fn default() -> Self {
        Self {
            sticky: None,
            servers: Vec::new(),
            strategy: Strategy::default(),
            health_check: None,
            passive_health_check: None,
            pass_host_header: true,
            response_forwarding: ResponseForwarding::default(),
            servers_transport: String::new(),
            hash_by: HashBy::default(),
            slow_start: Span::default(),
            panic: Panic::default(),
            prefer_local: false,
            max_requests: 0,
            max_requests_per_endpoint: 0,
            max_pending: 0,
            pending_timeout: Span::secs(5),
            retry_budget: None,
        }
    }
}

/// A server of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// Where it is: `http://10.0.0.1:8080`; `https` and `h2c` too.
    pub url: String,
    /// How much work it gets beside the others; none with 0.
    pub weight: u32,
    /// Whether the path of its URL is put before that of a request.
    pub preserve_path: bool,
    /// By label: how it is spoken to.
    pub scheme: String,
    /// By label: the port of the container.
    pub port: Option<std::num::NonZeroU16>,
}

impl Default for Server {
    fn default() -> Self {
        Self { url: String::new(), weight: 1, preserve_path: false, scheme: String::new(), port: None }
    }
}

/// Who is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// In turn, by weight.
    #[default]
    Wrr,
    /// Of two by chance, the one with less to do.
    P2c,
    /// Each client address to the same one (rendezvous hashing).
    Hrw,
    /// The one that answers soonest.
    LeastTime,
    /// Portolan's own: the one with least to do.
    LeastRequests,
    /// Portolan's own: of two by chance, the one that answers sooner and has less to do.
    Ewma,
    /// Portolan's own: each client address to the same one, looked up in a table (Maglev).
    Maglev,
}

/// `sticky`: a client stays with its server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Sticky {
    /// By a cookie.
    pub cookie: Option<Cookie>,
}

/// The cookie that names a server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cookie {
    /// Its name; made from the service's where it is empty.
    pub name: String,
    /// Whether it is sent over TLS only.
    pub secure: bool,
    /// Whether scripts can't read it.
    pub http_only: bool,
    /// Whether it is sent along from other sites; not said where it is empty.
    pub same_site: Option<SameSite>,
    /// Seconds it is kept; 0 until the browser ends, below 0 not at all.
    pub max_age: i64,
    /// The paths it is for.
    pub path: String,
    /// The domain it is for; the host that set it where it is empty.
    pub domain: String,
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: String::new(),
            secure: false,
            http_only: false,
            same_site: None,
            max_age: 0,
            path: "/".to_owned(),
            domain: String::new(),
        }
    }
}

/// Whether a cookie is sent along from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// From anywhere.
    None,
    /// When a link is followed.
    Lax,
    /// Never.
    Strict,
}

/// `healthCheck`: servers are asked at intervals.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthCheck {
    /// `http` or `https`; the server's own where it is empty.
    pub scheme: String,
    /// How they are asked.
    pub mode: HealthCheckMode,
    /// The path.
    pub path: String,
    /// The method; `GET` where it is empty.
    pub method: String,
    /// The status that is expected; 0 is 200 to 399.
    pub status: u16,
    /// The port; 0 is the server's own.
    pub port: u16,
    /// Between two questions.
    pub interval: Span,
    /// Between two questions to one that is down; zero is `interval`.
    pub unhealthy_interval: Span,
    /// How long an answer may take.
    pub timeout: Span,
    /// The `Host`; the server's own where it is empty.
    pub hostname: String,
    /// Whether redirections are followed.
    pub follow_redirects: bool,
    /// Fields sent along.
    pub headers: BTreeMap<String, String>,
    /// Portolan's own: good answers in a row until one that is down is up.
    pub rise: u32,
    /// Portolan's own: bad answers in a row until one that is up is down.
    pub fall: u32,
    /// Portolan's own: what a server is taken for before its first answer.
    pub initial: Initial,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            scheme: String::new(),
            mode: HealthCheckMode::default(),
            path: String::new(),
            method: String::new(),
            status: 0,
            port: 0,
            interval: Span::secs(30),
            unhealthy_interval: Span::default(),
            timeout: Span::secs(5),
            hostname: String::new(),
            follow_redirects: true,
            headers: BTreeMap::new(),
            rise: 1,
            fall: 1,
            initial: Initial::default(),
        }
    }
}

/// How servers are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthCheckMode {
    /// By a request.
    #[default]
    Http,
    /// By gRPC's health protocol.
    Grpc,
    /// Portolan's own: whether they take connections.
    Tcp,
}

/// `passiveHealthCheck`: servers are judged by their answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PassiveHealthCheck {
    /// Failures within this time count together, and a server that had too many rests for as long.
    pub failure_window: Span,
    /// Failures until it rests.
    pub max_failed_attempts: u32,
    /// Portolan's own: of a hundred requests, how many may not fail; none are asked about with 0.
    pub error_percent: u8,
    /// Portolan's own: of a hundred servers, how many may rest at once.
    pub max_ejected_percent: u8,
}

impl Default for PassiveHealthCheck {
    fn default() -> Self {
        Self {
            failure_window: Span::secs(10),
            max_failed_attempts: 1,
            error_percent: 0,
            max_ejected_percent: 100,
        }
    }
}

/// `responseForwarding`: how answers are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResponseForwarding {
    /// How long bytes may wait to be sent together; below zero not at all.
    pub flush_interval: Span,
}

impl Default for ResponseForwarding {
    fn default() -> Self {
        Self { flush_interval: Span::millis(100) }
    }
}

/// A service among others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct WeightedChild {
    /// Its name.
    pub name: String,
    /// How much it gets beside the others; nothing with 0.
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

/// `weighted`: spread over other services, by weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Weighted {
    /// Over which.
    pub services: Vec<WeightedChild>,
    /// Whether a client stays with its service.
    pub sticky: Option<Sticky>,
    /// Present where a service that can't serve is passed over.
    pub health_check: Option<Propagate>,
}

/// `healthCheck: {}` of a service of services: it is as well as those below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Propagate {}

/// `highestRandomWeight`: each client to the same service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HighestRandomWeight {
    /// Over which.
    pub services: Vec<WeightedChild>,
    /// Present where a service that can't serve is passed over.
    pub health_check: Option<Propagate>,
}

/// `mirroring`: sent to one service, and copies to others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mirroring {
    /// The one that answers.
    pub service: String,
    /// Whether copies have the body.
    pub mirror_body: bool,
    /// Bytes of a body that is copied; a longer one goes to the one service only. Below zero: any.
    pub max_body_size: i64,
    /// Who gets copies.
    pub mirrors: Vec<Mirror>,
    /// Present where it is as well as the one service.
    pub health_check: Option<Propagate>,
}

impl Default for Mirroring {
    fn default() -> Self {
        Self {
            service: String::new(),
            mirror_body: true,
            max_body_size: -1,
            mirrors: Vec::new(),
            health_check: None,
        }
    }
}

/// A service that gets copies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Mirror {
    /// Its name.
    pub name: String,
    /// Of a hundred requests.
    #[serde(default)]
    pub percent: u8,
}

/// `failover`: sent to one service, and to another while that can't serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Failover {
    /// The first.
    pub service: String,
    /// The other.
    pub fallback: String,
    /// Present where it is as well as either.
    pub health_check: Option<Propagate>,
    /// Answers that count as not serving.
    pub errors: Option<FailoverErrors>,
}

/// Answers after which a request is sent to the other service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverErrors {
    /// Their statuses.
    pub status: Vec<StatusRange>,
    /// Bytes of a body that is kept to be sent again. Below zero: any.
    pub max_request_body_bytes: i64,
}

impl Default for FailoverErrors {
    fn default() -> Self {
        Self { status: Vec::new(), max_request_body_bytes: -1 }
    }
}
