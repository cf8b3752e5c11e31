//! What is counted of the kernel's data path. Bytes are counted with the port's others.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// The families.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    by_kernel: IntGaugeVec,
    connections: IntCounterVec,
    pub(super) repairs: IntCounter,
    pub(super) flows_removed: IntCounter,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let by_kernel = IntGaugeVec::new(
            Opts::new("portolan_datapath_kernel", "1 where the kernel carries the port's bytes itself"),
            &["entrypoint"],
        )?;
        let connections = IntCounterVec::new(
            Opts::new(
                "portolan_datapath_connections_total",
                "Connections and UDP flows that the kernel sent on",
            ),
            &["entrypoint"],
        )?;
        let repairs = IntCounter::new(
            "portolan_datapath_repairs_total",
            "How often the table of nftables was made again, because something else had changed it",
        )?;
        let flows_removed = IntCounter::new(
            "portolan_datapath_flows_removed_total",
            "Entries of endpoints that left, taken out of the kernel's connection tracking",
        )?;
        registry.register(Box::new(by_kernel.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(repairs.clone()))?;
        registry.register(Box::new(flows_removed.clone()))?;
        Ok(Self { by_kernel, connections, repairs, flows_removed })
    }

    pub(super) fn travels(&self, port: &str, by_kernel: bool) {
        self.by_kernel.with_label_values(&[port]).set(i64::from(by_kernel));
    }

    pub(super) fn forget(&self, port: &str) {
        // One that was never there is as good as removed.
        let _ = self.by_kernel.remove_label_values(&[port]);
    }

    pub(crate) fn connections(&self, port: &str, more: u64) {
        self.connections.with_label_values(&[port]).inc_by(more);
    }
}
