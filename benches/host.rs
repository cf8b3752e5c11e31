//! What a host of so many services costs, each of so many replicas: memory, one change, a complete list again, a choice; and
//! whether a thousand changes a second for a while are followed, how late, at what cost, and to the truth.
//!
//! `cargo bench --bench host -- 10000 10 60`: services, replicas of each, seconds of changes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use portolan_config::rule::RequestView;
use portolan_discovery::chart::Policy;
use portolan_discovery::{Change, Instance, InstanceId, ProviderName, Registry, Snapshot, State, Update};
use portolan_proxy::Table;
use portolan_proxy::balancer::cost::pick_of;
use tokio::sync::{mpsc, watch};

mod follower;
#[allow(dead_code)] // each bench uses its part of it
mod world;

use follower::Follower;

/// Single changes that are measured.
const CHANGES: usize = 200;
/// Changes a second.
const RATE: u64 = 1_000;
/// Choices that are measured.
const PICKS: usize = 200_000;

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let at = |place: usize, usual| numbers.get(place).copied().unwrap_or(usual);
    let size = Size { services: at(0, 1_000), replicas: at(1, 10) };
    println!("{} services of {} replicas each", size.services, size.replicas);
    stages(size);
    sustained(size, at(2, 10) as u64);
}

#[derive(Clone, Copy)]
struct Size {
    services: usize,
    replicas: usize,
}

impl Size {
    fn instances(self) -> Vec<Instance> {
        let each = |service| (0..self.replicas).map(move |replica| (service, replica));
        let every = (0..self.services).flat_map(each);
        every.map(|(service, replica)| world::one_of(service, replica, self.replicas)).collect()
    }
}

fn provider() -> ProviderName {
    ProviderName::new("docker")
}

fn registry() -> Registry {
    Registry::new(Policy { exposed_by_default: true, ..Policy::default() }, [provider()])
}

fn update(change: Change) -> Update {
    Update { provider: provider(), observed_at: Instant::now(), change }
}

/// What becomes of a replica, and of the same one again.
type Turn = fn(&mut Instance);

/// Memory, and each stage by itself.
fn stages(size: Size) {
    let (mut registry, mut follower) = (registry(), Follower::new());
    let empty = resident();
    let mut apply = |change| {
        let begun = Instant::now();
        registry.apply(update(change), SystemTime::UNIX_EPOCH);
        let snapshot = registry.snapshot();
        let chart = begun.elapsed();
        let (table, zone) = follower.follow(&snapshot);
        [chart, table, zone, begun.elapsed()]
    };
    let first = apply(Change::Reset(size.instances()));
    println!("  memory: {:.0} MiB", (resident() - empty) as f64 / 1024.0);
    println!("                              chart ms  table ms   zone ms    all ms");
    show("the first list", &mut [first]);
    let kinds: [(&str, Turn); 2] = [
        ("a replica unhealthy and back", |instance| {
            instance.state = if instance.state == State::Ready { State::Unhealthy } else { State::Ready };
        }),
        ("a replica stopped, another life", |instance| {
            instance.state = if instance.state == State::Ready { State::Stopped } else { State::Ready };
            instance.networks[0].endpoint_id.push('x');
        }),
    ];
    for (name, turn) in kinds {
        let mut took: Vec<_> = (0..CHANGES / 2)
            .flat_map(|change| {
                let mut instance = size.chosen(change);
                turn(&mut instance);
                let there = apply(Change::Upsert(Box::new(instance.clone())));
                turn(&mut instance);
                [there, apply(Change::Upsert(Box::new(instance)))]
            })
            .collect();
        show(name, &mut took);
    }
    let mut took: Vec<_> = (0..CHANGES / 2)
        .flat_map(|change| {
            let instance = size.chosen(change);
            let gone = apply(Change::Remove(instance.id.clone()));
            [gone, apply(Change::Upsert(Box::new(instance)))]
        })
        .collect();
    show("a replica removed, and new", &mut took);
    let mut took: Vec<_> = (0..CHANGES / 2)
        .flat_map(|change| {
            let mut instance = world::one_of(size.services + change, 0, size.replicas);
            instance.created = SystemTime::now();
            let id = instance.id.clone();
            [apply(Change::Upsert(Box::new(instance))), apply(Change::Remove(id))]
        })
        .collect();
    show("a service new, and removed", &mut took);
    let mut took: Vec<_> = (0..3).map(|_| apply(Change::Reset(size.instances()))).collect();
    show("a complete list again", &mut took);
    picks(&follower.table, size);
}

impl Size {
    fn chosen(self, change: usize) -> Instance {
        world::one_of(change * 7919 % self.services, change % self.replicas, self.replicas)
    }
}

fn show(name: &str, took: &mut [[Duration; 4]]) {
    let mut line = format!("  {name:<32}");
    for stage in 0..4 {
        took.sort_by_key(|took| took[stage]);
        let at = |percent: usize| took[(took.len() - 1) * percent / 100][stage].as_secs_f64() * 1e3;
        let _ = if took.len() > 10 {
            write!(line, "  {:.2} (p99 {:.2})", at(50), at(99))
        } else {
            write!(line, "  {:.1}", at(50))
        };
    }
    println!("{line}");
}

/// From a request's host to a replica.
fn picks(table: &Table, size: Size) {
    let hosts: Vec<String> =
        (0..PICKS).map(|pick| format!("app-{}.test", pick * 7919 % size.services)).collect();
    let begun = Instant::now();
    for host in &hosts {
        let found = table.find("web", &RequestView::get(host, "/index.html"));
        assert!(black_box(found).is_some(), "{host}");
    }
    let route = begun.elapsed();
    let names: Vec<String> =
        (0..PICKS).map(|pick| format!("app-{}@docker", pick * 7919 % size.services)).collect();
    let upstreams: Vec<_> = names.iter().map(|name| table.upstreams[name].clone()).collect();
    let begun = Instant::now();
    for upstream in &upstreams {
        assert!(black_box(pick_of(upstream)).is_some());
    }
    let pick = begun.elapsed();
    let each = |took: Duration| took.as_nanos() as f64 / PICKS as f64;
    println!("  a route found in {:.0} ns, a replica of it chosen in {:.0} ns", each(route), each(pick));
}

/// Changes at a rate, followed as the process does: registry and compilers on one thread.
fn sustained(size: Size, seconds: u64) {
    let (updates, received) = mpsc::channel(4096);
    let (publisher, mut snapshots) = watch::channel(Arc::new(Snapshot::default()));
    let (finished, mut truth) = mpsc::channel(1);
    let sender = thread::spawn(move || {
        let mut instances: BTreeMap<InstanceId, Instance> =
            size.instances().into_iter().map(|instance| (instance.id.clone(), instance)).collect();
        let send = |change| updates.blocking_send(update(change)).expect("the registry runs");
        send(Change::Reset(instances.values().cloned().collect()));
        // The first list is no change.
        thread::sleep(Duration::from_secs(2));
        let begun = Instant::now();
        for event in 0..RATE * seconds {
            let due = begun + Duration::from_micros(event * 1_000_000 / RATE);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut instance = size.chosen(event as usize);
            let id = instance.id.clone();
            match instances.remove(&id) {
                Some(known) if known.state == State::Ready => {
                    instance.state = if event % 3 == 0 { State::Unhealthy } else { State::Draining };
                    instance.networks = known.networks;
                }
                Some(known) if known.state == State::Draining => {
                    send(Change::Remove(known.id));
                    continue;
                }
                _ => instance.networks[0].endpoint_id = format!("{event:064x}"),
            }
            instances.insert(id, instance.clone());
            send(Change::Upsert(Box::new(instance)));
        }
        let took = begun.elapsed();
        // As long as somebody may tell of changes, the registry runs.
        finished.blocking_send((instances, took, updates)).expect("it is waited for");
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (snapshot, follower, mut lags, spent, drawn, instances, took) = runtime.block_on(async {
        tokio::spawn(registry().run(received, publisher));
        // A task as in the process: what the runtime is entered with has its turn more seldom.
        let following = tokio::spawn(async move {
            let mut follower = Follower::new();
            snapshots.changed().await.expect("the registry runs");
            let mut snapshot = snapshots.borrow_and_update().clone();
            follower.follow(&snapshot);
            let (begun, mut lags, mut drawn) = (on_cpu(), Vec::new(), 0_u64);
            let mut ended = None;
            while ended.is_none() || (lags.len() as u64) < RATE * seconds {
                tokio::select! {
                    Some(end) = truth.recv(), if ended.is_none() => ended = Some(end),
                    // Nothing more comes: what was not measured is not waited for.
                    () = tokio::time::sleep(Duration::from_secs(10)), if ended.is_some() => break,
                    changed = snapshots.changed() => {
                        changed.expect("it runs until every change was followed");
                        let newest = snapshot.generation;
                        snapshot = snapshots.borrow_and_update().clone();
                        follower.follow(&snapshot);
                        let new = snapshot.applied.iter().filter(|applied| applied.generation > newest);
                        lags.extend(new.map(|applied| applied.observed_at.elapsed()));
                        drawn += 1;
                    }
                }
            }
            let (instances, took, _updates) = ended.expect("it ended");
            (snapshot, follower, lags, on_cpu().saturating_sub(begun), drawn, instances, took)
        });
        following.await.expect("no panic")
    });
    sender.join().expect("no panic");
    lags.sort_unstable();
    let at = |percent: usize| lags[(lags.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "  {} changes in {:.1} s: followed after {:.2} ms (p50), {:.2} ms (p99), {:.2} ms at most; {drawn} tables, {:.0} % of a CPU",
        lags.len(),
        took.as_secs_f64(),
        at(50),
        at(99),
        at(100),
        spent.as_secs_f64() / took.as_secs_f64() * 100.0
    );
    is_the_truth(&snapshot, &follower.table, instances);
}

/// Holds what is steered by at the end against what a registry knows that saw nothing but the end.
fn is_the_truth(snapshot: &Snapshot, table: &Table, instances: BTreeMap<InstanceId, Instance>) {
    let (mut clean, mut follower) = (registry(), Follower::new());
    clean.apply(update(Change::Reset(instances.into_values().collect())), SystemTime::UNIX_EPOCH);
    let truth = clean.snapshot();
    follower.follow(&truth);
    assert_eq!(snapshot.services.len(), truth.services.len());
    for (service, truth) in snapshot.services.iter().zip(&truth.services) {
        assert_eq!(format!("{service:?}"), format!("{truth:?}"));
    }
    assert_eq!(table.upstreams.len(), follower.table.upstreams.len());
    for name in follower.table.upstreams.keys() {
        let told = |table: &Table| {
            let upstream = &table.upstreams[name];
            let given = upstream.available.iter().map(|target| (target.endpoint.clone(), target.address));
            (given.collect::<Vec<_>>(), upstream.why_unavailable())
        };
        assert_eq!(told(table), told(&follower.table), "{name}");
    }
    println!("  the table at the end is the truth");
}

/// What this thread has had of a CPU.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default())
}

/// KiB of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
