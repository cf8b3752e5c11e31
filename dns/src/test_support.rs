//! Snapshots by hand, and queries in one line: `zone.ask("web", RecordType::A)`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, Record, RecordType};
use portolan_config::settings::Dns;
use portolan_config::{Fault, Protocol};
use portolan_discovery::{
    Endpoint, EndpointKey, Instance, InstanceId, NamedPort, NetworkAddress, ProviderName, Service,
    ServiceKey, Snapshot, SourceStatus, State,
};

use crate::{Asker, Transport, Zone, answer, compile};

pub(crate) fn settings() -> Dns {
    Dns {
        address: "127.0.0.1:1053".parse().unwrap(),
        zone: "portolan.internal".to_owned(),
        ttl: Duration::from_secs(2),
        options: portolan_config::settings::dns::Options::default(),
    }
}

/// A container to be put in a snapshot. Created later, the higher `age` is.
pub(crate) struct Container {
    instance: Instance,
    ports: Vec<NamedPort>,
}

/// A container called `name`, alone, ready, at `ip`.
pub(crate) fn container(name: &str, ip: &str) -> Container {
    let network = network("net", ip, &[]);
    Container {
        instance: Instance {
            id: InstanceId::new(&format!("{:0<64}", format!("id{}", ip.replace(['.', ':'], "")))),
            name: name.to_owned(),
            service: ServiceKey::Container(name.to_owned()),
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
        },
        ports: Vec::new(),
    }
}

fn network(name: &str, ip: &str, aliases: &[&str]) -> NetworkAddress {
    NetworkAddress {
        network: name.to_owned(),
        endpoint_id: format!("{name}-{ip}"),
        ipv4: ip.parse::<Ipv4Addr>().ok(),
        ipv6: ip.parse::<Ipv6Addr>().ok(),
        aliases: aliases.iter().map(ToString::to_string).collect(),
        reached: true,
    }
}

impl Container {
    pub(crate) fn of(mut self, service: ServiceKey) -> Self {
        self.instance.service = service;
        self
    }

    pub(crate) fn compose(self, project: &str, service: &str) -> Self {
        self.of(ServiceKey::Compose { project: project.to_owned(), service: service.to_owned() })
    }

    pub(crate) fn is(mut self, state: State) -> Self {
        self.instance.state = state;
        if state == State::Stopped {
            self.instance.networks.clear();
        }
        self
    }

    pub(crate) fn id(mut self, id: &str) -> Self {
        self.instance.id = InstanceId::new(id);
        self
    }

    pub(crate) fn ipv6(mut self, ip: &str) -> Self {
        self.instance.networks[0].ipv6 = Some(ip.parse().unwrap());
        self
    }

    pub(crate) fn alias(mut self, alias: &str) -> Self {
        self.instance.networks[0].aliases.push(alias.to_owned());
        self
    }

    /// On this network and no other.
    pub(crate) fn moved(mut self, name: &str, ip: &str) -> Self {
        self.instance.id = InstanceId::new(&format!("{:0<64}", format!("id{}", ip.replace('.', ""))));
        self.instance.networks = vec![network(name, ip, &[])];
        self
    }

    pub(crate) fn also_on(mut self, name: &str, ip: &str, aliases: &[&str]) -> Self {
        self.instance.networks.push(network(name, ip, aliases));
        self
    }

    pub(crate) fn label(mut self, label: &str, value: &str) -> Self {
        self.instance.labels.insert(label.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn port(self, number: u16, name: Option<&str>) -> Self {
        self.port_over(Protocol::Tcp, number, name)
    }

    pub(crate) fn port_over(mut self, protocol: Protocol, number: u16, name: Option<&str>) -> Self {
        self.ports.push(NamedPort { number, protocol, name: name.map(str::to_owned) });
        self
    }

    pub(crate) fn created(mut self, seconds: u64) -> Self {
        self.instance.created = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        self
    }

    fn endpoint(self) -> Endpoint {
        let network = self.instance.networks.first();
        Endpoint {
            key: EndpointKey {
                provider: ProviderName::new("docker"),
                instance: self.instance.id.clone(),
                attachment: network.map_or("", |network| &network.endpoint_id).into(),
            },
            ports: self.ports,
            ipv4: network.and_then(|network| network.ipv4),
            ipv6: network.and_then(|network| network.ipv6),
            state: self.instance.state,
            reason: self.instance.reason.clone(),
            instance: Arc::new(self.instance),
        }
    }
}

/// A complete snapshot of these containers, grouped into services.
pub(crate) fn snapshot(containers: impl IntoIterator<Item = Container>) -> Snapshot {
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    for container in containers {
        let key = container.instance.service.clone();
        let name = format!("{}@docker", key.name());
        let provider = ProviderName::new("docker");
        let service = services.entry(name.clone()).or_insert_with(|| Service {
            name,
            key,
            provider,
            endpoints: Vec::new(),
        });
        service.endpoints.push(Arc::new(container.endpoint()));
    }
    let source = SourceStatus {
        provider: ProviderName::new("docker"),
        last_sync: Some(SystemTime::UNIX_EPOCH),
        lost: None,
        kept: None,
    };
    Snapshot {
        generation: 7,
        sources: vec![source],
        services: services.into_values().map(Arc::new).collect(),
        ..Snapshot::default()
    }
}

/// The zone of these containers, which has no faults.
pub(crate) fn zone(containers: impl IntoIterator<Item = Container>) -> Zone {
    let (zone, faults) = faulty_zone(containers);
    assert_eq!(faults, []);
    zone
}

pub(crate) fn faulty_zone(containers: impl IntoIterator<Item = Container>) -> (Zone, Vec<Fault>) {
    compile(&snapshot(containers), &settings())
}

/// A query as a stub resolver sends it. Names without a final dot are under the zone.
pub(crate) fn query(name: &str, record_type: RecordType) -> Message {
    let name = match name {
        "" => "portolan.internal.".to_owned(),
        whole if whole.ends_with('.') => whole.to_owned(),
        relative => format!("{relative}.portolan.internal."),
    };
    let mut query = Message::new(4711, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    query
}

pub(crate) fn with_edns(mut query: Message, udp_size: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(udp_size);
    query.set_edns(edns);
    query
}

/// Somebody on this host.
pub(crate) fn asker(transport: Transport) -> Asker<'static> {
    Asker {
        transport,
        client: Ipv4Addr::LOCALHOST.into(),
        cookies: None,
        now: 0,
        recursion: false,
        near: false,
        views: false,
        may_transfer: false,
    }
}

/// Sends bytes through `answer`, and reads what comes back.
pub(crate) fn exchange(zone: &Zone, query: &[u8], transport: Transport) -> Option<Message> {
    let mut reply = b"before".to_vec();
    let outcome = answer(zone, query, &asker(transport), &mut reply);
    let bytes = reply.strip_prefix(b"before").expect("what was in the buffer stays");
    assert_eq!(outcome.is_some(), !bytes.is_empty());
    let message = outcome.map(|_| Message::from_vec(bytes).expect("our answers can be read"));
    if let (Some(message), Some(outcome)) = (&message, outcome) {
        assert_eq!(u16::from(message.metadata.response_code), outcome.rcode.number());
        assert_eq!(message.metadata.truncation, outcome.truncated);
    }
    message
}

impl Zone {
    /// Asks by UDP with EDNS, as resolvers do.
    pub(crate) fn ask(&self, name: &str, record_type: RecordType) -> Message {
        self.ask_with(&with_edns(query(name, record_type), 1232), Transport::Udp)
    }

    pub(crate) fn ask_with(&self, query: &Message, transport: Transport) -> Message {
        exchange(self, &query.to_vec().unwrap(), transport).expect("an answer")
    }

    /// The data of the answer's records, as text, sorted.
    pub(crate) fn get(&self, name: &str, record_type: RecordType) -> Vec<String> {
        let mut found = data(&self.ask(name, record_type).answers);
        found.sort();
        found
    }
}

/// The records' data as text.
pub(crate) fn data(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| record.data.to_string()).collect()
}

/// `RCODE`, and whether there is an SOA that lets the client keep the answer.
pub(crate) fn verdict(message: &Message) -> String {
    let soa = message.authorities.iter().any(|record| record.record_type() == RecordType::SOA);
    let answers = if message.answers.is_empty() { "" } else { " with answers" };
    format!("{:?}{}{answers}", message.metadata.response_code, if soa { " SOA" } else { "" })
}

/// A small generator of garbage (xorshift), the same every time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// A packet as hostile as it gets: `seed` with a few bytes changed, cut or extended, or nothing but noise.
    pub(crate) fn packet(&mut self, seed: &[u8]) -> Vec<u8> {
        if self.below(5) == 0 {
            let length = self.below(200);
            return (0..length).map(|_| self.next() as u8).collect();
        }
        let mut packet = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(packet.len());
            packet[at] = [0xC0, 0xFF, 0, 12, self.next() as u8][self.below(5)];
        }
        match self.below(4) {
            0 => packet.truncate(self.below(seed.len()).max(1)),
            1 => packet.extend((0..self.below(40)).map(|n| n as u8)),
            _ => {}
        }
        packet
    }
}
