//! Addresses of servers that a file names by host, asked of the system's resolver, and asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;

use crate::chart::Addresses;

/// How long an answer is waited for; what comes later is taken at the next turn.
const DEADLINE: Duration = Duration::from_secs(2);

/// The addresses known.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    addresses: Addresses,
}

impl Lookup {
    /// Looks the hosts up. Returns whether an address changed. One that is not answered for keeps what it had.
    pub(super) async fn run(&mut self, hosts: BTreeSet<String>) -> bool {
        let answers = join_all(hosts.into_iter().map(|host| async {
            let answer = look_up(&host).await;
            (host, answer)
        }))
        .await;
        let mut now: Addresses = BTreeMap::new();
        for (host, answer) in answers {
            let known = self.addresses.get(&host);
            let kept = match (answer, known) {
                (Err(_), Some(Ok(known))) => Ok(known.clone()),
                (answer, _) => answer,
            };
            now.insert(host, kept);
        }
        let changed = now != self.addresses;
        self.addresses = now;
        changed
    }

    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// When to look again; never where no name is.
    pub(super) fn again(&self, usual: Duration, failed: Duration) -> Option<Duration> {
        if self.addresses.is_empty() {
            return None;
        }
        Some(if self.addresses.values().any(Result::is_err) { failed } else { usual })
    }
}

async fn look_up(host: &str) -> Result<Vec<IpAddr>, String> {
    let found = tokio::time::timeout(DEADLINE, tokio::net::lookup_host((host, 0))).await;
    let found = found
        .map_err(|_| format!("`{host}`: the resolver did not answer within {} s", DEADLINE.as_secs()))?
        .map_err(|error| format!("`{host}` has no address: {error}"))?;
    let all: BTreeSet<IpAddr> = found.map(|address| address.ip()).collect();
    // A host with both is one server, and IPv4 is what reaches it for certain.
    let v4: Vec<IpAddr> = all.iter().copied().filter(IpAddr::is_ipv4).collect();
    let addresses = if v4.is_empty() { all.into_iter().collect() } else { v4 };
    if addresses.is_empty() { Err(format!("`{host}` has no address")) } else { Ok(addresses) }
}
