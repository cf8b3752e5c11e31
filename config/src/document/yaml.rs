//! YAML into the tree.
//!
//! The library resolves anchors, merges and limits; plain scalars are taken from the text again as they were spelled, as
//! `1.10` is no number where a name is meant.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::{Node, Unreadable, Value, integer, one_line};

/// Values, lists and names of one file, at most; aliases count each time. Far more than ten thousand routers have.
const NODES_MAX: usize = 2_000_000;

/// Levels of a file, at most; no option of any kind goes deeper than twelve.
const DEPTH_MAX: usize = 32;

/// Parts of a file that aliases repeat, at most: people repeat some lines, not a file.
const REPEATED_MAX: usize = 200_000;

pub(super) fn parse(text: &str) -> Result<Node, Unreadable> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! { max_nodes: NODES_MAX, max_events: 4 * NODES_MAX, max_depth: DEPTH_MAX },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: REPEATED_MAX },
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(node(raw, text)),
        Err(error) => {
            let line = error.location().map(line);
            Err(Unreadable { line, message: in_our_words(&one_line(&error.to_string())) })
        }
    }
}

/// What the library says, without the place, which is told apart, and without what is for programmers.
fn in_our_words(message: &str) -> String {
    let message = message.rfind(" at line ").map_or(message, |at| &message[..at]);
    match message.strip_prefix("duplicate mapping key: ").and_then(|rest| rest.split(", set ").next()) {
        Some(key) => format!("`{key}` is written twice"),
        None => message.to_owned(),
    }
}

/// What serde makes of a value.
enum Raw {
    Null,
    /// A scalar that YAML takes for something other than a text, and as what.
    Typed(String),
    Integer(String),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let at = raw.defined;
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Text(text),
        Raw::Typed(read) => Value::Text(spelled(at, text).map_or(read, str::to_owned)),
        Raw::Integer(read) => Value::Text(match spelled(at, text) {
            Some(spelled) => integer(spelled, || Some(read)),
            None => read,
        }),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key.value, line(key.defined), node(value, text)))
                .collect(),
        ),
    };
    Node { line: line(at), value }
}

/// The scalar as it stands in the text.
fn spelled(at: Location, text: &str) -> Option<&str> {
    let span = at.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    text.get(start..end).map(str::trim).filter(|spelled| !spelled.is_empty())
}

fn line(at: Location) -> usize {
    usize::try_from(at.line()).unwrap_or(usize::MAX)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;
        impl<'de> Visitor<'de> for RawVisitor {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }
            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
                Raw::deserialize(deserializer)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Typed(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
                Ok(Raw::Integer(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
                Ok(Raw::Integer(value.to_string()))
            }
            fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
                Ok(Raw::Integer(value.to_string()))
            }
            fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
                Ok(Raw::Integer(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
                Ok(Raw::Typed(value.to_string()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
                Ok(Raw::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Raw::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw::Map(entries))
            }
        }
        deserializer.deserialize_any(RawVisitor)
    }
}
