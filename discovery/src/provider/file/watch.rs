//! Says when files may have changed. It watches directories, as editors and Kubernetes put new files in the place of
//! old ones.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use portolan_config::settings::FileSource;
use tokio::sync::mpsc;

/// What belongs together comes within this time.
const GATHER: Duration = Duration::from_millis(5);
/// A file that is being written is quiet for this time when it is done, should its end not be told.
const QUIET: Duration = Duration::from_millis(50);
/// Files are looked at after this time, however busy it is.
const BUSY_MAX: Duration = Duration::from_millis(500);
/// Where nothing can be watched, files are looked at so often.
const POLL: Duration = Duration::from_secs(2);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Something is whole: closed, renamed, removed.
    Done,
    /// Something is being written.
    Writing,
}

/// Watches one place.
#[derive(Debug)]
pub(super) struct Watch {
    /// Held, as it watches only while it lives; `None` where nothing can be watched.
    _watcher: Option<RecommendedWatcher>,
    seen: mpsc::UnboundedReceiver<Seen>,
    polls: bool,
}

impl Watch {
    /// Watches `place`. Where that can't be done, it looks at it from time to time.
    pub(super) fn new(place: &FileSource) -> Self {
        let (tell, seen) = mpsc::unbounded_channel();
        match watch(place, tell) {
            Ok(watcher) => Self { _watcher: Some(watcher), seen, polls: false },
            Err(error) => {
                let path = place.path().display();
                tracing::warn!(%error, "{path} can't be watched; it is read every {} s", POLL.as_secs());
                Self { _watcher: None, seen, polls: true }
            }
        }
    }

    /// Waits until files may have changed; gives the moment that was first seen.
    pub(super) async fn changed(&mut self) -> Instant {
        if self.polls {
            tokio::time::sleep(POLL).await;
            return Instant::now();
        }
        let Some(mut last) = self.seen.recv().await else {
            // The watcher lives as long as this.
            return std::future::pending().await;
        };
        let first = Instant::now();
        loop {
            let wait = if last == Seen::Done { GATHER } else { QUIET };
            let left = BUSY_MAX.saturating_sub(first.elapsed());
            match tokio::time::timeout(wait.min(left), self.seen.recv()).await {
                Ok(Some(seen)) => last = seen,
                Ok(None) | Err(_) => return first,
            }
        }
    }
}

fn watch(place: &FileSource, tell: mpsc::UnboundedSender<Seen>) -> notify::Result<RecommendedWatcher> {
    let only = match place {
        FileSource::File(path) if !is_link(path) => path.file_name().map(PathBuf::from),
        FileSource::File(_) | FileSource::Directory(_) => None,
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let seen = match event {
            Ok(event) => seen(&event, only.as_deref()),
            // Events were lost: anything may have changed.
            Err(_) => Some(Seen::Done),
        };
        if let Some(seen) = seen {
            // Nobody listens any more when the provider ends.
            let _ = tell.send(seen);
        }
    })?;
    match place {
        FileSource::Directory(directory) => watcher.watch(directory, RecursiveMode::Recursive)?,
        FileSource::File(path) => {
            watcher.watch(parent(path), RecursiveMode::NonRecursive)?;
            // Where it is a link, what it leads to may change in its own place.
            if let Ok(real) = path.canonicalize()
                && parent(&real) != parent(path)
            {
                watcher.watch(parent(&real), RecursiveMode::NonRecursive)?;
            }
        }
    }
    Ok(watcher)
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn seen(event: &Event, only: Option<&Path>) -> Option<Seen> {
    let ours = only.is_none_or(|name| {
        event.paths.is_empty() || event.paths.iter().any(|path| path.file_name() == Some(name.as_os_str()))
    });
    if !ours && !event.need_rescan() {
        return None;
    }
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Remove(_)
        | EventKind::Any
        | EventKind::Other => Some(Seen::Done),
        // Reading it ourselves is no news.
        EventKind::Access(_) => None,
        EventKind::Create(_) | EventKind::Modify(_) => Some(Seen::Writing),
    }
}
