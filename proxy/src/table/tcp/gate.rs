//! TCP middlewares: who is let in, before anything is read of TLS or sent anywhere.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_config::dynamic::tcp::{TcpIpAllowList, TcpMiddleware};

use crate::census::{Census, Counted};
use crate::http::Reason;
use crate::ledger::Ledger;

/// One middleware of a router.
#[derive(Debug)]
pub(super) enum Gate {
    /// `ipAllowList`
    Listed(TcpIpAllowList),
    /// `inFlightConn`
    InFlight(Arc<Census>),
}

impl Gate {
    /// The middleware of this name. Connections that it counted before go on being counted.
    pub(super) fn of(name: &str, middleware: &TcpMiddleware, ledger: &Ledger) -> Self {
        match middleware {
            TcpMiddleware::IpAllowList(list) | TcpMiddleware::IpWhiteList(list) => Self::Listed(list.clone()),
            TcpMiddleware::InFlightConn(most) => {
                let most = if most.amount == 0 { usize::MAX } else { most.amount as usize };
                Self::InFlight(ledger.in_flight(name, most))
            }
        }
    }

    /// Lets a client pass, and counts it where that is what it does.
    pub(super) fn pass(&self, client: IpAddr) -> Result<Option<Counted>, Reason> {
        match self {
            Self::Listed(list) if list.source_range.iter().any(|range| range.contains(client)) => Ok(None),
            Self::Listed(_) => Err(Reason::NotAllowed),
            Self::InFlight(census) => census.count(client).map(Some),
        }
    }
}
