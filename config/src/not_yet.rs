//! What is read and understood, and not applied yet: the one list of it.
//!
//! Whoever makes the data plane apply an option strikes its entry off, and nothing else: until then, what asks for it
//! is told so with its label or line. Options are spelled as in `config/src/dynamic/options.tsv`.

/// What it costs to ask for something that is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// The router, service or middleware that asks: without it, it would answer where it must not, or wrongly.
    Owner,
    /// Nothing but the option.
    Option,
}

/// Something that is not applied.
#[derive(Clone, Copy, Debug)]
pub struct NotYet {
    /// The option, and all that stands below it.
    pub option: &'static str,
    /// What it costs to ask for it.
    pub cost: Cost,
    /// The values for which it is as if it were applied: `passHostHeader` may be `true`.
    unless: fn(&str) -> bool,
}

impl NotYet {
    /// What is told to who asks for it.
    pub fn message(&self) -> String {
        let name = self.option.rsplit('.').next().unwrap_or_default();
        format!("Portolan can't do this yet (`{name}`)")
    }
}

const fn all(option: &'static str, cost: Cost) -> NotYet {
    NotYet { option, cost, unless: |_| false }
}

const fn unless(option: &'static str, cost: Cost, unless: fn(&str) -> bool) -> NotYet {
    NotYet { option, cost, unless }
}

fn is_true(text: &str) -> bool {
    crate::dynamic::boolean(text) == Some(true)
}

fn is_false(text: &str) -> bool {
    crate::dynamic::boolean(text) == Some(false)
}

/// The list.
pub const NOT_YET: &[NotYet] = &[
    all("http.routers.<name>.parentRefs", Cost::Owner),
    all("http.routers.<name>.observability", Cost::Option),
    all("http.routers.<name>.tls.certResolver", Cost::Option),
    all("http.routers.<name>.tls.domains", Cost::Option),
    all("http.services.<name>.middlewares", Cost::Owner),
    all("http.services.<name>.loadBalancer.sticky", Cost::Option),
    unless("http.services.<name>.loadBalancer.servers[n].url", Cost::Owner, |url| {
        !url.starts_with("https://") && !url.starts_with("h2c://")
    }),
    unless("http.services.<name>.loadBalancer.servers[n].scheme", Cost::Owner, |scheme| {
        scheme.eq_ignore_ascii_case("http")
    }),
    unless("http.services.<name>.loadBalancer.servers[n].weight", Cost::Option, |weight| weight == "1"),
    unless("http.services.<name>.loadBalancer.servers[n].preservePath", Cost::Owner, is_false),
    unless("http.services.<name>.loadBalancer.strategy", Cost::Option, |name| {
        name.eq_ignore_ascii_case("wrr")
    }),
    all("http.services.<name>.loadBalancer.healthCheck", Cost::Option),
    all("http.services.<name>.loadBalancer.passiveHealthCheck", Cost::Option),
    unless("http.services.<name>.loadBalancer.passHostHeader", Cost::Option, is_true),
    all("http.services.<name>.highestRandomWeight", Cost::Owner),
    all("http.services.<name>.weighted", Cost::Owner),
    all("http.services.<name>.mirroring", Cost::Owner),
    all("http.services.<name>.failover", Cost::Owner),
    all("http.middlewares.<name>.addPrefix", Cost::Owner),
    all("http.middlewares.<name>.stripPrefix", Cost::Owner),
    all("http.middlewares.<name>.stripPrefixRegex", Cost::Owner),
    all("http.middlewares.<name>.replacePath", Cost::Owner),
    all("http.middlewares.<name>.replacePathRegex", Cost::Owner),
    all("http.middlewares.<name>.ipWhiteList", Cost::Owner),
    all("http.middlewares.<name>.ipAllowList", Cost::Owner),
    all("http.middlewares.<name>.headers", Cost::Owner),
    all("http.middlewares.<name>.encodedCharacters", Cost::Owner),
    all("http.middlewares.<name>.errors", Cost::Owner),
    all("http.middlewares.<name>.rateLimit", Cost::Owner),
    all("http.middlewares.<name>.redirectRegex", Cost::Owner),
    all("http.middlewares.<name>.redirectScheme", Cost::Owner),
    all("http.middlewares.<name>.basicAuth", Cost::Owner),
    all("http.middlewares.<name>.digestAuth", Cost::Owner),
    all("http.middlewares.<name>.forwardAuth", Cost::Owner),
    all("http.middlewares.<name>.inFlightReq", Cost::Owner),
    all("http.middlewares.<name>.buffering", Cost::Owner),
    all("http.middlewares.<name>.circuitBreaker", Cost::Owner),
    all("http.middlewares.<name>.compress", Cost::Owner),
    all("http.middlewares.<name>.passTLSClientCert", Cost::Owner),
    all("http.middlewares.<name>.retry", Cost::Owner),
    all("http.middlewares.<name>.contentType", Cost::Owner),
    all("http.middlewares.<name>.grpcWeb", Cost::Owner),
    all("http.middlewares.<name>.plugin", Cost::Owner),
    all("http.serversTransports", Cost::Owner),
    all("tcp.routers", Cost::Owner),
    all("tcp.services", Cost::Owner),
    all("tcp.middlewares", Cost::Owner),
    all("tcp.serversTransports", Cost::Owner),
    all("udp.routers", Cost::Owner),
    all("udp.services", Cost::Owner),
    all("tls.stores.<name>.defaultGeneratedCert", Cost::Option),
];

/// The entry for an option with this text, if it has one.
pub fn not_yet(option: &str, text: &str) -> Option<&'static NotYet> {
    NOT_YET.iter().find(|entry| {
        let below = option.strip_prefix(entry.option);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])) && !(entry.unless)(text)
    })
}
