//! The name server as meant.

use std::time::Duration;

use super::dns;
use super::read::Reader;
use crate::ListenAddress;

/// The DNS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Where it listens, on UDP and TCP.
    pub address: ListenAddress,
    /// The zone it has the say over, lower case, without a trailing dot.
    pub zone: String,
    /// How long an answer may be kept, whole seconds.
    pub ttl: Duration,
    /// The rest.
    pub options: dns::Options,
}

pub(super) fn read(reader: &mut Reader<'_>, cores: usize) -> Option<Dns> {
    if reader.text("dns.address").as_deref() == Some("off") {
        return None;
    }
    let address = super::address(reader, "dns.address", "127.0.0.1:1053");
    let zones = reader.text("dns.zone").unwrap_or_else(|| "portolan.internal".to_owned());
    let zones = zones.split(',').map(str::trim);
    let mut zones: Vec<String> =
        zones.map(|zone| zone.strip_suffix('.').unwrap_or(zone).to_ascii_lowercase()).collect();
    for zone in zones.iter().filter(|zone| !is_domain(zone)) {
        reader.fault("dns.zone", "--dns-zone", format!("`{zone}` is not a domain name"));
    }
    let zone = zones.remove(0);
    let ttl = reader.duration("dns.ttl").unwrap_or(Duration::from_secs(2));
    if ttl.subsec_nanos() != 0 || ttl.as_secs() > 86_400 {
        reader.fault("dns.ttl", "--dns-ttl", "expected whole seconds, 0s to 86400s");
    }
    let options = dns::Options::read(reader, cores, zones);
    Some(Dns { address, zone, ttl, options })
}

/// Whether it is a domain's name that further names fit below.
pub(super) fn is_domain(name: &str) -> bool {
    let label_is_fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 200 && name.split('.').all(label_is_fine)
}
