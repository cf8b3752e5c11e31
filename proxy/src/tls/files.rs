//! The files that certificates and keys are in: read when they are needed, and again when they change.
//!
//! Changes are found by looking (size, times and inode), not by being told: that works over bind mounts, network file
//! systems and for links that are turned to another directory, as Kubernetes turns them. A look costs a system call for
//! each file, on the control thread.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use portolan_config::tls::Pem;

/// A file that was written this short a time ago may be written again without looking different: file systems count
/// time in steps.
const FRESH: Duration = Duration::from_secs(1);

/// Bytes of a certificate or key file; no chain comes near it.
const BYTES_MAX: u64 = 1024 * 1024;

/// The files that were read, as they were then.
#[derive(Debug, Default)]
pub(crate) struct Files {
    read: BTreeMap<PathBuf, Stamp>,
}

/// How a file looked when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    Missing,
    Seen { inode: u64, size: u64, modified: (i64, i64), changed: (i64, i64), fresh: bool },
}

impl Files {
    /// The bytes that `pem` means. The error says why there are none.
    pub(crate) fn bytes(&mut self, pem: &Pem) -> Result<Vec<u8>, String> {
        let path = match pem {
            Pem::Inline(text) => return Ok(text.as_bytes().to_vec()),
            Pem::File(path) => path,
        };
        // Looked at first: a change while it is read is seen the next time.
        let stamp = stamp(path);
        self.read.insert(path.clone(), stamp);
        if matches!(stamp, Stamp::Seen { size, .. } if size > BYTES_MAX) {
            return Err(format!("it is larger than {} KiB", BYTES_MAX / 1024));
        }
        fs::read(path).map_err(|error| error.to_string())
    }

    /// Forgets what was read, before everything is read anew.
    pub(crate) fn forget(&mut self) {
        self.read.clear();
    }

    /// Whether a file that was read looks different now.
    /// Whether none was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.read.is_empty()
    }

    pub(crate) fn changed(&self) -> bool {
        self.read.iter().any(|(path, then)| {
            let now = stamp(path);
            matches!(then, Stamp::Seen { fresh: true, .. }) || now != *then
        })
    }
}

fn stamp(path: &Path) -> Stamp {
    let Ok(metadata) = fs::metadata(path) else { return Stamp::Missing };
    let modified = metadata.modified().ok();
    let fresh = modified
        .is_some_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age < FRESH));
    Stamp::Seen {
        inode: metadata.ino(),
        size: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        fresh,
    }
}
