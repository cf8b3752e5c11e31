//! Portolan's own log as meant.

use std::path::PathBuf;

use super::nearest::nearest;
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
        filter: reader.parsed("log.level", filter),
        format: reader.choice("log.format", &FORMATS).unwrap_or_default(),
        file: reader.text("log.filePath").map(PathBuf::from),
        no_color: reader.flag("log.noColor", false),
    }
}

/// Levels, most of them Traefik's as well.
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

/// A level, also Traefik's that Portolan has under another name; or a filter, which has a `,`, a `=` or a part of Portolan.
fn filter(level: &str) -> Result<String, String> {
    let word = level.to_ascii_lowercase();
    match word.as_str() {
        "fatal" | "panic" => Ok("error".to_owned()),
        "warning" => Ok("warn".to_owned()),
        known if LEVELS.contains(&known) => Ok(word),
        _ if level.contains([',', '=', ':', '[']) || word.starts_with("portolan") => Ok(level.to_owned()),
        _ => {
            let meant =
                nearest(level, LEVELS).map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
            Err(format!(
                "`{level}`: expected {} or a filter such as `info,portolan_dns=debug`{meant}",
                LEVELS.join(", ")
            ))
        }
    }
}
