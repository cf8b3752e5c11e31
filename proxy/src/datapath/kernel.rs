//! The table as it is in the kernel: made, changed, looked at, made again when something else has changed it, removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use portolan_config::{DataPath, Protocol};

use super::conntrack::{self, Flow};
use super::leftovers::{self, Claim};
use super::nft::{Count, Nft, read_listing};
use super::plan::{Carried, Facts, not_transparent, plan};
use super::transparent::Transparent;
use super::{Sources, Travels, Wanted, host, script};
use crate::metrics::{Metrics, Scope, published_name};

/// How often the host is looked at again, where nothing has changed that Portolan knows of.
const HOST_LOOK: Duration = Duration::from_secs(10);

/// The kernel's side, and what is known of it.
pub(super) struct Kernel {
    metrics: Metrics,
    facts: Facts,
    nft: Option<Nft>,
    looked: Option<Instant>,
    wanted: Vec<Wanted>,
    /// The table, if it was made.
    made: Option<Made>,
    scopes: BTreeMap<String, Scope>,
    /// Where flows may have been sent that were not removed since.
    sent_to: BTreeSet<(Protocol, u16, SocketAddr)>,
    /// Why the table could not be made, when that was tried last.
    failure: Option<String>,
    transparent: Transparent,
    sources: Sources,
    /// Tells other processes that somebody has what is in the kernel.
    claim: Option<Claim>,
}

struct Made {
    ports: Vec<Carried>,
    /// The listing without its numbers, as it was when the table was made.
    listing: String,
    counts: BTreeMap<String, Count>,
}

impl Kernel {
    pub(super) fn new(metrics: Metrics, sources: Sources) -> Self {
        Self {
            metrics,
            facts: Facts::default(),
            nft: None,
            looked: None,
            wanted: Vec::new(),
            made: None,
            scopes: BTreeMap::new(),
            sent_to: BTreeSet::new(),
            failure: None,
            transparent: Transparent::default(),
            sources,
            claim: None,
        }
    }

    /// Claims what is in the kernel, and where nobody had it takes away what is there: its owner was killed.
    pub(super) fn claim_first(&mut self) {
        self.claim = Claim::take();
        if self.claim.is_some()
            && let Some(nft) = host::changer()
        {
            leftovers::remove(&nft);
        }
    }

    /// Claims what is in the kernel, once the process that had it before is done with it.
    pub(super) fn claim(&mut self) {
        self.claim = self.claim.take().or_else(Claim::take);
    }

    /// Makes the table as it is wanted, if it is not. Gives how each port travels.
    pub(super) fn follow(&mut self, wanted: &[Wanted]) -> Vec<Travels> {
        let is_new = self.wanted != wanted;
        if is_new || self.looked.is_none_or(|looked| looked.elapsed() >= HOST_LOOK) {
            (self.facts, self.nft) = host::look();
            self.looked = Some(Instant::now());
        }
        let intact = self.look();
        let (transparent, carried): (Vec<_>, Vec<_>) =
            wanted.iter().partition(|wanted| wanted.asked == DataPath::Transparent);
        let plans: Vec<Result<Carried, String>> =
            carried.iter().map(|wanted| plan(wanted, &self.facts)).collect();
        let ports: Vec<Carried> = plans.iter().filter_map(|plan| plan.clone().ok()).collect();
        if is_new || !intact || self.made.as_ref().map_or(!ports.is_empty(), |made| made.ports != ports) {
            self.put_in_place(ports);
        }
        self.wanted = wanted.to_vec();
        self.end_flows();
        let mut travels = Vec::with_capacity(wanted.len());
        for (wanted, plan) in carried.into_iter().zip(plans) {
            let why = plan.err().or_else(|| self.failure.clone());
            let label = published_name(wanted.port.address.port, wanted.port.protocol);
            self.metrics.datapath.travels(&label, why.is_none());
            let by = if why.is_none() { DataPath::Nftables } else { DataPath::UserSpace };
            travels.push(Travels { port: wanted.port, by, why });
        }
        let failure = self.arrange(&transparent).err();
        for wanted in transparent {
            let why = failure
                .clone()
                .or_else(|| not_transparent(wanted, &self.facts))
                .or_else(|| self.transparent.without(wanted));
            let by = if why.is_none() { DataPath::Transparent } else { DataPath::UserSpace };
            travels.push(Travels { port: wanted.port, by, why });
        }
        travels
    }

    /// Lets answers to clients of transparent ports be Portolan's.
    fn arrange(&mut self, wanted: &[&Wanted]) -> Result<(), String> {
        let is_wanted = wanted.iter().any(|wanted| not_transparent(wanted, &self.facts).is_none());
        let Some(nft) = self.nft.as_ref().filter(|_| is_wanted) else {
            self.sources.store(Vec::new());
            if let Some(nft) = &self.nft {
                self.transparent.remove(nft);
            }
            return Ok(());
        };
        match self.transparent.make(nft) {
            Ok(repaired) => {
                if repaired {
                    tracing::warn!(
                        "something else had taken away what transparent ports need; it is made again"
                    );
                    self.metrics.datapath.repairs.inc();
                }
                let networks = self.facts.bridges.iter().flat_map(|(_, networks)| networks).copied();
                let reached = |network: &ipnet::IpNet| network.addr().is_ipv4() || self.transparent.has_v6();
                self.sources.store(networks.filter(reached).collect());
                Ok(())
            }
            Err(why) => {
                self.sources.store(Vec::new());
                Err(why)
            }
        }
    }

    /// Sends no new connection on. Those there are need the table: without any, the kernel may stop to translate.
    pub(super) fn close(&mut self) {
        let (Some(made), Some(nft)) = (&mut self.made, &self.nft) else { return };
        let mut closed = made.ports.clone();
        for carried in &mut closed {
            carried.turns = [Vec::new(), Vec::new()];
        }
        match nft.run(&script::change(&made.ports, &closed)) {
            Ok(()) => made.ports = closed,
            Err(why) => tracing::warn!(why, "the kernel still sends new connections on"),
        }
    }

    /// Removes the table.
    pub(super) fn withdraw(mut self) {
        self.look();
        self.sources.store(Vec::new());
        if let Some(nft) = &self.nft {
            self.transparent.remove(nft);
        }
        if self.made.take().is_some()
            && let Some(nft) = &self.nft
            && let Err(why) = nft.run(&script::remove())
        {
            tracing::warn!(why, "the table of nftables is still there");
        }
    }

    /// Counts what was counted, and gives whether the table is as it was made.
    fn look(&mut self) -> bool {
        let (Some(made), Some(nft)) = (&mut self.made, &self.nft) else { return true };
        let listing = nft.ask(&["-t", "list", "table", "inet", script::TABLE]);
        let Ok((counts, listing)) = listing.as_deref().map(read_listing) else {
            self.repair();
            return false;
        };
        for (protocol, port) in script::numbers(&made.ports) {
            let label = published_name(port, protocol);
            let more = |counted: &str| {
                let name = format!("{protocol}-{port}-{counted}");
                let [before, now] =
                    [&made.counts, &counts].map(|counts| counts.get(&name).copied().unwrap_or_default());
                (now.packets.saturating_sub(before.packets), now.bytes.saturating_sub(before.bytes))
            };
            let [connections, received, sent] = script::COUNTED.map(more);
            self.metrics.datapath.connections(&label, connections.0);
            let scope = self.scopes.entry(label).or_insert_with_key(|label| self.metrics.entry_point(label));
            scope.count_bytes(received.1, sent.1);
        }
        made.counts = counts;
        let intact = made.listing == listing;
        if !intact {
            self.repair();
        }
        intact
    }

    fn repair(&mut self) {
        tracing::warn!("something else has changed the table of nftables; it is made again");
        self.metrics.datapath.repairs.inc();
        self.made = None;
    }

    fn put_in_place(&mut self, ports: Vec<Carried>) {
        let Some(nft) = self.nft.clone() else {
            self.made = None;
            return;
        };
        let has_same_ports = |made: &&Made| {
            made.ports.iter().map(|carried| carried.port).eq(ports.iter().map(|carried| carried.port))
        };
        let done = match self.made.as_ref().filter(has_same_ports) {
            Some(made) if !ports.is_empty() => {
                let change = script::change(&made.ports, &ports);
                if change.is_empty() { Ok(()) } else { nft.run(&change) }
            }
            _ if ports.is_empty() => {
                let removed = if self.made.is_some() { nft.run(&script::remove()) } else { Ok(()) };
                self.forget_ports();
                self.made = None;
                self.failure = removed.err();
                return;
            }
            _ => {
                self.forget_ports();
                self.made = None;
                nft.run(&script::whole(&ports))
            }
        };
        if let Err(why) = done {
            tracing::warn!(why, "the table of nftables can't be made");
            self.made = None;
            self.failure = Some(why);
            return;
        }
        self.failure = None;
        for carried in &ports {
            let port = carried.port;
            let all = carried.turns.iter().flatten();
            self.sent_to.extend(all.map(|endpoint| (port.protocol, port.address.port, *endpoint)));
        }
        match &mut self.made {
            Some(made) => made.ports = ports,
            None => {
                let listing = nft.ask(&["-t", "list", "table", "inet", script::TABLE]).unwrap_or_default();
                let (counts, listing) = read_listing(&listing);
                tracing::info!(ports = ports.len(), "the kernel carries published ports (nftables)");
                // What an earlier process began goes on, and ends with its endpoints.
                let all: Vec<_> = ports.iter().map(|carried| carried.port).collect();
                let begun = conntrack::sent_on(&all).unwrap_or_default();
                self.sent_to.extend(begun.into_iter().map(|flow| (flow.protocol, flow.port, flow.endpoint)));
                self.made = Some(Made { ports, listing, counts });
            }
        }
    }

    fn forget_ports(&mut self) {
        let Some(made) = &self.made else { return };
        for (protocol, port) in script::numbers(&made.ports) {
            self.metrics.datapath.forget(&published_name(port, protocol));
        }
    }

    /// Ends flows to endpoints that are gone: datagrams at once, connections when it no longer finishes what it has begun.
    fn end_flows(&mut self) {
        let made = self.made.as_ref().map_or(&[][..], |made| &made.ports);
        let is_in_use = |(protocol, number, endpoint): &(Protocol, u16, SocketAddr)| {
            made.iter().any(|carried| {
                (carried.port.protocol, carried.port.address.port) == (*protocol, *number)
                    && carried.turns.iter().flatten().any(|turn| turn == endpoint)
            })
        };
        let drains =
            |endpoint: &SocketAddr| self.wanted.iter().any(|wanted| wanted.leaving.contains(endpoint));
        let gone: Vec<_> = self
            .sent_to
            .iter()
            .filter(|sent| !is_in_use(sent) && (sent.0 == Protocol::Udp || !drains(&sent.2)))
            .copied()
            .collect();
        if gone.is_empty() {
            return;
        }
        let flow =
            |(protocol, port, endpoint): &_| Flow { protocol: *protocol, port: *port, endpoint: *endpoint };
        match conntrack::remove(&gone.iter().map(flow).collect::<Vec<_>>()) {
            Ok(removed) => self.metrics.datapath.flows_removed.inc_by(removed),
            Err(error) => tracing::warn!(%error, "flows to endpoints that left can't be ended"),
        }
        for sent in gone {
            self.sent_to.remove(&sent);
        }
    }
}
