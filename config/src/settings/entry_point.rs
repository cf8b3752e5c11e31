//! An entry point as meant: where connections are taken, and what holds for all of them.

use std::time::Duration;

use ipnet::IpNet;

use crate::ListenAddress;

/// A named place where connections are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// The name routers ask for.
    pub name: String,
    /// Where it listens.
    pub address: ListenAddress,
    /// `http.tls`: every router here takes TLS, unless it says otherwise itself.
    pub tls: Option<EntryPointTls>,
    /// `forwardedHeaders`: whose word about the client is taken.
    pub forwarded: Forwarded,
    /// `transport` and `http2`: limits and deadlines.
    pub limits: EntryPointLimits,
}

/// `http.tls` of an entry point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPointTls {
    /// `options`: the qualified name, for routers that name none.
    pub options: Option<String>,
}

/// `forwardedHeaders`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// `insecure`: everybody's word is taken.
    pub insecure: bool,
    /// `trustedIPs`
    pub trusted: Vec<IpNet>,
}

/// Limits and deadlines of an entry point. What is not written is the data plane's own (`proxy/src/limits.rs`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPointLimits {
    /// `transport.respondingTimeouts.readTimeout`: for the whole request, as Traefik has it; zero is none.
    pub read_timeout: Option<Duration>,
    /// `transport.respondingTimeouts.writeTimeout`: for the whole answer; zero is none.
    pub write_timeout: Option<Duration>,
    /// `transport.respondingTimeouts.idleTimeout`: between requests.
    pub idle_timeout: Option<Duration>,
    /// `transport.keepAliveMaxRequests`: requests of one connection; zero is any number.
    pub keep_alive_max_requests: Option<u32>,
    /// `transport.keepAliveMaxTime`: age of a connection after which it takes no further request; zero is any.
    pub keep_alive_max_time: Option<Duration>,
    /// `http.maxHeaderBytes`: bytes of a request's head.
    pub head_bytes_max: Option<usize>,
    /// `http.maxBodyBytes`, Portolan's own: bytes of a request's body.
    pub body_bytes_max: Option<u64>,
    /// `http2.maxConcurrentStreams`
    pub http2_streams_max: Option<u32>,
    /// `transport.maxConnections`, Portolan's own: open connections.
    pub connections_max: Option<usize>,
    /// `transport.maxConnectionsPerClient`, Portolan's own: open connections of one client address.
    pub connections_per_client_max: Option<usize>,
}

impl EntryPoint {
    /// One with nothing said but its name and address.
    pub fn plain(name: impl Into<String>, address: ListenAddress) -> Self {
        Self {
            name: name.into(),
            address,
            tls: None,
            forwarded: Forwarded::default(),
            limits: EntryPointLimits::default(),
        }
    }
}

impl Forwarded {
    /// Whether a peer's word about the client is taken.
    pub fn trusts(&self, peer: std::net::IpAddr) -> bool {
        self.insecure || self.trusted.iter().any(|network| network.contains(&peer))
    }
}
