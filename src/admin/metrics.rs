//! Metrics made from the chart when they are asked for: nothing has to be taken out when an endpoint leaves.

use std::sync::Arc;
use std::time::SystemTime;

use portolan_discovery::State;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::steer::Status;

/// Registers what is made from the chart, the build, and the process.
pub fn register(registry: &Registry, status: &Arc<Status>) -> prometheus::Result<()> {
    let build =
        IntGaugeVec::new(Opts::new("portolan_build_info", "1, with the version as its label"), &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(build))?;
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    registry.register(Box::new(ChartCollector { status: status.clone() }))
}

struct ChartCollector {
    status: Arc<Status>,
}

impl ChartCollector {
    /// Empty gauges, to be filled from the chart.
    fn gauges() -> prometheus::Result<Gauges> {
        Ok(Gauges {
            up: IntGaugeVec::new(
                Opts::new("portolan_endpoint_up", "1 where the endpoint may be given new work"),
                &["service", "endpoint"],
            )?,
            state: IntGaugeVec::new(
                Opts::new("portolan_endpoint_state", "1 for the state that the endpoint is in"),
                &["service", "endpoint", "state"],
            )?,
            faults: IntGauge::new("portolan_faults", "What labels ask for that can't be done, at present")?,
            age: GaugeVec::new(
                Opts::new(
                    "portolan_state_age_seconds",
                    "How old what is served of a source is, where an earlier process kept it; else 0",
                ),
                &["provider"],
            )?,
            generation: IntGauge::new("portolan_snapshot_generation", "The number of the snapshot in place")?,
        })
    }
}

struct Gauges {
    up: IntGaugeVec,
    state: IntGaugeVec,
    faults: IntGauge,
    age: GaugeVec,
    generation: IntGauge,
}

impl Collector for ChartCollector {
    fn desc(&self) -> Vec<&Desc> {
        // They differ from scrape to scrape only in their values; none is checked by name against another collector's.
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(gauges) = Self::gauges() else { return Vec::new() };
        let snapshot = self.status.snapshot.load();
        for service in &snapshot.services {
            for endpoint in &service.endpoints {
                let labels = [service.name.as_str(), endpoint.instance.name.as_str()];
                gauges.up.with_label_values(&labels).set(endpoint.is_available().into());
                for state in State::ALL {
                    let labels = [labels[0], labels[1], state.as_str()];
                    gauges.state.with_label_values(&labels).set((endpoint.state == state).into());
                }
            }
        }
        for source in &snapshot.sources {
            let age = source.kept.map(|kept| SystemTime::now().duration_since(kept).unwrap_or_default());
            gauges.age.with_label_values(&[&*source.provider.0]).set(age.unwrap_or_default().as_secs_f64());
        }
        gauges.faults.set(self.status.faults.load().len() as i64);
        gauges.generation.set(snapshot.generation as i64);
        let mut families = gauges.up.collect();
        families.extend(gauges.state.collect());
        families.extend(gauges.age.collect());
        families.extend(gauges.faults.collect());
        families.extend(gauges.generation.collect());
        families
    }
}
