//! Regular expressions as Go reads them, carried out by the `regex` crate.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A regular expression, compiled once. Two are equal if they are written alike.
#[derive(Clone, Debug)]
pub struct Pattern {
    written: String,
    regex: regex::Regex,
}

impl Pattern {
    /// Compiles a pattern.
    pub fn parse(text: &str) -> Result<Self, String> {
        let regex = regex::Regex::new(&as_go(text)).map_err(|error| {
            // The first line of a syntax error is a heading; the last one says what is wrong.
            let shown = error.to_string();
            let reason = shown.lines().last().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            format!("`{text}` is not a regular expression: {reason}")
        })?;
        Ok(Self { written: text.to_owned(), regex })
    }

    /// Whether it is found in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The compiled expression.
    pub fn regex(&self) -> &regex::Regex {
        &self.regex
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

/// The pattern in the crate's words. The two languages differ little: Go's `\d`, `\w`, `\s` and `\b` are ASCII, `[` and
/// `&&` within a class and a `{` that repeats nothing stand for themselves, and `\Q…\E` quotes.
fn as_go(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut in_class = false;
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let mut taken = letter.len_utf8();
        match letter {
            '\\' => {
                let escaped = rest[1..].chars().next();
                taken += escaped.map_or(0, char::len_utf8);
                match (escaped, in_class) {
                    (Some('d'), false) => out.push_str("[0-9]"),
                    (Some('D'), false) => out.push_str("[^0-9]"),
                    (Some('w'), false) => out.push_str("[0-9A-Za-z_]"),
                    (Some('W'), false) => out.push_str("[^0-9A-Za-z_]"),
                    (Some('s'), false) => out.push_str("[\\t\\n\\f\\r ]"),
                    (Some('S'), false) => out.push_str("[^\\t\\n\\f\\r ]"),
                    (Some('b'), false) => out.push_str("(?-u:\\b)"),
                    (Some('d'), true) => out.push_str("0-9"),
                    (Some('w'), true) => out.push_str("0-9A-Za-z_"),
                    (Some('s'), true) => out.push_str("\\t\\n\\f\\r "),
                    (Some('Q'), false) => {
                        let quoted = rest[2..].split("\\E").next().unwrap_or_default();
                        out.push_str(&regex::escape(quoted));
                        taken += quoted.len();
                        if rest[taken..].starts_with("\\E") {
                            taken += 2;
                        }
                    }
                    _ => out.push_str(&rest[..taken]),
                }
            }
            '[' if in_class && rest.starts_with("[:") => out.push('['),
            '[' if in_class => out.push_str("\\["),
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(letter);
            }
            '[' => {
                in_class = true;
                out.push('[');
                // A `]` that comes first stands for itself.
                for (first, shown) in [("[^]", "^\\]"), ("[]", "\\]"), ("[^", "^")] {
                    if rest.starts_with(first) {
                        out.push_str(shown);
                        taken = first.len();
                        break;
                    }
                }
            }
            ']' if in_class => {
                // One that ends a class of a class, `[[:alpha:]]`, is followed by the one that ends it all.
                let named =
                    out.rfind("[:").is_some_and(|at| at + 2 < out.len() && !out[at + 2..].contains(']'));
                in_class = named && out.ends_with(':');
                out.push(']');
            }
            '{' if !in_class && !repeats(rest) => out.push_str("\\{"),
            letter => out.push(letter),
        }
        rest = &rest[taken..];
    }
    out
}

/// Whether a text that begins with a brace says how often: `{2}`, `{2,}`, `{2,3}`.
fn repeats(text: &str) -> bool {
    let Some((inner, _)) = text[1..].split_once('}') else { return false };
    let (least, most) = inner.split_once(',').unwrap_or((inner, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && digits(least) && digits(most)
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.written.hash(state);
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, text, found) in [
            (r"^\d+$", "123", true),
            (r"^\d+$", "١٢٣", false),
            (r"^[\w-]{1,63}$", "a-b_c", true),
            (r"^\w$", "é", false),
            (r"^\S+\s\S+$", "a b", true),
            (r"^[[:alpha:]]+[0-9]$", "abc1", true),
            (r"^[[:alpha:].]+$", "a.b", true),
            (r"^[^[]+$", "a", true),
            (r"^[a[]+$", "[a", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]]+$", "]", false),
            (r"^[a&&b]+$", "&", true),
            (r"^a{b$", "a{b", true),
            (r"^a{2,3}$", "aaa", true),
            (r"^\Qa.b\E.$", "a.bc", true),
            (r"^\Qa.b", "axb", false),
            (r"\bword\b", "a word.", true),
            (r"(?i)^abc$", "ABC", true),
            (r"^(?P<name>a+)$", "aa", true),
            (r"^[\d.]+$", "10.1", true),
            (r"^a\[b$", "a[b", true),
        ] {
            let compiled = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(compiled.is_match(text), found, "{pattern} in {text}");
            assert_eq!(compiled.as_str(), pattern);
        }
    }

    #[test]
    fn a_bad_pattern_says_why_in_one_line() {
        let error = Pattern::parse("a(b").unwrap_err();
        assert!(error.contains("unclosed group") && !error.contains('\n'), "{error}");
    }
}
