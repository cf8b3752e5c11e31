//! The state directory: what is known, on disk for the next process, should the engine be away when that starts.
//!
//! One file, replaced whole: written beside, synced, renamed. It never holds back traffic: the registry only hands over
//! references, and a thread of the pool for blocking work turns them into bytes. What can't be read is set aside and said.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_discovery::kept::BYTES_MAX;
use portolan_discovery::registry::Ask;
use portolan_discovery::{Kept, Snapshot};
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::{mpsc, oneshot, watch};

/// The file.
const NAME: &str = "portolan.state";
/// Where one goes that can't be read, in place of the one before.
const ASIDE: &str = "portolan.state.refused";
/// Between two writes, at least: what happens in between is in the next.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// The share of the time that may go into writing: one part of so many.
const WRITE_SHARE: u32 = 20;
/// Between two writes, at most: what has not changed is as true as ever, and the file is to say so.
const WRITE_AT_LEAST: Duration = Duration::from_secs(60);

/// A directory for what is known.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    writes: IntCounterVec,
}

impl StateDirectory {
    /// Makes it, if it is not there.
    pub fn open(path: &Path, registry: &Registry) -> Result<Self, String> {
        let fault = |error: io::Error| format!("--state-dir: {} can't be had: {error}", path.display());
        // Labels may hold what is nobody else's business.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fault)?;
        let writes = Opts::new("portolan_state_writes_total", "Times that what is known was written to disk");
        let writes = IntCounterVec::new(writes, &["result"]).map_err(|error| error.to_string())?;
        for result in ["done", "failed"] {
            writes.with_label_values(&[result]).reset();
        }
        registry.register(Box::new(writes.clone())).map_err(|error| error.to_string())?;
        Ok(Self { path: path.to_owned(), writes })
    }

    /// What an earlier process left; nothing where that is of no use, which the log tells then.
    pub fn read(&self) -> Option<Kept> {
        let file = self.path.join(NAME);
        let refused = match read(&file) {
            Ok(bytes) => match Kept::decode(&bytes) {
                Ok(kept) if kept.boot == boot() => {
                    let sources: Vec<_> = kept.sources.iter().map(|source| &*source.provider.0).collect();
                    tracing::info!(file = %file.display(), sources = sources.join(", "), "an earlier process left what it knew");
                    return Some(kept);
                }
                Ok(kept) => {
                    let why =
                        "it was kept before this machine was started, and addresses of then mean nothing";
                    let orders = kept.orders.len();
                    tracing::info!(file = %file.display(), orders, "of the state, only orders are used: {why}");
                    return (orders > 0).then(|| Kept { sources: Vec::new(), ..kept });
                }
                Err(error) => error.to_string(),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => error.to_string(),
        };
        let aside = self.path.join(ASIDE);
        let set_aside = match fs::rename(&file, &aside) {
            Ok(()) => format!("it is now {}", aside.display()),
            Err(error) => format!("and can't be set aside: {error}"),
        };
        tracing::warn!(file = %file.display(), "the state can't be used: {refused}; {set_aside}");
        None
    }

    /// Writes what is known, soon after it changed, until the registry ends.
    pub async fn keep(self, asks: mpsc::Sender<Ask>, mut snapshots: watch::Receiver<Arc<Snapshot>>) {
        let (mut failed, mut was_any) = (false, false);
        loop {
            if let Ok(Err(_)) = tokio::time::timeout(WRITE_AT_LEAST, snapshots.changed()).await {
                return;
            }
            let Some(kept) = ask(&asks).await else { return };
            if kept.sources.is_empty() && kept.orders.is_empty() && !was_any {
                continue;
            }
            was_any = true;
            let (path, begun) = (self.path.clone(), Instant::now());
            let written = tokio::task::spawn_blocking(move || write(&path, &kept.encode())).await;
            let error = match written {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            let result = if error.is_none() { "done" } else { "failed" };
            self.writes.with_label_values(&[result]).inc();
            match &error {
                Some(error) if !failed => {
                    tracing::warn!(directory = %self.path.display(), %error, "the state can't be written; it is tried again");
                }
                None if failed => {
                    tracing::info!(directory = %self.path.display(), "the state is written again");
                }
                _ => {}
            }
            failed = error.is_some();
            tokio::time::sleep(WRITE_EVERY.max(begun.elapsed() * WRITE_SHARE)).await;
        }
    }
}

/// What is known now; `None` when the process ends.
pub async fn ask(asks: &mpsc::Sender<Ask>) -> Option<Kept> {
    let (ask, answer) = oneshot::channel();
    asks.send(Ask::Kept(ask)).await.ok()?;
    answer.await.ok()
}

/// Which start of the machine this is, as the kernel calls it.
pub fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whoever reads finds the whole of it or the whole of the one before, also after the machine went down.
fn write(directory: &Path, bytes: &[u8]) -> io::Result<()> {
    // Of this process alone: another may be about to take over, or to end.
    let beside = directory.join(format!(".{NAME}.{}", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, directory.join(NAME))?;
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use portolan_discovery::kept::KeptSource;
    use portolan_discovery::{ProviderName, Standing, Subject};

    use super::*;

    fn directory() -> (tempfile::TempDir, StateDirectory) {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&place.path().join("a/b"), &Registry::new()).unwrap();
        (place, state)
    }

    #[test]
    fn what_is_written_is_there_for_the_next_and_nothing_else() {
        let (_place, state) = directory();
        assert_eq!(state.read(), None);
        let kept = Kept { boot: boot(), ..Kept::default() };
        for _ in 0..2 {
            write(&state.path, &kept.encode()).unwrap();
            assert_eq!(state.read(), Some(kept.clone()));
        }
        assert_eq!(fs::read_dir(&state.path).unwrap().count(), 1);
        let before = Kept { boot: "another".to_owned(), ..Kept::default() };
        write(&state.path, &before.encode()).unwrap();
        assert_eq!(state.read(), None);
        let subject = Subject::Node("n1".to_owned());
        let order = Standing { subject, since: std::time::UNIX_EPOCH, why: String::new() };
        let source = KeptSource {
            provider: ProviderName::new("docker"),
            as_of: std::time::UNIX_EPOCH,
            instances: Vec::new(),
        };
        let ordered = Kept { sources: vec![source], orders: vec![order], ..before };
        write(&state.path, &ordered.encode()).unwrap();
        let read = state.read().unwrap();
        assert_eq!(
            (read.sources.len(), &read.orders),
            (0, &ordered.orders),
            "orders outlast the machine's restart"
        );
    }

    #[test]
    fn what_can_not_be_read_is_set_aside() {
        let (_place, state) = directory();
        for bytes in [&b"portolan-state 2\n0 0\n"[..], b"nonsense", b""] {
            fs::write(state.path.join(NAME), bytes).unwrap();
            assert_eq!(state.read(), None);
            assert_eq!(fs::read(state.path.join(ASIDE)).unwrap(), bytes);
            assert!(!state.path.join(NAME).exists());
        }
    }

    #[test]
    fn a_directory_that_can_not_be_had_is_named() {
        let place = tempfile::NamedTempFile::new().unwrap();
        let error = StateDirectory::open(&place.path().join("below"), &Registry::new()).unwrap_err();
        assert!(error.contains("--state-dir") && error.contains("below"), "{error}");
    }
}
