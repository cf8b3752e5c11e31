//! What labels on a container say: Traefik's `traefik.…`, and `portolan.…` in the same grammar plus what it lacks.
//!
//! A label that can't be read, or asks for what Portolan can't do yet, costs what it belongs to (a router, an option)
//! and is reported with its own name. Where a label is written under both prefixes, `portolan.` wins.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Protocol, Publish, Rule};

mod decode;

/// Everything a container's labels ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// `enable`: whether HTTP routers are made; unless written, the operator's `exposedByDefault` decides.
    pub enable: Option<bool>,
    /// `portolan.service`: the name of the service this is a replica of.
    pub service: Option<String>,
    /// `docker.network`: the network whose address is used.
    pub network: Option<String>,
    /// `portolan.publish`: host ports in front of all replicas.
    pub publish: Vec<Publish>,
    /// `portolan.port.NAME`: names for ports, as SRV records give them.
    pub ports: BTreeMap<String, (u16, Protocol)>,
    /// `http.routers.NAME.…`
    pub routers: BTreeMap<String, RouterLabels>,
    /// `http.services.NAME.…`
    pub services: BTreeMap<String, ServiceLabels>,
    /// Routers left out because a label asks them for what can't be done (yet): served without it, they would answer
    /// where they must not.
    pub refused_routers: BTreeSet<String>,
    /// What is wrong.
    pub faults: Vec<LabelFault>,
}

/// `http.routers.NAME.…`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterLabels {
    /// `rule`: which requests; the default rule unless written. With the text as written, whose length is the
    /// priority.
    pub rule: Option<(Rule, String)>,
    /// `entrypoints`: on which; every default one unless written.
    pub entry_points: Vec<String>,
    /// `priority`: higher is asked first; 0 is as good as not written.
    pub priority: Option<i64>,
    /// `service`: where to; the only service unless written.
    pub service: Option<String>,
}

/// `http.services.NAME.…`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceLabels {
    /// `loadbalancer.server.port`: the lowest exposed port unless written.
    pub port: Option<u16>,
}

/// A label that can't be done as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelFault {
    /// The label, spelled as written.
    pub label: String,
    /// What is wrong with it.
    pub message: String,
}

impl Labels {
    /// Reads labels. Those of other programs are passed over.
    pub fn decode(labels: &BTreeMap<String, String>) -> Self {
        decode::decode(labels)
    }
}
