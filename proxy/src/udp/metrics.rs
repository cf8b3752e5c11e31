//! What is counted of datagrams and their sessions.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing moved for too long.
    Idle,
    /// There were too many, and it was idle longest.
    Evicted,
    /// Its endpoint may be given no more work; its client has another.
    EndpointLeft,
    /// Nobody listened at its endpoint; its client has another, where there is one.
    Refused,
    /// The port or entry point was closed.
    Closed,
}

impl End {
    const ALL: [Self; 5] = [Self::Idle, Self::Evicted, Self::EndpointLeft, Self::Refused, Self::Closed];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::EndpointLeft => "endpoint_left",
            Self::Refused => "endpoint_refused",
            Self::Closed => "closed",
        }
    }
}

/// The families.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    datagrams: IntCounterVec,
    lost: IntCounterVec,
    ended: IntCounterVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let family = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        Ok(Self {
            datagrams: family(
                "portolan_udp_datagrams_total",
                "Datagrams from clients and to clients",
                &["entrypoint", "direction"],
            )?,
            lost: family(
                "portolan_udp_datagrams_lost_total",
                "Datagrams that no socket took, or that had no session, by direction",
                &["entrypoint", "direction"],
            )?,
            ended: family(
                "portolan_udp_sessions_ended_total",
                "UDP sessions that ended, by reason",
                &["entrypoint", "reason"],
            )?,
        })
    }

    pub(super) fn of(&self, entry_point: &str) -> Counters {
        let [received, sent] =
            ["received", "sent"].map(|way| self.datagrams.with_label_values(&[entry_point, way]));
        let [lost_to_endpoints, lost_to_clients] =
            ["received", "sent"].map(|way| self.lost.with_label_values(&[entry_point, way]));
        let ended = End::ALL.map(|end| self.ended.with_label_values(&[entry_point, end.as_str()]));
        Counters { received, sent, lost_to_endpoints, lost_to_clients, ended }
    }
}

/// Those of one port or entry point.
#[derive(Debug)]
pub(super) struct Counters {
    /// Datagrams from clients, passed on.
    pub(super) received: IntCounter,
    /// Datagrams to clients.
    pub(super) sent: IntCounter,
    pub(super) lost_to_endpoints: IntCounter,
    pub(super) lost_to_clients: IntCounter,
    ended: [IntCounter; 5],
}

impl Counters {
    pub(super) fn ended(&self, end: End) {
        if let Some(at) = End::ALL.iter().position(|other| *other == end) {
            self.ended[at].inc();
        }
    }
}
