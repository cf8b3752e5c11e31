//! How names are answered, beyond where, for which zone and for how long: from options as written to [`Options`].

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::read::Reader;
use crate::ListenAddress;

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
    /// Where names are answered safe from eavesdroppers; `None` is nowhere.
    pub secure: Option<Secure>,
    /// Networks whose reverse names are a zone, each: what nobody there has does not exist.
    pub reverse_zones: Vec<IpNet>,
    /// Who may have all names of a zone at once (AXFR, IXFR).
    pub transfer_to: Vec<IpNet>,
    /// The name servers that are told when a zone changes (NOTIFY).
    pub notify: Vec<SocketAddr>,
    /// The addresses that the hosts of routers have; without any they have none.
    pub router_hosts: Vec<IpAddr>,
    /// Networks, by name, whose addresses are in no answer.
    pub hidden_networks: Vec<String>,
    /// Which queries are logged; `None` is none.
    pub log: Option<QueryLog>,
}

/// Which queries are logged, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryLog {
    /// The file; `None` is standard output.
    pub file: Option<PathBuf>,
    /// One of so many is logged.
    pub sample: u32,
    /// Those with such an answer.
    pub classes: Vec<Class>,
}

/// What kind of answer a query got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Records.
    Success,
    /// That there is no such name, or no such record.
    Denial,
    /// That something is wrong.
    Error,
}

/// DNS over TLS (RFC 7858) and over HTTPS (RFC 8484), with one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secure {
    /// Where it listens for TLS.
    pub tls: Option<ListenAddress>,
    /// Where it listens for HTTPS.
    pub https: Option<ListenAddress>,
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
    /// Asked over TLS (RFC 7858); its certificate must be for this name, or for its address.
    Tls(SocketAddr, Option<String>),
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
            secure: None,
            reverse_zones: Vec::new(),
            transfer_to: Vec::new(),
            notify: Vec::new(),
            router_hosts: Vec::new(),
            hidden_networks: Vec::new(),
            log: None,
        }
    }
}

impl Options {
    /// Fills in the defaults and checks everything.
    pub(super) fn read(reader: &mut Reader<'_>, cores: usize, more_zones: Vec<String>) -> Self {
        let workers = reader.number("dns.workers", "1 to 1024").unwrap_or(cores);
        if workers == 0 || workers > 1024 {
            reader.fault("dns.workers", "--dns-workers", "expected 1 to 1024");
        }
        Self {
            workers,
            forward: forward(reader),
            more_zones,
            records: reader.text("dns.records").map(PathBuf::from),
            views: reader.flag("dns.views", true),
            rate_limit: reader.number("dns.rateLimit", "a number of answers").filter(|rate| *rate > 0),
            secure: secure(reader),
            reverse_zones: reverse_zones(reader),
            transfer_to: reader.networks("dns.transferTo"),
            notify: reader.parsed_list("dns.notify", with_port).unwrap_or_default(),
            router_hosts: reader
                .parsed_list("dns.routerHosts", |text| {
                    text.parse().map_err(|_| format!("`{text}` is not an address such as `192.0.2.1`"))
                })
                .unwrap_or_default(),
            hidden_networks: reader.list("dns.hiddenNetworks").unwrap_or_default(),
            log: query_log(reader),
        }
    }
}

/// Networks that end where a label of reverse names does.
fn reverse_zones(reader: &mut Reader<'_>) -> Vec<IpNet> {
    let networks = reader.networks("dns.reverseZones");
    for network in &networks {
        let bits = if network.addr().is_ipv4() { 8 } else { 4 };
        if network.prefix_len() == 0 || network.prefix_len() % bits != 0 {
            let message = format!(
                "`{network}` is no zone of reverse names: write its length as a multiple of {bits} bits"
            );
            reader.fault("dns.reverseZones", "--dns-reverse-zones", message);
        }
    }
    networks
}

fn query_log(reader: &mut Reader<'_>) -> Option<QueryLog> {
    let sample = reader.number("dns.logSample", "1 or more").unwrap_or(1);
    if sample == 0 {
        reader.fault("dns.logSample", "--dns-log-sample", "expected 1 or more");
    }
    let classes = reader.parsed_list("dns.logClass", |text| match text {
        "success" => Ok(Class::Success),
        "denial" => Ok(Class::Denial),
        "error" => Ok(Class::Error),
        _ => Err(format!("`{text}`: expected success, denial or error")),
    });
    let classes = classes
        .filter(|classes| !classes.is_empty())
        .unwrap_or_else(|| vec![Class::Success, Class::Denial, Class::Error]);
    let file = match reader.text("dns.log").as_deref() {
        None | Some("off") => return None,
        Some("stdout" | "-") => None,
        Some(path) => Some(path.into()),
    };
    Some(QueryLog { file, sample, classes })
}

fn secure(reader: &mut Reader<'_>) -> Option<Secure> {
    let mut address = |path| reader.parsed(path, str::parse);
    let (tls, https): (Option<ListenAddress>, _) = (address("dns.tls.address"), address("dns.https.address"));
    let (certificate, key) = (reader.text("dns.tls.certificate"), reader.text("dns.tls.key"));
    match (certificate, key) {
        (Some(certificate), Some(key)) if tls.or(https).is_some() => {
            Some(Secure { tls, https, certificate: certificate.into(), key: key.into() })
        }
        (None, None) if tls.or(https).is_none() => None,
        (Some(_), Some(_)) => {
            let message = "is written without --dns-tls-address and --dns-https-address";
            reader.fault("dns.tls.certificate", "--dns-tls-certificate", message);
            None
        }
        _ => {
            // An address that can't be read is told as such.
            let message = "is written without --dns-tls-certificate and --dns-tls-key, or they without it";
            let path = if https.is_some() { "dns.https.address" } else { "dns.tls.address" };
            reader.fault(path, "dns.tls", message);
            None
        }
    }
}

fn forward(reader: &mut Reader<'_>) -> Option<Forward> {
    let written = reader.list("dns.forward").unwrap_or_default();
    let entries = if written.is_empty() { vec!["/etc/resolv.conf".to_owned()] } else { written };
    let mut fault = |message: String| reader.fault("dns.forward", "--dns-forward", message);
    if entries.iter().any(|entry| entry == "off") {
        if entries.len() > 1 {
            fault("`off` is written beside name servers".to_owned());
        }
        return None;
    }
    let mut groups: Vec<Group> = Vec::new();
    for entry in &entries {
        let (suffix, server) = entry.split_once('=').unwrap_or(("", entry));
        let suffix = suffix.trim_matches('.').to_ascii_lowercase();
        if !suffix.is_empty() && !super::name_server::is_domain(&suffix) {
            fault(format!("`{suffix}` is not a domain name"));
            continue;
        }
        match name_server(server.trim()) {
            None => fault(format!(
                "`{server}`: expected an address such as `192.0.2.1` or `[2001:db8::1]:53`, one over TLS such as `tls://192.0.2.1#dns.example`, or a file such as `/etc/resolv.conf`"
            )),
            Some(server) => match groups.iter_mut().find(|group| group.suffix == suffix) {
                Some(group) => group.servers.push(server),
                None => groups.push(Group { suffix, servers: vec![server] }),
            },
        }
    }
    let cache = reader.number("dns.cache", "1 to 10000000 answers").unwrap_or(10_000);
    if cache == 0 || cache > 10_000_000 {
        reader.fault("dns.cache", "--dns-cache", "expected 1 to 10000000 answers");
    }
    Some(Forward { groups, cache })
}

fn name_server(text: &str) -> Option<NameServer> {
    if text.starts_with('/') {
        return Some(NameServer::ResolvConf(text.into()));
    }
    if let Some(server) = text.strip_prefix("tls://") {
        let (server, name) =
            server.split_once('#').map_or((server, None), |(server, name)| (server, Some(name)));
        if name.is_some_and(|name| !super::name_server::is_domain(name)) {
            return None;
        }
        return address(server, 853).map(|address| NameServer::Tls(address, name.map(str::to_owned)));
    }
    address(text, 53).map(NameServer::Plain)
}

/// A name server's address; its port unless another is written.
fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)).or_else(|_| text.parse()).ok()
}

fn with_port(text: &str) -> Result<SocketAddr, String> {
    address(text, 53).ok_or_else(|| {
        format!("`{text}` is not the address of a name server: write `192.0.2.1` or `192.0.2.1:53`")
    })
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
    use super::super::Written;
    use super::*;

    fn read(flags: &[(&str, &str)]) -> Result<Options, Vec<String>> {
        let mut written = Written::default();
        for (flag, value) in flags {
            written.own_flag(flag, value);
        }
        let mut reader = Reader::new(&written);
        let options = Options::read(&mut reader, 2, Vec::new());
        if reader.faults.is_empty() {
            Ok(options)
        } else {
            Err(reader.faults.into_iter().map(|fault| fault.message).collect())
        }
    }

    fn resolve(forward: &[&str]) -> Result<Option<Forward>, Vec<String>> {
        let flags: Vec<_> = forward.iter().map(|server| ("dns-forward", *server)).collect();
        read(&flags).map(|options| options.forward)
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
                    NameServer::Tls(address, name) => format!("{address} over TLS as {name:?}"),
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
    fn a_server_may_be_asked_over_tls() {
        let servers = resolve(&["tls://192.0.2.1", "tls://[2001:db8::1]:8853#dns.example"]);
        let servers = servers.unwrap().unwrap().groups.remove(0).servers;
        let tls = |address: &str, name: Option<&str>| {
            NameServer::Tls(address.parse().unwrap(), name.map(str::to_owned))
        };
        assert_eq!(servers, [tls("192.0.2.1:853", None), tls("[2001:db8::1]:8853", Some("dns.example"))]);
        for wrong in ["tls://dns.example", "tls://192.0.2.1#", "https://192.0.2.1/dns-query"] {
            assert_eq!(resolve(&[wrong]).map_err(|faults| faults.len()), Err(1), "{wrong}");
        }
    }

    #[test]
    fn a_secure_address_needs_a_certificate_and_its_key() {
        let [tls, https] = [("dns-tls-address", ":853"), ("dns-https-address", ":443")];
        let [certificate, key] = [("dns-tls-certificate", "/c"), ("dns-tls-key", "/k")];
        let secure = |flags: &[_]| read(flags).map(|options| options.secure.is_some()).map_err(|f| f.len());
        assert_eq!(secure(&[]), Ok(false));
        assert_eq!(secure(&[tls, certificate, key]), Ok(true));
        assert_eq!(secure(&[https, certificate, key]), Ok(true));
        assert_eq!(secure(&[tls, certificate]), Err(1));
        assert_eq!(secure(&[certificate, key]), Err(1));
        assert_eq!(secure(&[("dns-tls-address", "nowhere"), certificate, key]), Err(2));
    }

    #[test]
    fn what_is_logged_and_who_may_have_all_is_read() {
        let options = read(&[
            ("dns-log", "stdout"),
            ("dns-log-sample", "10"),
            ("dns-log-class", "denial,error"),
            ("dns-transfer-to", "10.0.0.0/8,192.0.2.1"),
            ("dns-reverse-zones", "172.18.0.0/16,fd00:7::/64"),
            ("dns-notify", "192.0.2.1,[2001:db8::1]:5353"),
            ("dns-router-hosts", "192.0.2.7,2001:db8::7"),
            ("dns-hidden-networks", "backend"),
        ]);
        let options = options.unwrap();
        let log = options.log.unwrap();
        assert_eq!((log.file, log.sample, log.classes), (None, 10, vec![Class::Denial, Class::Error]));
        assert_eq!(options.transfer_to.len(), 2);
        assert_eq!(options.reverse_zones.len(), 2);
        assert_eq!(options.notify, ["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:5353".parse().unwrap()]);
        assert_eq!(options.router_hosts.len(), 2);
        assert_eq!(options.hidden_networks, ["backend"]);
        for wrong in [
            ("dns-log-sample", "0"),
            ("dns-log-class", "all"),
            ("dns-transfer-to", "anybody"),
            ("dns-reverse-zones", "172.16.0.0/12"),
            ("dns-notify", "ns.example"),
            ("dns-router-hosts", "here"),
            ("dns-rate-limit", "much"),
            ("dns-views", "perhaps"),
        ] {
            assert_eq!(read(&[wrong]).map_err(|faults| faults.len()), Err(1), "{wrong:?}");
        }
    }

    #[test]
    fn a_resolv_conf_is_read_as_resolvers_do() {
        let text = "# made by something\nsearch example\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # here\nnameserver nonsense\n nameserver 192.0.2.3\noptions ndots:0\n";
        let servers: Vec<String> = resolv_conf(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"]);
    }
}
