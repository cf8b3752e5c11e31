//! What is kept of a connection or a UDP session that has ended: its counts, and its line in the access log. The same
//! whoever took it, a TCP router, a published port or a socket for datagrams. It knows nothing of what was said in it.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use portolan_config::Protocol;
use portolan_config::settings::Observability;

use crate::access_log::{Agreed, Passed};
use crate::http::Reason;
use crate::metrics::Scope;
use crate::table::Target;
use crate::udp;
use crate::worker::{End, Worker};

/// Why something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Both sides were done, or one broke off.
    Passed(End),
    /// Portolan did not pass it on.
    Refused(Reason),
    /// A UDP session was over.
    Session(udp::End),
}

impl Why {
    /// The word in metrics and in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Passed(end) => end.as_str(),
            Self::Refused(reason) => reason.as_str(),
            Self::Session(end) => end.as_str(),
        }
    }

    /// The status of HTTP that comes closest, for whatever reads logs by it. nginx numbers the ends of its streams in the
    /// same way.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Passed(End::Done) | Self::Session(_) => 200,
            Self::Passed(End::ClientReset) => Reason::ClientGone.status().0,
            Self::Passed(End::EndpointReset) => Reason::EndpointReset.status().0,
            Self::Passed(End::Idle | End::HalfClosed) => Reason::TunnelIdle.status().0,
            Self::Refused(reason) => reason.status().0,
        }
    }
}

/// A connection or a session, from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) protocol: Protocol,
    /// The entry point or published port.
    pub(crate) entry_point: &'a Scope,
    /// Whether it has a line, and whether it is counted.
    pub(crate) observability: Observability,
    pub(crate) client: SocketAddr,
    /// What its TLS is, where it ended here.
    pub(crate) tls: Option<Agreed>,
    /// The name that the client asked for by TLS; empty where it did not.
    pub(crate) server_name: &'a str,
    /// The qualified name, where a router took it.
    pub(crate) router: Option<&'a str>,
    pub(crate) service: Option<&'a Scope>,
    /// Where it was passed on to.
    pub(crate) target: Option<&'a Target>,
    /// Bytes from the client.
    pub(crate) received: u64,
    /// Bytes to the client.
    pub(crate) sent: u64,
    pub(crate) took: Duration,
    pub(crate) why: Why,
}

impl Ended<'_> {
    /// Counts it, and adds its line to the access log, where there is one.
    pub(crate) fn note(&self, worker: &Worker) {
        let word = self.why.as_str();
        if self.observability.metrics {
            for scope in std::iter::once(self.entry_point).chain(self.service) {
                worker.recorder.ended(scope, self.protocol, word, self.took);
            }
        }
        let Some(log) = worker.log().filter(|_| self.observability.access_logs) else { return };
        log.add_passed(&Passed {
            protocol: self.protocol,
            started: SystemTime::now().checked_sub(self.took).unwrap_or(SystemTime::UNIX_EPOCH),
            took: self.took,
            client: self.client,
            tls: self.tls.as_ref(),
            entry_point: self.entry_point.name(),
            server_name: self.server_name,
            status: self.why.status(),
            received: self.received,
            sent: self.sent,
            router: self.router,
            // The series of a service have the protocol behind its name, as services of HTTP may have the same.
            service: self.service.map(|service| {
                let name = service.name();
                name.strip_suffix("/tcp").or_else(|| name.strip_suffix("/udp")).unwrap_or(name)
            }),
            endpoint: self.target.map(|target| (target.endpoint.as_str(), target.address)),
            reason: word,
        });
    }
}
