//! What Portolan serves of itself, as Traefik's options ask for it: ping, metrics and the API. The admin address has all
//! of them, always; these are served elsewhere besides.

use std::time::Duration;

use super::entry_point::read;
use super::read::Reader;
use crate::ListenAddress;

/// The name of Traefik's entry point for itself. It is there when something names it.
pub(super) const TRAEFIK: &str = "traefik";

/// What is served besides the admin address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Internal {
    /// Where the entry point `traefik` listens, if something is served there.
    pub address: Option<ListenAddress>,
    /// `ping`
    pub ping: Option<Ping>,
    /// `metrics.prometheus`
    pub metrics: Option<Prometheus>,
    /// `api`
    pub api: Option<Api>,
}

/// `ping`: `/ping`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// `entryPoint`
    pub entry_point: String,
    /// `manualRouting`: a router of the operator's own leads to it.
    pub manual_routing: bool,
    /// `terminatingStatusCode`: the answer after SIGTERM.
    pub terminating_status: u16,
}

/// `metrics.prometheus`: `/metrics`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prometheus {
    /// `entryPoint`
    pub entry_point: String,
    /// `manualRouting`: a router of the operator's own leads to it.
    pub manual_routing: bool,
    /// `buckets` of latencies; none is Portolan's choice.
    pub buckets: Vec<Duration>,
}

/// `api`: `/api`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// `insecure`: it is served on the entry point `traefik`, to everybody who reaches that.
    pub insecure: bool,
}

impl Internal {
    /// Whether the entry point `traefik` has `/ping`.
    pub fn has_ping(&self) -> bool {
        self.ping.as_ref().is_some_and(|ping| ping.entry_point == TRAEFIK && !ping.manual_routing)
    }

    /// Whether it has `/metrics`.
    pub fn has_metrics(&self) -> bool {
        self.metrics.as_ref().is_some_and(|metrics| metrics.entry_point == TRAEFIK && !metrics.manual_routing)
    }

    /// Whether it has `/api`.
    pub fn has_api(&self) -> bool {
        self.api.as_ref().is_some_and(|api| api.insecure)
    }
}

pub(super) fn read(reader: &mut Reader<'_>) -> Internal {
    let mut internal = Internal {
        address: None,
        ping: ping(reader),
        metrics: prometheus(reader),
        api: (reader.section("api") == Some(true))
            .then(|| Api { insecure: reader.flag("api.insecure", false) }),
    };
    if internal.has_ping() || internal.has_metrics() || internal.has_api() {
        internal.address = if reader.is_written(&format!("entryPoints.{TRAEFIK}")) {
            read::address(reader, TRAEFIK).map(|(address, _)| address)
        } else {
            Some(ListenAddress { ip: None, port: 8080 })
        };
    }
    internal
}

fn ping(reader: &mut Reader<'_>) -> Option<Ping> {
    (reader.section("ping") == Some(true)).then(|| Ping {
        entry_point: reader.text("ping.entryPoint").unwrap_or_else(|| TRAEFIK.to_owned()),
        manual_routing: reader.flag("ping.manualRouting", false),
        terminating_status: reader
            .parsed("ping.terminatingStatusCode", |text| {
                let status = text.parse().ok().filter(|status| (100..1000).contains(status));
                status.ok_or_else(|| format!("`{text}` is not a status: expected one such as `503`"))
            })
            .unwrap_or(503),
    })
}

fn prometheus(reader: &mut Reader<'_>) -> Option<Prometheus> {
    let bucket = |text: &str| {
        let seconds: Option<f64> = text.parse().ok();
        let bucket = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        bucket.ok_or_else(|| format!("`{text}` is not a number of seconds, such as `0.3`"))
    };
    (reader.section("metrics.prometheus") == Some(true)).then(|| Prometheus {
        entry_point: reader.text("metrics.prometheus.entryPoint").unwrap_or_else(|| TRAEFIK.to_owned()),
        manual_routing: reader.flag("metrics.prometheus.manualRouting", false),
        buckets: reader.parsed_list("metrics.prometheus.buckets", bucket).unwrap_or_default(),
    })
}
