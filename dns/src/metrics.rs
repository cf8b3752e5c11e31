//! What the DNS server counts. Label values are bounded, and every cell is resolved before the first query.

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use prometheus::local::{LocalHistogram, LocalIntCounter};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    exponential_buckets,
};

use crate::answer::{Outcome, Transport};
use crate::rcode::Rcode;
use crate::transfer::Wish;
use crate::zone::Zone;

/// The types counted by name, `other` last.
const TYPES: [&str; 13] =
    ["A", "AAAA", "SRV", "PTR", "SOA", "NS", "TXT", "MX", "CNAME", "HTTPS", "SVCB", "ANY", "other"];

/// Where sizes are told apart: what fits without EDNS, without fragments, in a datagram's usual limit, and in a message.
const SIZES: [f64; 8] = [64.0, 128.0, 256.0, 512.0, 1232.0, 4096.0, 16_384.0, 65_535.0];

/// The metrics of the DNS server. Cheap to clone: clones count into the same cells.
#[derive(Clone, Debug)]
pub struct Metrics {
    cells: Arc<Cells>,
}

#[derive(Debug)]
struct Cells {
    udp: [IntCounter; TYPES.len()],
    tcp: [IntCounter; TYPES.len()],
    tls: [IntCounter; TYPES.len()],
    https: [IntCounter; TYPES.len()],
    /// Queries whose DO is set.
    dnssec_ok: IntCounter,
    responses: [IntCounter; Rcode::ALL.len()],
    duration: Histogram,
    /// Bytes of queries, and of answers.
    sizes: [Histogram; 2],
    zone_names: IntGauge,
    dropped: IntCounter,
    limited: IntCounter,
    cache_hits: [IntCounter; 2],
    cache_misses: IntCounter,
    cache_entries: IntGauge,
    cache_evictions: IntCounter,
    cache_prefetches: IntCounter,
    cache_stale: IntCounter,
    forwarded: IntCounterVec,
    forward_duration: HistogramVec,
    forward_rejects: IntCounter,
    forward_failures: IntCounterVec,
    forward_broken: IntCounter,
    panics: IntCounter,
    transfers: [IntCounter; 2],
    notifies: IntCounter,
    log_dropped: IntCounter,
}

impl Metrics {
    /// Makes the metrics, and registers them:
    ///
    /// * `portolan_dns_requests_total{proto,type}`: queries answered; types outside a list are `other`.
    /// * `portolan_dns_do_requests_total`: queries among them whose DO is set: they want signatures, too (RFC 3225).
    /// * `portolan_dns_responses_total{rcode}`: answers.
    /// * `portolan_dns_request_duration_seconds`: from a query's last byte read to its answer's bytes ready.
    /// * `portolan_dns_request_size_bytes`, `portolan_dns_response_size_bytes`: how long both are.
    /// * `portolan_dns_zone_names`: names in the zone.
    /// * `portolan_dns_dropped_total`: datagrams that deserved silence, answers that could not be sent, and connections
    ///   closed because of their number or for sending what is no query.
    /// * `portolan_dns_rate_limited_total`: answers by UDP cut or dropped, as their network was sent too many.
    /// * `portolan_dns_cache_hits_total{type}`: answers given from the cache; `type` is `success` or `denial`.
    /// * `portolan_dns_cache_misses_total`, `portolan_dns_cache_entries`: names to be asked of others; answers kept.
    /// * `portolan_dns_cache_evictions_total`: answers that gave way to others for want of room.
    /// * `portolan_dns_cache_prefetch_total`, `portolan_dns_cache_served_stale_total`: fetched ahead of their end; given
    ///   after it.
    /// * `portolan_dns_forward_requests_total{to,rcode}`, `portolan_dns_forward_request_duration_seconds{to}`: others
    ///   asked; `to` is a server that the operator named.
    /// * `portolan_dns_forward_rejects_total`: not asked, as too much was on its way.
    /// * `portolan_dns_forward_healthcheck_failures_total{to}`: servers held to be down from then on, for a while.
    /// * `portolan_dns_forward_healthcheck_broken_total`: names asked for while all servers were: they were asked anyway.
    /// * `portolan_dns_panics_total`: faults of ours that an answer was lost by, and nothing else.
    /// * `portolan_dns_transfers_total{type}`: zones given by `axfr`, and what is new in them by `ixfr`.
    /// * `portolan_dns_notify_failures_total`: name servers that did not answer that a zone had changed.
    /// * `portolan_dns_log_dropped_total`: lines of the query log lost, as they could not be written fast enough.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new("portolan_dns_requests_total", "DNS queries answered"),
            &["proto", "type"],
        )?;
        let responses =
            IntCounterVec::new(Opts::new("portolan_dns_responses_total", "DNS answers"), &["rcode"])?;
        let duration = HistogramOpts::new(
            "portolan_dns_request_duration_seconds",
            "Time from a query read to its answer ready to be sent",
        )
        .buckets(exponential_buckets(0.000_01, 2.0, 14)?);
        let size = |name: &str, help: &str| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(SIZES.to_vec()))
        };
        let hits = IntCounterVec::new(
            Opts::new("portolan_dns_cache_hits_total", "DNS answers given from the cache"),
            &["type"],
        )?;
        let transfers = IntCounterVec::new(
            Opts::new("portolan_dns_transfers_total", "Zones given as a whole, or what is new in them"),
            &["type"],
        )?;
        let forward_duration = HistogramOpts::new(
            "portolan_dns_forward_request_duration_seconds",
            "Time from a query sent to another name server to its answer",
        )
        .buckets(exponential_buckets(0.000_25, 2.0, 15)?);
        let counter = |name: &str, help: &str| IntCounter::new(name, help);
        let cells = Cells {
            udp: TYPES.map(|name| requests.with_label_values(&["udp", name])),
            tcp: TYPES.map(|name| requests.with_label_values(&["tcp", name])),
            tls: TYPES.map(|name| requests.with_label_values(&["tls", name])),
            https: TYPES.map(|name| requests.with_label_values(&["https", name])),
            dnssec_ok: counter("portolan_dns_do_requests_total", "DNS queries that want signatures, too")?,
            responses: Rcode::ALL.map(|rcode| responses.with_label_values(&[rcode.as_str()])),
            duration: Histogram::with_opts(duration)?,
            sizes: [
                size("portolan_dns_request_size_bytes", "Bytes of a DNS query")?,
                size("portolan_dns_response_size_bytes", "Bytes of a DNS answer")?,
            ],
            zone_names: IntGauge::new("portolan_dns_zone_names", "Names in the zone")?,
            dropped: IntCounter::new(
                "portolan_dns_dropped_total",
                "Datagrams not answered, answers not sent, and connections closed for their number or their content",
            )?,
            limited: counter(
                "portolan_dns_rate_limited_total",
                "DNS answers cut or dropped, as their network was sent too many",
            )?,
            cache_hits: ["success", "denial"].map(|kind| hits.with_label_values(&[kind])),
            cache_misses: counter(
                "portolan_dns_cache_misses_total",
                "DNS queries not answered from the cache",
            )?,
            cache_entries: IntGauge::new("portolan_dns_cache_entries", "DNS answers in the cache")?,
            cache_evictions: counter(
                "portolan_dns_cache_evictions_total",
                "DNS answers that gave way to others",
            )?,
            cache_prefetches: counter(
                "portolan_dns_cache_prefetch_total",
                "DNS answers fetched before they run out",
            )?,
            cache_stale: counter(
                "portolan_dns_cache_served_stale_total",
                "DNS answers given after they have run out",
            )?,
            forwarded: IntCounterVec::new(
                Opts::new("portolan_dns_forward_requests_total", "Queries to other name servers"),
                &["to", "rcode"],
            )?,
            forward_duration: HistogramVec::new(forward_duration, &["to"])?,
            forward_rejects: counter(
                "portolan_dns_forward_rejects_total",
                "DNS queries not forwarded for their number",
            )?,
            forward_failures: IntCounterVec::new(
                Opts::new(
                    "portolan_dns_forward_healthcheck_failures_total",
                    "Name servers held to be down, for a while",
                ),
                &["to"],
            )?,
            forward_broken: counter(
                "portolan_dns_forward_healthcheck_broken_total",
                "Names asked for while all name servers are held to be down",
            )?,
            panics: counter("portolan_dns_panics_total", "Faults of ours that cost an answer")?,
            transfers: ["axfr", "ixfr"].map(|kind| transfers.with_label_values(&[kind])),
            notifies: counter(
                "portolan_dns_notify_failures_total",
                "Name servers that could not be told of a change",
            )?,
            log_dropped: counter(
                "portolan_dns_log_dropped_total",
                "Lines of the query log that were not written",
            )?,
        };
        registry.register(Box::new(requests))?;
        registry.register(Box::new(responses))?;
        registry.register(Box::new(cells.duration.clone()))?;
        for size in &cells.sizes {
            registry.register(Box::new(size.clone()))?;
        }
        registry.register(Box::new(cells.zone_names.clone()))?;
        registry.register(Box::new(cells.dropped.clone()))?;
        registry.register(Box::new(hits))?;
        registry.register(Box::new(transfers))?;
        let counters = [
            &cells.limited,
            &cells.cache_misses,
            &cells.cache_evictions,
            &cells.cache_prefetches,
            &cells.cache_stale,
            &cells.forward_rejects,
            &cells.notifies,
            &cells.log_dropped,
            &cells.dnssec_ok,
            &cells.forward_broken,
            &cells.panics,
        ];
        for counter in counters {
            registry.register(Box::new(counter.clone()))?;
        }
        registry.register(Box::new(cells.cache_entries.clone()))?;
        registry.register(Box::new(cells.forwarded.clone()))?;
        registry.register(Box::new(cells.forward_failures.clone()))?;
        registry.register(Box::new(cells.forward_duration.clone()))?;
        Ok(Self { cells: Arc::new(cells) })
    }

    /// To be told of every zone that is put in place.
    pub fn zone_in_place(&self, zone: &Zone) {
        self.cells.zone_names.set(i64::try_from(zone.len()).unwrap_or(i64::MAX));
    }

    /// Cells for one thread, which are added to these when it says so.
    pub(crate) fn local(&self) -> Local {
        Local {
            udp: std::array::from_fn(|index| self.cells.udp[index].local()),
            dnssec_ok: self.cells.dnssec_ok.local(),
            responses: std::array::from_fn(|index| self.cells.responses[index].local()),
            duration: self.cells.duration.local(),
            sizes: [0, 1].map(|at| self.cells.sizes[at].local()),
            dropped: self.cells.dropped.local(),
            limited: self.cells.limited.local(),
        }
    }

    /// One query answered; with the bytes of both.
    pub(crate) fn answered(&self, transport: Transport, outcome: Outcome, took: Duration, sizes: [usize; 2]) {
        let requests = match transport {
            Transport::Udp => &self.cells.udp,
            Transport::Tcp => &self.cells.tcp,
            Transport::Tls => &self.cells.tls,
            Transport::Https => &self.cells.https,
        };
        requests[type_index(outcome.record_type)].inc();
        self.cells.responses[outcome.rcode.index()].inc();
        if outcome.dnssec_ok {
            self.cells.dnssec_ok.inc();
        }
        self.cells.duration.observe(took.as_secs_f64());
        self.cells.sizes.iter().zip(sizes).for_each(|(cell, size)| cell.observe(size as f64));
    }

    /// An answer given from the cache.
    pub(crate) fn cache_hit(&self, denial: bool) {
        self.cells.cache_hits[usize::from(denial)].inc();
    }

    /// What was asked is not kept, or has run out.
    pub(crate) fn cache_missed(&self) {
        self.cells.cache_misses.inc();
    }

    pub(crate) fn cache_holds(&self, answers: usize) {
        self.cells.cache_entries.set(i64::try_from(answers).unwrap_or(i64::MAX));
    }

    /// An answer gave way to another one.
    pub(crate) fn cache_evicted(&self) {
        self.cells.cache_evictions.inc();
    }

    pub(crate) fn prefetched(&self) {
        self.cells.cache_prefetches.inc();
    }

    pub(crate) fn served_stale(&self) {
        self.cells.cache_stale.inc();
    }

    /// Another name server was asked; `rcode` is its answer's, or says why there is none.
    pub(crate) fn forwarded(&self, to: &str, rcode: &str, took: Duration) {
        self.cells.forwarded.with_label_values(&[to, rcode]).inc();
        self.cells.forward_duration.with_label_values(&[to]).observe(took.as_secs_f64());
    }

    /// A name server is held to be down from now on, for a while.
    pub(crate) fn forward_failed(&self, to: &str) {
        self.cells.forward_failures.with_label_values(&[to]).inc();
    }

    /// All of a name's servers are.
    pub(crate) fn forward_broken(&self) {
        self.cells.forward_broken.inc();
    }

    /// An answer was lost by a fault of ours.
    pub(crate) fn panicked(&self) {
        self.cells.panics.inc();
    }

    pub(crate) fn forward_rejected(&self) {
        self.cells.forward_rejects.inc();
    }

    /// A zone was given as a whole, or what is new in it.
    pub(crate) fn transferred(&self, wish: Wish) {
        self.cells.transfers[usize::from(wish != Wish::Whole)].inc();
    }

    /// A name server does not answer that it was told of a change.
    pub(crate) fn not_notified(&self) {
        self.cells.notifies.inc();
    }

    /// A line of the query log was lost.
    pub(crate) fn log_dropped(&self) {
        self.cells.log_dropped.inc();
    }

    /// One datagram, answer or connection dropped.
    pub(crate) fn dropped(&self) {
        self.cells.dropped.inc();
    }
}

/// What one thread counts: adding to shared cells at every query would make threads wait for each other's caches.
pub(crate) struct Local {
    udp: [LocalIntCounter; TYPES.len()],
    dnssec_ok: LocalIntCounter,
    responses: [LocalIntCounter; Rcode::ALL.len()],
    duration: LocalHistogram,
    sizes: [LocalHistogram; 2],
    dropped: LocalIntCounter,
    limited: LocalIntCounter,
}

impl Local {
    /// One query by UDP answered; with the bytes of both.
    pub(crate) fn answered(&mut self, outcome: Outcome, took: Duration, sizes: [usize; 2]) {
        self.udp[type_index(outcome.record_type)].inc();
        self.responses[outcome.rcode.index()].inc();
        if outcome.dnssec_ok {
            self.dnssec_ok.inc();
        }
        self.duration.observe(took.as_secs_f64());
        self.sizes.iter_mut().zip(sizes).for_each(|(cell, size)| cell.observe(size as f64));
    }

    /// Datagrams or answers dropped.
    pub(crate) fn dropped(&mut self, count: u64) {
        self.dropped.inc_by(count);
    }

    /// An answer cut or dropped, as its network was sent too many.
    pub(crate) fn limited(&mut self) {
        self.limited.inc();
    }

    /// Adds what was counted to the shared cells.
    pub(crate) fn flush(&self) {
        self.udp
            .iter()
            .chain(&self.responses)
            .chain([&self.dropped, &self.limited, &self.dnssec_ok])
            .for_each(LocalIntCounter::flush);
        self.duration.flush();
        self.sizes.iter().for_each(LocalHistogram::flush);
    }
}

fn type_index(record_type: Option<RecordType>) -> usize {
    match record_type {
        Some(RecordType::A) => 0,
        Some(RecordType::AAAA) => 1,
        Some(RecordType::SRV) => 2,
        Some(RecordType::PTR) => 3,
        Some(RecordType::SOA) => 4,
        Some(RecordType::NS) => 5,
        Some(RecordType::TXT) => 6,
        Some(RecordType::MX) => 7,
        Some(RecordType::CNAME) => 8,
        Some(RecordType::HTTPS) => 9,
        Some(RecordType::SVCB) => 10,
        Some(RecordType::ANY) => 11,
        _ => TYPES.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_counted_under_its_own_name() {
        for (index, name) in TYPES.into_iter().enumerate() {
            assert_eq!(type_index(name.parse().ok()), index, "{name}");
        }
        assert_eq!(TYPES[type_index(Some(RecordType::Unknown(4711)))], "other");
    }

    #[test]
    fn every_metric_shows_before_the_first_query() {
        let registry = Registry::new();
        Metrics::register(&registry).unwrap();
        let names: Vec<String> = registry.gather().iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(
            names,
            [
                "portolan_dns_cache_entries",
                "portolan_dns_cache_evictions_total",
                "portolan_dns_cache_hits_total",
                "portolan_dns_cache_misses_total",
                "portolan_dns_cache_prefetch_total",
                "portolan_dns_cache_served_stale_total",
                "portolan_dns_do_requests_total",
                "portolan_dns_dropped_total",
                "portolan_dns_forward_healthcheck_broken_total",
                "portolan_dns_forward_rejects_total",
                "portolan_dns_log_dropped_total",
                "portolan_dns_notify_failures_total",
                "portolan_dns_panics_total",
                "portolan_dns_rate_limited_total",
                "portolan_dns_request_duration_seconds",
                "portolan_dns_request_size_bytes",
                "portolan_dns_requests_total",
                "portolan_dns_response_size_bytes",
                "portolan_dns_responses_total",
                "portolan_dns_transfers_total",
                "portolan_dns_zone_names"
            ]
        );
    }
}
