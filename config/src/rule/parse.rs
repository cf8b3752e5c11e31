//! From text to [`Rule`], by recursive descent.
//!
//! ```text
//! either  = both *( "||" both )
//! both    = term *( "&&" term )
//! term    = "!" term / "(" either ")" / NAME "(" VALUE ")"
//! ```

use super::{HostPattern, Rule};

/// Rules nest at most this deep; a deeper one is somebody's attack on the stack.
const DEPTH_MAX: usize = 64;

/// Why a rule can't be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at character {})", position + 1)]
pub struct RuleError {
    /// Bytes into the text.
    pub position: usize,
    /// What was found, and what was expected.
    pub message: String,
}

pub(super) fn parse(text: &str) -> Result<Rule, RuleError> {
    let mut parser = Parser { text, position: 0, depth: 0 };
    let rule = parser.either()?;
    parser.skip_space();
    if parser.position < text.len() {
        return Err(
            parser.error(format!("unexpected `{}`: expected `&&`, `||` or the end", parser.rest_start()))
        );
    }
    Ok(rule)
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn either(&mut self) -> Result<Rule, RuleError> {
        let mut rule = self.both()?;
        while self.take("||") {
            rule = Rule::Or(Box::new(rule), Box::new(self.both()?));
        }
        Ok(rule)
    }

    fn both(&mut self) -> Result<Rule, RuleError> {
        let mut rule = self.term()?;
        while self.take("&&") {
            rule = Rule::And(Box::new(rule), Box::new(self.term()?));
        }
        Ok(rule)
    }

    fn term(&mut self) -> Result<Rule, RuleError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("nested deeper than {DEPTH_MAX}")));
        }
        let term = if self.take("!") {
            Rule::Not(Box::new(self.term()?))
        } else if self.take("(") {
            let inner = self.either()?;
            self.expect(")")?;
            inner
        } else {
            self.matcher()?
        };
        self.depth -= 1;
        Ok(term)
    }

    fn matcher(&mut self) -> Result<Rule, RuleError> {
        self.skip_space();
        let start = self.position;
        let name = self.name();
        if name.is_empty() {
            return Err(self.error(match self.rest_start() {
                "" => "the rule ends where a matcher was expected, such as Host(`example.com`)".to_owned(),
                found => format!("unexpected `{found}`: expected a matcher such as Host(`example.com`)"),
            }));
        }
        self.expect("(")?;
        let value_at = self.position;
        let value = self.value()?;
        if self.take(",") {
            let message = format!("{name} takes one value: write {name}(`a`) || {name}(`b`)");
            return Err(RuleError { position: value_at, message });
        }
        self.expect(")")?;
        build(name, value).map_err(|message| RuleError { position: start, message })
    }

    fn name(&mut self) -> &'a str {
        let rest = &self.text[self.position..];
        let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        self.position += length;
        &rest[..length]
    }

    fn value(&mut self) -> Result<&'a str, RuleError> {
        self.skip_space();
        let rest = &self.text[self.position..];
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '`' | '"')) else {
            return Err(self.error("expected a value in backticks or double quotes".to_owned()));
        };
        let Some(length) = rest[1..].find(quote) else {
            return Err(self.error(format!("this {quote} is never closed")));
        };
        self.position += length + 2;
        Ok(&rest[1..=length])
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.text[self.position..].starts_with(token);
        if found {
            self.position += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), RuleError> {
        if self.take(token) {
            return Ok(());
        }
        Err(self.error(match self.rest_start() {
            "" => format!("the rule ends where `{token}` was expected"),
            found => format!("unexpected `{found}`: expected `{token}`"),
        }))
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.position..];
        self.position += rest.len() - rest.trim_start().len();
    }

    /// The next character, to show in an error.
    fn rest_start(&self) -> &'a str {
        let rest = &self.text[self.position..];
        &rest[..rest.chars().next().map_or(0, char::len_utf8)]
    }

    fn error(&self, message: String) -> RuleError {
        RuleError { position: self.position, message }
    }
}

fn build(name: &str, value: &str) -> Result<Rule, String> {
    let known = ["Host", "Path", "PathPrefix"].into_iter().find(|known| spells(name, known));
    match known {
        _ if value.is_empty() => Err(format!("{name} needs a value, such as {name}(`example`)")),
        Some("Host") => host(value).map(Rule::Host),
        Some(_) if !value.starts_with('/') => Err(format!("{name}(`{value}`): a path starts with `/`")),
        Some("Path") => Ok(Rule::Path(value.to_owned())),
        Some(_) => Ok(Rule::PathPrefix(value.to_owned())),
        None => Err(format!("`{name}` is not a matcher known here: Host, Path and PathPrefix are")),
    }
}

/// Traefik takes a matcher's name as documented, all lower, all upper, and with only the first letter capital.
fn spells(written: &str, name: &str) -> bool {
    let title = || name[..1].to_owned() + &name[1..].to_ascii_lowercase();
    written == name
        || written == name.to_ascii_lowercase()
        || written == name.to_ascii_uppercase()
        || written == title()
}

fn host(value: &str) -> Result<HostPattern, String> {
    if !value.is_ascii() {
        return Err(format!("Host(`{value}`): not ASCII; write the punycode form (xn--…)"));
    }
    let host = value.strip_suffix('.').unwrap_or(value).to_ascii_lowercase();
    match host.strip_prefix("*.") {
        _ if host == "*" => Ok(HostPattern::Any),
        Some(parent) if !parent.is_empty() && !parent.contains('*') => {
            Ok(HostPattern::OneLabelUnder(parent.to_owned()))
        }
        None if !host.contains('*') => Ok(HostPattern::Exact(host)),
        _ => Err(format!("Host(`{value}`): a `*` stands alone or for the whole first label")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(host: &str) -> Rule {
        Rule::Host(HostPattern::Exact(host.to_owned()))
    }

    #[test]
    fn and_binds_tighter_than_or() {
        let rule = parse("Host(`a`) || Host(`b`) && PathPrefix(`/x`)").unwrap();
        let both = Rule::And(Box::new(exact("b")), Box::new(Rule::PathPrefix("/x".into())));
        assert_eq!(rule, Rule::Or(Box::new(exact("a")), Box::new(both)));
    }

    #[test]
    fn requests_are_taken_as_traefik_takes_them() {
        for (text, host, path, taken) in [
            ("Host(`a.test`)", "a.test", "/", true),
            ("Host(`A.test.`)", "a.test", "/", true),
            ("host(\"a.test\")", "a.test", "/", true),
            ("Host(`*.test`)", "a.test", "/", true),
            ("Host(`*.test`)", "b.a.test", "/", false),
            ("Host(`*.test`)", "test", "/", false),
            ("Host(`*`)", "anything", "/", true),
            ("Path(`/a`)", "x", "/a", true),
            ("Path(`/a`)", "x", "/a/", false),
            ("PathPrefix(`/products`)", "x", "/products-for-sale", true),
            ("PATHPREFIX(`/a`) && !Path(`/a/b`)", "x", "/a/b", false),
            ("!(Host(`a`) || Host(`b`)) && Pathprefix(`/`)", "c", "/", true),
            (" ( Host(`a`)&&PathPrefix(`/`) ) ", "a", "/", true),
        ] {
            assert_eq!(parse(text).unwrap().matches(host, path), taken, "{text} for {host}{path}");
        }
    }

    #[test]
    fn a_rule_is_shown_as_it_could_be_written() {
        for text in [
            "Host(`a`) || Host(`b`) && PathPrefix(`/x`)",
            "(Host(`a`) || Host(`*.b`)) && !Path(`/x`)",
            "!(Host(`*`) && PathPrefix(`/`))",
        ] {
            let rule = parse(text).unwrap();
            assert_eq!(rule.to_string(), text);
            assert_eq!(parse(&rule.to_string()), Ok(rule));
        }
    }

    #[test]
    fn a_fault_says_where_and_what_was_expected() {
        for (text, expected) in [
            ("", "the rule ends where a matcher was expected"),
            ("Host(`a`", "the rule ends where `)` was expected (at character 9)"),
            ("Host(a)", "expected a value in backticks or double quotes (at character 6)"),
            ("Host(`a", "is never closed"),
            ("Host(`a`,`b`)", "Host takes one value"),
            ("Host(``)", "Host needs a value"),
            ("Hots(`a`)", "`Hots` is not a matcher known here"),
            ("Path(`a`)", "a path starts with `/`"),
            ("Host(`é`)", "punycode"),
            ("Host(`a*`)", "a `*` stands alone"),
            ("Host(`a`) Host(`b`)", "unexpected `H`: expected `&&`"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let deep = format!("{}Host(`a`){}", "(".repeat(100), ")".repeat(100));
        assert!(parse(&deep).unwrap_err().message.contains("nested deeper"));
    }
}
