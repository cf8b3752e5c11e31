//! The access log: a line for each request, connection and UDP session that has ended, written without ever making a worker wait.
//!
//! ```text
//! worker: Record ──format──▶ Lines (its own buffer) ──full, or every 100 ms──▶ writer thread ──▶ file or standard output
//! ```
//!
//! A writer that can't keep up loses lines, and says how many (`portolan_access_log_dropped_lines_total`): a slow disk
//! must not slow requests.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use portolan_config::settings::{self, AccessLogFormat};
use prometheus::IntCounter;

mod format;
mod json;
mod passed;
mod record;
mod selection;
mod told;

pub(crate) use passed::Passed;
pub(crate) use record::{Agreed, Asked, Record};
use selection::Selection;
pub(crate) use told::Told;

use crate::http::RequestHead;

/// Bytes of lines that a worker gathers before it hands them over.
const LINES_BYTES: usize = 64 * 1024;
/// Pieces of that size that wait for the writer; then lines are lost.
const PIECES_MAX: usize = 256;
/// For the last lines, when the process ends.
const FINISH_WAIT: Duration = Duration::from_secs(1);

/// The way to the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: AccessLogFormat,
    filters: Arc<settings::Filters>,
    selection: Arc<Selection>,
    pieces: SyncSender<Piece>,
    dropped: IntCounter,
}

/// Whole lines.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    lines: u64,
}

impl AccessLog {
    /// What counts lines that are lost, of one log after another.
    pub fn register(registry: &prometheus::Registry) -> prometheus::Result<IntCounter> {
        let dropped = IntCounter::new(
            "portolan_access_log_dropped_lines_total",
            "Lines of the access log that were lost because the writer could not keep up",
        )?;
        registry.register(Box::new(dropped.clone()))?;
        Ok(dropped)
    }

    /// Opens the target and starts the writer, which ends after the last clone of the log.
    pub fn start(settings: &settings::AccessLog, dropped: IntCounter) -> io::Result<(Self, Writer)> {
        let output: Box<dyn Write + Send> = match &settings.file {
            None => Box::new(io::stdout()),
            Some(path) => Box::new(append(path)?),
        };
        let (pieces, received) = sync_channel(PIECES_MAX);
        let (done, finished) = sync_channel(0);
        let write = move || {
            write(output, &received);
            drop::<SyncSender<()>>(done);
        };
        thread::Builder::new().name("access-log".to_owned()).spawn(write)?;
        let filters = Arc::new(settings.filters.clone());
        let selection = Arc::new(Selection::new(&settings.fields, settings.format));
        Ok((Self { format: settings.format, filters, selection, pieces, dropped }, Writer { finished }))
    }
}

/// The thread that writes.
#[derive(Debug)]
pub struct Writer {
    /// Yields nothing; ends with the thread.
    finished: Receiver<()>,
}

impl Writer {
    /// Waits until everything is written, after the last clone of the log is gone; but not for ever.
    pub fn finish(self) {
        let _ = self.finished.recv_timeout(FINISH_WAIT);
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Writes until the last worker is gone. What can't be written is lost; the log says so once.
fn write(mut output: Box<dyn Write + Send>, pieces: &Receiver<Piece>) {
    let mut failing = false;
    while let Ok(piece) = pieces.recv() {
        let written = output.write_all(&piece.bytes).and_then(|()| output.flush());
        if let Err(error) = &written
            && !failing
        {
            tracing::error!(%error, "the access log can't be written");
        }
        failing = written.is_err();
    }
}

/// One worker's lines that are not handed over yet.
#[derive(Debug)]
pub(crate) struct Lines {
    log: AccessLog,
    gathered: RefCell<Piece>,
}

impl Lines {
    pub(crate) fn new(log: AccessLog) -> Self {
        Self { log, gathered: RefCell::new(Piece::empty()) }
    }

    /// What is to be known of a request for its line.
    pub(crate) fn asked(&self, head: &RequestHead) -> Asked {
        self.log.selection.asked(head)
    }

    /// Where the fields of an answer are noted, if its line has any.
    pub(crate) fn told(&self) -> Option<Rc<Told>> {
        self.log.selection.has_answers().then(|| Rc::new(Told::new(&self.log.selection)))
    }

    /// Adds a line.
    pub(crate) fn add(&self, record: &Record) {
        if record.passes(&self.log.filters) {
            self.gather(|bytes| format::write(self.log.format, record, &self.log.selection, bytes));
        }
    }

    /// Adds the line of a connection or a UDP session.
    pub(crate) fn add_passed(&self, passed: &Passed) {
        if record::passes(&self.log.filters, passed.status, 0, passed.took) {
            self.gather(|bytes| passed::write(self.log.format, passed, &self.log.selection, bytes));
        }
    }

    fn gather(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut gathered = self.gathered.borrow_mut();
        write(&mut gathered.bytes);
        gathered.lines += 1;
        let full = gathered.bytes.len() >= LINES_BYTES;
        drop(gathered);
        if full {
            self.hand_over();
        }
    }

    /// Hands over what was gathered.
    pub(crate) fn hand_over(&self) {
        let mut gathered = self.gathered.borrow_mut();
        if gathered.lines == 0 {
            return;
        }
        let next = Piece::like(&gathered);
        let piece = std::mem::replace(&mut *gathered, next);
        if let Err(TrySendError::Full(piece) | TrySendError::Disconnected(piece)) =
            self.log.pieces.try_send(piece)
        {
            self.log.dropped.inc_by(piece.lines);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl Piece {
    fn empty() -> Self {
        Self { bytes: Vec::new(), lines: 0 }
    }

    /// Room for as much as the last one took.
    fn like(last: &Self) -> Self {
        Self { bytes: Vec::with_capacity(last.bytes.len() + last.bytes.len() / 8), lines: 0 }
    }
}
