//! Where dynamic configuration is read from files: `providers.file`.

use std::path::{Path, PathBuf};

/// One file, or all of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProvider {
    /// Where it is.
    pub source: FileSource,
    /// Whether it is read again when it changes.
    pub watch: bool,
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// `filename`: this file.
    File(PathBuf),
    /// `directory`: every `.yaml`, `.yml` and `.toml` in it and below it.
    Directory(PathBuf),
}

impl FileSource {
    /// A path whose name ends as a file of configuration does is a file; any other is a directory.
    pub fn of(path: PathBuf) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if crate::dynamic::format_of(extension).is_some() { Self::File(path) } else { Self::Directory(path) }
    }

    /// The path, of whichever kind.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Directory(path) => path,
        }
    }
}
