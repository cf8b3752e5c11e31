//! Logs: on standard error, as text for people and as JSON for programs, or in a file.

use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::sync::Mutex;

use portolan_config::settings::{Log, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Starts logging. Fails on a level that is none, and on a file that can't be written.
pub fn start(log: &Log) -> Result<(), String> {
    let level = log.filter.as_deref().unwrap_or("info");
    let filter = EnvFilter::try_new(level).map_err(|_| {
        format!(
            "--log-level: `{level}` is not a level: expected error, warn, info, debug or trace, or a filter such as \
             `info,portolan_dns=debug`"
        )
    })?;
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
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match log.format {
        LogFormat::Auto if !terminal => builder.json().flatten_event(true).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Auto | LogFormat::Text => builder.with_ansi(terminal && !log.no_color).init(),
    }
    Ok(())
}
