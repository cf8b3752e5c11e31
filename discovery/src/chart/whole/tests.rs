//! Whatever changes, the chart that is kept is the one that would be drawn of everything at once.

use std::time::{Duration, SystemTime};

use portolan_config::Labels;
use portolan_config::dynamic::{Format, read_file};

use super::*;
use crate::chart::draw;
use crate::instance::{Instance, NetworkAddress, Port, ServiceKey, State};
use crate::provider::Configured;

const SEEDS: u64 = 300;
const STEPS: usize = 40;
const INSTANCES: usize = 8;

/// What labels may say; `#` is the number of another instance.
const LABELS: [(&str, &str); 20] = [
    ("portolan.service", "app-#"),
    ("portolan.publish", "808#:80"),
    ("portolan.publish", "9000:80"),
    ("traefik.http.routers.r#.rule", "Host(`a.test`)"),
    ("traefik.http.routers.r#.rule", "Hst(`a.test`)"),
    ("traefik.http.routers.own.service", "s#"),
    ("traefik.http.routers.own.middlewares", "m#,auth@file"),
    ("traefik.http.routers.own.tls.options", "o#"),
    ("traefik.http.services.s#.loadbalancer.server.port", "80"),
    ("portolan.http.services.s#.loadbalancer.serverstransport", "t#"),
    ("traefik.http.middlewares.m#.addprefix.prefix", "/#"),
    ("traefik.http.middlewares.m#.chain.middlewares", "m1,m2"),
    ("portolan.http.services.both.weighted.services[0].name", "s#"),
    ("portolan.http.serverstransports.t#.maxidleconnsperhost", "7"),
    ("portolan.tls.options.o#.sniStrict", "true"),
    ("traefik.tcp.routers.db.rule", "HostSNI(`*`)"),
    ("traefik.tcp.routers.db.service", "d#"),
    ("traefik.tcp.services.d#.loadbalancer.server.port", "5432"),
    ("traefik.udp.services.u#.loadbalancer.server.port", "53"),
    ("traefik.udp.routers.u.service", "u#"),
];

const FILES: [&str; 4] = [
    "{}",
    "http: { middlewares: { auth: { addPrefix: { prefix: /x } } } }",
    "http: { routers: { f: { rule: 'Host(`f.test`)', service: s1@docker, middlewares: [m2@docker] } } }",
    "http: { middlewares: { auth: { stripPrefix: { prefixes: [/x] } } }, \
             services: { both: { weighted: { services: [ { name: s1@docker }, { name: s3@docker } ] } } } }\n\
     tls: { options: { default: { sniStrict: true }, o1: { sniStrict: false } } }",
];

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) % limit as u64) as usize
    }
}

enum Source {
    Document(Document),
    Sketch(Sketch),
}

impl Source {
    fn drawable(&self) -> Drawable<'_> {
        match self {
            Self::Document(document) => Drawable::Document(document),
            Self::Sketch(sketch) => Drawable::Sketch(sketch),
        }
    }
}

/// Sources, the chart that is kept of them, and nothing else.
#[derive(Default)]
struct World {
    sources: BTreeMap<At, Source>,
    whole: Whole,
    policy: Policy,
}

impl World {
    fn set(&mut self, at: At, source: Option<Source>) {
        if let Some(before) = self.sources.remove(&at) {
            self.whole.left(at.clone(), before.drawable());
        }
        if let Some(source) = source {
            self.whole.entered(at.clone(), source.drawable());
            self.sources.insert(at, source);
        }
    }

    fn step(&mut self, random: &mut Random) {
        if random.below(12) == 0 {
            let file = random.below(FILES.len());
            let dynamic = read_file("routes.yml", Format::Yaml, FILES[file]).expect("it is fine");
            let configured = Configured { dynamic, ..Configured::default() };
            let provider = ProviderName::new("file");
            let document = Source::Document(Document::new(&provider, &configured));
            return self.set(At::Document(provider), Some(document));
        }
        let number = random.below(INSTANCES);
        let provider = ProviderName::new(if number == 0 { "swarm" } else { "docker" });
        let at = At::Sketch(provider.clone(), InstanceId::new(&format!("c{number}")));
        let there = random.below(4) > 0;
        let source = there.then(|| Source::Sketch(self.sketch(&provider, number, random)));
        self.set(at, source);
    }

    fn sketch(&self, provider: &ProviderName, number: usize, random: &mut Random) -> Sketch {
        let labels: BTreeMap<String, String> = (0..random.below(5))
            .map(|_| {
                let (key, value) = LABELS[random.below(LABELS.len())];
                let other = (random.below(3) + 1).to_string();
                (key.replace('#', &other), value.replace('#', &other))
            })
            .collect();
        let name = format!("c{number}");
        let service = labels.get("portolan.service").map_or_else(
            || ServiceKey::Container(name.clone()),
            |service| ServiceKey::Label(service.clone()),
        );
        let read = Arc::new(Labels::decode(&labels));
        let instance = Instance {
            id: InstanceId::new(&name),
            name,
            service,
            labels,
            networks: vec![NetworkAddress {
                network: "front".to_owned(),
                endpoint_id: random.below(3).to_string(),
                ipv4: Some([10, 0, 0, number as u8].into()),
                ipv6: None,
                aliases: Vec::new(),
                reached: true,
            }],
            ports: vec![Port { number: 80, protocol: portolan_config::Protocol::Tcp }],
            bindings: Vec::new(),
            node: None,
            virtual_host: BTreeMap::new(),
            state: State::ALL[random.below(State::ALL.len())],
            reason: "running".to_owned(),
            since: SystemTime::UNIX_EPOCH,
            created: SystemTime::UNIX_EPOCH + Duration::from_secs(random.below(3) as u64),
        };
        Sketch::new(provider, Arc::new(instance), read, &self.policy)
    }

    fn kept(&mut self) -> Chart {
        let sources = &self.sources;
        self.whole.draw(|at| sources.get(at).map(Source::drawable), &self.policy);
        self.whole.chart().clone()
    }

    fn at_once(&self) -> Chart {
        let sketches = self.sources.values().filter_map(|source| match source {
            Source::Sketch(sketch) => Some(sketch),
            Source::Document(_) => None,
        });
        let documents = self.sources.values().filter_map(|source| match source {
            Source::Document(document) => Some(document),
            Source::Sketch(_) => None,
        });
        draw(sketches, documents, &self.policy, &Chart::default())
    }
}

#[test]
fn the_chart_that_is_kept_is_the_one_that_would_be_drawn_of_everything_at_once() {
    let (mut faults, mut routers, mut parts, mut alone) = (0, 0, 0, 0);
    for seed in 1..=SEEDS {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let policy = Policy { exposed_by_default: true, ..Policy::default() };
        let mut world = World { policy, ..World::default() };
        for step in 0..STEPS {
            for _ in 0..=random.below(3) {
                world.step(&mut random);
            }
            if random.below(20) == 0 {
                world.whole.redraw();
            }
            let (kept, expected) = (world.kept(), world.at_once());
            assert_eq!(format!("{kept:#?}"), format!("{expected:#?}"), "seed {seed}, step {step}");
            faults += kept.faults.len();
            routers += kept.routers.len();
            parts += world.whole.parts.len();
            alone += world.whole.parts.values().filter(|part| part.members.len() == 1).count();
        }
        // Nothing is kept of what is gone.
        for at in world.sources.keys().cloned().collect::<Vec<_>>() {
            world.set(at, None);
        }
        assert_eq!(format!("{:?}", world.kept()), format!("{:?}", Chart::default()));
        let whole = &world.whole;
        assert!(whole.parts.is_empty() && whole.places.is_empty() && whole.holders.is_empty(), "seed {seed}");
        assert!(whole.faults.is_empty() && !whole.known.has_any(), "seed {seed}");
    }
    // It would hold just as well if there were nothing, or if everything were one part.
    assert!(faults > 5_000 && routers > 20_000, "{faults} faults, {routers} routers");
    assert!(alone > 10_000 && parts - alone > 5_000, "{parts} parts, {alone} of one source");
}

#[test]
fn what_has_nothing_to_do_with_a_change_is_the_same_as_before() {
    let policy = Policy { exposed_by_default: true, ..Policy::default() };
    let mut world = World { policy, ..World::default() };
    let mut random = Random(1);
    let provider = ProviderName::new("docker");
    let at = |number: usize| At::Sketch(provider.clone(), InstanceId::new(&format!("c{number}")));
    let unlabelled = |world: &World, number, random: &mut Random| loop {
        let sketch = world.sketch(&provider, number, random);
        if sketch.instance.labels.is_empty() {
            return Some(Source::Sketch(sketch));
        }
    };
    for number in 1..4 {
        let source = unlabelled(&world, number, &mut random);
        world.set(at(number), source);
    }
    let before = world.kept();
    let source = unlabelled(&world, 2, &mut random);
    world.set(at(2), source);
    let after = world.kept();
    let same = |number: usize| {
        Arc::ptr_eq(&before.services[number], &after.services[number])
            && Arc::ptr_eq(&before.routers[number], &after.routers[number])
            && Arc::ptr_eq(&before.upstreams[number], &after.upstreams[number])
    };
    assert!(same(0) && same(2) && !Arc::ptr_eq(&before.services[1], &after.services[1]));
}
