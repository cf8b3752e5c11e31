//! What requests are counted into: each worker has cells of its own, which are summed when somebody asks.
//!
//! A cell has one writer, so that adding to it is a load and a store. A counter that all workers share would be a locked
//! operation, for about thirty counts of every request, on lines of the cache that go to and fro between them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dashmap::DashMap;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{IntCounter, IntCounterVec, Opts};

/// Boundaries in seconds, those of OpenTelemetry's `http.server.request.duration`.
const DURATION_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The name, the status code, the method and the protocol.
type Labels = [String; 4];

/// The series of one kind of thing. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Tally(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: &'static str,
    requests: Desc,
    full: Option<Full>,
    /// A worker looks here once for a series, and not again.
    series: DashMap<Labels, Vec<Arc<Cells>>>,
}

/// What is counted besides requests, where more is.
#[derive(Debug)]
struct Full {
    duration: Desc,
    /// Bytes received and sent, as far as whoever counts them has no cells.
    bytes: [IntCounterVec; 2],
}

/// One series as one worker counts it. Only its owner may add.
#[derive(Debug, Default)]
#[repr(align(64))] // a line of the cache, so that nobody else's cells share one
pub(super) struct Cells {
    requests: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    /// As the bits of an `f64`.
    seconds: AtomicU64,
    /// Requests by how long they took: up to each boundary from the one before; the last holds the rest.
    by_duration: [AtomicU64; DURATION_BUCKETS.len() + 1],
}

impl Cells {
    /// Counts one request.
    pub(super) fn count(&self, took: Duration, received: u64, sent: u64) {
        let took = took.as_secs_f64();
        add(&self.requests, 1);
        add(&self.received, received);
        add(&self.sent, sent);
        self.seconds.store((f64::from_bits(self.seconds.load(Relaxed)) + took).to_bits(), Relaxed);
        let bucket = DURATION_BUCKETS.iter().position(|bound| took <= *bound);
        add(&self.by_duration[bucket.unwrap_or(DURATION_BUCKETS.len())], 1);
    }
}

/// Adds to a cell that nobody else writes to.
fn add(cell: &AtomicU64, count: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(count), Relaxed);
}

impl Tally {
    /// One of requests alone, or of bytes and durations as well.
    pub(super) fn new(kind: &'static str, is_full: bool) -> prometheus::Result<Self> {
        let by_request = || [kind, "code", "method", "protocol"].map(str::to_owned).to_vec();
        let desc = |what: &str, help: &str| {
            Desc::new(
                format!("portolan_{kind}_{what}"),
                format!("{help} of the {kind}"),
                by_request(),
                HashMap::new(),
            )
        };
        let bytes = |what: &str, help: &str| {
            IntCounterVec::new(
                Opts::new(format!("portolan_{kind}_{what}"), format!("{help} of the {kind}")),
                &[kind],
            )
        };
        let full = if is_full {
            let to_end = "Time from a request's head to the end of its answer,";
            let bytes = [
                bytes("received_bytes_total", "Bytes received from clients")?,
                bytes("sent_bytes_total", "Bytes sent to clients")?,
            ];
            Some(Full { duration: desc("request_duration_seconds", to_end)?, bytes })
        } else {
            None
        };
        let requests = desc("requests_total", "HTTP requests")?;
        Ok(Self(Arc::new(Inner { kind, requests, full, series: DashMap::new() })))
    }

    /// Counters of the bytes of `name`, received and sent, for those that have no cells.
    pub(super) fn bytes(&self, name: &str) -> Option<[IntCounter; 2]> {
        self.0.full.as_ref().map(|full| [0, 1].map(|way| full.bytes[way].with_label_values(&[name])))
    }

    /// Cells for a new owner: new ones, or those of one that is gone.
    pub(super) fn cells(&self, labels: [&str; 4]) -> Arc<Cells> {
        let mut all = self.0.series.entry(labels.map(str::to_owned)).or_default();
        if let Some(left) =
            all.iter_mut().find_map(|cells| Arc::get_mut(cells).is_some().then(|| cells.clone()))
        {
            return left;
        }
        let cells = Arc::<Cells>::default();
        all.push(cells.clone());
        cells
    }

    /// Takes every series of `name` out.
    pub(super) fn forget(&self, name: &str) {
        self.0.series.retain(|labels, _| labels[0] != name);
        for bytes in self.0.full.iter().flat_map(|full| &full.bytes) {
            let _ = bytes.remove_label_values(&[name]);
        }
    }

    /// The labels as the text format has them: by their names.
    fn pairs(&self, labels: &Labels) -> Vec<LabelPair> {
        let names = [self.0.kind, "code", "method", "protocol"];
        let mut pairs: Vec<LabelPair> =
            names.iter().zip(labels).map(|(name, value)| pair(name, value)).collect();
        pairs.sort_by(|one, other| one.name().cmp(other.name()));
        pairs
    }
}

impl Collector for Tally {
    fn desc(&self) -> Vec<&Desc> {
        let full = self.0.full.iter();
        let of_full = full
            .flat_map(|full| [&full.duration].into_iter().chain(full.bytes.iter().flat_map(Collector::desc)));
        [&self.0.requests].into_iter().chain(of_full).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (mut requests, mut durations) = (Vec::new(), Vec::new());
        let mut bytes: HashMap<String, [u64; 2]> = HashMap::new();
        for series in &self.0.series {
            let (labels, all) = series.pair();
            let sum = |cell: fn(&Cells) -> &AtomicU64| {
                all.iter().map(|cells| cell(cells).load(Relaxed)).sum::<u64>()
            };
            let mut counter = Counter::default();
            counter.set_value(sum(|cells| &cells.requests) as f64);
            let mut metric = Metric::from_label(self.pairs(labels));
            metric.set_counter(counter);
            requests.push(metric);
            let moved = bytes.entry(labels[0].clone()).or_default();
            moved[0] += sum(|cells| &cells.received);
            moved[1] += sum(|cells| &cells.sent);
            if self.0.full.is_some() {
                let mut metric = Metric::from_label(self.pairs(labels));
                metric.set_histogram(histogram(all));
                durations.push(metric);
            }
        }
        let mut families = vec![family(&self.0.requests, MetricType::COUNTER, requests)];
        let Some(full) = &self.0.full else { return families };
        families.push(family(&full.duration, MetricType::HISTOGRAM, durations));
        for (way, counters) in full.bytes.iter().enumerate() {
            for mut family in counters.collect() {
                for metric in family.mut_metric() {
                    let name = metric.get_label().first().map_or("", LabelPair::value);
                    let in_cells = bytes.get(name).map_or(0, |moved| moved[way]);
                    let mut counter = Counter::default();
                    counter.set_value(metric.get_counter().get_value() + in_cells as f64);
                    metric.set_counter(counter);
                }
                families.push(family);
            }
        }
        families
    }
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn family(desc: &Desc, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn histogram(all: &[Arc<Cells>]) -> Histogram {
    let mut up_to = 0;
    let mut counts = [0; DURATION_BUCKETS.len() + 1];
    for cells in all {
        for (count, cell) in counts.iter_mut().zip(&cells.by_duration) {
            *count += cell.load(Relaxed);
        }
    }
    let buckets = DURATION_BUCKETS.iter().zip(counts).map(|(bound, count)| {
        up_to += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(up_to);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    // Of the same reading as the buckets, which a request that is counted meanwhile must not contradict.
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(all.iter().map(|cells| f64::from_bits(cells.seconds.load(Relaxed))).sum());
    histogram
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder, Registry, TextEncoder};

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    const OK: [&str; 4] = ["app", "200", "GET", "h2"];

    #[test]
    fn what_workers_count_apart_is_told_together() {
        let registry = Registry::new();
        let tally = Tally::new("service", true).unwrap();
        registry.register(Box::new(tally.clone())).unwrap();
        let [received, _] = tally.bytes("app").unwrap();
        std::thread::scope(|scope| {
            for worker in 0..3 {
                let cells = tally.cells(OK);
                scope.spawn(move || {
                    for _ in 0..1000 {
                        cells.count(Duration::from_millis([5, 6, 20_000][worker]), 2, 3);
                    }
                });
            }
        });
        received.inc_by(7);
        let text = text(&registry);
        for line in [
            "# TYPE portolan_service_requests_total counter",
            "portolan_service_requests_total{code=\"200\",method=\"GET\",protocol=\"h2\",service=\"app\"} 3000",
            "portolan_service_received_bytes_total{service=\"app\"} 6007",
            "portolan_service_sent_bytes_total{service=\"app\"} 9000",
            "# TYPE portolan_service_request_duration_seconds histogram",
            "portolan_service_request_duration_seconds_bucket{code=\"200\",method=\"GET\",protocol=\"h2\",service=\"app\",le=\"0.005\"} 1000",
            "portolan_service_request_duration_seconds_bucket{code=\"200\",method=\"GET\",protocol=\"h2\",service=\"app\",le=\"10\"} 2000",
            "portolan_service_request_duration_seconds_bucket{code=\"200\",method=\"GET\",protocol=\"h2\",service=\"app\",le=\"+Inf\"} 3000",
            "portolan_service_request_duration_seconds_count{code=\"200\",method=\"GET\",protocol=\"h2\",service=\"app\"} 3000",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }

    #[test]
    fn cells_that_somebody_left_are_taken_on_and_lose_nothing() {
        let tally = Tally::new("route", false).unwrap();
        for _ in 0..5 {
            tally.cells(OK).count(Duration::ZERO, 0, 0);
        }
        let both = [tally.cells(OK), tally.cells(OK)];
        assert!(!Arc::ptr_eq(&both[0], &both[1]), "each has cells of its own");
        assert_eq!(tally.0.series.get(&OK.map(str::to_owned)).unwrap().len(), 2);
        let told = tally.collect();
        assert_eq!(
            (told.len(), told[0].get_metric()[0].get_counter().get_value().to_string()),
            (1, "5".to_owned())
        );
    }

    #[test]
    fn what_is_forgotten_is_told_no_more() {
        let registry = Registry::new();
        let tally = Tally::new("entrypoint", true).unwrap();
        registry.register(Box::new(tally.clone())).unwrap();
        for name in ["app", "other"] {
            let _ = tally.bytes(name);
            tally.cells([name, "404", "GET", "h2"]).count(Duration::ZERO, 1, 1);
        }
        tally.forget("app");
        let text = text(&registry);
        assert!(text.contains("\"other\"") && !text.contains("\"app\""), "{text}");
    }
}
