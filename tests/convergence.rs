//! Whatever becomes of a provider's events on their way, after its next complete list the proxy and the name server steer
//! as if nothing had happened: events are dropped, repeated, reordered and late, the source is lost and comes back, and
//! the registry, the ledger and the zone's compiler have seen all of that.

#[path = "../benches/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant, SystemTime};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use portolan_config::rule::RequestView;
use portolan_config::settings::{Dns, EntryPoint};
use portolan_discovery::chart::Policy;
use portolan_discovery::{Change, Instance, InstanceId, ProviderName, Registry, Snapshot, State, Update};
use portolan_dns::{Asker, Compiler, Transport, Zone};
use portolan_proxy::{Ledger, Metrics, Table, compile};

const SEEDS: u64 = 2000;
const STEPS: usize = 40;
const SERVICES: usize = 3;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) % limit as u64) as usize
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Everything between an update and what is steered by.
struct Portolan {
    registry: Registry,
    ledger: Ledger,
    compiler: Compiler,
    dns: Dns,
}

impl Portolan {
    fn new() -> Self {
        let policy = Policy { exposed_by_default: true, ..Policy::default() };
        let dns = Dns {
            address: "127.0.0.1:1053".parse().expect("an address"),
            zone: "portolan.internal".to_owned(),
            ttl: Duration::from_secs(2),
            options: portolan_config::settings::dns::Options::default(),
        };
        let metrics =
            Metrics::register(&prometheus::Registry::new()).expect("an empty registry takes every metric");
        Self {
            registry: Registry::new(policy, [provider()]),
            ledger: Ledger::new(metrics),
            compiler: Compiler::new(&dns),
            dns,
        }
    }

    fn apply(&mut self, change: Change) {
        let update = Update { provider: provider(), observed_at: Instant::now(), change };
        self.registry.apply(update, SystemTime::UNIX_EPOCH);
    }

    /// Makes a table and a zone of what is known, and steers by them until the next.
    fn draw(&mut self) -> (Snapshot, Table, Zone) {
        let snapshot = self.registry.snapshot();
        let entry_points = [EntryPoint::plain("web", ":80".parse().expect("an address"))];
        let (table, _) = compile(&snapshot, &entry_points, &self.ledger);
        let (zone, _) = self.compiler.compile(&snapshot);
        (snapshot, table, zone)
    }

    /// What it would do now.
    fn steers(&mut self) -> Steers {
        let (snapshot, table, zone) = self.draw();
        Steers::read(&snapshot, &table, &zone, &self.dns)
    }
}

/// Who is given work by one upstream, and how many are in which state.
#[derive(Debug, PartialEq)]
struct Balanced {
    given: BTreeSet<String>,
    states: Vec<(&'static str, usize)>,
}

/// What clients would see.
#[derive(Debug, PartialEq)]
struct Steers {
    services: String,
    faults: String,
    publications: Vec<String>,
    /// By host: the router that takes it.
    routers: BTreeMap<String, Option<String>>,
    upstreams: BTreeMap<String, Balanced>,
    /// By name: the addresses.
    names: BTreeMap<String, BTreeSet<String>>,
}

impl Steers {
    fn read(snapshot: &Snapshot, table: &Table, zone: &Zone, dns: &Dns) -> Self {
        let hosts = (0..SERVICES).map(|service| format!("app-{service}.test"));
        let routers = hosts.map(|host| {
            let router = table.find("web", &RequestView::get(&host, "/")).map(str::to_owned);
            (host, router)
        });
        let upstreams = table.upstreams.iter().map(|(name, upstream)| {
            let given =
                upstream.available.iter().map(|target| format!("{} {}", target.endpoint, target.address));
            let mut states = upstream.states.clone();
            states.sort_unstable();
            (name.clone(), Balanced { given: given.collect(), states })
        });
        let names = (0..SERVICES).map(|service| format!("app-{service}.{}.", dns.zone));
        Self {
            services: format!("{:?}", snapshot.services),
            faults: format!("{:?}", snapshot.faults),
            publications: snapshot
                .publications
                .iter()
                .map(|publication| format!("{publication:?}"))
                .collect(),
            routers: routers.collect(),
            upstreams: upstreams.collect(),
            names: names.map(|name| (name.clone(), addresses(zone, &name))).collect(),
        }
    }
}

fn addresses(zone: &Zone, name: &str) -> BTreeSet<String> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
    let asker = Asker {
        transport: Transport::Tcp,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        cookies: None,
        now: 0,
        recursion: false,
        near: false,
        views: false,
        may_transfer: false,
    };
    let mut reply = Vec::new();
    portolan_dns::answer(zone, &message.to_vec().expect("it can be written"), &asker, &mut reply);
    let reply = Message::from_vec(&reply).expect("an answer");
    reply.answers.iter().map(|record| record.data.to_string()).collect()
}

fn provider() -> ProviderName {
    ProviderName::new("docker")
}

/// What runs in truth.
#[derive(Default)]
struct Truth {
    instances: BTreeMap<InstanceId, Instance>,
    clock: u64,
}

impl Truth {
    /// One thing happens; what a provider says of it.
    fn step(&mut self, random: &mut Random) -> Change {
        self.clock += 1;
        let fresh = world::instance(random.below(SERVICES), random.below(world::REPLICAS));
        let id = fresh.id.clone();
        let Some(instance) = self.instances.get_mut(&id) else {
            let mut instance = fresh;
            instance.networks[0].endpoint_id = format!("{id}-{}", self.clock);
            self.instances.insert(id, instance.clone());
            return Change::Upsert(Box::new(instance));
        };
        match random.below(6) {
            0 => {
                self.instances.remove(&id);
                return Change::Remove(id);
            }
            1 => {
                instance.state = State::ALL[random.below(State::ALL.len())];
                instance.reason = format!("since {}", self.clock);
            }
            // The engine gives an address out again right after its owner left.
            2 => {
                instance.networks[0].endpoint_id = format!("{id}-{}", self.clock);
                instance.networks[0].ipv4 = Some(Ipv4Addr::new(10, 9, 9, random.below(4) as u8));
            }
            3 => {
                let publish = format!("{}:80", 8080 + random.below(2));
                instance.labels.insert("portolan.publish".to_owned(), publish);
            }
            4 => {
                let rule = ["Host(`app-1.test`)", "Hst(`app-1.test`)"][random.below(2)].to_owned();
                instance.labels.insert("traefik.http.routers.other.rule".to_owned(), rule);
            }
            _ => instance.networks[0].ipv4 = None,
        }
        Change::Upsert(Box::new(instance.clone()))
    }

    fn list(&self) -> Change {
        Change::Reset(self.instances.values().cloned().collect())
    }
}

fn again(change: &Change) -> Option<Change> {
    match change {
        Change::Upsert(instance) => Some(Change::Upsert(instance.clone())),
        Change::Remove(id) => Some(Change::Remove(id.clone())),
        _ => None,
    }
}

#[test]
fn after_a_complete_list_everything_is_steered_as_if_no_event_had_been_lost() {
    let (mut relists, mut different) = (0, 0);
    for seed in 1..=SEEDS {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut truth = Truth::default();
        let mut portolan = Portolan::new();
        let mut late: Vec<Change> = Vec::new();
        for _ in 0..STEPS {
            match random.below(8) {
                0..4 => {
                    let change = truth.step(&mut random);
                    if random.once_in(6) {
                        continue;
                    }
                    late.extend(again(&change).filter(|_| random.once_in(6)));
                    late.push(change);
                }
                4..6 if !late.is_empty() => {
                    let change = late.remove(random.below(late.len().min(4)));
                    portolan.apply(change);
                }
                6 if random.once_in(6) => portolan.apply(Change::Lost("the stream ended".to_owned())),
                // A table is made of whatever is known by then.
                _ => drop(portolan.draw()),
            }
        }
        for change in late {
            portolan.apply(change);
        }
        let mut clean = Portolan::new();
        clean.apply(truth.list());
        let expected = clean.steers();
        different += u32::from(portolan.steers() != expected);
        portolan.apply(truth.list());
        assert_eq!(portolan.steers(), expected, "seed {seed}");
        relists += 1;
    }
    // It would hold just as well if no event had mattered.
    assert!(relists == SEEDS && different > 500, "{different} of {relists} were wrong before the list");
}
