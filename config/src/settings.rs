//! What the process is told at its start: from flags, environment and a file ([`Written`]) to checked values
//! ([`Settings`]).
//!
//! What is written goes through one table of options ([`known`]); [`Written`] keeps what counts most of each. The files
//! below have one part of the settings each, as meant, and read it.

use std::path::PathBuf;
use std::time::Duration;

use crate::dynamic::tcp::TcpTransport;
use crate::tls::ServersTransport;
use crate::{DataPath, Fault, ListenAddress, Protocol};

mod access_log;
pub mod dns;
mod duration;
mod entry_point;
mod environment;
mod file;
mod file_source;
mod flags;
mod internal;
pub mod known;
mod log;
mod name_server;
mod nearest;
pub mod own;
mod provider;
mod read;
mod transport;
mod written;

pub use access_log::{AccessLog, AccessLogFormat, FieldMode, Fields, Filters};
pub use duration::parse_duration;
pub use entry_point::{
    Cleaning, EncodedCharacters, EntryPoint, EntryPointLimits, EntryPointTls, Forwarded, LifeCycle,
    Observability, ProxyProtocol, Redirection, TlsDomain, Underscores,
};
pub use environment::FILE_VARIABLES;
pub use file_source::{FileProvider, FileSource};
pub use flags::OwnFlag;
pub use internal::{Api, Internal, Ping, Prometheus};
pub use log::{Log, LogFormat};
pub use name_server::Dns;
pub use provider::{ClientTls, Docker, Swarm};
pub use written::Written;

use read::Reader;

/// Where the admin server is unless told otherwise.
const ADMIN_ADDRESS: &str = "127.0.0.1:9080";

/// The settings as meant: every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where metrics, health and the API are served.
    pub admin: ListenAddress,
    /// What of that is served elsewhere besides.
    pub internal: Internal,
    /// Where connections are taken, sorted by name.
    pub entry_points: Vec<EntryPoint>,
    /// Where names are answered, and how; `None` when switched off.
    pub dns: Option<Dns>,
    /// How containers are found.
    pub docker: Docker,
    /// The Swarm provider, if it is asked for, or nothing says that it is not.
    pub swarm: Option<Swarm>,
    /// Where dynamic configuration is read from; `None` where no file is.
    pub file: Option<FileProvider>,
    /// How servers are spoken to in HTTP where no router says otherwise.
    pub servers_transport: ServersTransport,
    /// How servers are spoken to in TCP where no router says otherwise.
    pub tcp_servers_transport: TcpTransport,
    /// How long everything goes on as before after the first SIGTERM, but for `/ping`.
    pub accept_grace: Duration,
    /// How long running requests and connections may then go on.
    pub drain_timeout: Duration,
    /// How the bytes of published ports travel where no label says.
    pub data_path: DataPath,
    /// How long running requests and connections may go on after another process has taken over.
    pub takeover_timeout: Duration,
    /// Where what is known is kept for the next process; `None` where it is not.
    pub state_directory: Option<PathBuf>,
    /// Data-plane threads; one for each core unless written.
    pub workers: usize,
    /// Where requests are logged; `None` when they are not.
    pub access_log: Option<AccessLog>,
    /// Portolan's own log.
    pub log: Log,
}

impl Written {
    /// The admin address alone, whatever is wrong with the rest.
    pub fn admin_address(&self) -> Result<ListenAddress, Vec<Fault>> {
        let mut reader = Reader::new(self);
        reader.faults.clear();
        let address = address(&mut reader, "admin.address", ADMIN_ADDRESS);
        if reader.faults.is_empty() { Ok(address) } else { Err(reader.faults) }
    }
}

impl Settings {
    /// Fills in the defaults and checks everything; every fault is reported at once.
    pub fn resolve(written: &Written, cores: usize) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader::new(written);
        let reader = &mut reader;
        let entry_points = entry_points(reader);
        let most = |lifetimes: &mut dyn Iterator<Item = Duration>| lifetimes.max();
        let accept_grace =
            most(&mut entry_points.iter().map(|entry_point| entry_point.life_cycle.accept_grace));
        let grace = most(&mut entry_points.iter().filter_map(|entry_point| entry_point.life_cycle.grace));
        let docker = provider::docker(reader);
        let settings = Self {
            admin: address(reader, "admin.address", ADMIN_ADDRESS),
            internal: internal::read(reader),
            dns: name_server::read(reader, cores),
            swarm: provider::swarm(reader, &docker),
            docker,
            file: provider::file(reader),
            servers_transport: transport::http(reader),
            tcp_servers_transport: transport::tcp(reader),
            accept_grace: accept_grace.unwrap_or_default(),
            drain_timeout: reader.duration("drainTimeout").or(grace).unwrap_or(Duration::from_secs(10)),
            data_path: reader
                .choice("dataPath", &DataPath::ALL.map(|path| (path.as_str(), path)))
                .unwrap_or_default(),
            takeover_timeout: reader.duration("takeoverTimeout").unwrap_or(Duration::from_secs(3600)),
            state_directory: reader.text("stateDirectory").map(PathBuf::from),
            workers: reader.number("workers", "1 to 1024").unwrap_or(cores),
            access_log: access_log::read(reader),
            log: log::read(reader),
            entry_points,
        };
        if !(1..=1024).contains(&settings.workers) {
            reader.fault("workers", "--workers", "expected 1 to 1024");
        }
        reader.check_kinds();
        settings.check_names(reader);
        settings.check_clashes(reader);
        if reader.faults.is_empty() { Ok(settings) } else { Err(std::mem::take(&mut reader.faults)) }
    }

    /// Entry points that ping and metrics name are there.
    fn check_names(&self, reader: &mut Reader<'_>) {
        let ping = self.internal.ping.as_ref().map(|ping| ("ping.entryPoint", &ping.entry_point));
        let metrics = self.internal.metrics.as_ref();
        let metrics = metrics.map(|metrics| ("metrics.prometheus.entryPoint", &metrics.entry_point));
        for (path, name) in [ping, metrics].into_iter().flatten() {
            let known =
                || self.entry_points.iter().map(|other| other.name.as_str()).chain([internal::TRAEFIK]);
            if known().any(|known| known == name) {
                continue;
            }
            let hint = match nearest::nearest(name, known()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are {}", known().collect::<Vec<_>>().join(", ")),
            };
            reader.fault(path, path, format!("there is no entry point `{name}`; {hint}"));
        }
    }

    /// No two of them want the same port.
    fn check_clashes(&self, reader: &mut Reader<'_>) {
        let tcp = Protocol::Tcp;
        let mut taken = vec![("admin.address".to_owned(), "the admin address", self.admin, tcp)];
        if let Some(dns) = &self.dns {
            for protocol in [tcp, Protocol::Udp] {
                taken.push(("dns.address".to_owned(), "the DNS server", dns.address, protocol));
            }
            let secure = dns.options.secure.as_ref();
            let of = |path: &str, name, address: Option<ListenAddress>| {
                address.map(|address| (path.to_owned(), name, address, tcp))
            };
            taken.extend(
                secure.and_then(|secure| of("dns.tls.address", "the DNS server over TLS", secure.tls)),
            );
            taken.extend(
                secure.and_then(|secure| of("dns.https.address", "the DNS server over HTTPS", secure.https)),
            );
        }
        if let Some(address) = self.internal.address {
            let path = format!("entryPoints.{}.address", internal::TRAEFIK);
            taken.push((path, internal::TRAEFIK, address, tcp));
        }
        for entry_point in &self.entry_points {
            let path = format!("entryPoints.{}.address", entry_point.name);
            taken.push((path, &entry_point.name, entry_point.address, entry_point.protocol));
        }
        for (index, (path, _, address, protocol)) in taken.iter().enumerate() {
            for (earlier_path, earlier, other, other_protocol) in &taken[..index] {
                if path != earlier_path && protocol == other_protocol && address.clashes_with(*other) {
                    let kind = if earlier_path.starts_with("entryPoints") { "entry point " } else { "" };
                    let message = format!("{address} is already taken by {kind}{earlier} ({other})");
                    reader.fault(path, path, message);
                }
            }
        }
    }
}

/// Those that are written, or the one that is there otherwise.
fn entry_points(reader: &mut Reader<'_>) -> Vec<EntryPoint> {
    let entry_points = entry_point::read::entry_points(reader, internal::TRAEFIK);
    if reader.names("entryPoints").iter().any(|name| name != internal::TRAEFIK) {
        return entry_points;
    }
    // Who writes Traefik's options and no entry point counts on Traefik's.
    let (name, port) = if provider::are_chosen(reader) { ("http", 80) } else { ("web", 8000) };
    vec![EntryPoint::plain(name, ListenAddress { ip: None, port })]
}

fn address(reader: &mut Reader<'_>, path: &str, default: &str) -> ListenAddress {
    let address = reader.parsed(path, str::parse);
    address.unwrap_or_else(|| default.parse().expect("the default address is an address"))
}

#[cfg(test)]
mod tests;
