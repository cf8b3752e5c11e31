//! What choosing an endpoint costs by each strategy, with 3, 10 and 100 replicas; and how even the choices are.
//!
//! `cargo bench --bench balancers`

// The macros of the harness make undocumented functions.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portolan_config::dynamic::service::{LoadBalancer, Strategy};
use portolan_proxy::balancer::cost::Choice;

const STRATEGIES: [(&str, Strategy); 7] = [
    ("wrr", Strategy::Wrr),
    ("p2c", Strategy::P2c),
    ("hrw", Strategy::Hrw),
    ("leasttime", Strategy::LeastTime),
    ("leastrequests", Strategy::LeastRequests),
    ("ewma", Strategy::Ewma),
    ("maglev", Strategy::Maglev),
];

fn choice(strategy: Strategy, weights: &[u32]) -> Choice {
    Choice::new(&LoadBalancer { strategy, ..LoadBalancer::default() }, weights)
}

fn picks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    group.sample_size(20).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    for count in [3, 10, 100] {
        for (name, strategy) in STRATEGIES {
            let choice = choice(strategy, &vec![1; count]);
            evenness(name, &choice, count);
            let mut client = 0;
            group.bench_function(BenchmarkId::new(name, count), |bench| {
                bench.iter(|| {
                    client += 1;
                    choice.pick(black_box(client))
                });
            });
        }
        let weights: Vec<u32> = (1..=count as u32).collect();
        let choice = choice(Strategy::Wrr, &weights);
        let mut client = 0;
        group.bench_function(BenchmarkId::new("wrr, weights differ", count), |bench| {
            bench.iter(|| {
                client += 1;
                choice.pick(black_box(client))
            });
        });
    }
    group.finish();
}

/// How far the luckiest and the unluckiest are from their share, of 1,000 choices for each.
fn evenness(name: &str, choice: &Choice, count: usize) {
    let mut shares = vec![0_u32; count];
    for client in 0..1_000 * count as u64 {
        let target = choice.pick(client).expect("all are available") as usize;
        shares[target] += 1;
    }
    let off = |share: Option<&u32>| f64::from(*share.expect("there are some")) / 10.0 - 100.0;
    println!(
        "{name} of {count}: {:+.1} % to {:+.1} % off the share",
        off(shares.iter().min()),
        off(shares.iter().max())
    );
}

criterion_group!(benches, picks);
criterion_main!(benches);
