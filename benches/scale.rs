//! What the labels of ten thousand containers cost from text to table, and a lookup among their routers beside one among
//! a single one.
//!
//! `cargo bench --bench scale`

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use portolan_config::rule::RequestView;
use portolan_config::settings::EntryPoint;
use portolan_config::{Labels, Rule};
use portolan_discovery::chart::{self, Chart, Policy, Sketch};
use portolan_discovery::{Change, Instance, ProviderName, Registry, Router, Snapshot, Update};
use portolan_proxy::{Ledger, Metrics, Table};

mod world;

const CONTAINERS: [usize; 4] = [1, 100, 1_000, 10_000];
/// Each is measured so often; the least is what it takes.
const ROUNDS: usize = 5;

fn main() {
    println!(
        "labels of containers, each with a router, a service and two middlewares of its own (10 labels); ms"
    );
    println!("containers  decode   draw  compile     all  µs each");
    for containers in CONTAINERS {
        let (decode, draw, compile) = labels(containers);
        let all = decode + draw + compile;
        println!(
            "{containers:>10}  {:>6.2} {:>6.2} {:>8.2} {:>7.2} {:>8.1}",
            millis(decode),
            millis(draw),
            millis(compile),
            millis(all),
            millis(all) * 1e3 / containers as f64
        );
    }
    println!("\nlookup of a request among so many routers; ns, and how often that of one");
    println!("{:<38} {:>8} {:>8} {:>8} {:>9}", "rules", "1", "100", "10,000", "10,000:1");
    for (rules, rule, host, path) in LOOKUPS {
        let found: Vec<[f64; 3]> = [1, 100, 10_000].map(|routers| lookup(routers, rule, host, path)).into();
        for (which, asked) in [", one host", ", hosts in turn", ", of nobody"].into_iter().enumerate() {
            let [one, some, many] = [0, 1, 2].map(|size: usize| found[size][which]);
            println!(
                "{:<38} {one:>8.0} {some:>8.0} {many:>8.0} {:>9.2}",
                format!("{rules}{asked}"),
                many / one
            );
        }
    }
}

/// What rules look like, and the host and path of number `{}`.
const LOOKUPS: [(&str, &str, &str, &str); 3] = [
    ("Host", "Host(`{}.bench.test`)", "{}.bench.test", "/index.html"),
    ("Host and path", "Host(`{}.bench.test`) && PathPrefix(`/shop`)", "{}.bench.test", "/shop/1"),
    ("path alone", "PathPrefix(`/app-{}/`)", "bench.test", "/app-{}/1"),
];

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// The least of some rounds.
fn least<T>(mut work: impl FnMut() -> T) -> Duration {
    let round = |work: &mut dyn FnMut() -> T| {
        let begun = Instant::now();
        let made = black_box(work());
        let took = begun.elapsed();
        drop(made);
        took
    };
    (0..ROUNDS).map(|_| round(&mut work)).min().expect("there are rounds")
}

fn policy() -> Policy {
    Policy { exposed_by_default: true, ..Policy::default() }
}

fn ledger() -> Ledger {
    let metrics =
        Metrics::register(&prometheus::Registry::new()).expect("an empty registry takes every metric");
    Ledger::new(metrics)
}

/// Where the routes are.
fn web() -> EntryPoint {
    EntryPoint::plain("web", "127.0.0.1:0".parse().expect("an address"))
}

/// How long these take: labels to what they say, that to a chart, and that to a table.
fn labels(containers: usize) -> (Duration, Duration, Duration) {
    let instances: Vec<Instance> = (0..containers).map(labelled).collect();
    let provider = ProviderName::new("docker");
    let decode = || instances.iter().map(|instance| Labels::decode(&instance.labels)).collect::<Vec<_>>();
    let decoding = least(decode);
    let labels: Vec<Arc<Labels>> = decode().into_iter().map(Arc::new).collect();
    let policy = policy();
    let draw = || {
        let sketch = |(instance, labels): (&Instance, &Arc<Labels>)| {
            Sketch::new(&provider, Arc::new(instance.clone()), labels.clone(), &policy)
        };
        let sketches: Vec<Sketch> = instances.iter().zip(&labels).map(sketch).collect();
        chart::draw(sketches.iter(), std::iter::empty(), &policy, &Chart::default())
    };
    let drawing = least(draw);
    let snapshot = snapshot(instances.clone());
    assert_eq!((snapshot.routers.len(), snapshot.middlewares.len()), (containers, 2 * containers));
    let compiling = least(|| compile(&snapshot));
    (decoding, drawing, compiling)
}

fn labelled(number: usize) -> Instance {
    let mut instance = world::instance(number, 0);
    let name = format!("app-{number}");
    for (label, value) in [
        ("traefik.enable".to_owned(), "true".to_owned()),
        (format!("traefik.http.routers.{name}.entrypoints"), "web".to_owned()),
        (format!("traefik.http.routers.{name}.middlewares"), format!("{name}-cut,{name}-security")),
        (format!("traefik.http.middlewares.{name}-cut.stripprefix.prefixes"), "/shop,/store".to_owned()),
        (format!("traefik.http.middlewares.{name}-security.headers.stsSeconds"), "31536000".to_owned()),
        (format!("traefik.http.middlewares.{name}-security.headers.frameDeny"), "true".to_owned()),
        (format!("traefik.http.services.{name}.loadbalancer.passhostheader"), "true".to_owned()),
    ] {
        instance.labels.insert(label, value);
    }
    instance
}

fn snapshot(instances: Vec<Instance>) -> Snapshot {
    let provider = ProviderName::new("docker");
    let mut registry = Registry::new(policy(), [provider.clone()]);
    let update = Update { provider, observed_at: Instant::now(), change: Change::Reset(instances) };
    registry.apply(update, SystemTime::now());
    registry.snapshot()
}

fn compile(snapshot: &Snapshot) -> Table {
    let (table, faults) = portolan_proxy::compile(snapshot, &[web()], &ledger());
    assert!(faults.is_empty(), "{faults:?}");
    table
}

/// Nanoseconds of a lookup: of one host again and again, of all in turn, and of one that nobody takes.
fn lookup(routers: usize, rule: &str, host: &str, path: &str) -> [f64; 3] {
    let mut snapshot = snapshot(vec![world::instance(0, 0)]);
    let upstream = snapshot.upstreams[0].name.clone();
    let numbered = |text: &str, number: usize| text.replace("{}", &number.to_string());
    snapshot.routers = (0..routers)
        .map(|number| {
            let rule = Rule::parse(&numbered(rule, number)).expect("a rule");
            let router = Router {
                upstream: upstream.clone(),
                ..Router::new(format!("r{number}@bench"), rule, "bench")
            };
            Arc::new(router)
        })
        .collect();
    let table = compile(&snapshot);
    let asked: Vec<(String, String)> =
        (0..routers).map(|number| (numbered(host, number), numbered(path, number))).collect();
    // In no order that a cache could guess.
    let in_turn = (0..1024).map(|step: usize| step.wrapping_mul(7919) % routers);
    let one = per_lookup(&table, &[(&asked[routers / 2].0, &asked[routers / 2].1)], true);
    let all: Vec<(&str, &str)> = in_turn.map(|at| (asked[at].0.as_str(), asked[at].1.as_str())).collect();
    let nobody = per_lookup(&table, &[("nobody.test", "/nowhere")], false);
    [one, per_lookup(&table, &all, true), nobody]
}

fn per_lookup(table: &Table, asked: &[(&str, &str)], found: bool) -> f64 {
    // Enough of them that the clock does not count, and few enough where each takes long.
    let times = asked.len().max(512);
    let took = least(|| {
        for (host, path) in asked.iter().cycle().take(times) {
            let route = table.find("web", &RequestView::get(black_box(host), path));
            assert_eq!(black_box(route).is_some(), found, "{host}{path}");
        }
    });
    took.as_secs_f64() * 1e9 / times as f64
}
