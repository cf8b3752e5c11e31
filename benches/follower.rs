//! What follows a snapshot in the process, as `src/steer.rs` has it: the table, then the zone. Those before go when the next
//! are in place.

use std::time::{Duration, Instant};

use portolan_config::settings::{Dns, EntryPoint};
use portolan_discovery::Snapshot;
use portolan_dns::{Compiler, Zone};
use portolan_proxy::{Ledger, Metrics, Table};

/// The table and the zone that are in place, and what makes the next ones.
pub(crate) struct Follower {
    entry_points: [EntryPoint; 1],
    ledger: Ledger,
    compiler: Compiler,
    pub(crate) table: Table,
    pub(crate) zone: Option<Zone>,
}

impl Follower {
    pub(crate) fn new() -> Self {
        let metrics =
            Metrics::register(&prometheus::Registry::new()).expect("an empty registry takes every metric");
        let dns = Dns {
            address: "127.0.0.1:1053".parse().expect("an address"),
            zone: "portolan.internal".to_owned(),
            ttl: Duration::from_secs(2),
            options: portolan_config::settings::dns::Options::default(),
        };
        Self {
            entry_points: [EntryPoint::plain("web", "127.0.0.1:0".parse().expect("an address"))],
            ledger: Ledger::new(metrics),
            compiler: Compiler::new(&dns),
            table: Table::default(),
            zone: None,
        }
    }

    /// Puts a snapshot in place. Gives how long the table took, and the zone.
    pub(crate) fn follow(&mut self, snapshot: &Snapshot) -> (Duration, Duration) {
        let begun = Instant::now();
        let (table, faults) = portolan_proxy::compile(snapshot, &self.entry_points, &self.ledger);
        assert!(faults.is_empty(), "{faults:?}");
        self.table = table;
        let table = begun.elapsed();
        self.zone = Some(self.compiler.compile(snapshot).0);
        (table, begun.elapsed().saturating_sub(table))
    }
}
