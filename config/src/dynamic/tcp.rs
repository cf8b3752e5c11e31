//! `tcp` and `udp`: routers, services, middlewares and transports of layer 4.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::http::{Domain, RuleSyntax};
use super::service::{Propagate, WeightedChild};
use super::tls::{Certificate, Spiffe};
use super::value::{IpRange, Span};
use crate::data_path::DataPath;
use crate::tls::ServersTransport;

/// `tcp.routers.<name>`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRouter {
    /// On which entry points; empty means every default one.
    pub entry_points: Vec<String>,
    /// What its connections go through, in order.
    pub middlewares: Vec<String>,
    /// Where they go.
    pub service: String,
    /// Which connections.
    pub rule: String,
    /// The language of the rule.
    pub rule_syntax: RuleSyntax,
    /// Higher is asked first; 0 is the length of the rule.
    pub priority: i64,
    /// Present where it takes TLS, and then only that.
    pub tls: Option<TcpRouterTls>,
}

/// `tls` of a TCP router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename = "RouterTls", rename_all = "camelCase", default)]
pub struct TcpRouterTls {
    /// Whether TLS is left to the server.
    pub passthrough: bool,
    /// The TLS options by name; empty means `default`.
    pub options: String,
    /// Who gets its certificates; empty means nobody.
    pub cert_resolver: String,
    /// What certificates are got for; the names of the rule unless written.
    pub domains: Vec<Domain>,
}

/// `tcp.services.<name>`: one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TcpService {
    /// Spread over servers.
    LoadBalancer(TcpLoadBalancer),
    /// Spread over other services, by weight.
    Weighted(LayerFourWeighted),
}

/// `tcp.services.<name>` as written, where it may still be both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TcpServiceWritten {
    pub(super) load_balancer: Option<TcpLoadBalancer>,
    pub(super) weighted: Option<LayerFourWeighted>,
}

impl TcpServiceWritten {
    /// The one kind that was written; an error says what was written instead.
    pub(super) fn meant(self) -> Result<TcpService, String> {
        match (self.load_balancer, self.weighted) {
            (Some(servers), None) => {
                servers.over(&TcpTransport::default())?;
                servers.check_data_path()?;
                Ok(TcpService::LoadBalancer(servers))
            }
            (None, Some(weighted)) => Ok(TcpService::Weighted(weighted)),
            (None, None) => {
                Err("says nothing of where it leads: write `loadBalancer` or `weighted`".to_owned())
            }
            (Some(_), Some(_)) => Err("is loadBalancer and weighted at once: write one each".to_owned()),
        }
    }
}

/// `loadBalancer` of a TCP service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpLoadBalancer {
    /// The servers; by label there is one, on the container that has the label.
    pub servers: Vec<TcpServer>,
    /// How they are connected to, by name; empty means the default.
    pub servers_transport: String,
    /// Whether servers are told who the client is.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Milliseconds that the second direction may stand still after the first has ended; below zero, for ever.
    pub termination_delay: Option<i64>,
    /// Asked whether they serve, at intervals.
    pub health_check: Option<TcpHealthCheck>,
    /// Portolan's own: open connections of the service; 0 is any number.
    pub max_connections: u32,
    /// Portolan's own: those passed on to one server; 0 is any number.
    pub max_connections_per_endpoint: u32,
    /// Portolan's own: a connection through which nothing moves for so long is ended; unless written, as the entry point
    /// says, and 0 is never.
    pub idle_timeout: Option<Span>,
    /// Portolan's own: how its bytes travel; unless written, as the settings say.
    pub data_path: Option<DataPath>,
}

impl TcpLoadBalancer {
    /// What connections are like: as the transport says, but for what Traefik had here before it had transports.
    pub fn over(&self, transport: &TcpTransport) -> Result<TcpTransport, String> {
        let proxy_protocol = self.proxy_protocol.map(ProxyProtocol::meant).transpose()?;
        Ok(TcpTransport {
            termination_delay: match self.termination_delay {
                None => transport.termination_delay,
                Some(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
            },
            proxy_protocol: proxy_protocol.or(transport.proxy_protocol),
            ..transport.clone()
        })
    }

    /// Whether its bytes can travel as it says.
    fn check_data_path(&self) -> Result<(), String> {
        match self.data_path {
            Some(path @ (DataPath::Nftables | DataPath::Transparent)) => Err(format!(
                "`dataPath`: `{path}` is for published ports; TCP routers have `userspace`, `sockmap` and `auto`"
            )),
            _ => Ok(()),
        }
    }

    /// Open connections of the service, at most; `None` is any number.
    pub fn connections_max(&self) -> Option<usize> {
        (self.max_connections > 0).then_some(self.max_connections as usize)
    }

    /// Those passed on to one server, at most; `None` is any number.
    pub fn per_endpoint_max(&self) -> Option<usize> {
        (self.max_connections_per_endpoint > 0).then_some(self.max_connections_per_endpoint as usize)
    }
}

/// A server of a TCP service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpServer {
    /// Where it is: `10.0.0.1:5432`.
    pub address: String,
    /// By label: the port of the container.
    pub port: Option<std::num::NonZeroU16>,
    /// Whether it is spoken to by TLS.
    pub tls: bool,
}

/// `proxyProtocol`: servers are told who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ProxyProtocol {
    /// 1 or 2.
    pub version: u8,
}

impl ProxyProtocol {
    /// The version that is meant.
    pub fn meant(self) -> Result<ProxyVersion, String> {
        match self.version {
            1 => Ok(ProxyVersion::V1),
            2 => Ok(ProxyVersion::V2),
            other => Err(format!("`proxyProtocol.version`: {other} is not a version: write 1 or 2")),
        }
    }
}

impl Default for ProxyProtocol {
    fn default() -> Self {
        Self { version: 2 }
    }
}

/// `healthCheck` of a TCP service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpHealthCheck {
    /// The port; 0 is the server's own.
    pub port: u16,
    /// What is sent.
    pub send: String,
    /// What the answer begins with.
    pub expect: String,
    /// Between two questions.
    pub interval: Span,
    /// Between two questions to one that is down; zero is `interval`.
    pub unhealthy_interval: Span,
    /// How long an answer may take.
    pub timeout: Span,
}

impl Default for TcpHealthCheck {
    fn default() -> Self {
        Self {
            port: 0,
            send: String::new(),
            expect: String::new(),
            interval: Span::secs(30),
            unhealthy_interval: Span::default(),
            timeout: Span::secs(5),
        }
    }
}

/// `weighted` of a TCP or UDP service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LayerFourWeighted {
    /// Over which.
    pub services: Vec<WeightedChild>,
    /// Present where a service that can't serve is passed over.
    pub health_check: Option<Propagate>,
}

/// `tcp.middlewares.<name>`: one of these.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TcpMiddleware {
    /// Connections of one client address, at most.
    InFlightConn(InFlightConn),
    /// The old name of [`Self::IpAllowList`].
    IpWhiteList(TcpIpAllowList),
    /// Who may connect.
    IpAllowList(TcpIpAllowList),
}

/// `inFlightConn`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct InFlightConn {
    /// How many; 0 is any.
    pub amount: u32,
}

/// `ipAllowList` of TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpIpAllowList {
    /// The addresses.
    pub source_range: Vec<IpRange>,
}

/// `tcp.serversTransports.<name>`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpServersTransport {
    /// Between the probes of an idle connection; below zero none.
    pub dial_keep_alive: Option<Span>,
    /// Until connected.
    pub dial_timeout: Option<Span>,
    /// Whether servers are told who the client is.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How long the second direction may stand still after the first has ended; below zero, for ever.
    pub termination_delay: Option<Span>,
    /// TLS to servers.
    pub tls: Option<TcpClientTls>,
}

impl TcpServersTransport {
    /// What it means.
    pub fn meant(&self) -> Result<TcpTransport, String> {
        let tls = self.tls.as_ref().map(TcpClientTls::meant).transpose()?.unwrap_or_default();
        let usual = TcpTransport::default();
        Ok(TcpTransport {
            connections: ServersTransport { dial_timeout: self.dial_timeout.map(Span::duration), ..tls },
            keep_alive: self.dial_keep_alive.map_or(usual.keep_alive, |span| {
                if span.is_negative() { None } else { span.positive().or(usual.keep_alive) }
            }),
            termination_delay: self.termination_delay.and_then(unless_negative),
            proxy_protocol: self.proxy_protocol.map(ProxyProtocol::meant).transpose()?,
        })
    }
}

/// For ever, where it is below zero.
fn unless_negative(span: Span) -> Option<Duration> {
    (!span.is_negative()).then(|| span.duration())
}

/// What connections to the servers of a TCP service are like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpTransport {
    /// TLS, and how long connecting may take.
    pub connections: ServersTransport,
    /// Between the probes of an idle connection; `None` for no probes.
    pub keep_alive: Option<Duration>,
    /// How long the second direction may stand still after the first has ended; `None` for as long as it likes.
    pub termination_delay: Option<Duration>,
    /// Whether servers are told who the client is, and how.
    pub proxy_protocol: Option<ProxyVersion>,
}

impl Default for TcpTransport {
    fn default() -> Self {
        Self {
            connections: ServersTransport::default(),
            keep_alive: Some(Duration::from_secs(15)),
            termination_delay: None,
            proxy_protocol: None,
        }
    }
}

impl std::str::FromStr for ProxyVersion {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        match written {
            "1" | "v1" => Ok(Self::V1),
            "2" | "v2" => Ok(Self::V2),
            other => Err(format!("`{other}` is not a version of the PROXY protocol: write 1 or 2")),
        }
    }
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// `tls` of a TCP transport.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "RouterTls", rename_all = "camelCase", default)]
pub struct TcpClientTls {
    /// The name asked for and expected.
    pub server_name: String,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
    /// Who must have signed it: PEM, or files.
    #[serde(rename = "rootCAs")]
    pub root_cas: Vec<String>,
    /// Shown to servers that ask.
    pub certificates: Vec<Certificate>,
    /// The URI that the server's certificate must have.
    #[serde(rename = "peerCertURI")]
    pub peer_cert_uri: String,
    /// By SPIFFE's identities.
    pub spiffe: Option<Spiffe>,
}

/// `udp.routers.<name>`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UdpRouter {
    /// On which entry points; empty means every default one.
    pub entry_points: Vec<String>,
    /// Where datagrams go.
    pub service: String,
}

/// `udp.services.<name>`: one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum UdpService {
    /// Spread over servers.
    LoadBalancer(UdpLoadBalancer),
    /// Spread over other services, by weight.
    Weighted(LayerFourWeighted),
}

/// `udp.services.<name>` as written, where it may still be both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UdpServiceWritten {
    pub(super) load_balancer: Option<UdpLoadBalancer>,
    pub(super) weighted: Option<LayerFourWeighted>,
}

impl UdpServiceWritten {
    /// The one kind that was written; an error says what was written instead.
    pub(super) fn meant(self) -> Result<UdpService, String> {
        match (self.load_balancer, self.weighted) {
            (Some(servers), None) => Ok(UdpService::LoadBalancer(servers)),
            (None, Some(weighted)) => Ok(UdpService::Weighted(weighted)),
            (None, None) => {
                Err("says nothing of where it leads: write `loadBalancer` or `weighted`".to_owned())
            }
            (Some(_), Some(_)) => Err("is loadBalancer and weighted at once: write one each".to_owned()),
        }
    }
}

/// `loadBalancer` of a UDP service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UdpLoadBalancer {
    /// The servers; by label there is one, on the container that has the label.
    pub servers: Vec<UdpServer>,
}

/// A server of a UDP service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct UdpServer {
    /// Where it is: `10.0.0.1:53`.
    pub address: String,
    /// By label: the port of the container.
    pub port: Option<std::num::NonZeroU16>,
}
