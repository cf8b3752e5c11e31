//! What a hundred thousand names take: the zone's memory, at first and after changes, with all that the next compile needs;
//! and the time to compile a change of one container among them. Their 24,900 reverse names come on top.
//!
//! The zone is compiled as the process does it, from one snapshot to the next. `cargo bench --bench names`

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use portolan_config::settings::Dns;
use portolan_discovery::chart::Policy;
use portolan_discovery::{Change, ProviderName, Registry, State, Update};
use portolan_dns::Compiler;

mod world;

/// Changes that are measured.
const CHANGES: usize = 1_000;

fn main() {
    println!("names    zone MiB  after MiB  first ms  change p50 ms  p99 ms  max ms");
    for services in [800, 8_300] {
        let dns = Dns {
            address: "127.0.0.1:1053".parse().expect("an address"),
            zone: "portolan.internal".to_owned(),
            ttl: Duration::from_secs(2),
            options: portolan_config::settings::dns::Options::default(),
        };
        let provider = ProviderName::new("docker");
        let policy = Policy { exposed_by_default: true, ..Policy::default() };
        let mut registry = Registry::new(policy, [provider.clone()]);
        let mut apply = |change| {
            let update = Update { provider: provider.clone(), observed_at: Instant::now(), change };
            registry.apply(update, SystemTime::UNIX_EPOCH);
            registry.snapshot()
        };
        let snapshot = apply(Change::Reset(world::instances(services)));
        let before = resident();
        let begun = Instant::now();
        let mut compiler = Compiler::new(&dns);
        let mut zone = Arc::new(compiler.compile(&snapshot).0);
        let (first, taken) = (begun.elapsed(), resident() - before);
        let mut took: Vec<Duration> = (0..CHANGES)
            .map(|change| {
                let mut instance = world::instance(change * 7 % services, change % world::REPLICAS);
                instance.state = if change % 2 == 0 { State::Unhealthy } else { State::Draining };
                let snapshot = apply(Change::Upsert(Box::new(instance)));
                let begun = Instant::now();
                // The one before goes, as nobody asks for it any more.
                zone = Arc::new(compiler.compile(&snapshot).0);
                begun.elapsed()
            })
            .collect();
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        println!(
            "{:<8} {:>8.1}  {:>9.1}  {:>8.0}  {:>13.3}  {:>6.3}  {:>6.3}",
            zone.len(),
            taken as f64 / 1024.0,
            (resident() - before) as f64 / 1024.0,
            first.as_secs_f64() * 1e3,
            at(50),
            at(99),
            at(100)
        );
    }
}

/// KiB of memory that this process has.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel tells of memory");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
