//! Which requests a router takes: Traefik's rule language, as far as it is read so far.
//!
//! Matchers: `Host`, `Path`, `PathPrefix`. Operators: `&&`, `||`, `!` and parentheses; `&&` binds tighter than `||`.
//! Values stand in backticks or double quotes.

use std::fmt;

mod parse;

pub use parse::RuleError;

/// A condition on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The host, lower case, without port or trailing dot.
    Host(HostPattern),
    /// The whole path; a trailing slash counts.
    Path(String),
    /// The beginning of the path, as plain characters: `/products` also takes `/products-for-sale`.
    PathPrefix(String),
    /// Both.
    And(Box<Rule>, Box<Rule>),
    /// Either.
    Or(Box<Rule>, Box<Rule>),
    /// Not this.
    Not(Box<Rule>),
}

/// What a `Host` matcher asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// Any host that is one label longer: `*.example.com` keeps `example.com`.
    OneLabelUnder(String),
    /// Any host.
    Any,
}

impl fmt::Display for Rule {
    /// As it could be written, in Traefik's language.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_and = |rule: &Rule| match rule {
            Rule::Or(..) => format!("({rule})"),
            rule => rule.to_string(),
        };
        match self {
            Self::Host(HostPattern::Exact(host)) => write!(f, "Host(`{host}`)"),
            Self::Host(HostPattern::OneLabelUnder(parent)) => write!(f, "Host(`*.{parent}`)"),
            Self::Host(HostPattern::Any) => f.write_str("Host(`*`)"),
            Self::Path(path) => write!(f, "Path(`{path}`)"),
            Self::PathPrefix(prefix) => write!(f, "PathPrefix(`{prefix}`)"),
            Self::And(left, right) => write!(f, "{} && {}", in_and(left), in_and(right)),
            Self::Or(left, right) => write!(f, "{left} || {right}"),
            Self::Not(inner) if matches!(**inner, Self::And(..) | Self::Or(..)) => write!(f, "!({inner})"),
            Self::Not(inner) => write!(f, "!{inner}"),
        }
    }
}

impl HostPattern {
    /// Whether `host` (lower case, without port or trailing dot) is asked for.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(expected) => host == expected,
            Self::OneLabelUnder(parent) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
            }
            Self::Any => true,
        }
    }
}

impl Rule {
    /// Reads a rule.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        parse::parse(text)
    }

    /// Whether a request for `path` (decoded as far as routing goes) of `host` fulfils it.
    pub fn matches(&self, host: &str, path: &str) -> bool {
        match self {
            Self::Host(pattern) => pattern.matches(host),
            Self::Path(expected) => path == expected,
            Self::PathPrefix(prefix) => path.starts_with(prefix.as_str()),
            Self::And(left, right) => left.matches(host, path) && right.matches(host, path),
            Self::Or(left, right) => left.matches(host, path) || right.matches(host, path),
            Self::Not(inner) => !inner.matches(host, path),
        }
    }
}
