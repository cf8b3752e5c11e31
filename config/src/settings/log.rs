//! Portolan's own log as meant.

use std::path::PathBuf;

use super::read::Reader;

/// The log of what Portolan does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,portolan_dns=debug`; `info` unless written.
    pub filter: Option<String>,
    /// How it is written.
    pub format: LogFormat,
    /// The file it is appended to; `None` is standard error.
    pub file: Option<PathBuf>,
    /// `noColor`: no colours, also on a terminal.
    pub no_color: bool,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// An object a line.
    Json,
}

const FORMATS: [(&str, LogFormat); 4] = [
    ("auto", LogFormat::Auto),
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
    // Traefik's name for it.
    ("common", LogFormat::Text),
];

pub(super) fn read(reader: &mut Reader<'_>) -> Log {
    // A truth that is none is said; there is always a log.
    let _ = reader.section("log");
    Log {
        filter: reader.text("log.level").map(|level| filter(&level)),
        format: reader.choice("log.format", &FORMATS).unwrap_or_default(),
        file: reader.text("log.filePath").map(PathBuf::from),
        no_color: reader.flag("log.noColor", false),
    }
}

/// Traefik's levels that Portolan has under another name.
fn filter(level: &str) -> String {
    match level.to_ascii_lowercase().as_str() {
        "fatal" | "panic" => "error".to_owned(),
        "warning" => "warn".to_owned(),
        known @ ("error" | "warn" | "info" | "debug" | "trace") => known.to_owned(),
        _ => level.to_owned(),
    }
}
