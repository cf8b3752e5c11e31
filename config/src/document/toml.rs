//! TOML into the tree.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Node, Unreadable, Value, integer, one_line};

pub(super) fn parse(text: &str) -> Result<Node, Unreadable> {
    match DeTable::parse(text) {
        Ok(table) => {
            let lines = Lines::of(text);
            Ok(Node { line: 1, value: map(table.into_inner(), text, &lines) })
        }
        Err(error) => {
            let line = error.span().map(|span| Lines::of(text).at(span.start));
            Err(Unreadable { line, message: one_line(error.message()) })
        }
    }
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect())
    }

    /// The line of a byte; the first is 1.
    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset).max(1)
    }
}

fn node(value: Spanned<DeValue<'_>>, text: &str, lines: &Lines) -> Node {
    let span = value.span();
    let line = lines.at(span.start);
    let spelled = || Value::Text(text.get(span.clone()).unwrap_or_default().trim().to_owned());
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        // Without the `_` that TOML lets stand between digits.
        DeValue::Integer(number) => Value::Text(integer(&number.to_string(), || {
            i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        })),
        DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => spelled(),
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| node(item, text, lines)).collect()),
        DeValue::Table(table) => map(table, text, lines),
    };
    Node { line, value }
}

fn map(table: DeTable<'_>, text: &str, lines: &Lines) -> Value {
    let mut entries: Vec<(usize, String, Node)> = table
        .into_iter()
        .map(|(key, value)| {
            let at = key.span().start;
            (at, key.into_inner().into_owned(), node(value, text, lines))
        })
        .collect();
    // The library sorts keys by name; a reader goes through the file.
    entries.sort_by_key(|(at, _, _)| *at);
    Value::Map(entries.into_iter().map(|(at, key, node)| (key, lines.at(at), node)).collect())
}
