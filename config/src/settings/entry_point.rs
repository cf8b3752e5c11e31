//! An entry point as meant: where connections are taken, and what holds for all of them.

use std::time::Duration;

use ipnet::IpNet;

use crate::{ListenAddress, Protocol};

pub(super) mod read;

/// A named place where connections are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// The name routers ask for.
    pub name: String,
    /// Where it listens.
    pub address: ListenAddress,
    /// `address`, behind the slash: HTTP and TCP, or UDP.
    pub protocol: Protocol,
    /// `asDefault`: routers that name no entry point are on those that say so, if any does.
    pub as_default: bool,
    /// `http.tls`: every router here takes TLS, unless it says otherwise itself.
    pub tls: Option<EntryPointTls>,
    /// `http.redirections.entryPoint`: requests are sent elsewhere instead of being routed.
    pub redirection: Option<Redirection>,
    /// `http.middlewares`: before those of every router here; qualified names.
    pub middlewares: Vec<String>,
    /// `http`: how requests' paths, queries and fields are cleaned.
    pub cleaning: Cleaning,
    /// `forwardedHeaders`: whose word about the client is taken.
    pub forwarded: Forwarded,
    /// `proxyProtocol`: whose PROXY header is read; nobody's unless written.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `transport` and `http2`: limits and deadlines.
    pub limits: EntryPointLimits,
    /// `transport.lifeCycle`
    pub life_cycle: LifeCycle,
    /// `observability`
    pub observability: Observability,
    /// `reusePort`: the port is shared with whoever else says so.
    pub reuse_port: bool,
    /// `udp.timeout`: a session through which nothing moves; unless written, the data plane's own.
    pub udp_timeout: Option<Duration>,
}

/// `http.tls` of an entry point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPointTls {
    /// `options`: the qualified name, for routers that name none.
    pub options: Option<String>,
    /// `certResolver`, for routers that name none.
    pub resolver: Option<String>,
    /// `domains`: names that certificates are to have.
    pub domains: Vec<TlsDomain>,
}

/// One of `domains`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsDomain {
    /// `main`
    pub main: String,
    /// `sans`
    pub sans: Vec<String>,
}

/// `http.redirections.entryPoint`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// `to`, as written.
    pub to: String,
    /// The same as a port: that of the entry point named, or the one written.
    pub port: u16,
    /// `scheme`
    pub scheme: String,
    /// `permanent`: 308 and 301, else 307 and 302.
    pub permanent: bool,
    /// `priority` of the router that does it. Unless written, above whatever a length of a rule can be.
    pub priority: i64,
}

/// What of a request is cleaned or refused before it is routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaning {
    /// `sanitizePath`: `/./`, `/../` and double slashes are resolved.
    pub sanitize_path: bool,
    /// `encodeQuerySemicolons`: `;` in a query is written `%3B`.
    pub encode_query_semicolons: bool,
    /// `encodedCharacters`
    pub encoded: EncodedCharacters,
    /// `underscoreHeadersStrategy`
    pub underscores: Underscores,
}

/// `encodedCharacters`: what may stand percent-encoded in a path; a request with another is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedCharacters {
    /// `allowEncodedSlash`: `%2F`
    pub slash: bool,
    /// `allowEncodedBackSlash`: `%5C`
    pub backslash: bool,
    /// `allowEncodedNullCharacter`: `%00`
    pub null: bool,
    /// `allowEncodedSemicolon`: `%3B`
    pub semicolon: bool,
    /// `allowEncodedPercent`: `%25`
    pub percent: bool,
    /// `allowEncodedQuestionMark`: `%3F`
    pub question_mark: bool,
    /// `allowEncodedHash`: `%23`
    pub hash: bool,
}

/// `underscoreHeadersStrategy`: what becomes of fields with `_` in their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// They pass.
    #[default]
    Keep,
    /// They are taken out.
    Delete,
    /// The request is refused.
    Reject,
}

/// `forwardedHeaders`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// `insecure`: everybody's word is taken.
    pub insecure: bool,
    /// `trustedIPs`
    pub trusted: Vec<IpNet>,
    /// `connection`: fields that `Connection` may name and that reach middlewares all the same; lower case.
    pub connection: Vec<String>,
    /// `notAppendXForwardedFor`: the client's address is not added to `X-Forwarded-For`.
    pub not_append: bool,
}

/// `proxyProtocol`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// `insecure`: everybody's header is read.
    pub insecure: bool,
    /// `trustedIPs`
    pub trusted: Vec<IpNet>,
}

/// `transport.lifeCycle`: how an entry point ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifeCycle {
    /// `requestAcceptGraceTimeout`: how long it goes on as before after SIGTERM, but for `/ping`.
    pub accept_grace: Duration,
    /// `graceTimeOut`: how long what is open may then go on; unless written, `--drain-timeout`.
    pub grace: Option<Duration>,
}

/// `observability`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observability {
    /// `accessLogs`
    pub access_logs: bool,
    /// `metrics`
    pub metrics: bool,
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
    /// `http2.maxDecoderHeaderTableSize`: bytes of fields that a client may have remembered, so that it need not say them
    /// again.
    pub http2_header_table_max: Option<u32>,
    /// `transport.maxConnections`, Portolan's own: open connections.
    pub connections_max: Option<usize>,
    /// `transport.maxConnectionsPerClient`, Portolan's own: open connections of one client address.
    pub connections_per_client_max: Option<usize>,
    /// `transport.tcpIdleTimeout`, Portolan's own: a connection of a TCP router through which nothing moves; zero is any
    /// time, as it is unless written.
    pub tcp_idle: Option<Duration>,
}

impl EntryPoint {
    /// One with nothing said but its name and address.
    pub fn plain(name: impl Into<String>, address: ListenAddress) -> Self {
        Self {
            name: name.into(),
            address,
            protocol: Protocol::Tcp,
            as_default: false,
            tls: None,
            redirection: None,
            middlewares: Vec::new(),
            cleaning: Cleaning::default(),
            forwarded: Forwarded::default(),
            proxy_protocol: None,
            limits: EntryPointLimits::default(),
            life_cycle: LifeCycle::default(),
            observability: Observability::default(),
            reuse_port: false,
            udp_timeout: None,
        }
    }
}

impl Forwarded {
    /// Whether a peer's word about the client is taken.
    pub fn trusts(&self, peer: std::net::IpAddr) -> bool {
        self.insecure || is_in(&self.trusted, peer)
    }
}

impl ProxyProtocol {
    /// Whether a peer's PROXY header is read.
    pub fn trusts(&self, peer: std::net::IpAddr) -> bool {
        self.insecure || is_in(&self.trusted, peer)
    }
}

/// An IPv4 address in IPv6's clothes (RFC 4291 §2.5.5.2), as sockets for both have it, counts as itself.
fn is_in(networks: &[IpNet], peer: std::net::IpAddr) -> bool {
    let peer = peer.to_canonical();
    networks.iter().any(|network| network.contains(&peer))
}

impl Default for Cleaning {
    fn default() -> Self {
        Self {
            sanitize_path: true,
            encode_query_semicolons: false,
            encoded: EncodedCharacters::default(),
            underscores: Underscores::default(),
        }
    }
}

impl Default for EncodedCharacters {
    fn default() -> Self {
        Self {
            slash: true,
            backslash: true,
            null: true,
            semicolon: true,
            percent: true,
            question_mark: true,
            hash: true,
        }
    }
}

impl Default for Observability {
    fn default() -> Self {
        Self { access_logs: true, metrics: true }
    }
}
