//! `portolan healthcheck`.

use std::process::ExitCode;

use super::ask;
use crate::cli::AdminOptions;

/// Asks whether the running Portolan serves.
pub fn healthcheck(options: &AdminOptions) -> Result<ExitCode, String> {
    match ask::get(options, "/ping")? {
        (200, _) => {
            println!("OK");
            Ok(ExitCode::SUCCESS)
        }
        (status, body) => Err(format!("unhealthy: {status} {}", body.trim_end())),
    }
}
