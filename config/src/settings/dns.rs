//! How names are answered, beyond where and for which zone: from flags as written ([`Written`]) to [`Options`].

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::flag;
use crate::{Fault, ListenAddress};

/// The flags that begin with `--dns-`, but for the address, the zone and the time to live.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// `--dns-workers`
    pub workers: Option<usize>,
    /// `--dns-forward`
    pub forward: Vec<String>,
    /// `--dns-cache`
    pub cache: Option<usize>,
    /// `--dns-records`
    pub records: Option<String>,
    /// `--dns-views`
    pub views: Option<bool>,
    /// `--dns-rate-limit`
    pub rate_limit: Option<u32>,
    /// `--dns-tls-address`
    pub tls_address: Option<String>,
    /// `--dns-tls-certificate`
    pub tls_certificate: Option<String>,
    /// `--dns-tls-key`
    pub tls_key: Option<String>,
}

/// How names are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads that answer datagrams, each with a socket of its own.
    pub workers: usize,
    /// Where names are looked up that are not ours; `None` where they are refused.
    pub forward: Option<Forward>,
    /// Zones that have the same names as the first one.
    pub more_zones: Vec<String>,
    /// A file of further records.
    pub records: Option<PathBuf>,
    /// Whether a client in a container sees only what is on its networks.
    pub views: bool,
    /// Answers a second that one network is sent by UDP, by each worker; `None` is any number.
    pub rate_limit: Option<u32>,
    /// Where names are answered over TLS; `None` is nowhere.
    pub tls: Option<Tls>,
}

/// DNS over TLS (RFC 7858).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Where it listens.
    pub address: ListenAddress,
    /// A file with the certificate and those that vouch for it (PEM).
    pub certificate: PathBuf,
    /// A file with its key (PEM).
    pub key: PathBuf,
}

/// Where names are looked up that are not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The servers, by the names they are asked for.
    pub groups: Vec<Group>,
    /// Answers that are kept.
    pub cache: usize,
}

/// The servers for all names below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name, lower case, without a trailing dot; empty for all names.
    pub suffix: String,
    /// The servers.
    pub servers: Vec<NameServer>,
}

/// A name server, or where some are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameServer {
    /// Asked by UDP, and by TCP where an answer does not fit.
    Plain(SocketAddr),
    /// Those that a file in the form of `/etc/resolv.conf` names.
    ResolvConf(PathBuf),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 1,
            forward: None,
            more_zones: Vec::new(),
            records: None,
            views: true,
            rate_limit: None,
            tls: None,
        }
    }
}

impl Options {
    /// Fills in the defaults and checks everything.
    pub(super) fn resolve(written: &Written, cores: usize, faults: &mut Vec<Fault>) -> Self {
        let workers = written.workers.unwrap_or(cores);
        if workers == 0 || workers > 1024 {
            faults.push(flag("--dns-workers", "expected 1 to 1024"));
        }
        let records = written.records.as_deref().filter(|path| !path.is_empty()).map(PathBuf::from);
        Self {
            workers,
            forward: forward(written, faults),
            more_zones: Vec::new(),
            records,
            views: written.views.unwrap_or(true),
            rate_limit: written.rate_limit.filter(|rate| *rate > 0),
            tls: tls(written, faults),
        }
    }
}

fn tls(written: &Written, faults: &mut Vec<Fault>) -> Option<Tls> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let parts = [&written.tls_address, &written.tls_certificate, &written.tls_key].map(given);
    match parts {
        [None, None, None] => None,
        [Some(address), Some(certificate), Some(key)] => match address.parse() {
            Ok(address) => Some(Tls { address, certificate: certificate.into(), key: key.into() }),
            Err(error) => {
                faults.push(flag("--dns-tls-address", error));
                None
            }
        },
        _ => {
            let message = "is written without --dns-tls-certificate and --dns-tls-key, or they without it";
            faults.push(flag("--dns-tls-address", message));
            None
        }
    }
}

fn forward(written: &Written, faults: &mut Vec<Fault>) -> Option<Forward> {
    let default = ["/etc/resolv.conf".to_owned()];
    let entries = if written.forward.is_empty() { &default } else { &written.forward[..] };
    if entries.iter().any(|entry| entry == "off") {
        if entries.len() > 1 {
            faults.push(flag("--dns-forward", "`off` is written beside name servers"));
        }
        return None;
    }
    let mut groups: Vec<Group> = Vec::new();
    for entry in entries {
        let (suffix, server) = entry.split_once('=').unwrap_or(("", entry));
        let suffix = suffix.trim_matches('.').to_ascii_lowercase();
        if !suffix.is_empty() && !super::name_server::is_domain(&suffix) {
            faults.push(flag("--dns-forward", format!("`{suffix}` is not a domain name")));
            continue;
        }
        match name_server(server.trim()) {
            None => faults.push(flag(
                "--dns-forward",
                format!("`{server}`: expected an address such as `192.0.2.1` or `[2001:db8::1]:53`, or a file such as `/etc/resolv.conf`"),
            )),
            Some(server) => match groups.iter_mut().find(|group| group.suffix == suffix) {
                Some(group) => group.servers.push(server),
                None => groups.push(Group { suffix, servers: vec![server] }),
            },
        }
    }
    let cache = written.cache.unwrap_or(10_000);
    if cache == 0 || cache > 10_000_000 {
        faults.push(flag("--dns-cache", "expected 1 to 10000000 answers"));
    }
    Some(Forward { groups, cache })
}

fn name_server(text: &str) -> Option<NameServer> {
    if text.starts_with('/') {
        return Some(NameServer::ResolvConf(text.into()));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    address.or_else(|_| text.parse()).ok().map(NameServer::Plain)
}

/// The servers that a file in the form of `/etc/resolv.conf` names, in its order. Lines that say something else, or that
/// can't be read, are passed over, as every resolver does.
pub fn resolv_conf(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    servers.filter_map(|server| server.parse::<IpAddr>().ok()).map(|ip| SocketAddr::new(ip, 53)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(forward: &[&str]) -> Result<Option<Forward>, Vec<String>> {
        let forward = forward.iter().map(ToString::to_string).collect();
        let mut faults = Vec::new();
        let options = Options::resolve(&Written { forward, ..Written::default() }, 2, &mut faults);
        if faults.is_empty() {
            Ok(options.forward)
        } else {
            Err(faults.into_iter().map(|fault| fault.message).collect())
        }
    }

    #[test]
    fn unless_told_otherwise_others_names_are_looked_up_where_this_host_does() {
        let forward = resolve(&[]).unwrap().unwrap();
        let file = NameServer::ResolvConf("/etc/resolv.conf".into());
        assert_eq!(forward.groups, [Group { suffix: String::new(), servers: vec![file] }]);
        assert_eq!(forward.cache, 10_000);
        assert_eq!(resolve(&["off"]), Ok(None));
    }

    #[test]
    fn servers_are_named_for_all_names_or_for_those_below_one() {
        let forward = resolve(&[
            "192.0.2.1",
            "Corp.Example.=192.0.2.2:5353",
            "[2001:db8::1]",
            "corp.example=2001:db8::2",
        ]);
        let shown: Vec<(String, Vec<String>)> = forward
            .unwrap()
            .unwrap()
            .groups
            .into_iter()
            .map(|group| {
                let shown = |server: &NameServer| match server {
                    NameServer::Plain(address) => address.to_string(),
                    NameServer::ResolvConf(path) => path.display().to_string(),
                };
                (group.suffix, group.servers.iter().map(shown).collect())
            })
            .collect();
        let own = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        assert_eq!(
            shown,
            [
                (String::new(), own(["192.0.2.1:53", "[2001:db8::1]:53"])),
                ("corp.example".to_owned(), own(["192.0.2.2:5353", "[2001:db8::2]:53"])),
            ]
        );
        for wrong in [&["dns.example"][..], &["off", "192.0.2.1"], &["a..b=192.0.2.1"], &["192.0.2.1:99999"]]
        {
            assert_eq!(resolve(wrong).map_err(|faults| faults.len()), Err(1), "{wrong:?}");
        }
    }

    #[test]
    fn tls_needs_all_of_its_three_parts() {
        let resolve = |parts: [Option<&str>; 3]| {
            let [tls_address, tls_certificate, tls_key] = parts.map(|part| part.map(str::to_owned));
            let mut faults = Vec::new();
            let written = Written { tls_address, tls_certificate, tls_key, ..Written::default() };
            let options = Options::resolve(&written, 1, &mut faults);
            (options.tls.is_some(), faults.len())
        };
        assert_eq!(resolve([None, None, None]), (false, 0));
        assert_eq!(resolve([Some(":853"), Some("/c"), Some("/k")]), (true, 0));
        assert_eq!(resolve([Some(":853"), Some("/c"), None]), (false, 1));
        assert_eq!(resolve([Some("nowhere"), Some("/c"), Some("/k")]), (false, 1));
    }

    #[test]
    fn a_resolv_conf_is_read_as_resolvers_do() {
        let text = "# made by something\nsearch example\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # here\nnameserver nonsense\n nameserver 192.0.2.3\noptions ndots:0\n";
        let servers: Vec<String> = resolv_conf(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"]);
    }
}
