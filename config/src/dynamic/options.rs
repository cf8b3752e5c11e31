//! What is peculiar to single options of the model: which may stand alone, which Traefik reads from files only.

/// The types that may be written without options: `tls=true`, `sticky.cookie=true`.
const ALONE: [&str; 9] = [
    "RouterTls",
    "Sticky",
    "Cookie",
    "IpStrategy",
    "Compress",
    "ContentType",
    "ProxyProtocol",
    "TcpHealthCheck",
    "Spiffe",
];

/// What Traefik reads from files and passes over in labels, without a word. Portolan reads all of it from labels that
/// begin with `portolan.`.
pub(super) const FOR_FILES: [&str; 13] = [
    "http.routers.<name>.parentRefs",
    "http.services.<name>.weighted",
    "http.services.<name>.highestRandomWeight",
    "http.services.<name>.mirroring",
    "http.services.<name>.failover",
    "http.serversTransports",
    "tcp.services.<name>.weighted",
    "tcp.services.<name>.loadBalancer.servers[n].address",
    "tcp.serversTransports",
    "udp.services.<name>.weighted",
    "udp.services.<name>.loadBalancer.servers[n].address",
    "tls.options",
    "tls.certificates",
];

/// Whether a type may be written without options.
pub(super) fn may_stand_alone(name: &str) -> bool {
    ALONE.contains(&name)
}

/// Whether Traefik reads this option from files only.
pub(super) fn is_for_files(option: &str) -> bool {
    option == "tls.stores.<name>.defaultCertificate"
        || FOR_FILES.iter().any(|known| {
            option.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
}
