//! Files that may change while they are in use. It knows when to read one again, and not what is in it.
//!
//! Files are looked at, as everywhere in Portolan: a `stat` sees through renames, links and bind mounts.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often files are looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// A file, and how it was when it was last looked at.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    seen: Option<Seen>,
}

/// What is another in another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    modified: Option<SystemTime>,
    size: u64,
    /// A file that is put in the place of another has another.
    number: u64,
}

impl Watched {
    /// A file as it is now: look first, read then, and no change is missed.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: seen(path) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is another since this was asked last, and is there.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now = seen(&self.path);
        let before = std::mem::replace(&mut self.seen, now);
        now.is_some() && now != before
    }
}

fn seen(path: &Path) -> Option<Seen> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some(Seen { modified: metadata.modified().ok(), size: metadata.len(), number: metadata.ino() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_a_gap_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut watched = Watched::new(&path);
        assert!(!watched.has_changed(), "it is not there");
        std::fs::write(&path, "a").unwrap();
        assert!(watched.has_changed());
        assert!(!watched.has_changed());
        std::fs::write(&path, "bb").unwrap();
        assert!(watched.has_changed());
        // Written elsewhere and put in its place, as most do.
        let new = folder.path().join("new");
        std::fs::write(&new, "cc").unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert!(watched.has_changed());
        std::fs::remove_file(&path).unwrap();
        assert!(!watched.has_changed(), "what was read stays in use");
        std::fs::write(&path, "cc").unwrap();
        assert!(watched.has_changed());
    }
}
