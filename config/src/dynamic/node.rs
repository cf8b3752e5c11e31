//! What was written, before it is known what it means: a tree of texts, each with the place where it stands.
//!
//! Both front ends, files and labels, end here. It knows nothing of routers and services.

use std::fmt;
use std::sync::Arc;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In a label, spelled as written.
    Label(Arc<str>),
    /// In a file, on a line; the first is 1.
    Line {
        /// The file's name.
        file: Arc<str>,
        /// The line.
        line: usize,
    },
}

impl Place {
    /// The label, where it is one.
    pub fn label(&self) -> Option<&str> {
        match self {
            Self::Label(label) => Some(label),
            Self::Line { .. } => None,
        }
    }

    /// Whether it is a label that Traefik would read too.
    pub(super) fn is_traefiks(&self) -> bool {
        self.label().is_some_and(|label| label.starts_with("traefik."))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => f.write_str(label),
            Self::Line { file, line } => write!(f, "{file}:{line}"),
        }
    }
}

/// Something written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing: a key without a value, which is as good as no key.
    Null,
    /// A text, number or boolean, as text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Names with what belongs to them, in the order written.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// An empty map.
    pub(super) fn map(place: Place) -> Self {
        Self { place, value: Value::Map(Vec::new()) }
    }

    /// A text.
    pub(super) fn text(place: Place, text: impl Into<String>) -> Self {
        Self { place, value: Value::Text(text.into()) }
    }

    /// Every place below where something stands.
    pub(super) fn leaves(&self) -> Vec<&Place> {
        match &self.value {
            Value::Null | Value::Text(_) => vec![&self.place],
            Value::List(items) if !items.is_empty() => items.iter().flat_map(Self::leaves).collect(),
            Value::Map(entries) if !entries.is_empty() => {
                entries.iter().flat_map(|(_, node)| node.leaves()).collect()
            }
            Value::List(_) | Value::Map(_) => vec![&self.place],
        }
    }
}
