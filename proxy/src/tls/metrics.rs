//! What is counted of TLS.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};

use super::accept::Failure;
use super::certificate::Certificate;

/// The metrics of TLS. Clones count into the same cells.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    handshakes: IntCounterVec,
    failures: IntCounterVec,
    not_after: GaugeVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            handshakes: IntCounterVec::new(
                Opts::new("portolan_tls_handshakes_total", "Handshakes with clients, by version and kind"),
                &["entrypoint", "version", "kind"],
            )?,
            failures: IntCounterVec::new(
                Opts::new(
                    "portolan_tls_handshake_failures_total",
                    "Handshakes with clients that failed, by reason",
                ),
                &["entrypoint", "reason"],
            )?,
            not_after: GaugeVec::new(
                Opts::new(
                    "portolan_tls_certificate_not_after_timestamp_seconds",
                    "Until when a certificate is valid, in seconds since the epoch",
                ),
                &["cn", "serial", "sans"],
            )?,
        };
        let all: [Box<dyn Collector>; 3] = [
            Box::new(metrics.handshakes.clone()),
            Box::new(metrics.failures.clone()),
            Box::new(metrics.not_after.clone()),
        ];
        for collector in all {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    pub(crate) fn shook_hands(&self, entry_point: &str, version: &str, kind: &str) {
        self.handshakes.with_label_values(&[entry_point, version, kind]).inc();
    }

    pub(crate) fn failed(&self, entry_point: &str, failure: Failure) {
        self.failures.with_label_values(&[entry_point, failure.as_str()]).inc();
    }

    /// Shows these certificates, and no others.
    pub(super) fn show(&self, certificates: &[Arc<Certificate>]) {
        self.not_after.reset();
        for certificate in certificates {
            let sans = certificate.names.join(",");
            let labels = [certificate.common_name.as_str(), &certificate.serial, &sans];
            self.not_after.with_label_values(&labels).set(certificate.not_after as f64);
        }
    }
}
