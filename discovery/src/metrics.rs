//! What discovery counts. Label values are bounded: providers come from the configuration, actions from a list.

use std::time::SystemTime;

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, exponential_buckets,
};

use crate::provider::ProviderName;

/// The metrics of every provider. Cheap to clone: clones count into the same cells.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `portolan_provider_events_total{provider,action}`: what the source reported. Actions outside the list that a
    /// provider knows are counted as `other`.
    pub events: IntCounterVec,
    /// `portolan_provider_resyncs_total{provider}`: complete lists taken.
    pub resyncs: IntCounterVec,
    /// `portolan_provider_errors_total{provider}`: times the source failed, or answered what can't be read.
    pub errors: IntCounterVec,
    /// `portolan_provider_connected{provider}`: 1 while the source answers.
    pub connected: IntGaugeVec,
    /// `portolan_provider_last_sync_timestamp_seconds{provider}`: when the last complete list was taken.
    pub last_sync: GaugeVec,
    /// `portolan_provider_apply_delay_seconds{provider}`: from an event's arrival until traffic and names follow it.
    pub apply_delay: HistogramVec,
}

impl Metrics {
    /// Makes the metrics, and registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let delay = HistogramOpts::new(
            "portolan_provider_apply_delay_seconds",
            "Time from an event's arrival until the proxy and the zone follow it",
        )
        .buckets(exponential_buckets(0.000_1, 2.0, 16)?);
        let metrics = Self {
            events: IntCounterVec::new(
                Opts::new("portolan_provider_events_total", "Events reported by the source"),
                &["provider", "action"],
            )?,
            resyncs: IntCounterVec::new(
                Opts::new("portolan_provider_resyncs_total", "Complete lists taken from the source"),
                &["provider"],
            )?,
            errors: IntCounterVec::new(
                Opts::new(
                    "portolan_provider_errors_total",
                    "Failures of the source, and answers that can't be read",
                ),
                &["provider"],
            )?,
            connected: IntGaugeVec::new(
                Opts::new("portolan_provider_connected", "1 while the source answers"),
                &["provider"],
            )?,
            last_sync: GaugeVec::new(
                Opts::new(
                    "portolan_provider_last_sync_timestamp_seconds",
                    "When the last complete list was taken, in seconds since the epoch",
                ),
                &["provider"],
            )?,
            apply_delay: HistogramVec::new(delay, &["provider"])?,
        };
        registry.register(Box::new(metrics.events.clone()))?;
        registry.register(Box::new(metrics.resyncs.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.connected.clone()))?;
        registry.register(Box::new(metrics.last_sync.clone()))?;
        registry.register(Box::new(metrics.apply_delay.clone()))?;
        Ok(metrics)
    }

    /// Counts a complete list taken at `now`: the source answers.
    pub fn synced(&self, provider: &ProviderName, now: SystemTime) {
        let label = [&*provider.0];
        self.resyncs.with_label_values(&label).inc();
        self.connected.with_label_values(&label).set(1);
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.last_sync.with_label_values(&label).set(now.as_secs_f64());
    }
}
