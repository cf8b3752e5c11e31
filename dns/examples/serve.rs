//! Serves a small zone on 127.0.0.1, to be asked by hand: `cargo run -p portolan-dns --example serve`, then `dig`.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portolan_config::Protocol;
use portolan_config::settings::Dns;
use portolan_config::settings::dns::Options;
use portolan_discovery::{
    Endpoint, EndpointKey, Instance, InstanceId, NamedPort, NetworkAddress, ProviderName, Service,
    ServiceKey, Snapshot, SourceStatus, State,
};
use portolan_dns::{Metrics, Server, compile, zone};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Dns {
        address: "127.0.0.1:1053".parse()?,
        zone: "portolan.internal".to_owned(),
        ttl: Duration::from_secs(2),
        options: Options::default(),
    };
    let shared = zone::shared(&settings);
    let metrics = Metrics::register(&prometheus::Registry::new())?;
    let server = Server::bind(&settings, Arc::clone(&shared), metrics.clone())?;
    let (zone, faults) = compile(&world(), &settings);
    println!(
        "{} names, faults: {faults:?}; ask `dig -p {} @127.0.0.1 web.portolan.internal`",
        zone.len(),
        server.local_addr().port()
    );
    metrics.zone_in_place(&zone);
    shared.store(Arc::new(zone));
    server.run(std::future::pending()).await?;
    Ok(())
}

fn world() -> Snapshot {
    let service = Service {
        name: "web-shop@example".to_owned(),
        key: key(),
        provider: ProviderName::new("example"),
        endpoints: (1..=60).map(|n| Arc::new(endpoint(n))).collect(),
    };
    let source = SourceStatus {
        provider: ProviderName::new("example"),
        last_sync: Some(SystemTime::now()),
        lost: None,
        kept: None,
    };
    Snapshot {
        generation: 1,
        sources: vec![source],
        services: vec![Arc::new(service)],
        ..Snapshot::default()
    }
}

fn key() -> ServiceKey {
    ServiceKey::Compose { project: "shop".to_owned(), service: "web".to_owned() }
}

fn endpoint(n: u8) -> Endpoint {
    let (ipv4, ipv6) = ([172, 18, 0, n].into(), [0xfd00, 0, 0, 0, 0, 0, 0, n.into()].into());
    let network = NetworkAddress {
        network: "shop_default".to_owned(),
        endpoint_id: format!("attachment{n}"),
        ipv4: Some(ipv4),
        ipv6: Some(ipv6),
        aliases: vec!["www".to_owned()],
        reached: true,
    };
    let instance = Instance {
        id: InstanceId::new(&format!("{n:064x}")),
        name: format!("shop-web-{n}"),
        service: key(),
        labels: BTreeMap::new(),
        networks: vec![network],
        ports: Vec::new(),
        bindings: Vec::new(),
        node: None,
        virtual_host: BTreeMap::new(),
        state: State::Ready,
        reason: "running".to_owned(),
        since: SystemTime::UNIX_EPOCH,
        created: SystemTime::UNIX_EPOCH,
    };
    Endpoint {
        key: EndpointKey {
            provider: ProviderName::new("example"),
            instance: instance.id.clone(),
            attachment: format!("attachment{n}").into(),
        },
        ports: vec![NamedPort { number: 80, protocol: Protocol::Tcp, name: Some("http".to_owned()) }],
        ipv4: Some(ipv4),
        ipv6: Some(ipv6),
        state: instance.state,
        reason: instance.reason.clone(),
        instance: Arc::new(instance),
    }
}
