//! `portolan drain` and `portolan undrain`.

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::ask;
use super::ps::{columns, list, text};
use super::resolve::encode;
use super::say::say;
use crate::cli::{DrainOptions, Output, UndrainOptions};
use crate::gather::Gathered;

/// Has a running Portolan send nothing new to a target.
pub fn drain(gathered: &Gathered, options: &DrainOptions) -> Result<ExitCode, String> {
    let reason = encode(options.reason.as_deref().unwrap_or_default());
    let path = format!("/api/drain?target={}&reason={reason}", encode(&options.target));
    order(gathered, &path, &options.target, options.output.output)
}

/// Has it send to it again.
pub fn undrain(gathered: &Gathered, options: &UndrainOptions) -> Result<ExitCode, String> {
    let path = format!("/api/undrain?target={}", encode(&options.target));
    order(gathered, &path, &options.target, options.output.output)
}

fn order(gathered: &Gathered, path: &str, target: &str, output: Output) -> Result<ExitCode, String> {
    let (body, answer) = ask::understood(ask::post(gathered, path)?)?;
    say(&match output {
        Output::Json => body,
        Output::Table => table(&answer, target),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn table(answer: &Value, target: &str) -> String {
    let mut shown = match (answer["drains"] == true, answer["changed"] == true) {
        (true, true) => format!("{target} drains until `portolan undrain {target}`, or until it is gone\n"),
        (true, false) => format!("{target} drains already\n"),
        (false, true) => format!("{target} drains no longer by order\n"),
        (false, false) => format!("{target} was not drained by order\n"),
    };
    let mut rows = vec![["SERVICE", "ENDPOINT", "STATE", "REASON"].map(str::to_owned).to_vec()];
    for endpoint in list(answer, "endpoints") {
        rows.push(["service", "name", "state", "reason"].map(|key| text(endpoint, key).to_owned()).to_vec());
    }
    if rows.len() > 1 {
        shown.push('\n');
        shown.push_str(&columns(&rows));
    }
    for service in list(answer, "unserved").iter().filter_map(Value::as_str) {
        let _ = write!(shown, "\n{service} has no endpoint left that serves: its requests get 503\n");
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_drains_is_shown_with_who_is_left_without() {
        let shown = table(
            &json!({
                "target": "0123456789ab@docker", "drains": true, "changed": true, "unserved": ["web@docker"],
                "endpoints": [{ "service": "web@docker", "name": "web-1", "state": "draining", "reason": "operator" }],
            }),
            "web-1",
        );
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "web-1 drains until `portolan undrain web-1`, or until it is gone",
                "",
                "SERVICE     ENDPOINT  STATE     REASON",
                "web@docker  web-1     draining  operator",
                "",
                "web@docker has no endpoint left that serves: its requests get 503",
            ]
        );
    }
}
