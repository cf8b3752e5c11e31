//! What follows from one instance alone: its endpoint, the routers and services its labels ask for.

use std::sync::Arc;

use portolan_config::Labels;
use portolan_config::dynamic::Place;

use super::ties::{self, Tie};
use super::wish::Wishes;
use super::{Policy, endpoint, labelled};
use crate::instance::{Instance, ServiceKey, State};
use crate::provider::ProviderName;
use crate::snapshot::Endpoint;

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
    /// What it asks for.
    pub(super) wishes: Wishes,
    /// What is wrong with it, whatever the others are: label and message.
    pub(super) faults: Vec<(String, String)>,
    /// What ties it to others.
    pub(super) ties: Box<[Tie]>,
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
            wishes: Wishes::default(),
            faults,
            ties: Box::default(),
        };
        let wanted = sketch.labels.enable.unwrap_or(policy.exposed_by_default);
        // What Portolan serves of itself is no container, and has none of their labels.
        let own = &*sketch.provider.0 == crate::provider::internal::NAME;
        let held =
            own || policy.constraints.as_ref().is_none_or(|wanted| wanted.hold(&sketch.instance.labels));
        if wanted && held {
            sketch.wishes = labelled::wishes(&mut sketch, policy);
        }
        sketch.ties = ties::of_instance(&sketch.service, &sketch.labels.publish, &sketch.wishes);
        sketch
    }

    /// Who wrote its labels, for faults.
    pub(super) fn origin(&self) -> String {
        match &self.instance.service {
            // Its labels are the service's, not the task's.
            ServiceKey::Swarm(service) if &*self.provider.0 == crate::provider::docker::SWARM => {
                format!("service {service}")
            }
            _ => format!("container {}", self.instance.name),
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.instance.state == State::Stopped
    }

    pub(super) fn fault(&mut self, label: impl Into<String>, message: impl Into<String>) {
        self.faults.push((label.into(), message.into()));
    }

    /// Where a thing stands that no label asks for.
    pub(super) fn nowhere() -> Place {
        Place::Label(Arc::from(""))
    }
}
