//! Logs: on standard error, as text for people and as JSON for programs, or in a file. What is logged, how and where may
//! change while the process runs.

use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::sync::Mutex;

use portolan_config::settings::{Log, LogFormat};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// What is above the filter.
type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
type Lines = Box<dyn Layer<Filtered> + Send + Sync>;

/// The log, to be changed.
#[derive(Clone)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    lines: reload::Handle<Lines, Filtered>,
}

impl Logging {
    /// Logs as this says from now on. Fails as [`start`] does; then nothing changes.
    pub fn change(&self, log: &Log) -> Result<(), String> {
        let (filter, lines) = (filter(log)?, lines(log)?);
        let changed = self.lines.reload(lines).and_then(|()| self.filter.reload(filter));
        changed.map_err(|error| format!("the log can't be changed: {error}"))
    }
}

/// Starts logging. Fails on a level that is none, and on a file that can't be written.
pub fn start(log: &Log) -> Result<Logging, String> {
    let (filter, filter_handle) = reload::Layer::new(filter(log)?);
    let (lines, lines_handle) = reload::Layer::new(lines(log)?);
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(Logging { filter: filter_handle, lines: lines_handle })
}

fn filter(log: &Log) -> Result<EnvFilter, String> {
    let level = log.filter.as_deref().unwrap_or("info");
    EnvFilter::try_new(level).map_err(|_| {
        format!(
            "--log-level: `{level}` is not a level: expected error, warn, info, debug or trace, or a filter such as \
             `info,portolan_dns=debug`"
        )
    })
}

/// How lines are written, and where.
fn lines(log: &Log) -> Result<Lines, String> {
    let writer = match &log.file {
        None => BoxMakeWriter::new(std::io::stderr),
        Some(file) => {
            let opened = OpenOptions::new().append(true).create(true).open(file);
            let opened = opened
                .map_err(|error| format!("log.filePath: {} can't be written: {error}", file.display()))?;
            BoxMakeWriter::new(Mutex::new(opened))
        }
    };
    let terminal = log.file.is_none() && std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(writer);
    Ok(match log.format {
        LogFormat::Auto if !terminal => lines.json().flatten_event(true).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Auto | LogFormat::Text => lines.with_ansi(terminal && !log.no_color).boxed(),
    })
}
