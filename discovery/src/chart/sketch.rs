//! What follows from one instance alone: its endpoint, what it adds to which upstream, the routers it asks for.

use std::sync::Arc;

use portolan_config::Labels;

use super::{Policy, endpoint, http};
use crate::instance::{Instance, State};
use crate::provider::ProviderName;
use crate::snapshot::{Endpoint, Router};

/// One instance, ready to be put on the chart.
#[derive(Debug)]
pub struct Sketch {
    /// What was observed.
    pub instance: Arc<Instance>,
    /// What its labels say.
    pub labels: Arc<Labels>,
    pub(super) provider: ProviderName,
    /// The qualified name of its service.
    pub(super) service: String,
    pub(super) endpoint: Arc<Endpoint>,
    /// The upstreams it is a target of, by qualified name, with the port.
    pub(super) targets: Vec<(String, u16)>,
    /// The routers it asks for, each with its label.
    pub(super) routers: Vec<(Arc<Router>, String)>,
    /// What is wrong with it, whatever the others are: label and message.
    pub(super) faults: Vec<(String, String)>,
}

impl Sketch {
    /// Sketches an instance whose labels were read.
    pub fn new(
        provider: &ProviderName,
        instance: Arc<Instance>,
        labels: Arc<Labels>,
        policy: &Policy,
    ) -> Self {
        let mut faults: Vec<(String, String)> =
            labels.faults.iter().map(|fault| (fault.label.clone(), fault.message.clone())).collect();
        let endpoint = endpoint::draw(provider, &instance, &labels, policy, &mut faults);
        let mut sketch = Self {
            service: format!("{}@{provider}", instance.service.name()),
            provider: provider.clone(),
            endpoint: Arc::new(endpoint),
            instance,
            labels,
            targets: Vec::new(),
            routers: Vec::new(),
            faults,
        };
        if sketch.labels.enable.unwrap_or(policy.exposed_by_default) {
            sketch.targets = http::targets(&sketch.labels.clone(), &mut sketch);
            sketch.routers = http::routers(&sketch.labels.clone(), &mut sketch);
        }
        sketch
    }

    /// Who wrote its labels, for faults.
    pub(super) fn origin(&self) -> String {
        format!("container {}", self.instance.name)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.instance.state == State::Stopped
    }

    /// The name of something this instance's labels name, with its provider.
    pub(super) fn qualify(&self, name: &str) -> String {
        if name.contains('@') { name.to_owned() } else { format!("{name}@{}", self.provider) }
    }

    pub(super) fn fault(&mut self, label: impl Into<String>, message: impl Into<String>) {
        self.faults.push((label.into(), message.into()));
    }
}
