//! A file as written, before it is known what it means: a tree of texts, each with the line where it stands.
//!
//! YAML and TOML end in the same tree. Nothing here knows an option, or reads a file: text comes in.

mod toml;
mod yaml;

/// Bytes of a file that are read: ten thousand routers have fewer.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2, of which JSON is a part.
    Yaml,
    /// TOML 1.1.
    Toml,
}

/// Something written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The line it begins on; the first is 1.
    pub line: usize,
    /// What it is.
    pub value: Value,
}

/// What can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A key with nothing behind it.
    Null,
    /// A text, number or boolean, as it was spelled.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys with their lines and what belongs to them, in the order written.
    Map(Vec<(String, usize, Node)>),
}

/// Why a text is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The line, if one is at fault.
    pub line: Option<usize>,
    /// What is wrong, in one line.
    pub message: String,
}

impl Format {
    /// By the end of a file's name: `.yml`, `.yaml`, `.json`, or `.toml`.
    pub fn of(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "yml" | "yaml" | "json" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }
}

impl Node {
    /// Reads a text. An empty one is an empty map.
    pub fn parse(text: &str, format: Format) -> Result<Self, Unreadable> {
        if text.len() > DOCUMENT_BYTES_MAX {
            let message = format!("it has {} bytes, and {DOCUMENT_BYTES_MAX} are the most", text.len());
            return Err(Unreadable { line: None, message });
        }
        let node = match format {
            Format::Yaml => yaml::parse(text),
            Format::Toml => toml::parse(text),
        }?;
        Ok(if node.value == Value::Null { Self { line: 1, value: Value::Map(Vec::new()) } } else { node })
    }
}

/// A parser's message in one line: some of them draw the place below it.
fn one_line(message: &str) -> String {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("it can't be read").to_owned()
}

/// An integer as it is spelled, in decimal where it is spelled otherwise: options that take numbers know no other.
fn integer(spelled: &str, read: impl FnOnce() -> Option<String>) -> String {
    let digits = spelled.trim_start_matches(['+', '-']);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { spelled.to_owned() } else { read().unwrap_or_else(|| spelled.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as `line:key=value`, a leaf each.
    fn leaves(node: &Node, path: &str, found: &mut Vec<String>) {
        match &node.value {
            Value::Null => found.push(format!("{}:{path} is empty", node.line)),
            Value::Text(text) => found.push(format!("{}:{path}={text}", node.line)),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    leaves(item, &format!("{path}[{index}]"), found);
                }
            }
            Value::Map(entries) => {
                for (key, _, child) in entries {
                    leaves(child, &format!("{path}/{key}"), found);
                }
            }
        }
    }

    fn shown(text: &str, format: Format) -> Vec<String> {
        let mut found = Vec::new();
        leaves(&Node::parse(text, format).unwrap_or_else(|error| panic!("{error:?}")), "", &mut found);
        found
    }

    #[test]
    fn yaml_and_toml_are_one_tree_with_lines() {
        let yaml = "a:\n  b: 1.10\n  c: [x, 'y z']\n  d: yes\n\"e f\":\n- g: true\n  h: 0x10\n";
        let toml = "[a]\nb = \"1.10\"\nc = [\"x\", 'y z']\nd = \"yes\"\n[[\"e f\"]]\ng = true\nh = 0x10\ni = 1_000\n";
        assert_eq!(
            shown(yaml, Format::Yaml),
            [
                "2:/a/b=1.10",
                "3:/a/c[0]=x",
                "3:/a/c[1]=y z",
                "4:/a/d=yes",
                "6:/e f[0]/g=true",
                "7:/e f[0]/h=16"
            ]
        );
        assert_eq!(
            shown(toml, Format::Toml),
            [
                "2:/a/b=1.10",
                "3:/a/c[0]=x",
                "3:/a/c[1]=y z",
                "4:/a/d=yes",
                "6:/e f[0]/g=true",
                "7:/e f[0]/h=16",
                "8:/e f[0]/i=1000"
            ]
        );
    }

    #[test]
    fn what_yaml_lets_people_leave_out_or_repeat() {
        assert_eq!(shown("", Format::Yaml), [""; 0]);
        assert_eq!(shown("# nothing\n", Format::Yaml), [""; 0]);
        assert_eq!(
            shown("a:\nb: ~\nc: {}\nd: ''\n", Format::Yaml),
            ["1:/a is empty", "2:/b is empty", "4:/d="]
        );
        let anchored = "x: &all\n  a: 1\ny:\n  <<: *all\n  b: 2\n";
        assert_eq!(shown(anchored, Format::Yaml), ["2:/x/a=1", "5:/y/b=2", "2:/y/a=1"]);
        assert_eq!(shown("a: |\n  one\n  two\n", Format::Yaml), ["2:/a=one\ntwo\n"]);
        assert_eq!(shown("{\"a\": {\"b\": [1, 2]}}", Format::Yaml), ["1:/a/b[0]=1", "1:/a/b[1]=2"]);
    }

    #[test]
    fn what_can_not_be_read_says_where() {
        for (text, format, line) in [
            ("a: 1\nb: [1\n", Format::Yaml, 2..=3),
            ("a: 1\n\tb: 2\n", Format::Yaml, 1..=2),
            ("a: 1\na: 2\n", Format::Yaml, 2..=2),
            ("a = 1\nb =\n", Format::Toml, 2..=2),
            ("a = 1\n\na = 2\n", Format::Toml, 3..=3),
            ("a = 1\nb = 08\n", Format::Toml, 2..=2),
        ] {
            let error = Node::parse(text, format).expect_err("it is wrong");
            assert!(error.line.is_some_and(|at| line.contains(&at)), "{text}: {error:?}");
            assert!(!error.message.is_empty() && !error.message.contains('\n'), "{error:?}");
        }
        let told = |text| Node::parse(text, Format::Yaml).expect_err("it is wrong").message;
        assert_eq!(told("a: 1\na: 2\n"), "`a` is written twice");
        assert_eq!(told("a: {b: 1\n"), "unclosed bracket '{'");
        let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n\
                    c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n\
                    e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e, *e, *e]\n";
        assert!(Node::parse(bomb, Format::Yaml).is_err(), "an alias bomb is refused");
        let deep = "[".repeat(100_000);
        assert!(Node::parse(&deep, Format::Yaml).is_err());
        assert!(Node::parse(&format!("a = {deep}"), Format::Toml).is_err());
        let long = "#".repeat(DOCUMENT_BYTES_MAX + 1);
        assert!(Node::parse(&long, Format::Yaml).expect_err("too long").message.contains("are the most"));
    }
}
