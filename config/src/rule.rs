//! Which requests or connections a router takes: Traefik's rule language, version 3, and version 2 where it is asked
//! for.
//!
//! Matchers are joined with `&&`, `||`, `!` and parentheses; `&&` binds tighter than `||`. Values stand in backticks or
//! double quotes. A rule is read once and asked for every request: asking allocates nothing and takes no lock.

use std::fmt;

mod http;
mod matchers;
mod parse;
mod tcp;
mod v2;
mod view;

pub use http::Matcher;
pub use matchers::HostPattern;
pub use parse::RuleError;
pub use tcp::TcpMatcher;
pub use view::{ConnectionView, Fields, NoFields, RequestView};

use crate::dynamic::http::RuleSyntax;

pub(crate) use matchers::spelled;
pub(crate) use parse::parse as parse_with;

/// A condition on requests.
pub type Rule = Expression<Matcher>;

/// A condition on connections.
pub type TcpRule = Expression<TcpMatcher>;

/// Matchers, joined.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expression<M> {
    /// One matcher.
    Is(M),
    /// All of them; two at least.
    And(Vec<Expression<M>>),
    /// One of them; two at least.
    Or(Vec<Expression<M>>),
    /// Not this.
    Not(Box<Expression<M>>),
}

impl<M> Expression<M> {
    /// Whether it holds where `is` says of each matcher whether that does.
    pub(crate) fn holds(&self, is: &impl Fn(&M) -> bool) -> bool {
        match self {
            Self::Is(matcher) => is(matcher),
            Self::And(all) => all.iter().all(|part| part.holds(is)),
            Self::Or(any) => any.iter().any(|part| part.holds(is)),
            Self::Not(inner) => !inner.holds(is),
        }
    }

    /// Every matcher in it.
    pub fn matchers(&self) -> Vec<&M> {
        match self {
            Self::Is(matcher) => vec![matcher],
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::matchers).collect(),
            Self::Not(inner) => inner.matchers(),
        }
    }

    /// One of several; the one itself where there is one.
    pub(crate) fn any(mut of: Vec<Self>) -> Self {
        if of.len() == 1 { of.swap_remove(0) } else { Self::Or(of) }
    }
}

impl<M: fmt::Display> Expression<M> {
    /// The parts that keep it from holding, as they could be written, where `is` says of each matcher whether that does;
    /// empty where it holds.
    fn unmet(&self, is: &impl Fn(&M) -> bool) -> Vec<String> {
        match self {
            _ if self.holds(is) => Vec::new(),
            Self::And(parts) => parts.iter().flat_map(|part| part.unmet(is)).collect(),
            Self::Is(_) | Self::Or(_) | Self::Not(_) => vec![self.to_string()],
        }
    }
}

impl Rule {
    /// The parts of it that a request does not fulfil; empty where it [matches](Self::matches).
    pub fn unmet_by(&self, request: &RequestView<'_>) -> Vec<String> {
        self.unmet(&|matcher| matcher.matches(request))
    }

    /// Reads a rule.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        parse::parse(text, &http::build)
    }

    /// Reads a rule in the language that `syntax` names.
    pub fn parse_as(text: &str, syntax: RuleSyntax) -> Result<Self, RuleError> {
        match syntax {
            RuleSyntax::V3 => Self::parse(text),
            RuleSyntax::V2 => parse::parse(text, &v2::http),
        }
    }

    /// A rule that takes one host.
    pub fn host(host: &str) -> Self {
        Self::Is(Matcher::Host(HostPattern::Exact(host.to_ascii_lowercase())))
    }

    /// Whether a request fulfils it.
    pub fn matches(&self, request: &RequestView<'_>) -> bool {
        self.holds(&|matcher| matcher.matches(request))
    }

    /// The hosts that it names, for certificates; patterns of one label are written `*.example.com`.
    pub fn hosts(&self) -> Vec<String> {
        match self {
            Self::Is(Matcher::Host(HostPattern::Exact(host))) => vec![host.clone()],
            Self::Is(Matcher::Host(HostPattern::OneLabelUnder(parent))) => vec![format!("*.{parent}")],
            Self::Is(_) | Self::Not(_) => Vec::new(),
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::hosts).collect(),
        }
    }
}

impl TcpRule {
    /// Reads a rule in the language that `syntax` names.
    pub fn parse_as(text: &str, syntax: RuleSyntax) -> Result<Self, RuleError> {
        match syntax {
            RuleSyntax::V3 => parse::parse(text, &tcp::build),
            RuleSyntax::V2 => parse::parse(text, &v2::tcp),
        }
    }

    /// The parts of it that a connection does not fulfil; empty where it [matches](Self::matches).
    pub fn unmet_by(&self, connection: &ConnectionView<'_>) -> Vec<String> {
        self.unmet(&|matcher| matcher.matches(connection))
    }

    /// Whether a connection fulfils it.
    pub fn matches(&self, connection: &ConnectionView<'_>) -> bool {
        self.holds(&|matcher| matcher.matches(connection))
    }

    /// Whether it is a lone ``HostSNI(`*`)``, which takes what nobody else does, with TLS or without.
    pub fn is_catch_all(&self) -> bool {
        matches!(self, Self::Is(TcpMatcher::HostSni(HostPattern::Any)))
    }

    /// Whether only a connection by TLS can tell what it asks for.
    pub fn needs_tls(&self) -> bool {
        self.matchers().into_iter().any(|matcher| {
            !matches!(matcher, TcpMatcher::ClientIp(_) | TcpMatcher::HostSni(HostPattern::Any))
        })
    }
}

impl<M: fmt::Display> fmt::Display for Expression<M> {
    /// As it could be written, in Traefik's language.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(matcher) => matcher.fmt(f),
            Self::And(parts) => joined(parts, " && ", f),
            Self::Or(parts) => joined(parts, " || ", f),
            Self::Not(inner) if matches!(**inner, Self::And(_) | Self::Or(_)) => write!(f, "!({inner})"),
            Self::Not(inner) => write!(f, "!{inner}"),
        }
    }
}

fn joined<M: fmt::Display>(parts: &[Expression<M>], by: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(by)?;
        }
        // What binds looser, or was grouped by hand, keeps its parentheses.
        let grouped =
            matches!(part, Expression::Or(_)) || (by == " && " && matches!(part, Expression::And(_)));
        if grouped { write!(f, "({part})")? } else { write!(f, "{part}")? }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
