//! What the data plane counts.
//!
//! Label values are bounded by the configuration (entry points, routers, services, endpoints) and by lists (methods,
//! status codes, reasons), never by what a request says. A worker resolves a series once and then only adds to it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portolan_config::Protocol;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::datapath::PathMetrics;
use crate::http::{Method, Reason};
use crate::tls;
use crate::udp;

mod tally;

use tally::{Cells, Tally};

/// Boundaries in seconds for connections and UDP sessions, which last from a lookup's moment to a day.
const LASTED_BUCKETS: [f64; 12] =
    [0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 86_400.0];

/// The metrics of the data plane. Cheap to clone: clones count into the same cells.
#[derive(Clone, Debug)]
pub struct Metrics {
    entry_points: Family,
    routes: Family,
    services: Family,
    endpoint_requests: IntCounterVec,
    endpoint_connections: IntCounterVec,
    endpoint_failures: IntCounterVec,
    endpoint_check_up: IntGaugeVec,
    refusals: IntCounterVec,
    retries: IntCounterVec,
    /// What is counted of TLS.
    pub(crate) tls: tls::Metrics,
    /// What is counted of the kernel's data path.
    pub(crate) datapath: PathMetrics,
    /// What is counted of datagrams.
    pub(crate) udp: udp::Metrics,
    retries_refused: IntCounterVec,
    pending: IntGaugeVec,
    copies_dropped: IntCounterVec,
    /// `portolan_config_last_reload_success_timestamp_seconds`: when the newest table was put in place.
    pub(crate) last_compile: prometheus::Gauge,
}

/// The same set of series for each kind of thing that a request passes.
#[derive(Clone, Debug)]
struct Family {
    tally: Tally,
    /// How long connections and UDP sessions lasted, and why they ended.
    lasted: Option<HistogramVec>,
    ended: Option<IntCounterVec>,
    open: Option<IntGaugeVec>,
}

/// One entry point, router or service, as far as it is counted.
#[derive(Debug)]
pub struct Scope {
    id: u32,
    name: String,
    family: Family,
    open: Option<IntGauge>,
    /// Bytes received and sent, where they are counted without a recorder.
    bytes: Option<[IntCounter; 2]>,
}

/// The counters of one endpoint within one upstream.
#[derive(Clone, Debug)]
pub struct EndpointCounters {
    labels: [String; 2],
    /// HTTP requests sent to it.
    pub requests: IntCounter,
    /// Connections of published ports passed on to it.
    pub connections: IntCounter,
    /// Connections that it refused or broke off.
    pub failures: IntCounter,
}

impl EndpointCounters {
    /// Whether both count into the series of one name.
    pub(crate) fn is_same_series(&self, other: &Self) -> bool {
        self.labels == other.labels
    }
}

impl Metrics {
    /// Makes the metrics, and registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        Ok(Self {
            entry_points: Family::register(registry, "entrypoint", Extent::Full)?,
            routes: Family::register(registry, "route", Extent::Requests)?,
            services: Family::register(registry, "service", Extent::Full)?,
            endpoint_requests: counter(
                "portolan_endpoint_requests_total",
                "HTTP requests sent to the endpoint",
                &["service", "endpoint"],
            )?,
            endpoint_connections: counter(
                "portolan_endpoint_connections_total",
                "Connections of published ports passed on to the endpoint, and UDP sessions",
                &["service", "endpoint"],
            )?,
            endpoint_failures: counter(
                "portolan_endpoint_failures_total",
                "Connections that the endpoint refused or broke off",
                &["service", "endpoint"],
            )?,
            endpoint_check_up: registered(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "portolan_endpoint_check_up",
                        "Whether the endpoint is up by the service's health checks: 1, or 0",
                    ),
                    &["service", "endpoint"],
                )?,
            )?,
            refusals: counter(
                "portolan_refusals_total",
                "Requests and connections that Portolan answered or closed itself, by reason",
                &["entrypoint", "reason"],
            )?,
            retries: counter(
                "portolan_service_retries_total",
                "Requests and connections sent to another endpoint after one failed",
                &["service"],
            )?,
            tls: tls::Metrics::register(registry)?,
            datapath: PathMetrics::register(registry)?,
            udp: udp::Metrics::register(registry)?,
            retries_refused: counter(
                "portolan_service_retries_refused_total",
                "Requests not sent to another endpoint, because too many had been already",
                &["service"],
            )?,
            pending: registered(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "portolan_service_requests_pending",
                        "Requests that wait until the service has a place for them",
                    ),
                    &["service"],
                )?,
            )?,
            copies_dropped: counter(
                "portolan_service_copies_dropped_total",
                "Copies of requests (mirroring) that were not sent or given up, by reason",
                &["service", "reason"],
            )?,
            last_compile: registered(
                registry,
                prometheus::Gauge::new(
                    "portolan_config_last_reload_success_timestamp_seconds",
                    "When the newest routing table was put in place, in seconds since the epoch",
                )?,
            )?,
        })
    }

    pub(crate) fn entry_point(&self, name: &str) -> Scope {
        Scope::new(&self.entry_points, name)
    }

    pub(crate) fn router(&self, name: &str) -> Scope {
        Scope::new(&self.routes, name)
    }

    pub(crate) fn service(&self, name: &str) -> Scope {
        Scope::new(&self.services, name)
    }

    pub(crate) fn endpoint(&self, service: &str, endpoint: &str) -> EndpointCounters {
        let labels = [service, endpoint];
        EndpointCounters {
            requests: self.endpoint_requests.with_label_values(&labels),
            connections: self.endpoint_connections.with_label_values(&labels),
            failures: self.endpoint_failures.with_label_values(&labels),
            labels: labels.map(str::to_owned),
        }
    }

    /// A check found that the endpoint is up, or not.
    pub(crate) fn checked(&self, service: &str, endpoint: &str, up: bool) {
        self.endpoint_check_up.with_label_values(&[service, endpoint]).set(up.into());
    }

    /// Nobody checks the endpoint any more.
    pub(crate) fn forget_checked(&self, service: &str, endpoint: &str) {
        let _ = self.endpoint_check_up.remove_label_values(&[service, endpoint]);
    }

    pub(crate) fn refused(&self, entry_point: &str, reason: Reason) {
        self.refusals.with_label_values(&[entry_point, reason.as_str()]).inc();
    }

    /// How often something was refused for this reason.
    #[cfg(test)]
    pub(crate) fn refusals(&self, entry_point: &str, reason: Reason) -> u64 {
        self.refusals.with_label_values(&[entry_point, reason.as_str()]).get()
    }

    pub(crate) fn retried(&self, service: &str) {
        self.retries.with_label_values(&[service]).inc();
    }

    pub(crate) fn retry_refused(&self, service: &str) {
        self.retries_refused.with_label_values(&[service]).inc();
    }

    /// Counts a request as waiting for a place, for as long as the guard lives.
    pub(crate) fn pending(&self, service: &str) -> OpenGuard {
        let pending = self.pending.with_label_values(&[service]);
        pending.inc();
        OpenGuard(Some(pending))
    }

    /// A copy of a request was not sent (`limit`), or given up (`timeout`).
    pub(crate) fn copy_dropped(&self, service: &str, reason: &'static str) {
        self.copies_dropped.with_label_values(&[service, reason]).inc();
    }

    /// How many there were.
    #[cfg(test)]
    pub(crate) fn copies_dropped(&self, service: &str, reason: &str) -> u64 {
        self.copies_dropped.with_label_values(&[service, reason]).get()
    }

    pub(crate) fn forget_retries(&self, service: &str) {
        // Most services never had any.
        let _ = self.retries.remove_label_values(&[service]);
        let _ = self.retries_refused.remove_label_values(&[service]);
        let _ = self.pending.remove_label_values(&[service]);
        for reason in ["limit", "timeout"] {
            let _ = self.copies_dropped.remove_label_values(&[service, reason]);
        }
    }

    pub(crate) fn forget_endpoint(&self, counters: &EndpointCounters) {
        // A series that was never there is as good as removed.
        let _ = self.endpoint_requests.remove_label_values(&counters.labels);
        let _ = self.endpoint_connections.remove_label_values(&counters.labels);
        let _ = self.endpoint_failures.remove_label_values(&counters.labels);
    }
}

/// The version of HTTP that a client speaks, by the names of ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    /// HTTP/1.0 and HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

impl Version {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

/// Which series a family has.
#[derive(Clone, Copy, PartialEq)]
enum Extent {
    Full,
    Requests,
}

impl Family {
    fn register(registry: &Registry, kind: &'static str, extent: Extent) -> prometheus::Result<Self> {
        let is_full = extent == Extent::Full;
        let tally = registered(registry, Tally::new(kind, is_full)?)?;
        let (mut open, mut lasted, mut ended) = (None, None, None);
        if is_full {
            open = Some(registered(registry, IntGaugeVec::new(opts_open(kind), &[kind])?)?);
            let opts = HistogramOpts::new(
                format!("portolan_{kind}_connection_duration_seconds"),
                format!("How long connections and UDP sessions of the {kind} lasted, without those of HTTP"),
            );
            let histogram = HistogramVec::new(opts.buckets(LASTED_BUCKETS.to_vec()), &[kind, "protocol"])?;
            lasted = Some(registered(registry, histogram)?);
            let counter = IntCounterVec::new(
                Opts::new(
                    format!("portolan_{kind}_connections_ended_total"),
                    format!("Connections and UDP sessions of the {kind} that ended, without those of HTTP"),
                ),
                &[kind, "protocol", "reason"],
            )?;
            ended = Some(registered(registry, counter)?);
        }
        Ok(Self { tally, lasted, ended, open })
    }

    /// Takes every series of `name` out.
    fn forget(&self, name: &str) {
        self.tally.forget(name);
        if let (Some(lasted), Some(ended)) = (&self.lasted, &self.ended) {
            each_of(name, ended, |labels| drop(ended.remove(labels)));
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                // A series that was never there is as good as removed.
                let _ = lasted.remove_label_values(&[name, protocol.as_str()]);
            }
        }
        if let Some(open) = &self.open {
            let _ = open.remove_label_values(&[name]);
        }
    }
}

/// Goes through the labels of every series that has this name among them.
fn each_of(name: &str, collector: &impl Collector, mut each: impl FnMut(&HashMap<&str, &str>)) {
    for family in collector.collect() {
        for metric in family.get_metric() {
            let labels: HashMap<&str, &str> =
                metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
            if labels.values().any(|value| *value == name) {
                each(&labels);
            }
        }
    }
}

fn opts_open(kind: &str) -> Opts {
    Opts::new(format!("portolan_{kind}_connections_open"), format!("Open client connections of the {kind}"))
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

impl Scope {
    fn new(family: &Family, name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: name.to_owned(),
            open: family.open.as_ref().map(|open| open.with_label_values(&[name])),
            bytes: family.tally.bytes(name),
            family: family.clone(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes its series out, when it has left the configuration.
    pub(crate) fn forget(&self) {
        self.family.forget(&self.name);
    }

    /// Counts bytes from and to clients that are not counted with a request.
    pub(crate) fn count_bytes(&self, received: u64, sent: u64) {
        if let Some([received_total, sent_total]) = &self.bytes {
            received_total.inc_by(received);
            sent_total.inc_by(sent);
        }
    }

    /// Counts a client connection as open for as long as the guard lives.
    pub(crate) fn open(&self) -> OpenGuard {
        let open = self.open.clone();
        if let Some(open) = &open {
            open.inc();
        }
        OpenGuard(open)
    }
}

/// An open connection, as far as it is counted.
#[derive(Debug)]
pub(crate) struct OpenGuard(Option<IntGauge>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        if let Some(open) = &self.0 {
            open.dec();
        }
    }
}

/// A worker's own index of the cells it counts into, so that counting a request takes no lock and builds no string.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    series: RefCell<HashMap<u64, Arc<Cells>, foldhash::fast::RandomState>>,
    ended: RefCell<HashMap<EndKey, EndSeries, foldhash::fast::RandomState>>,
}

/// The scope by its number, the protocol, and why it ended.
type EndKey = (u32, Protocol, &'static str);
type EndSeries = (Option<IntCounter>, Option<Histogram>);

impl Recorder {
    /// Counts a connection or a UDP session that ended.
    pub(crate) fn ended(&self, scope: &Scope, protocol: Protocol, reason: &'static str, lasted: Duration) {
        let mut series = self.ended.borrow_mut();
        if series.len() >= Self::SERIES_MAX {
            series.clear();
        }
        let (ended, histogram) = series.entry((scope.id, protocol, reason)).or_insert_with(|| {
            let labels = [scope.name.as_str(), protocol.as_str(), reason];
            let ended = scope.family.ended.as_ref().map(|family| family.with_label_values(&labels));
            let lasted = scope.family.lasted.as_ref();
            (ended, lasted.map(|family| family.with_label_values(&labels[..2])))
        });
        if let (Some(ended), Some(histogram)) = (ended, histogram) {
            ended.inc();
            histogram.observe(lasted.as_secs_f64());
        }
    }

    /// Series that a worker remembers; then it starts over, so that those of things long gone are let go of.
    const SERIES_MAX: usize = 10_000;

    /// Counts one request, with its bytes received and sent.
    pub(crate) fn count(
        &self,
        scope: &Scope,
        method: Method,
        version: Version,
        code: u16,
        duration: Duration,
        (received, sent): (u64, u64),
    ) {
        // All of it in one number: there is less to hash.
        let key = u64::from(scope.id) << 32 | u64::from(code) << 16 | (method as u64) << 8 | version as u64;
        let mut series = self.series.borrow_mut();
        if series.len() >= Self::SERIES_MAX {
            series.clear();
        }
        let cells = series.entry(key).or_insert_with(|| {
            let code = code.to_string();
            scope.family.tally.cells([&scope.name, &code, method.as_str(), version.as_str()])
        });
        cells.count(duration, received, sent);
    }
}

/// The name of a published port where an entry point's name would stand: `8080/tcp`.
pub(crate) fn published_name(port: u16, protocol: Protocol) -> String {
    format!("{port}/{protocol}")
}
