//! The tree from a file: a [`document`], each of its texts with the name of the file.

use std::sync::Arc;

use super::node::{Node, Place, Value};
use super::{Dynamic, Wrong, read};
use crate::document::{self, Format, Unreadable};

/// The language of a file of dynamic configuration, by its ending; `None` for files that are none. JSON is not read by
/// itself: a directory of such files may well have other JSON in it.
pub fn format_of(extension: &str) -> Option<Format> {
    match extension {
        "yaml" | "yml" => Some(Format::Yaml),
        "toml" => Some(Format::Toml),
        _ => None,
    }
}

/// Reads a file's text. `name` is what faults call it. An error means that it can't be read at all.
pub fn read_file(name: &str, format: Format, text: &str) -> Result<Dynamic, Wrong> {
    tree(name, format, text).map(|root| read(&root))
}

/// The tree of a file's text.
pub(super) fn tree(name: &str, format: Format, text: &str) -> Result<Node, Wrong> {
    let file: Arc<str> = name.into();
    match document::Node::parse(text, format) {
        Ok(root) => Ok(placed(root.value, &file, root.line)),
        Err(Unreadable { line, message }) => {
            let place = Place::Line { file, line: line.unwrap_or(1).max(1) };
            Err(Wrong { place, path: String::new(), message })
        }
    }
}

fn placed(value: document::Value, file: &Arc<str>, line: usize) -> Node {
    let value = match value {
        document::Value::Null => Value::Null,
        document::Value::Text(text) => Value::Text(text),
        document::Value::List(items) => {
            Value::List(items.into_iter().map(|item| placed(item.value, file, item.line)).collect())
        }
        // What belongs to a name stands where the name stands, also if it begins a line below.
        document::Value::Map(entries) => Value::Map(
            entries.into_iter().map(|(name, line, node)| (name, placed(node.value, file, line))).collect(),
        ),
    };
    Node { place: Place::Line { file: file.clone(), line }, value }
}
