//! The settings as written: what flags, environment and file say, the stronger one first.
//!
//! It knows where something was written and which of two counts. It does not know what a value means.

use std::collections::BTreeMap;

use super::known::{Kind, Known, Spot, State, join};
use crate::Fault;

/// How much something written counts: a flag more than the environment, that more than a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The file.
    File,
    /// A variable under Traefik's prefix.
    TraefikVariable,
    /// A variable under Portolan's prefix: whoever wrote it meant Portolan.
    PortolanVariable,
    /// The command line.
    Flag,
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// On the command line, as typed.
    Flag(String),
    /// In a variable.
    Variable(String),
    /// In a file.
    File {
        /// Its name.
        file: String,
        /// The line; the first is 1.
        line: usize,
    },
}

impl Origin {
    /// Whether it is one of Portolan's own flags or their variables, which mean less than Traefik's options around them.
    fn is_own(&self) -> bool {
        let own = || super::own::OWN.iter().chain([&super::own::ENTRY_POINT]);
        match self {
            Self::Flag(flag) => own().any(|own| flag.strip_prefix("--") == Some(own.flag)),
            Self::Variable(variable) => own().any(|own| own.variable == variable),
            Self::File { .. } => false,
        }
    }

    /// Something wrong with what was written here. `path` is the option, which a file doesn't say on the line.
    pub(crate) fn fault(&self, path: &str, message: impl Into<String>) -> Fault {
        match self {
            Self::Flag(flag) => Fault::new("flag", flag, message),
            Self::Variable(name) => Fault::new("environment", name, message),
            Self::File { file, line } => Fault::new(format!("{file}:{line}"), path, message),
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// One text; where a list is meant, its parts have commas between them.
    Text(String),
    /// A list, as files write it.
    List(Vec<String>),
}

/// One option as written.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) known: &'static Known,
    pub(crate) path: Vec<String>,
    pub(crate) value: Value,
    pub(crate) origin: Origin,
    pub(crate) rank: Rank,
}

impl Entry {
    /// Portolan's flag for the format of the access log does not switch it on by itself.
    fn is_aside(&self) -> bool {
        self.known.path == "accessLog.format" && self.origin.is_own()
    }
}

/// The settings as written, with what is wrong so far: an option that is not known, a file that can't be read.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// By path in lower case.
    entries: BTreeMap<String, Entry>,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
}

impl Written {
    /// What is wrong with it, whatever the options mean.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What is as good as not written, though somebody wrote it.
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    /// Takes in a fault of whoever read a file.
    pub fn own_fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(crate) fn push_fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(crate) fn push_warning(&mut self, warning: Fault) {
        self.warnings.push(warning);
    }

    /// Takes an option in, unless a stronger one is there.
    pub(crate) fn insert(&mut self, spot: Spot, value: Value, origin: Origin, rank: Rank) {
        let key = join(&spot.path).to_ascii_lowercase();
        let entry = Entry { known: spot.known, path: spot.path, value, origin, rank };
        match self.entries.get_mut(&key) {
            Some(there) if there.rank > rank => {}
            // A list may be given flag by flag.
            Some(there) if there.rank == rank && rank == Rank::Flag && there.known.kind == Kind::List => {
                if let (Value::Text(all), Value::Text(more)) = (&mut there.value, &entry.value) {
                    all.push(',');
                    all.push_str(more);
                }
            }
            _ => {
                self.entries.insert(key, entry);
            }
        }
    }

    /// The option at this path, in lower case.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// What is at this path and below it.
    pub(crate) fn under<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let key = key.to_owned();
        let range = self.entries.range(key.clone()..);
        range
            .map_while(move |(path, entry)| path.strip_prefix(&*key).map(|rest| (rest, entry)))
            .filter(|(rest, _)| rest.is_empty() || rest.starts_with(['.', '[']))
            .map(|(_, entry)| entry)
    }

    /// Every option.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Whether a section is on: what counts most of it and what is below it says so. `None` if nothing is written.
    pub(crate) fn section(&self, key: &str) -> Option<bool> {
        let rank = self.under(key).filter(|entry| !entry.is_aside()).map(|entry| entry.rank).max()?;
        let off = self.get(key).is_some_and(|entry| entry.rank == rank && is_false(&entry.value));
        Some(!off)
    }

    /// Whether something at this path or below it is written as Traefik's users write it.
    pub(crate) fn is_written_as_traefik(&self, key: &str) -> bool {
        self.under(key).any(|entry| !entry.origin.is_own())
    }

    /// The options that Portolan does not do as written, spelled as Traefik does, with where they were written.
    pub fn not_implemented(&self) -> Vec<Fault> {
        let lacking = self.entries().filter(|entry| match entry.known.state {
            State::Done | State::Moot => false,
            State::AsDefault => !is_default(entry),
            State::Absent => !(is_false(&entry.value) && entry.known.default != "true"),
        });
        lacking
            .filter(|entry| !self.is_switched_off(entry))
            .map(|entry| entry.origin.fault(&join(&entry.path), "Portolan can't do this yet"))
            .collect()
    }

    /// Whether a section around the option is off.
    fn is_switched_off(&self, entry: &Entry) -> bool {
        (1..entry.path.len())
            .any(|depth| self.section(&join(&entry.path[..depth]).to_ascii_lowercase()) == Some(false))
    }
}

fn is_false(value: &Value) -> bool {
    matches!(value, Value::Text(text) if super::read::boolean(text) == Some(false))
}

/// Whether an option says what would hold without it.
fn is_default(entry: &Entry) -> bool {
    let Value::Text(text) = &entry.value else {
        return matches!(&entry.value, Value::List(items) if items.is_empty());
    };
    let default = entry.known.default;
    if entry.known.kind == Kind::Bool {
        return super::read::boolean(text).map(|value| value.to_string()).as_deref() == Some(default);
    }
    text == default
        || (default.bytes().all(|b| b.is_ascii_digit()) && text.strip_suffix('s') == Some(default))
        || text.is_empty()
}
