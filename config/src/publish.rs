//! The one-label form: `portolan.publish=8080:80`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use crate::Protocol;

/// A host port put in front of a service, as Docker's `-p` writes it: `[ip:]port[:target][/protocol]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Publish {
    /// The host address to listen on; all of them when not written.
    pub ip: Option<IpAddr>,
    /// The port on this host.
    pub host_port: u16,
    /// The port of the endpoints; the same as `host_port` when not written.
    pub target_port: u16,
    /// `tcp` unless written otherwise.
    pub protocol: Protocol,
}

/// How much a published port takes, and for how long. What is unlimited by what was written has the largest value there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishLimits {
    /// `portolan.publish.maxconnections`: open connections; the data plane's own unless written.
    pub connections_max: Option<usize>,
    /// `portolan.publish.maxconnectionsperclient`: those of one client address; any unless written.
    pub per_client_max: Option<usize>,
    /// `portolan.publish.maxconnectionsperendpoint`: those passed on to one replica; any unless written.
    pub per_endpoint_max: Option<usize>,
    /// `portolan.publish.idletimeout`: a connection through which nothing moves, or a UDP session; unless written, as long
    /// as it likes, or the data plane's own.
    pub idle: Option<Duration>,
}

impl Publish {
    /// Reads a comma-separated list. Every faulty entry gives an error of its own; the others stand.
    pub fn parse_list(text: &str) -> (Vec<Self>, Vec<String>) {
        let mut published = Vec::new();
        let mut errors = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match entry.parse() {
                Ok(publish) => published.push(publish),
                Err(error) => errors.push(error),
            }
        }
        (published, errors)
    }
}

impl FromStr for Publish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, protocol) = match text.split_once('/') {
            Some((ports, protocol)) => (ports, protocol.parse()?),
            None => (text, Protocol::default()),
        };
        let (ip, ports) = split_ip(ports)?;
        let (host, target) = ports.split_once(':').unwrap_or((ports, ports));
        Ok(Self { ip, host_port: port(host, text)?, target_port: port(target, text)?, protocol })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            None => {}
        }
        write!(f, "{}:{}/{}", self.host_port, self.target_port, self.protocol)
    }
}

/// Takes the optional address off the front: `127.0.0.1:8080:80`, `[::1]:8080:80`.
fn split_ip(text: &str) -> Result<(Option<IpAddr>, &str), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, ports) =
            rest.split_once("]:").ok_or_else(|| format!("`{text}`: expected `[ipv6]:port:target`"))?;
        let ip = ip.parse().map_err(|_| format!("`{ip}` is not an IPv6 address"))?;
        return Ok((Some(IpAddr::V6(ip)), ports));
    }
    if text.bytes().filter(|byte| *byte == b':').count() == 2 {
        let (ip, ports) = text.split_once(':').expect("two colons were counted");
        let ip = ip.parse().map_err(|_| format!("`{ip}` is not an IPv4 address"))?;
        return Ok((Some(IpAddr::V4(ip)), ports));
    }
    Ok((None, text))
}

fn port(digits: &str, whole: &str) -> Result<u16, String> {
    match digits.parse() {
        Ok(0) | Err(_) => Err(format!(
            "`{digits}` in `{whole}` is not a port (1-65535): expected `[ip:]port:target[/tcp|/udp]`"
        )),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_docker_users_write_is_read() {
        for (text, shown) in [
            ("8080:80", "8080:80/tcp"),
            ("80", "80:80/tcp"),
            ("53:5353/udp", "53:5353/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"),
            ("[::1]:8080:80/TCP", "[::1]:8080:80/tcp"),
        ] {
            assert_eq!(text.parse::<Publish>().map(|publish| publish.to_string()), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn a_fault_names_what_was_written_and_what_was_expected() {
        for (text, expected) in [
            ("0:80", "`0` in `0:80` is not a port"),
            ("8080:web", "`web` in `8080:web` is not a port"),
            ("8080:80/sctp", "`sctp` is not a protocol"),
            ("1.2.3:80:80", "`1.2.3` is not an IPv4 address"),
            ("[::1:80", "expected `[ipv6]:port:target`"),
        ] {
            let error = text.parse::<Publish>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn one_bad_entry_of_a_list_leaves_the_others() {
        let (published, errors) = Publish::parse_list("8080:80, nonsense ,53:53/udp");
        assert_eq!(published.len(), 2);
        assert_eq!(errors.len(), 1);
    }
}
