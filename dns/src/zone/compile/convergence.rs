//! One compile after another gives what one alone gives, whatever changes in between; and costs what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use portolan_discovery::{Service, ServiceKey, Snapshot, State};

use super::{Compiler, compile};
use crate::Zone;
use crate::test_support::{Container, Random, container, settings, snapshot};

/// A few names, so that they clash.
const NAMES: [&str; 6] = ["web", "db", "tasks", "all", "tasks.web", "web.shop"];

fn random_container(random: &mut Random, number: usize) -> Container {
    let name = match random.below(3) {
        0 => NAMES[random.below(NAMES.len())].to_owned(),
        _ => format!("c{number}"),
    };
    let mut made = container(&name, &format!("10.0.{}.{}", random.below(2), random.below(8)))
        .id(&format!("{:012x}", number * 7919))
        .created(random.below(4) as u64);
    made = match random.below(3) {
        0 => made.of(ServiceKey::Label(NAMES[random.below(NAMES.len())].to_owned())),
        1 => made.compose(["shop", "blog"][random.below(2)], NAMES[random.below(2)]),
        _ => made,
    };
    if random.below(3) == 0 {
        made = made.port(80, Some("http")).alias(NAMES[random.below(NAMES.len())]).alias("shared");
    }
    match random.below(8) {
        0 => made = made.label("portolan.dns.names", "web,extra,outside.example."),
        1 => made = made.label("portolan.dns.enable", "false"),
        _ => {}
    }
    if random.below(4) == 0 {
        made = made.is([State::Draining, State::Stopped, State::Unhealthy][random.below(3)]);
    }
    made
}

/// The snapshot with the parts that are as before shared with the one before, as the chart does it.
fn sharing(mut new: Snapshot, old: &[Arc<Service>], changed: &BTreeSet<String>) -> Snapshot {
    for service in &mut new.services {
        if let Some(same) = old.iter().find(|old| old.name == service.name && !changed.contains(&old.name)) {
            *service = Arc::clone(same);
        }
    }
    new
}

/// Every name with its records, in whatever order they are.
fn shown(zone: &Zone) -> BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> {
    let records = |(key, node): (&crate::key::Key, &Arc<crate::records::Node>)| {
        let records = node.sets.iter().flat_map(|set| set.records().map(<[u8]>::to_vec));
        (key.to_vec(), records.collect())
    };
    zone.iter().map(records).collect()
}

#[test]
fn compiling_what_changed_gives_what_compiling_all_gives() {
    for seed in 1..40 {
        let mut random = Random(seed * 0x9E37_79B9);
        let mut compiler = Compiler::new(&settings());
        let mut world: Vec<u64> = (0..12).collect();
        let mut old: Vec<Arc<Service>> = Vec::new();
        for step in 0..40 {
            // Containers are made from their seeds: the same seed, the same container.
            let build = |seeds: &[u64]| {
                snapshot(
                    seeds
                        .iter()
                        .enumerate()
                        .map(|(n, seed)| random_container(&mut Random(seed * 0x5851_F42D + 77), n)),
                )
            };
            let before = build(&world);
            for _ in 0..=random.below(3) {
                let at = random.below(world.len());
                world[at] = random.below(60) as u64;
            }
            let mut new = build(&world);
            let mut changed = BTreeSet::new();
            for service in before.services.iter().chain(&new.services) {
                let of = |all: &[Arc<Service>]| {
                    let found = all.iter().find(|other| other.name == service.name);
                    format!("{:?}", found.map(|service| &service.endpoints))
                };
                if of(&before.services) != of(&new.services) {
                    changed.insert(service.name.clone());
                }
            }
            new.generation = step;
            let new = sharing(new, &old, &changed);
            let (zone, faults) = compiler.compile(&new);
            let (alone, alone_faults) = compile(&new, &settings());
            let (got, expected) = (shown(&zone), shown(&alone));
            let wrong = got.iter().find(|(key, records)| expected.get(*key) != Some(records));
            assert_eq!(wrong, None, "seed {seed}, step {step}");
            assert_eq!(got.len(), expected.len(), "seed {seed}, step {step}");
            let sorted = |faults: Vec<portolan_config::Fault>| faults.into_iter().collect::<BTreeSet<_>>();
            assert_eq!(sorted(faults), sorted(alone_faults), "seed {seed}, step {step}");
            old = new.services;
        }
    }
}

fn world(services: usize, changed: Option<usize>) -> Snapshot {
    snapshot((0..services).map(|n| {
        let ip = format!("10.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256);
        let name = format!("svc-{n}");
        let made = container(&format!("shop-{name}-1"), &ip).compose("shop", &name).port(80, Some("http"));
        if changed == Some(n) { made.is(State::Draining) } else { made }
    }))
}

#[test]
fn a_change_touches_what_it_is_about() {
    let mut compiler = Compiler::new(&settings());
    let before = world(500, None);
    compiler.compile(&before);
    let name = before.services[250].name.clone();
    let number = before.services[250].endpoints[0].instance.name.split('-').nth(2).unwrap().parse().unwrap();
    let after = sharing(world(500, Some(number)), &before.services, &BTreeSet::from([name]));
    let differ = |a: &Snapshot, b: &Snapshot| {
        a.services.iter().zip(&b.services).filter(|(a, b)| !Arc::ptr_eq(a, b)).count()
    };
    assert_eq!(differ(&before, &after), 1);
    let (old, _) = compiler.compile(&before);
    let (new, _) = compiler.compile(&after);
    let same = old
        .iter()
        .filter(|(key, node)| new.iter().any(|(other, now)| other == *key && Arc::ptr_eq(node, now)));
    // Its two names, each also under `tasks` and `all`, with two ports and the name between; its container's name and
    // id; an address. The names between have nothing, before and after.
    let touched = old.iter().count() - same.count();
    assert!((13..=15).contains(&touched), "{touched}");
}

/// Of thirteen names each.
const SERVICES: usize = 7_200;

/// `cargo test -p portolan-dns --release -- --ignored --nocapture a_hundred_thousand`
#[test]
#[ignore = "measures, with --release"]
fn a_hundred_thousand_names_follow_one_change_in_milliseconds() {
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let before = world(SERVICES, None);
    let changed: Vec<Snapshot> = (0..20)
        .map(|n| {
            let name = format!("svc-{}-shop@docker", n * 100);
            sharing(world(SERVICES, Some(n * 100)), &before.services, &BTreeSet::from([name]))
        })
        .collect();
    let without = memory();
    let mut compiler = Compiler::new(&settings());
    let begun = Instant::now();
    let (mut zone, _) = compiler.compile(&before);
    println!("{} names and {} addresses in {:?}", zone.len(), zone.elsewhere.len(), begun.elapsed());
    println!("{} MiB for zone and compiler", memory() - without);
    for (number, snapshot) in changed.iter().enumerate() {
        let begun = Instant::now();
        let (next, _) = compiler.compile(snapshot);
        zone = next;
        println!("change {number} in {:?}", begun.elapsed());
    }
    println!("{} names; {} MiB for zone and compiler", zone.len(), memory() - without);
}
