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
}

impl NotYet {
    /// What is told to who asks for it.
    pub fn message(&self) -> String {
        let name = self.option.rsplit('.').next().unwrap_or_default();
        format!("Portolan can't do this yet (`{name}`)")
    }
}

const fn all(option: &'static str, cost: Cost) -> NotYet {
    NotYet { option, cost }
}

/// The list.
pub const NOT_YET: &[NotYet] = &[
    all("http.routers.<name>.parentRefs", Cost::Owner),
    all("http.routers.<name>.observability.tracing", Cost::Option),
    all("http.routers.<name>.observability.traceVerbosity", Cost::Option),
    all("http.routers.<name>.tls.certResolver", Cost::Option),
    all("http.routers.<name>.tls.domains", Cost::Option),
    all("tcp.routers.<name>.tls.certResolver", Cost::Option),
    all("tcp.routers.<name>.tls.domains", Cost::Option),
    all("tls.stores.<name>.defaultGeneratedCert", Cost::Option),
];

/// What is not applied and will not be, each with the reason. It is read, and passed over as Traefik does, or refused
/// where something would be missing without it.
pub const NEVER: &[(&str, &str)] = &[
    ("http.models", "how Traefik tells itself what entry points add; write it at the entry point"),
    (
        "http.middlewares.<name>.plugin",
        "plugins are code of Traefik's catalogue, which Portolan does not run",
    ),
    ("http.middlewares.<name>.rateLimit.redis", "counts are kept by each Portolan, not shared through Redis"),
    (
        "http.serversTransports.<name>.spiffe",
        "there is no SPIFFE workload API here; name certificates instead",
    ),
    (
        "tcp.serversTransports.<name>.tls.spiffe",
        "there is no SPIFFE workload API here; name certificates instead",
    ),
];

/// What Traefik itself reads and passes over since its version 3, or what is as if applied: nothing is lost.
pub const PASSED_OVER: &[(&str, &str)] = &[
    ("http.middlewares.<name>.stripPrefix.forceSlash", "a path begins with a slash in any case"),
    ("http.middlewares.<name>.forwardAuth.tls.caOptional", "says nothing since Traefik 3"),
    ("tls.options.<name>.preferServerCipherSuites", "the order is the library's, as in Go since 1.17"),
    (
        "http.services.<name>.loadBalancer.responseForwarding",
        "bytes are passed on as they come, whatever interval is asked for",
    ),
];

/// What an option costs, and what to say; `None` where it is applied.
pub(crate) fn refusal(option: &str) -> Option<(Cost, String)> {
    if let Some((_, reason)) = NEVER.iter().find(|(never, _)| is_below(option, never)) {
        return Some((Cost::Owner, format!("Portolan does not do this: {reason}")));
    }
    let entry = NOT_YET.iter().find(|entry| is_below(option, entry.option))?;
    Some((entry.cost, entry.message()))
}

fn is_below(option: &str, above: &str) -> bool {
    option.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
