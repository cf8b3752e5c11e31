//! Portolan's own flags and variables, as the options they stand for.
//!
//! A row here is what a flag in `src/cli.rs` needs to reach the settings; its value is read with the option's.

use super::file_source::FileSource;
use super::known::{self, split};
use super::written::{Origin, Rank, Value, Written};

/// A flag, its variable, and the option it is another name for.
pub struct Own {
    /// Without the dashes.
    pub flag: &'static str,
    /// The variable.
    pub variable: &'static str,
    /// The option; empty where the value names more than one.
    pub option: &'static str,
}

/// All of them.
pub const OWN: [Own; 35] = [
    own("admin-address", "PORTOLAN_ADMIN_ADDRESS", "admin.address"),
    own("dns-address", "PORTOLAN_DNS_ADDRESS", "dns.address"),
    own("dns-zone", "PORTOLAN_DNS_ZONE", "dns.zone"),
    own("dns-ttl", "PORTOLAN_DNS_TTL", "dns.ttl"),
    own("dns-workers", "PORTOLAN_DNS_WORKERS", "dns.workers"),
    own("dns-cache", "PORTOLAN_DNS_CACHE", "dns.cache"),
    own("dns-forward", "PORTOLAN_DNS_FORWARD", "dns.forward"),
    own("dns-reverse-zones", "PORTOLAN_DNS_REVERSE_ZONES", "dns.reverseZones"),
    own("dns-hidden-networks", "PORTOLAN_DNS_HIDDEN_NETWORKS", "dns.hiddenNetworks"),
    own("dns-https-address", "PORTOLAN_DNS_HTTPS_ADDRESS", "dns.https.address"),
    own("dns-log", "PORTOLAN_DNS_LOG", "dns.log"),
    own("dns-log-class", "PORTOLAN_DNS_LOG_CLASS", "dns.logClass"),
    own("dns-log-sample", "PORTOLAN_DNS_LOG_SAMPLE", "dns.logSample"),
    own("dns-notify", "PORTOLAN_DNS_NOTIFY", "dns.notify"),
    own("dns-rate-limit", "PORTOLAN_DNS_RATE_LIMIT", "dns.rateLimit"),
    own("dns-records", "PORTOLAN_DNS_RECORDS", "dns.records"),
    own("dns-router-hosts", "PORTOLAN_DNS_ROUTER_HOSTS", "dns.routerHosts"),
    own("dns-tls-address", "PORTOLAN_DNS_TLS_ADDRESS", "dns.tls.address"),
    own("dns-tls-certificate", "PORTOLAN_DNS_TLS_CERTIFICATE", "dns.tls.certificate"),
    own("dns-tls-key", "PORTOLAN_DNS_TLS_KEY", "dns.tls.key"),
    own("dns-transfer-to", "PORTOLAN_DNS_TRANSFER_TO", "dns.transferTo"),
    own("dns-views", "PORTOLAN_DNS_VIEWS", "dns.views"),
    own("docker-host", "PORTOLAN_DOCKER_HOST", "providers.docker.endpoint"),
    own("docker-network", "PORTOLAN_DOCKER_NETWORK", "providers.docker.network"),
    own("exposed-by-default", "PORTOLAN_EXPOSED_BY_DEFAULT", "providers.docker.exposedByDefault"),
    own("drain-timeout", "PORTOLAN_DRAIN_TIMEOUT", "drainTimeout"),
    own("data-path", "PORTOLAN_DATA_PATH", "dataPath"),
    own("state-dir", "PORTOLAN_STATE_DIR", "stateDirectory"),
    own("takeover-timeout", "PORTOLAN_TAKEOVER_TIMEOUT", "takeoverTimeout"),
    own("workers", "PORTOLAN_WORKERS", "workers"),
    own("log-level", "PORTOLAN_LOG_LEVEL", "log.level"),
    own("log-format", "PORTOLAN_LOG_FORMAT", "log.format"),
    own("access-log-format", "PORTOLAN_ACCESS_LOG_FORMAT", "accessLog.format"),
    own("access-log", "PORTOLAN_ACCESS_LOG", ""),
    own("file", "PORTOLAN_FILE", ""),
];

/// `--entry-point`, and its variable, which is a list.
pub const ENTRY_POINT: Own = own("entry-point", "PORTOLAN_ENTRY_POINTS", "");

const fn own(flag: &'static str, variable: &'static str, option: &'static str) -> Own {
    Own { flag, variable, option }
}

/// The one that the variable is of.
pub(super) fn by_variable(variable: &str) -> Option<&'static str> {
    OWN.iter().chain([&ENTRY_POINT]).find(|own| own.variable == variable).map(|own| own.flag)
}

/// Takes in what one of them says.
pub(super) fn insert(written: &mut Written, flag: &str, value: &str, origin: &Origin, rank: Rank) {
    let mut set = |option: &str, value: &str| {
        let spot = known::find(&split(option)).expect("the option is in the table");
        written.insert(spot, Value::Text(value.to_owned()), origin.clone(), rank);
    };
    match flag {
        "access-log" => match value {
            "" | "off" => set("accessLog", "false"),
            "stdout" | "-" => {
                set("accessLog", "true");
                set("accessLog.filePath", "");
            }
            path => set("accessLog.filePath", path),
        },
        "file" => match FileSource::of(value.into()) {
            FileSource::File(_) => set("providers.file.filename", value),
            FileSource::Directory(_) => set("providers.file.directory", value),
        },
        "entry-point" => entry_point(written, value, origin, rank),
        _ => {
            let own = OWN.iter().find(|own| own.flag == flag);
            set(own.expect("it is one of those that are listed").option, value);
        }
    }
}

/// `NAME=[IP]:PORT`
fn entry_point(written: &mut Written, value: &str, origin: &Origin, rank: Rank) {
    let Some((name, address)) = value.split_once('=') else {
        let message = format!("`{value}`: expected `name=address`, such as `web=:8000`");
        return written.push_fault(origin.fault("entryPoints", message));
    };
    let (name, address) = (name.trim(), address.trim());
    let path = ["entryPoints", name, "address"];
    if name.is_empty() || name.contains(['.', '[']) {
        let message = format!("`{name}` is not a name: use letters, digits, `-` and `_`");
        return written.push_fault(origin.fault("entryPoints", message));
    }
    let there = written.get(&path.join(".").to_ascii_lowercase());
    if there.is_some_and(|there| there.origin == *origin) {
        return written.push_fault(origin.fault("entryPoints", format!("`{name}` is written twice")));
    }
    let spot = known::find(&path).expect("entry points have an address");
    written.insert(spot, Value::Text(address.to_owned()), origin.clone(), rank);
}
