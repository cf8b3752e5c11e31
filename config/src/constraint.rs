//! `constraints`: which containers are looked at at all, by their labels: ``Label(`tier`, `front`) && !LabelRegex(…)``.

use std::collections::BTreeMap;
use std::fmt;

use crate::dynamic::value::Pattern;
use crate::rule::{Expression, RuleError};

/// Which containers are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraints(Expression<Matcher>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Matcher {
    Label(String, String),
    LabelRegex(String, Pattern),
}

impl Constraints {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        crate::rule::parse_with(text, &build).map(Self)
    }

    /// Whether a container with these labels is looked at.
    pub fn hold(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.holds(&|matcher| match matcher {
            // A label that is not there is an empty text, as in Go.
            Matcher::Label(name, value) => labels.get(name).map_or("", String::as_str) == value,
            Matcher::LabelRegex(name, pattern) => {
                pattern.is_match(labels.get(name).map_or("", String::as_str))
            }
        })
    }
}

impl fmt::Display for Constraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(name, value) => write!(f, "Label(`{name}`, `{value}`)"),
            Self::LabelRegex(name, pattern) => write!(f, "LabelRegex(`{name}`, `{}`)", pattern.as_str()),
        }
    }
}

fn build(written: &str, values: &[String]) -> Result<Expression<Matcher>, String> {
    let name = crate::rule::spelled(written, &["Label", "LabelRegex"])?;
    let [label, value] = values else {
        return Err(format!("{name} takes two values: {name}(`label`, `value`)"));
    };
    Ok(Expression::Is(match name {
        "Label" => Matcher::Label(label.clone(), value.clone()),
        _ => Matcher::LabelRegex(label.clone(), Pattern::parse(value)?),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_chosen_by_their_labels() {
        let labels =
            BTreeMap::from([("tier".to_owned(), "front".to_owned()), ("v".to_owned(), "12".to_owned())]);
        for (text, holds) in [
            ("Label(`tier`, `front`)", true),
            ("Label(`tier`, `back`)", false),
            ("!Label(`tier`,`back`) && LabelRegex(`v`, `^[0-9]+$`)", true),
            ("Label(`none`, `x`) || labelregex(`tier`, `^f`)", true),
            ("Label(`none`, ``)", true),
        ] {
            let constraints = Constraints::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(constraints.hold(&labels), holds, "{text}");
        }
        for text in ["", "Label(`a`)", "Labels(`a`, `b`)", "LabelRegex(`a`, `(`)"] {
            assert!(Constraints::parse(text).is_err(), "{text}");
        }
    }
}
