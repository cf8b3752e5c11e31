//! Tells secondaries that a zone has changed (RFC 1996), so that they need not wait until they ask of themselves.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use portolan_config::settings::Dns;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::metrics::Metrics;
use crate::names;
use crate::zone::SharedZone;

/// How long changes are gathered before they are told of.
const GATHER: Duration = Duration::from_millis(200);
/// How long the first answer is waited for, doubled with each time that it is told again (RFC 1996 §3.6).
const PATIENCE: Duration = Duration::from_secs(1);
const TIMES: u32 = 5;

/// Whom to tell, and of what.
#[derive(Debug)]
pub(super) struct Notifier {
    targets: Vec<SocketAddr>,
    zones: Vec<Name>,
    /// Where it is told from: secondaries believe only their primary.
    from: Option<IpAddr>,
    zone: SharedZone,
    metrics: Metrics,
}

impl Notifier {
    pub(super) fn new(settings: &Dns, zone: SharedZone, metrics: Metrics) -> Self {
        let zones = std::iter::once(&settings.zone).chain(&settings.options.more_zones).cloned();
        let reverse = settings.options.reverse_zones.iter().map(names::reverse_zone);
        let zones = zones.chain(reverse.map(|zone| names::shown(zone.strip_suffix(&[0]).unwrap_or(&zone))));
        Self {
            targets: settings.options.notify.clone(),
            // They were checked to be names.
            zones: zones.filter_map(|zone| Name::from_ascii(format!("{zone}.")).ok()).collect(),
            from: settings.address.ip.filter(|ip| !ip.is_unspecified()),
            zone,
            metrics,
        }
    }

    /// Tells of every change, for as long as it is polled.
    pub(super) async fn run(self) {
        let mut serials = self.zone.serials();
        if self.targets.is_empty() {
            return;
        }
        loop {
            // Those not told yet need not be told of what is old: this begins anew with each change.
            let mut telling = JoinSet::new();
            let serial = *serials.borrow_and_update();
            for (target, zone) in
                self.targets.iter().flat_map(|target| self.zones.iter().map(move |zone| (target, zone)))
            {
                if serial != 0 {
                    telling.spawn(tell(*target, zone.clone(), self.from, self.metrics.clone()));
                }
            }
            if serials.changed().await.is_err() {
                return;
            }
            sleep(GATHER).await;
        }
    }
}

async fn tell(target: SocketAddr, zone: Name, from: Option<IpAddr>, metrics: Metrics) {
    for time in 0..TIMES {
        match timeout(PATIENCE * (1 << time), ask(target, &zone, from)).await {
            Ok(Ok(())) => return debug!(%target, %zone, "told of a change"),
            // Such as ECONNREFUSED: it may be starting.
            Ok(Err(error)) => {
                debug!(%target, %zone, %error, "not told of a change");
                sleep(PATIENCE * (1 << time)).await;
            }
            Err(_) => debug!(%target, %zone, "no answer"),
        }
    }
    warn!(%target, %zone, "a name server does not answer that the zone has changed");
    metrics.not_notified();
}

async fn ask(target: SocketAddr, zone: &Name, from: Option<IpAddr>) -> io::Result<()> {
    let any = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = from.filter(|from| from.is_ipv4() == target.is_ipv4()).unwrap_or(any);
    let socket = UdpSocket::bind((from, 0)).await?;
    socket.connect(target).await?;
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Notify);
    message.metadata.authoritative = true;
    message.add_query(Query::query(zone.clone(), RecordType::SOA));
    let bytes = message.to_vec().map_err(io::Error::other)?;
    socket.send(&bytes).await?;
    let mut answer = [0; 512];
    loop {
        let length = socket.recv(&mut answer).await?;
        // The same number, and an answer.
        if answer[..length].get(..2) == bytes.get(..2) && answer[2] & 0x80 != 0 {
            return Ok(());
        }
    }
}
