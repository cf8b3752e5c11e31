//! Values: texts into what they mean, with a fault for each that means nothing.

use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::known::{Kind, State, join};
use super::nearest::nearest;
use super::written::{Entry, Value, Written};
use crate::Fault;

/// Reads options, and gathers what is wrong with them.
pub(crate) struct Reader<'a> {
    written: &'a Written,
    pub(crate) faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(written: &'a Written) -> Self {
        Self { written, faults: written.faults().to_vec() }
    }

    /// A fault of an option; where it is not written, of what is written at or below `otherwise`, or of that itself.
    pub(crate) fn fault(&mut self, path: &str, otherwise: &str, message: impl Into<String>) {
        let around = || self.written.under(&otherwise.to_ascii_lowercase()).next();
        let fault = match (self.entry(path), around()) {
            (Some(entry), _) => entry.origin.fault(path, message),
            (None, Some(around)) => around.origin.fault(otherwise, message),
            (None, None) => Fault::new("flag", otherwise, message),
        };
        self.faults.push(fault);
    }

    fn entry(&self, path: &str) -> Option<&'a Entry> {
        self.written.get(&path.to_ascii_lowercase())
    }

    /// Whether something is written at this path, or below it.
    pub(crate) fn is_written(&self, path: &str) -> bool {
        self.written.under(&path.to_ascii_lowercase()).next().is_some()
    }

    /// Whether something is written there in Traefik's spelling.
    pub(crate) fn is_written_as_traefik(&self, path: &str) -> bool {
        self.written.is_written_as_traefik(&path.to_ascii_lowercase())
    }

    /// Whether a section is on; `None` where nothing is written.
    pub(crate) fn section(&mut self, path: &str) -> Option<bool> {
        // What is neither true nor false is a fault, and asks for the section all the same.
        let _ = self.boolean(path);
        self.written.section(&path.to_ascii_lowercase())
    }

    /// The names that the operator chose below a path, sorted; each spelled as where it counts most.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let depth = path.split('.').count();
        let mut names: Vec<(String, &Entry)> = Vec::new();
        for entry in self.written.under(&path.to_ascii_lowercase()) {
            let Some(name) = entry.path.get(depth) else { continue };
            // Variables have no case to go by.
            let weight =
                |entry: &Entry| (matches!(entry.origin, super::written::Origin::Variable(_)), entry.rank);
            match names.iter_mut().find(|(there, _)| there.eq_ignore_ascii_case(name)) {
                None => names.push((name.clone(), entry)),
                Some(there) => {
                    let ((variable, rank), (old_variable, old_rank)) = (weight(entry), weight(there.1));
                    if (!variable, rank) > (!old_variable, old_rank) {
                        *there = (name.clone(), entry);
                    }
                }
            }
        }
        names.into_iter().map(|(name, _)| name).collect()
    }

    /// The text, also an empty one.
    pub(crate) fn raw(&mut self, path: &str) -> Option<String> {
        match &self.entry(path)?.value {
            Value::Text(text) => Some(text.trim().to_owned()),
            Value::List(items) => Some(items.join(",")),
        }
    }

    /// The text, if there is any.
    pub(crate) fn text(&mut self, path: &str) -> Option<String> {
        self.raw(path).filter(|text| !text.is_empty())
    }

    /// What `parse` makes of the text.
    pub(crate) fn parsed<T>(
        &mut self,
        path: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(path)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(path, path, message);
                None
            }
        }
    }

    /// A truth.
    pub(crate) fn boolean(&mut self, path: &str) -> Option<bool> {
        self.parsed(path, |text| boolean(text).ok_or_else(|| neither(text)))
    }

    /// A truth that is `otherwise` unless written.
    pub(crate) fn flag(&mut self, path: &str, otherwise: bool) -> bool {
        self.boolean(path).unwrap_or(otherwise)
    }

    /// A whole number.
    pub(crate) fn number<T: FromStr>(&mut self, path: &str, expected: &str) -> Option<T> {
        self.parsed(path, |text| {
            text.parse().map_err(|_| format!("`{text}` is not a number that fits: expected {expected}"))
        })
    }

    /// A duration.
    pub(crate) fn duration(&mut self, path: &str) -> Option<Duration> {
        self.parsed(path, super::parse_duration)
    }

    /// One of several words, whatever their case.
    pub(crate) fn choice<T: Copy>(&mut self, path: &str, choices: &[(&str, T)]) -> Option<T> {
        self.parsed(path, |text| {
            let fits = |word: &str| word.eq_ignore_ascii_case(text);
            choices.iter().find(|(word, _)| fits(word)).map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                let meant = nearest(text, words.iter().copied())
                    .map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
                let (last, first) = words.split_last().expect("there is something to choose");
                format!("`{text}`: expected {} or {last}{meant}", first.join(", "))
            })
        })
    }

    /// A list: with commas between its parts, one by one with an index, or as a file writes it.
    pub(crate) fn list(&mut self, path: &str) -> Option<Vec<String>> {
        let key = path.to_ascii_lowercase();
        let rank = self.written.under(&key).map(|entry| entry.rank).max()?;
        let mut indexed: Vec<(usize, String)> = Vec::new();
        for entry in self.written.under(&key).filter(|entry| entry.rank == rank) {
            let index = entry.path.last().and_then(|last| last.strip_prefix('[')?.strip_suffix(']'));
            let index = index.and_then(|index| index.parse().ok()).unwrap_or(0);
            match &entry.value {
                Value::List(items) => {
                    indexed.extend(items.iter().map(|item| (index, item.trim().to_owned())));
                }
                Value::Text(text) => {
                    indexed.extend(text.split(',').map(|part| (index, part.trim().to_owned())));
                }
            }
        }
        indexed.sort_by_key(|(index, _)| *index);
        Some(indexed.into_iter().map(|(_, item)| item).filter(|item| !item.is_empty()).collect())
    }

    /// A list of what `parse` makes of its parts.
    pub(crate) fn parsed_list<T>(
        &mut self,
        path: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let items = self.list(path)?;
        let mut parsed = Vec::new();
        for item in items {
            match parse(&item) {
                Ok(value) => parsed.push(value),
                Err(message) => self.fault(path, path, message),
            }
        }
        Some(parsed)
    }

    /// What is written of options that nothing reads: a truth that is none, and a word where a number is meant.
    pub(crate) fn check_kinds(&mut self) {
        for entry in self.written.entries() {
            let Value::Text(text) = &entry.value else { continue };
            let is_number =
                || text.parse::<i64>().is_ok() || super::parse_duration(text.trim_start_matches('-')).is_ok();
            let takes_number =
                !entry.known.default.is_empty() && entry.known.default.bytes().all(|b| b.is_ascii_digit());
            let message = match entry.known.kind {
                _ if text.trim().is_empty() => continue,
                Kind::Bool if boolean(text.trim()).is_none() => neither(text.trim()),
                Kind::Value if takes_number && entry.known.state != State::Done && !is_number() => {
                    format!("`{text}` is neither a number nor a duration, such as `{}`", entry.known.default)
                }
                _ => continue,
            };
            let fault = entry.origin.fault(&join(&entry.path), message);
            // Whoever reads it has said what is wrong.
            if !self.faults.iter().any(|told| (&told.origin, &told.key) == (&fault.origin, &fault.key)) {
                self.faults.push(fault);
            }
        }
    }

    /// Addresses and networks.
    pub(crate) fn networks(&mut self, path: &str) -> Vec<IpNet> {
        self.parsed_list(path, network).unwrap_or_default()
    }
}

fn neither(text: &str) -> String {
    format!("`{text}` is neither true nor false: write `true` or `false`")
}

/// Reads what Go takes for a truth, whatever its case.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// Reads `10.0.0.0/8` or `10.0.0.1`; bits behind the prefix do not count.
fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from).ok();
    text.parse::<IpNet>().ok().or_else(address).map(|network| network.trunc()).ok_or_else(|| {
        format!("`{text}` is neither an address nor a network: write `10.0.0.1` or `10.0.0.0/8`")
    })
}
