//! The tree from labels, in paerser's grammar: names with dots between, in any letters, and indices in brackets.

use std::sync::Arc;

use super::node::{Node, Place, Value};

/// What may be wrong with a label's name.
pub(crate) type Malformed = String;

/// Labels may go so many names deep; nothing of the model goes deeper.
const DEPTH_MAX: usize = 16;

/// A tree under construction.
#[derive(Debug)]
pub(crate) struct Tree {
    root: Node,
}

/// An empty tree.
pub(crate) fn tree() -> Tree {
    Tree { root: Node::map(Place::Label(Arc::from(""))) }
}

impl Tree {
    /// Adds a label, by its name below the prefix: `http.routers.api.rule`. A later one takes an earlier one's place.
    pub(crate) fn add(&mut self, label: &str, path: &str, text: &str) -> Result<(), Malformed> {
        let place = Place::Label(label.into());
        let mut names = Vec::new();
        for part in path.split('.') {
            let (name, indices) =
                part.split_once('[').map_or((part, None), |(name, rest)| (name, Some(rest)));
            if name.is_empty() {
                return Err("a name between two dots is empty".to_owned());
            }
            names.push(name.to_owned());
            if let Some(index) = indices {
                let digits = index.strip_suffix(']').filter(|index| index.parse::<u16>().is_ok());
                let digits = digits
                    .ok_or_else(|| format!("`{part}`: expected a number in brackets, such as `{name}[0]`"))?;
                names.push(format!("[{digits}]"));
            }
        }
        if names.len() > DEPTH_MAX {
            return Err(format!("goes deeper than {DEPTH_MAX} names"));
        }
        one_server(&mut names)?;
        let mut node = &mut self.root;
        for name in names {
            node = child(node, &name, &place)?;
        }
        match &node.value {
            Value::Map(entries) if !entries.is_empty() => {
                Err("other labels give it options: it can't stand alone as well".to_owned())
            }
            _ => {
                *node = Node::text(place, text);
                Ok(())
            }
        }
    }

    /// The finished tree.
    pub(crate) fn into_root(self) -> Node {
        self.root
    }
}

/// By label there is one server, and it is called `server`.
fn one_server(names: &mut Vec<String>) -> Result<(), Malformed> {
    let folded: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let folded: Vec<&str> = folded.iter().map(String::as_str).collect();
    match folded.as_slice() {
        ["http" | "tcp" | "udp", "services", _, "loadbalancer", "server", ..] => {
            "servers".clone_into(&mut names[4]);
            names.insert(5, "[0]".to_owned());
            Ok(())
        }
        ["http" | "tcp" | "udp", "services", _, "loadbalancer", "servers", ..] => {
            Err("by label there is one server, the container itself: write `loadbalancer.server.port`"
                .to_owned())
        }
        _ => Ok(()),
    }
}

/// The child of that name, in whatever letters it was first written.
fn child<'n>(node: &'n mut Node, name: &str, place: &Place) -> Result<&'n mut Node, Malformed> {
    // What Portolan's own prefix adds to counts as written under it.
    if node.place.is_traefiks() && !place.is_traefiks() {
        node.place = place.clone();
    }
    if let Value::Text(text) = &node.value {
        // `tls=true` beside `tls.options=x` says nothing that the second does not.
        if super::boolean(text) != Some(true) && !text.is_empty() {
            return Err(format!("label `{}` gives `{text}`, and this one options", node.place));
        }
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else {
        return Err("it is not a place for options".to_owned());
    };
    let known = entries.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
    let index = known.unwrap_or_else(|| {
        entries.push((name.to_owned(), Node::map(place.clone())));
        entries.len() - 1
    });
    Ok(&mut entries[index].1)
}
