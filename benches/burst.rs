//! How long an event takes until traffic and names follow, alone and in a burst, at 10, 1,000 and 10,000 services.
//!
//! The registry runs as it does in the process; the other end compiles table and zone of each snapshot it sees, as
//! `src/steer.rs` does. `cargo bench --bench burst`

use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_discovery::chart::Policy;
use portolan_discovery::{Change, ProviderName, Registry, Snapshot, State, Update};
use tokio::sync::{mpsc, watch};

mod follower;
mod world;

use follower::Follower;

/// Events in a burst.
const BURST: usize = 1_000;

fn main() {
    println!("services  events  snapshots  delay p50 ms  p99 ms  max ms");
    for services in [10, 1_000, 10_000] {
        for events in [1, BURST] {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let (snapshots, mut delays) = runtime.block_on(burst(services, events));
            delays.sort_unstable();
            let at = |percent: usize| delays[(delays.len() - 1) * percent / 100].as_secs_f64() * 1e3;
            println!(
                "{services:>8}  {events:>6}  {snapshots:>9}  {:>12.2}  {:>6.2}  {:>6.2}",
                at(50),
                at(99),
                at(100)
            );
        }
    }
}

/// Sends so many events at once; gives the snapshots it took, and each event's delay.
async fn burst(services: usize, events: usize) -> (usize, Vec<Duration>) {
    let provider = ProviderName::new("docker");
    let update = |change| Update { provider: provider.clone(), observed_at: Instant::now(), change };
    let policy = Policy { exposed_by_default: true, ..Policy::default() };
    let (updates, received) = mpsc::channel(4096);
    let (publisher, mut snapshots) = watch::channel(Arc::new(Snapshot::default()));
    tokio::spawn(Registry::new(policy, [provider.clone()]).run(received, publisher));
    let mut follower = Follower::new();
    let send = |change| async {
        updates.send(update(change)).await.expect("the registry runs as long as the bench");
    };
    send(Change::Reset(world::instances(services))).await;
    snapshots.changed().await.expect("the registry runs as long as the bench");
    let first = snapshots.borrow_and_update().clone();
    follower.follow(&first);

    for event in 0..events {
        let mut instance = world::instance(event % services, event / services % world::REPLICAS);
        instance.state = if event % 2 == 0 { State::Unhealthy } else { State::Draining };
        send(Change::Upsert(Box::new(instance))).await;
    }
    let (mut taken, mut delays, mut newest) = (0, Vec::new(), first.generation);
    while delays.len() < events {
        snapshots.changed().await.expect("the registry runs as long as the bench");
        let snapshot = snapshots.borrow_and_update().clone();
        follower.follow(&snapshot);
        let new = snapshot.applied.iter().filter(|applied| applied.generation > newest);
        delays.extend(new.map(|applied| applied.observed_at.elapsed()));
        newest = snapshot.generation;
        taken += 1;
    }
    (taken, delays)
}
