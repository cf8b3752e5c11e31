//! The users of a middleware: those that are written in it, and those of a file, which is read again when it changes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

/// Reads a line: the name, and what is known of the user.
pub(super) type Parse<T> = fn(&str) -> Result<(String, T), String>;

/// Users by name.
pub(super) struct Users<T> {
    parse: Parse<T>,
    written: BTreeMap<String, Arc<T>>,
    file: Option<PathBuf>,
    all: ArcSwap<BTreeMap<String, Arc<T>>>,
}

impl<T> Users<T> {
    /// Those that are written. Those of the file come with [`Users::take`].
    pub(super) fn of(written: &[String], file: &str, parse: Parse<T>) -> Result<Self, String> {
        let mut users = BTreeMap::new();
        for line in written {
            let (name, user) = parse(line).map_err(|why| format!("`users`: {why}"))?;
            users.insert(name, Arc::new(user));
        }
        Ok(Self {
            parse,
            all: ArcSwap::new(Arc::new(users.clone())),
            written: users,
            file: Some(PathBuf::from(file)).filter(|_| !file.is_empty()),
        })
    }

    /// The file, where there is one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Takes what the file says. What can't be understood costs its line. Those that are written win.
    pub(super) fn take(&self, text: &str) -> Result<(), String> {
        let mut users = BTreeMap::new();
        let mut wrong = Vec::new();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match (self.parse)(line) {
                Ok((name, user)) => drop(users.insert(name, Arc::new(user))),
                Err(why) => wrong.push(format!("line {}: {why}", index + 1)),
            }
        }
        users.extend(self.written.iter().map(|(name, user)| (name.clone(), user.clone())));
        self.all.store(Arc::new(users));
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// The user of this name.
    pub(super) fn get(&self, name: &str) -> Option<Arc<T>> {
        self.all.load().get(name).cloned()
    }

    /// Any user, to be busy for as long as with one that there is.
    pub(super) fn any(&self) -> Option<Arc<T>> {
        self.all.load().values().next().cloned()
    }
}

impl<T> fmt::Debug for Users<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither names nor hashes are for logs.
        write!(f, "{} users", self.all.load().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<(String, u32), String> {
        let (name, number) = line.split_once(':').ok_or("no colon")?;
        Ok((name.to_owned(), number.parse().map_err(|_| "no number")?))
    }

    #[test]
    fn users_are_those_that_are_written_and_those_of_the_file() {
        let users = Users::of(&["a:1".to_owned()], "/file", parse).unwrap();
        let get = |name| users.get(name).map(|user| *user);
        assert_eq!((get("a"), get("b")), (Some(1), None));
        users.take("# users\n\n b:2 \na:3\nc:4\n").unwrap();
        assert_eq!((get("a"), get("b"), get("c")), (Some(1), Some(2), Some(4)));
        let wrong = users.take("b:5\nwrong\nc:x\n").unwrap_err();
        assert_eq!(wrong, "line 2: no colon; line 3: no number");
        assert_eq!((get("a"), get("b"), get("c")), (Some(1), Some(5), None));
        assert!(Users::of(&["x".to_owned()], "", parse).is_err());
    }
}
