//! `portolan healthcheck`.

use std::process::ExitCode;

use super::ask;
use super::say::say;
use crate::gather::Gathered;

/// Asks whether the running Portolan serves.
pub fn healthcheck(gathered: &Gathered) -> Result<ExitCode, String> {
    match ask::get(gathered, "/ping")? {
        (200, _) => {
            say("OK\n")?;
            Ok(ExitCode::SUCCESS)
        }
        (status, body) => Err(format!("unhealthy: {status} {}", body.trim_end())),
    }
}
