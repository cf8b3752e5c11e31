//! Zones given to secondaries, read as they would read them.

use hickory_proto::op::{MessageType, OpCode, Query};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, Record};

use super::*;
use crate::test_support::{Container, container, settings, snapshot};
use crate::zone::{Compiler, SharedZone, shared};

/// One zone after the other, as secondaries may ask for them.
struct World {
    compiler: Compiler,
    shared: SharedZone,
    generation: u64,
}

impl World {
    fn new() -> Self {
        let mut settings = settings();
        settings.options.transfer_to = vec!["127.0.0.0/8".parse().unwrap()];
        let compiler = Compiler::new(&settings).serials_from(1000);
        Self { compiler, shared: shared(&settings), generation: 0 }
    }

    fn has(&mut self, containers: impl IntoIterator<Item = Container>) -> u32 {
        self.generation += 1;
        let mut world = snapshot(containers);
        world.generation = self.generation;
        let (zone, faults) = self.compiler.compile(&world);
        assert_eq!(faults, []);
        self.shared.store(Arc::new(zone));
        self.shared.load().serial()
    }

    /// What is given to who asks by AXFR, or by IXFR with this serial: each record as a zone file has it.
    fn given(&self, zone: &str, since: Option<u32>) -> Option<Vec<String>> {
        let name = Name::from_ascii(zone).unwrap();
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        let kind = if since.is_some() { RecordType::IXFR } else { RecordType::AXFR };
        query.add_query(Query::query(name.clone(), kind));
        if let Some(serial) = since {
            let soa = SOA::new(Name::root(), Name::root(), serial, 0, 0, 0, 0);
            query.add_authority(Record::from_rdata(name, 0, RData::SOA(soa)));
        }
        let bytes = query.to_vec().unwrap();
        let request = Request::read(&bytes).unwrap();
        let wish = Wish::read(&bytes, &request).unwrap();
        let current = self.shared.load_full();
        let mut transfer = Transfer::begin(&current, &self.shared, &request, wish)?;
        let (mut records, mut messages) = (Vec::new(), 0);
        loop {
            let mut out = Vec::new();
            if !transfer.append(&request, &mut out) {
                break;
            }
            messages += 1;
            let message = Message::from_vec(&out).unwrap();
            assert!(message.metadata.authoritative && message.metadata.id == 7);
            records.extend(message.answers.iter().map(ToString::to_string));
        }
        assert!(messages > 0);
        Some(records)
    }
}

fn with(records: &[String], part: &str) -> usize {
    records.iter().filter(|record| record.contains(part)).count()
}

#[test]
fn all_names_are_given_between_two_soas() {
    let mut world = World::new();
    let serial = world.has([
        container("web-1", "10.0.0.1").compose("shop", "web").port(80, Some("http")),
        container("web-2", "10.0.0.2").compose("shop", "web"),
    ]);
    assert_eq!(serial, 1001);
    let all = world.given("portolan.internal.", None).unwrap();
    assert!(all[0].contains(" SOA ") && all[0] == all[all.len() - 1], "{all:#?}");
    assert_eq!(with(&all, " SOA "), 2);
    assert_eq!(with(&all, " NS ns.portolan.internal."), 1);
    for record in [
        "web.portolan.internal. 2 IN A 10.0.0.1",
        "web.portolan.internal. 2 IN A 10.0.0.2",
        "web-1.portolan.internal. 2 IN A 10.0.0.1",
        "_http._tcp.web.portolan.internal. 2 IN SRV 0 1 80 web-1.portolan.internal.",
    ] {
        assert_eq!(all.iter().filter(|given| *given == record).count(), 1, "{record}: {all:#?}");
    }
    assert_eq!(world.given("elsewhere.", None), None);
}

#[test]
fn a_zone_of_many_messages_is_whole() {
    let mut world = World::new();
    let containers =
        (0..2000_u32).map(|n| container(&format!("c{n}"), &format!("10.0.{}.{}", n / 250, n % 250 + 1)));
    world.has(containers);
    let all = world.given("portolan.internal.", None).unwrap();
    for n in [0, 1, 999, 1999] {
        let record = format!("c{n}.portolan.internal. 2 IN A ");
        assert_eq!(all.iter().filter(|given| given.starts_with(&record)).count(), 1, "{record}");
    }
}

#[test]
fn who_has_an_earlier_zone_is_told_what_is_different() {
    let mut world = World::new();
    let web = || container("web", "10.0.0.1");
    let first = world.has([web(), container("old", "10.0.0.2")]);
    world.has([web()]);
    let last = world.has([web(), container("new", "10.0.0.3")]);
    let given = world.given("portolan.internal.", Some(first)).unwrap();
    let serials: Vec<usize> =
        [last, first, last, last].iter().map(|serial| with(&given[..], &format!(" {serial} "))).collect();
    assert_eq!(serials, [3, 1, 3, 3], "{given:#?}");
    let at = |part: &str| given.iter().position(|record| record.starts_with(part));
    let old = at("old.portolan.internal. 2 IN A 10.0.0.2").unwrap();
    let new = at("new.portolan.internal. 2 IN A 10.0.0.3").unwrap();
    let between = given.iter().enumerate().filter(|(_, record)| record.contains(" SOA ")).nth(2).unwrap().0;
    assert!(old < between && between < new, "what went, then what came: {given:#?}");
    assert_eq!(with(&given, "10.0.0.1"), 0, "what stays is not told");

    assert_eq!(world.given("portolan.internal.", Some(last)).unwrap().len(), 1, "it has the newest");
    let all = world.given("portolan.internal.", None).unwrap();
    assert_eq!(world.given("portolan.internal.", Some(7)).unwrap(), all, "one that nobody remembers");
}

#[test]
fn what_is_different_leads_from_any_zone_to_the_newest() {
    let mut world = World::new();
    let mut random = crate::test_support::Random(11);
    let mut known: Vec<(u32, BTreeSet<String>)> = Vec::new();
    let is_record = |record: &String| !record.contains(" SOA ");
    for _ in 0..40 {
        let present: Vec<u8> = (0..12).filter(|_| random.below(2) == 0).collect();
        let containers = present.iter().map(|n| container(&format!("c{n}"), &format!("10.0.0.{}", n + 1)));
        let serial = world.has(containers);
        let all = world.given("portolan.internal.", None).unwrap();
        known.push((serial, all.into_iter().filter(is_record).collect()));
    }
    let newest = known.last().unwrap().1.clone();
    for (serial, mut has) in known {
        let given = world.given("portolan.internal.", Some(serial)).unwrap();
        let mut soas = 0;
        for record in given {
            if record.contains(" SOA ") {
                soas += 1;
            } else if soas == 2 {
                assert!(has.remove(&record), "{record} was not there");
            } else {
                assert!(has.insert(record.clone()), "{record} was there");
            }
        }
        assert_eq!(has, newest);
    }
}
