//! `portolan version`.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::{Output, OutputOptions};

/// Shows the version.
#[allow(clippy::unnecessary_wraps)] // every verb has this shape
pub fn version(options: &OutputOptions) -> Result<ExitCode, String> {
    match options.output {
        Output::Json => println!("{}", as_json()),
        Output::Table => println!("portolan {}", env!("CARGO_PKG_VERSION")),
    }
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
