//! What the process is told at its start: from flags and environment ([`Written`]) to checked values ([`Settings`]).

use std::path::PathBuf;
use std::time::Duration;

use crate::{Fault, ListenAddress};

pub mod dns;
mod entry_point;
mod file_source;

pub use entry_point::{EntryPoint, EntryPointLimits, EntryPointTls, Forwarded};
pub use file_source::{FileProvider, FileSource};

/// The settings as written: text, or nothing where nothing was written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// `--admin-address`
    pub admin_address: Option<String>,
    /// `--entry-point`, each as `name=address`
    pub entry_points: Vec<String>,
    /// `--dns-address`
    pub dns_address: Option<String>,
    /// `--dns-zone`
    pub dns_zone: Option<String>,
    /// `--dns-ttl`
    pub dns_ttl: Option<String>,
    /// The other flags that begin with `--dns-`
    pub dns: dns::Written,
    /// `--docker-host`
    pub docker_host: Option<String>,
    /// `--docker-network`
    pub docker_network: Option<String>,
    /// `--exposed-by-default`
    pub exposed_by_default: Option<bool>,
    /// `--file`
    pub file: Option<PathBuf>,
    /// `--drain-timeout`
    pub drain_timeout: Option<String>,
    /// `--workers`
    pub workers: Option<usize>,
    /// `--access-log`
    pub access_log: Option<String>,
    /// `--access-log-format`
    pub access_log_format: Option<String>,
}

/// The settings as meant: every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where metrics, health and the API are served.
    pub admin: ListenAddress,
    /// Where HTTP is taken, by name.
    pub entry_points: Vec<EntryPoint>,
    /// Where names are answered, and how; `None` when switched off.
    pub dns: Option<Dns>,
    /// How containers are found.
    pub docker: Docker,
    /// Where dynamic configuration is read from; `None` where no file is.
    pub file: Option<FileProvider>,
    /// How long running requests and connections may go on after the first SIGTERM.
    pub drain_timeout: Duration,
    /// Data-plane threads; one for each core unless written.
    pub workers: usize,
    /// Where requests are logged; `None` when they are not.
    pub access_log: Option<AccessLog>,
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The file it is appended to; `None` is standard output.
    pub file: Option<PathBuf>,
    /// How a line is written.
    pub format: AccessLogFormat,
}

/// How a line of the access log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// The Common Log Format, with what Traefik adds to it.
    #[default]
    Common,
    /// The combined format of Apache and nginx.
    Combined,
    /// An object a line, with Traefik's field names.
    Json,
}

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

/// The Docker provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// Where the engine answers, as in `DOCKER_HOST`; `None` leaves it to the environment, then the default socket.
    pub host: Option<String>,
    /// The network whose addresses are used, where a container is on several.
    pub network: Option<String>,
    /// Whether a container without `traefik.enable` is reachable by HTTP.
    pub exposed_by_default: bool,
}

impl Settings {
    /// Fills in the defaults and checks everything; every fault is reported at once.
    pub fn resolve(written: &Written, cores: usize) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let admin =
            address(written.admin_address.as_deref(), "127.0.0.1:9080", "--admin-address", &mut faults);
        let entry_points = entry_points(&written.entry_points, &mut faults);
        let dns = dns(written, cores, &mut faults);
        let drain_timeout = duration(
            written.drain_timeout.as_deref(),
            Duration::from_secs(10),
            "--drain-timeout",
            &mut faults,
        );
        let workers = written.workers.unwrap_or(cores);
        if workers == 0 || workers > 1024 {
            faults.push(flag("--workers", "expected 1 to 1024"));
        }
        let docker = Docker {
            host: written.docker_host.clone().filter(|host| !host.is_empty()),
            network: written.docker_network.clone().filter(|network| !network.is_empty()),
            exposed_by_default: written.exposed_by_default.unwrap_or(true),
        };
        let access_log = access_log(written, &mut faults);
        let file =
            written.file.clone().map(|path| FileProvider { source: FileSource::of(path), watch: true });
        let settings = Self { admin, entry_points, dns, docker, file, drain_timeout, workers, access_log };
        settings.check_clashes(&mut faults);
        if faults.is_empty() { Ok(settings) } else { Err(faults) }
    }

    fn check_clashes(&self, faults: &mut Vec<Fault>) {
        let mut taken = vec![("--admin-address".to_owned(), self.admin)];
        if let Some(dns) = &self.dns {
            taken.push(("--dns-address".to_owned(), dns.address));
        }
        for entry_point in &self.entry_points {
            taken.push((format!("--entry-point {}", entry_point.name), entry_point.address));
        }
        for (index, (name, address)) in taken.iter().enumerate() {
            for (earlier, other) in &taken[..index] {
                if address.clashes_with(*other) {
                    faults.push(flag(name, format!("{address} is already taken by {earlier} ({other})")));
                }
            }
        }
    }
}

fn entry_points(written: &[String], faults: &mut Vec<Fault>) -> Vec<EntryPoint> {
    let default = ["web=:8000".to_owned()];
    let written = if written.is_empty() { &default } else { written };
    let mut entry_points: Vec<EntryPoint> = Vec::new();
    for text in written {
        let Some((name, address)) = text.split_once('=') else {
            faults.push(flag(
                "--entry-point",
                format!("`{text}`: expected `name=address`, such as `web=:8000`"),
            ));
            continue;
        };
        let (name, address) = (name.trim().to_owned(), address.trim());
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            faults.push(flag(
                "--entry-point",
                format!("`{name}` is not a name: use letters, digits, `-` and `_`"),
            ));
        } else if entry_points.iter().any(|other| other.name == name) {
            faults.push(flag("--entry-point", format!("`{name}` is written twice")));
        } else {
            match address.parse() {
                Ok(address) => entry_points.push(EntryPoint::plain(name, address)),
                Err(error) => faults.push(flag("--entry-point", error)),
            }
        }
    }
    entry_points
}

fn dns(written: &Written, cores: usize, faults: &mut Vec<Fault>) -> Option<Dns> {
    if written.dns_address.as_deref() == Some("off") {
        return None;
    }
    let address = address(written.dns_address.as_deref(), "127.0.0.1:1053", "--dns-address", faults);
    let zone = written.dns_zone.as_deref().unwrap_or("portolan.internal");
    let zone = zone.strip_suffix('.').unwrap_or(zone).to_ascii_lowercase();
    let label_is_fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if zone.len() > 200 || !zone.split('.').all(label_is_fine) {
        faults.push(flag("--dns-zone", format!("`{zone}` is not a domain name")));
    }
    let ttl = duration(written.dns_ttl.as_deref(), Duration::from_secs(2), "--dns-ttl", faults);
    if ttl.subsec_nanos() != 0 || ttl.as_secs() > 86_400 {
        faults.push(flag("--dns-ttl", "expected whole seconds, 0s to 86400s"));
    }
    let options = dns::Options::resolve(&written.dns, cores, faults);
    Some(Dns { address, zone, ttl, options })
}

fn access_log(written: &Written, faults: &mut Vec<Fault>) -> Option<AccessLog> {
    let format = match written.access_log_format.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("common") => AccessLogFormat::Common,
        Some("combined") => AccessLogFormat::Combined,
        Some("json") => AccessLogFormat::Json,
        Some(other) => {
            faults.push(flag("--access-log-format", format!("`{other}`: expected common, combined or json")));
            AccessLogFormat::default()
        }
    };
    let file = match written.access_log.as_deref() {
        None | Some("" | "off") => return None,
        Some("stdout" | "-") => None,
        Some(path) => Some(PathBuf::from(path)),
    };
    Some(AccessLog { file, format })
}

fn address(written: Option<&str>, default: &str, key: &str, faults: &mut Vec<Fault>) -> ListenAddress {
    written.unwrap_or(default).parse().unwrap_or_else(|error: String| {
        faults.push(flag(key, error));
        default.parse().expect("the default address is an address")
    })
}

fn duration(written: Option<&str>, default: Duration, key: &str, faults: &mut Vec<Fault>) -> Duration {
    let Some(text) = written else { return default };
    parse_duration(text).unwrap_or_else(|error| {
        faults.push(flag(key, error));
        default
    })
}

/// Reads `10s`, `500ms`, `2m`, `1h`, or a bare number of seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let fault =
        || format!("`{text}` is not a duration: expected a number with a unit, such as `10s` or `500ms`");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().map_err(|_| fault())?;
    let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs).ok_or_else(fault);
    match &text[digits..] {
        "ms" => Ok(Duration::from_millis(number)),
        "" | "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        _ => Err(fault()),
    }
}

fn flag(key: &str, message: impl Into<String>) -> Fault {
    Fault::new("flag", key, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_written_gives_the_documented_defaults() {
        let settings = Settings::resolve(&Written::default(), 2).unwrap();
        assert_eq!(settings.admin.to_string(), "127.0.0.1:9080");
        assert_eq!(settings.entry_points.len(), 1);
        assert_eq!(settings.entry_points[0].address.to_string(), ":8000");
        let dns = settings.dns.unwrap();
        assert_eq!(
            (dns.address.to_string(), dns.zone.as_str()),
            ("127.0.0.1:1053".into(), "portolan.internal")
        );
        assert_eq!(dns.ttl, Duration::from_secs(2));
        assert_eq!(settings.workers, 2);
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let written = Written {
            admin_address: Some("here".into()),
            entry_points: vec!["web".into(), "a=:80".into(), "a=:81".into(), "b=:80".into()],
            dns_ttl: Some("soon".into()),
            dns_zone: Some("a..b".into()),
            ..Written::default()
        };
        let faults = Settings::resolve(&written, 1).unwrap_err();
        let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
        for expected in [
            "--admin-address: `here` is not an address",
            "`web`: expected `name=address`",
            "`a` is written twice",
            ":80 is already taken by --entry-point a",
            "`soon` is not a duration",
            "`a..b` is not a domain name",
        ] {
            assert!(shown.iter().any(|fault| fault.contains(expected)), "{expected} in {shown:#?}");
        }
        assert_eq!(shown.len(), 6, "{shown:#?}");
    }

    #[test]
    fn durations_carry_their_unit() {
        for (text, millis) in
            [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000), ("7", 7000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "s", "1d", "-1s", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
