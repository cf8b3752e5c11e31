//! The tree from a file: YAML or TOML, with the line of everything that stands in it.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use toml::de::{DeTable, DeValue};

use super::node::{Node, Place, Value};
use super::{Dynamic, Wrong, read};

/// Values, lists and names of one YAML file, at most; aliases count each time. Far more than ten thousand routers have.
const NODES_MAX: usize = 2_000_000;

/// Levels of a YAML file, at most; nothing of the model goes deeper than twelve.
const DEPTH_MAX: usize = 32;

/// The language of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2
    Yaml,
    /// TOML 1.0
    Toml,
}

impl Format {
    /// The language of a file with this ending; `None` for files that are no configuration.
    pub fn of(extension: &str) -> Option<Self> {
        match extension {
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }
}

/// Reads a file's text. `name` is what faults call it. An error means that it can't be read at all.
pub fn read_file(name: &str, format: Format, text: &str) -> Result<Dynamic, Wrong> {
    tree(name, format, text).map(|root| read(&root))
}

/// The tree of a file's text.
pub(super) fn tree(name: &str, format: Format, text: &str) -> Result<Node, Wrong> {
    let file: Arc<str> = name.into();
    match format {
        Format::Yaml => yaml(&file, text),
        Format::Toml => toml(&file, text),
    }
}

fn syntax(file: &Arc<str>, line: usize, message: &str) -> Wrong {
    let place = Place::Line { file: file.clone(), line: line.max(1) };
    // The parsers' messages may draw the line; ours are one line.
    let message = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it can't be read");
    Wrong { place, path: String::new(), message: message.to_owned() }
}

fn yaml(file: &Arc<str>, text: &str) -> Result<Node, Wrong> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! { max_nodes: NODES_MAX, max_events: 4 * NODES_MAX, max_depth: DEPTH_MAX },
    };
    let root: Option<Spanned<Written>> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let line = error.location().map_or(1, |location| location.line() as usize);
            syntax(file, line, &error.to_string())
        })?;
    Ok(match root {
        None => Node { place: Place::Line { file: file.clone(), line: 1 }, value: Value::Null },
        Some(root) => root.value.node(file, root.referenced.line() as usize),
    })
}

/// A node of YAML; its scalars are texts, as the model says what they are.
enum Written {
    Null,
    Text(String),
    List(Vec<Spanned<Written>>),
    Map(Vec<(Spanned<String>, Spanned<Written>)>),
}

impl Written {
    fn node(self, file: &Arc<str>, line: usize) -> Node {
        let place = Place::Line { file: file.clone(), line };
        let value = match self {
            Self::Null => Value::Null,
            Self::Text(text) => Value::Text(text),
            Self::List(items) => Value::List(
                items
                    .into_iter()
                    .map(|item| item.value.node(file, item.referenced.line() as usize))
                    .collect(),
            ),
            // What belongs to a name stands where the name stands, also if it begins a line below.
            Self::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(name, value)| {
                        let line = name.referenced.line() as usize;
                        (name.value, value.value.node(file, line))
                    })
                    .collect(),
            ),
        };
        Node { place, value }
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value, a list or names with values")
    }

    fn visit_unit<E>(self) -> Result<Written, E> {
        Ok(Written::Null)
    }

    fn visit_none<E>(self) -> Result<Written, E> {
        Ok(Written::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Written, E> {
        Ok(Written::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Written, E> {
        Ok(Written::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Written, E> {
        Ok(Written::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Written, E> {
        Ok(Written::Text(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Written, E> {
        Ok(Written::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Written, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Written::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Written::Map(entries))
    }
}

fn toml(file: &Arc<str>, text: &str) -> Result<Node, Wrong> {
    let line =
        |position: usize| text[..position.min(text.len())].bytes().filter(|byte| *byte == b'\n').count() + 1;
    let root = DeTable::parse(text).map_err(|error| {
        let position = error.span().map_or(0, |span| span.start);
        syntax(file, line(position), error.message())
    })?;
    Ok(table(root.get_ref(), file, 1, &line))
}

fn table(table: &DeTable<'_>, file: &Arc<str>, at: usize, line: &impl Fn(usize) -> usize) -> Node {
    let entries = table
        .iter()
        .map(|(name, value)| {
            (name.get_ref().to_string(), toml_node(value.get_ref(), file, line(name.span().start), line))
        })
        .collect();
    Node { place: Place::Line { file: file.clone(), line: at }, value: Value::Map(entries) }
}

fn toml_node(value: &DeValue<'_>, file: &Arc<str>, at: usize, line: &impl Fn(usize) -> usize) -> Node {
    let place = Place::Line { file: file.clone(), line: at };
    let text = |text: String| Node { place: place.clone(), value: Value::Text(text) };
    match value {
        DeValue::String(value) => text(value.to_string()),
        DeValue::Integer(value) => text(value.to_string()),
        DeValue::Float(value) => text(value.to_string()),
        DeValue::Boolean(value) => text(value.to_string()),
        DeValue::Datetime(value) => text(value.to_string()),
        DeValue::Array(items) => {
            let items = items
                .iter()
                .map(|item| toml_node(item.get_ref(), file, line(item.span().start), line))
                .collect();
            Node { place, value: Value::List(items) }
        }
        DeValue::Table(value) => table(value, file, at, line),
    }
}
