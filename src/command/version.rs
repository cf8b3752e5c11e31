//! `portolan version`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::say::say;
use crate::cli::{Output, OutputOptions};

/// Shows the version.
pub fn version(options: &OutputOptions) -> Result<ExitCode, String> {
    say(&match options.output {
        Output::Json => format!("{}\n", as_json()),
        Output::Table => format!("portolan {}\n", env!("CARGO_PKG_VERSION")),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The version as `/api/version` gives it; the words that begin with a capital are Traefik's.
pub fn as_json() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "Version": env!("CARGO_PKG_VERSION"),
        "Codename": "portolan",
    })
}
