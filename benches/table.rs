//! What each stage from observation to decision costs, at 10, 1,000 and 10,000 services of three replicas each.
//!
//! `cargo bench --bench table`

// The macros of the harness make undocumented functions.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portolan_config::Labels;
use portolan_config::rule::RequestView;
use portolan_config::settings::{Dns, EntryPoint};
use portolan_discovery::chart::{self, Chart, Policy};
use portolan_discovery::{Change, ProviderName, Registry, Snapshot, Update};
use portolan_proxy::{Ledger, Metrics};

mod world;

const SIZES: [usize; 3] = [10, 1_000, 10_000];

fn policy() -> Policy {
    Policy { exposed_by_default: true, ..Policy::default() }
}

fn snapshot(services: usize) -> Snapshot {
    let provider = ProviderName::new("docker");
    let mut registry = Registry::new(policy(), [provider.clone()]);
    let change = Change::Reset(world::instances(services));
    registry.apply(
        Update { provider, observed_at: std::time::Instant::now(), change },
        std::time::SystemTime::now(),
    );
    registry.snapshot()
}

fn ledger() -> Ledger {
    Ledger::new(
        Metrics::register(&prometheus::Registry::new()).expect("an empty registry takes every metric"),
    )
}

fn stages(criterion: &mut Criterion) {
    let labels = world::instance(1, 1).labels;
    criterion
        .bench_function("labels of one container", |bench| bench.iter(|| Labels::decode(black_box(&labels))));
    let entry_points = [web()];
    let dns = Dns {
        address: "127.0.0.1:1053".parse().expect("an address"),
        zone: "portolan.internal".to_owned(),
        ttl: Duration::from_secs(2),
        options: portolan_config::settings::dns::Options::default(),
    };
    let mut group = criterion.benchmark_group("stage");
    group.sample_size(10);
    for size in SIZES {
        let sketches = world::sketches(size, &policy());
        let previous = chart::draw(sketches.iter(), std::iter::empty(), &policy(), &Chart::default());
        group.bench_function(BenchmarkId::new("draw the chart", size), |bench| {
            bench.iter(|| chart::draw(sketches.iter(), std::iter::empty(), &policy(), black_box(&previous)));
        });
        let snapshot = snapshot(size);
        let ledger = ledger();
        group.bench_function(BenchmarkId::new("compile the table", size), |bench| {
            bench.iter(|| portolan_proxy::compile(black_box(&snapshot), &entry_points, &ledger));
        });
        group.bench_function(BenchmarkId::new("compile the zone", size), |bench| {
            bench.iter(|| portolan_dns::compile(black_box(&snapshot), &dns));
        });
    }
    group.finish();
}

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route lookup");
    for size in SIZES {
        let (table, faults) = portolan_proxy::compile(&snapshot(size), &[web()], &ledger());
        assert!(faults.is_empty(), "{faults:?}");
        let host = format!("app-{}.test", size / 2);
        assert!(
            table.find("web", &RequestView::get(&host, "/index.html")).is_some(),
            "the bench must find what it looks for"
        );
        group.bench_function(BenchmarkId::new("found", size), |bench| {
            bench.iter(|| table.find("web", black_box(&RequestView::get(&host, "/index.html"))));
        });
        group.bench_function(BenchmarkId::new("not found", size), |bench| {
            bench.iter(|| table.find("web", black_box(&RequestView::get("nobody.test", "/index.html"))));
        });
    }
    group.finish();
}

criterion_group!(benches, stages, lookup);
criterion_main!(benches);

/// Where the routes are.
fn web() -> EntryPoint {
    EntryPoint::plain("web", "127.0.0.1:0".parse().expect("an address"))
}
