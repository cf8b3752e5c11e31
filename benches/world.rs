//! A made-up host: so many services, each of three replicas with a router and names of its own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portolan_config::{Labels, Protocol};
use portolan_discovery::chart::{Policy, Sketch};
use portolan_discovery::instance::Port;
use portolan_discovery::{Instance, InstanceId, NetworkAddress, ProviderName, ServiceKey, State};

/// Replicas of each service.
pub(crate) const REPLICAS: usize = 3;

/// Replica `replica` of service `service`.
pub(crate) fn instance(service: usize, replica: usize) -> Instance {
    one_of(service, replica, REPLICAS)
}

/// The same where a service has so many.
pub(crate) fn one_of(service: usize, replica: usize, replicas: usize) -> Instance {
    let number = (service * replicas + replica) as u32;
    let name = format!("app-{service}-{replica}");
    let mut labels = BTreeMap::new();
    labels.insert("portolan.service".to_owned(), format!("app-{service}"));
    let rule = format!("Host(`app-{service}.test`) && PathPrefix(`/`)");
    labels.insert(format!("traefik.http.routers.app-{service}.rule"), rule);
    labels.insert(format!("traefik.http.services.app-{service}.loadbalancer.server.port"), "8080".to_owned());
    Instance {
        // Told apart by its short form, as real ones are.
        id: InstanceId::new(&format!("{number:012x}{:052x}", 0)),
        name,
        service: ServiceKey::Label(format!("app-{service}")),
        labels,
        networks: vec![NetworkAddress {
            network: "front".to_owned(),
            endpoint_id: format!("{number:064x}"),
            ipv4: Some(Ipv4Addr::from(0x0a00_0000 + number)),
            ipv6: None,
            aliases: Vec::new(),
            reached: true,
        }],
        ports: vec![Port { number: 8080, protocol: Protocol::Tcp }],
        bindings: Vec::new(),
        node: None,
        virtual_host: BTreeMap::new(),
        state: State::Ready,
        reason: "running".to_owned(),
        since: SystemTime::UNIX_EPOCH,
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(number.into()),
    }
}

/// Every replica of so many services.
pub(crate) fn instances(services: usize) -> Vec<Instance> {
    (0..services).flat_map(|service| (0..REPLICAS).map(move |replica| instance(service, replica))).collect()
}

/// The same, sketched.
#[allow(dead_code)] // each bench uses its part of this file
pub(crate) fn sketches(services: usize, policy: &Policy) -> Vec<Sketch> {
    let provider = ProviderName::new("docker");
    let sketch = |instance: Instance| {
        let labels = Arc::new(Labels::decode(&instance.labels));
        Sketch::new(&provider, Arc::new(instance), labels, policy)
    };
    instances(services).into_iter().map(sketch).collect()
}
