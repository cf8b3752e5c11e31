//! How many connections an entry point has, over all workers, and who has them. It is asked once for a connection, when
//! that is accepted, and never for a request.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use portolan_config::PublishLimits;
use portolan_config::settings::EntryPointLimits;
use rustix::process::{Resource, getrlimit};

use crate::http::Reason;

/// Counts the connections of an entry point, and says when it has enough of them.
#[derive(Debug)]
pub(crate) struct Census {
    max: usize,
    per_client_max: Option<usize>,
    open: AtomicUsize,
    by_client: DashMap<IpAddr, usize>,
}

/// A connection that is counted, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Counted {
    census: Arc<Census>,
    client: Option<IpAddr>,
}

impl Census {
    /// One that knows these limits. Unless written, half of the files that the process may have open are for clients:
    /// each may need a connection to an endpoint, and accepting without end would leave none for that.
    pub(crate) fn new(limits: &EntryPointLimits) -> Arc<Self> {
        let half = || getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files as usize / 2);
        Arc::new(Self {
            max: limits.connections_max.unwrap_or_else(half),
            per_client_max: limits.connections_per_client_max,
            open: AtomicUsize::new(0),
            by_client: DashMap::new(),
        })
    }

    /// One that knows this limit for each client, and no other.
    pub(crate) fn of_clients(max: usize) -> Arc<Self> {
        let limits = EntryPointLimits {
            connections_max: Some(usize::MAX),
            connections_per_client_max: Some(max),
            ..EntryPointLimits::default()
        };
        Self::new(&limits)
    }

    /// That of a published port.
    pub(crate) fn of_published(limits: &PublishLimits) -> Arc<Self> {
        Self::new(&EntryPointLimits {
            connections_max: limits.connections_max,
            connections_per_client_max: limits.per_client_max,
            ..EntryPointLimits::default()
        })
    }

    /// How many connections one client may have.
    pub(crate) fn per_client(&self) -> Option<usize> {
        self.per_client_max
    }

    /// Counts a connection of this address, or says which limit it would break.
    pub(crate) fn count(self: &Arc<Self>, address: IpAddr) -> Result<Counted, Reason> {
        let mut counted = self.count_anybody()?;
        counted.belongs_to(address)?;
        Ok(counted)
    }

    /// Counts a connection of which it is not known yet whose it is.
    pub(crate) fn count_anybody(self: &Arc<Self>) -> Result<Counted, Reason> {
        // Counted first: two that come at once must not both find the last place free.
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let counted = Counted { census: self.clone(), client: None };
        if before >= self.max { Err(Reason::ConnectionLimit) } else { Ok(counted) }
    }

    /// Keeps nothing of a client without connections.
    fn forget_idle(&self, client: IpAddr) {
        self.by_client.remove_if(&client, |_, connections| *connections == 0);
    }
}

impl Counted {
    /// Says whose it is, once.
    pub(crate) fn belongs_to(&mut self, address: IpAddr) -> Result<(), Reason> {
        let Some(max) = self.census.per_client_max.filter(|_| self.client.is_none()) else { return Ok(()) };
        let client = client(address);
        let mut connections = self.census.by_client.entry(client).or_insert(0);
        if *connections >= max {
            drop(connections);
            self.census.forget_idle(client);
            return Err(Reason::ClientConnectionLimit);
        }
        *connections += 1;
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.census.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = self.client
            && let Entry::Occupied(mut connections) = self.census.by_client.entry(client)
        {
            *connections.get_mut() -= 1;
            if *connections.get() == 0 {
                connections.remove();
            }
        }
    }
}

/// Who counts as one client: an IPv4 address, or the /64 of an IPv6 one, as whoever has one address there has them all.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(max: Option<usize>, per_client: Option<usize>) -> Arc<Census> {
        Census::new(&EntryPointLimits {
            connections_max: max,
            connections_per_client_max: per_client,
            ..EntryPointLimits::default()
        })
    }

    #[test]
    fn a_place_that_was_left_can_be_taken() {
        let census = census(Some(2), None);
        let address = "192.0.2.7".parse().unwrap();
        let first = census.count(address).unwrap();
        let _second = census.count(address).unwrap();
        for _ in 0..3 {
            assert_eq!(census.count(address).unwrap_err(), Reason::ConnectionLimit);
        }
        drop(first);
        assert!(census.count(address).is_ok());
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        for (one, other, same) in [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("2001:db8::7", "2001:db8::ffff:8", true),
            ("2001:db8::7", "2001:db8:0:1::7", false),
        ] {
            let census = census(None, Some(1));
            let counted = census.count(one.parse().unwrap()).unwrap();
            let second = census.count(other.parse().unwrap()).map(|_| ());
            assert_eq!(
                second,
                if same { Err(Reason::ClientConnectionLimit) } else { Ok(()) },
                "{one} {other}"
            );
            drop(counted);
            assert!(census.count(other.parse().unwrap()).is_ok());
            assert!(census.by_client.is_empty(), "what left is not remembered");
        }
    }

    #[test]
    fn unless_written_some_files_are_left_for_endpoints() {
        let census = census(None, None);
        let files = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files as usize);
        assert!(census.max > 0 && census.max <= files / 2 + 1, "{} of {files}", census.max);
    }
}
