//! The matchers of TCP.

use std::fmt;

use super::matchers::{HostPattern, Quoted, host_pattern, none_empty, one, range, spelled};
use super::{ConnectionView, Expression, TcpRule};
use crate::dynamic::value::{IpRange, Pattern};

/// One condition on a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TcpMatcher {
    /// The name asked for by TLS; `*` is also no name, and no TLS.
    HostSni(HostPattern),
    /// The name asked for by TLS, by a pattern found anywhere in it.
    HostSniRegexp(Pattern),
    /// The address at the other end.
    ClientIp(IpRange),
    /// A protocol that is offered by TLS.
    Alpn(String),
}

pub(super) const KNOWN: [&str; 4] = ["HostSNI", "HostSNIRegexp", "ClientIP", "ALPN"];

pub(super) fn build(written: &str, values: &[String]) -> Result<TcpRule, String> {
    let name = spelled(written, &KNOWN)?;
    none_empty(name, values)?;
    single(name, one(name, values)?).map(Expression::Is)
}

pub(super) fn single(name: &str, value: &str) -> Result<TcpMatcher, String> {
    Ok(match name {
        "HostSNI" => TcpMatcher::HostSni(HostPattern::parse(name, value)?),
        "HostSNIRegexp" => TcpMatcher::HostSniRegexp(host_pattern(name, value)?),
        "ClientIP" => TcpMatcher::ClientIp(range(name, value)?),
        _ if value == "acme-tls/1" => {
            return Err(
                "ALPN(`acme-tls/1`): that is how certificates are got, and not for routers".to_owned()
            );
        }
        _ => TcpMatcher::Alpn(value.to_owned()),
    })
}

impl TcpMatcher {
    /// Whether the connection fulfils it.
    pub fn matches(&self, connection: &ConnectionView<'_>) -> bool {
        match self {
            Self::HostSni(HostPattern::Any) => true,
            Self::HostSni(pattern) => pattern.matches(connection.server_name),
            Self::HostSniRegexp(pattern) => pattern.is_match(connection.server_name),
            Self::ClientIp(range) => range.contains(connection.client),
            Self::Alpn(protocol) => connection.alpn.contains(&protocol.as_bytes()),
        }
    }
}

impl fmt::Display for TcpMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostSni(pattern) => write!(f, "HostSNI(`{pattern}`)"),
            Self::HostSniRegexp(pattern) => write!(f, "HostSNIRegexp({})", Quoted(pattern.as_str())),
            Self::ClientIp(range) => write!(f, "ClientIP(`{range}`)"),
            Self::Alpn(protocol) => write!(f, "ALPN({})", Quoted(protocol)),
        }
    }
}
