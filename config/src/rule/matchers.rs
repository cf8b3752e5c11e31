//! What matchers of HTTP and TCP have in common: hosts, quoting, and words for what was written wrong.

use std::fmt;

use crate::dynamic::value::{IpRange, Pattern};

/// What a `Host` or `HostSNI` matcher asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// Any host that is one label longer: `*.example.com` keeps `example.com`.
    OneLabelUnder(String),
    /// Any host.
    Any,
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

    /// Reads a pattern; `name` is the matcher's.
    pub(super) fn parse(name: &str, value: &str) -> Result<Self, String> {
        if !value.is_ascii() {
            return Err(format!("{name}(`{value}`): not ASCII; write the punycode form (xn--…)"));
        }
        let host = value.strip_suffix('.').unwrap_or(value).to_ascii_lowercase();
        match host.strip_prefix("*.") {
            _ if host == "*" => Ok(Self::Any),
            Some(parent) if !parent.is_empty() && !parent.contains('*') => {
                Ok(Self::OneLabelUnder(parent.to_owned()))
            }
            None if !host.contains('*') => Ok(Self::Exact(host)),
            _ => Err(format!("{name}(`{value}`): a `*` stands alone or for the whole first label")),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::OneLabelUnder(parent) => write!(f, "*.{parent}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// A value in quotes: backticks, unless it holds one.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.contains('`') {
            return write!(f, "`{}`", self.0);
        }
        f.write_str("\"")?;
        for letter in self.0.chars() {
            if matches!(letter, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{letter}")?;
        }
        f.write_str("\"")
    }
}

/// The matcher that was meant by `written`, in one of the four spellings that Traefik takes: as documented, all lower,
/// all upper, and with only the first letter capital.
pub(crate) fn spelled(written: &str, known: &[&'static str]) -> Result<&'static str, String> {
    let title = |name: &str| name[..1].to_owned() + &name[1..].to_ascii_lowercase();
    let found = known.iter().find(|name| {
        written == **name
            || written == name.to_ascii_lowercase()
            || written == name.to_ascii_uppercase()
            || written == title(name)
    });
    found.copied().ok_or_else(|| {
        let hint = crate::dynamic::nearest::hint(written, known);
        format!("`{written}` is not a matcher known here: {hint}")
    })
}

/// The one value of a matcher that takes one.
pub(super) fn one<'a>(name: &str, values: &'a [String]) -> Result<&'a str, String> {
    match values {
        [value] => Ok(value),
        [first, second, ..] => {
            Err(format!("{name} takes one value: write {name}(`{first}`) || {name}(`{second}`)"))
        }
        [] => Err(format!("{name} needs a value, such as {name}(`example`)")),
    }
}

/// The two values of a matcher that takes a name and a value.
pub(super) fn two<'a>(name: &str, values: &'a [String]) -> Result<(&'a str, &'a str), String> {
    match values {
        [key, value] => Ok((key, value)),
        _ => Err(format!("{name} takes two values: {name}(`name`, `value`)")),
    }
}

/// No value may be empty, as none means anything then.
pub(super) fn none_empty(name: &str, values: &[String]) -> Result<(), String> {
    if values.is_empty() || values.iter().any(String::is_empty) {
        return Err(format!("{name} needs a value, such as {name}(`example`)"));
    }
    Ok(())
}

/// A path, which begins with a slash.
pub(super) fn path<'a>(name: &str, value: &'a str) -> Result<&'a str, String> {
    if value.starts_with('/') { Ok(value) } else { Err(format!("{name}(`{value}`): a path starts with `/`")) }
}

/// A pattern.
pub(super) fn pattern(name: &str, value: &str) -> Result<Pattern, String> {
    Pattern::parse(value).map_err(|error| format!("{name}: {error}"))
}

/// A pattern for hosts, which are ASCII.
pub(super) fn host_pattern(name: &str, value: &str) -> Result<Pattern, String> {
    if !value.is_ascii() {
        return Err(format!("{name}(`{value}`): not ASCII; write the punycode form (xn--…)"));
    }
    pattern(name, value)
}

/// A range of addresses.
pub(super) fn range(name: &str, value: &str) -> Result<IpRange, String> {
    IpRange::parse(value).map_err(|error| format!("{name}: {error}"))
}
