//! `portolan resolve`.

use std::process::ExitCode;

use serde_json::Value;

use super::ask;
use super::ps::{columns, list, text};
use super::say::say;
use crate::cli::{Output, ResolveOptions};
use crate::gather::Gathered;

/// Explains an answer of a running Portolan's name server. Exit 1 where there is nothing of that name and type.
pub fn resolve(gathered: &Gathered, options: &ResolveOptions) -> Result<ExitCode, String> {
    let from = options.from.as_deref().map(|from| format!("&from={}", encode(from))).unwrap_or_default();
    let (name, kind) = (encode(&options.name), encode(&options.record_type));
    let path = format!("/api/resolve?name={name}&type={kind}{from}");
    let (body, answer) = ask::understood(ask::get(gathered, &path)?)?;
    say(&match options.output.output {
        Output::Json => body,
        Output::Table => table(&answer),
    })?;
    Ok(if list(&answer, "records").is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn table(answer: &Value) -> String {
    let mut shown = match answer["rcode"].as_str() {
        Some(rcode) => format!("{} {}: {rcode}\n", text(answer, "name"), text(answer, "type")),
        None => format!(
            "{} {}: not a name of the zone; the name servers of --dns-forward are asked\n",
            text(answer, "name"),
            text(answer, "type")
        ),
    };
    for record in list(answer, "records") {
        shown.push_str(record.as_str().unwrap_or_default());
        shown.push('\n');
    }
    let endpoints = list(answer, "endpoints");
    if !endpoints.is_empty() {
        let mut rows = vec![["ENDPOINT", "ADDRESS", "GIVEN", "REASON"].map(str::to_owned).to_vec()];
        for endpoint in endpoints {
            let addresses: Vec<&str> = list(endpoint, "addresses").iter().filter_map(Value::as_str).collect();
            rows.push(vec![
                text(endpoint, "name").to_owned(),
                if addresses.is_empty() { "-".to_owned() } else { addresses.join(",") },
                if endpoint["given"] == true { "yes" } else { "no" }.to_owned(),
                text(endpoint, "why").to_owned(),
            ]);
        }
        shown.push('\n');
        shown.push_str(&columns(&rows));
    }
    shown
}

/// What may not stand in a query is written as `%XX` (RFC 3986 §2.1).
pub(super) fn encode(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    value
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_is_shown_with_its_reason() {
        let shown = table(&json!({
            "name": "web.portolan.internal.", "type": "A", "rcode": "NOERROR",
            "records": ["web.portolan.internal. 2 IN A 10.0.0.2"],
            "endpoints": [
                { "name": "web-1", "addresses": ["10.0.0.2"], "given": true, "why": "running" },
                { "name": "web-2", "addresses": [], "given": false, "why": "stopped: exited (137)" },
            ],
        }));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "web.portolan.internal. A: NOERROR");
        assert_eq!(lines[1], "web.portolan.internal. 2 IN A 10.0.0.2");
        assert_eq!(lines[3], "ENDPOINT  ADDRESS   GIVEN  REASON");
        assert_eq!(lines[5], "web-2     -         no     stopped: exited (137)");
        assert_eq!(encode("a b&c"), "a%20b%26c");
    }
}
