//! `portolan ps`.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::ask;
use super::say::say;
use crate::cli::{Output, ReadOptions};
use crate::gather::Gathered;

/// Shows what a running Portolan knows.
pub fn ps(gathered: &Gathered, options: &ReadOptions) -> Result<ExitCode, String> {
    let (status, body) = ask::get(gathered, "/api/snapshot")?;
    if status != 200 {
        return Err(format!("the snapshot was not given: {status} {}", body.trim_end()));
    }
    let snapshot: Value =
        serde_json::from_str(&body).map_err(|error| format!("the snapshot can't be read: {error}"))?;
    say(&match options.output.output {
        Output::Json => body,
        Output::Table => table(&snapshot),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn table(snapshot: &Value) -> String {
    let mut rows =
        vec![["SERVICE", "ENDPOINT", "ADDRESS", "STATE", "FOR", "REASON"].map(str::to_owned).to_vec()];
    for service in list(snapshot, "services") {
        for endpoint in list(service, "endpoints") {
            let address =
                [text(endpoint, "ipv4"), text(endpoint, "ipv6")].into_iter().find(|ip| !ip.is_empty());
            rows.push(vec![
                text(service, "name").to_owned(),
                text(endpoint, "name").to_owned(),
                address.unwrap_or("-").to_owned(),
                text(endpoint, "state").to_owned(),
                age(endpoint["since"].as_f64().unwrap_or_default()),
                text(endpoint, "reason").to_owned(),
            ]);
        }
    }
    let mut shown = columns(&rows);
    if rows.len() == 1 {
        shown.push_str("(nothing runs)\n");
    }
    for publication in list(snapshot, "publications") {
        let port = format!("{}/{}", publication["hostPort"], text(publication, "protocol"));
        let _ = write!(
            shown,
            "\nport {port} -> {} port {}",
            text(publication, "service"),
            publication["targetPort"]
        );
        shown.push_str(&way(&publication["dataPath"]));
    }
    for service in list(snapshot, "tcpServices") {
        let way = way(&service["dataPath"]);
        if !way.is_empty() {
            let _ = write!(shown, "\ntcp service {}{way}", text(service, "name"));
        }
    }
    for source in list(snapshot, "sources") {
        if let Some(said) = silence(source) {
            let _ = write!(shown, "\n{said}");
        }
    }
    for order in list(snapshot, "orders") {
        let (target, why) = (text(order, "target"), text(order, "reason"));
        let since = age(order["since"].as_f64().unwrap_or_default());
        let colon = if why.is_empty() { "" } else { ": " };
        let _ = write!(shown, "\ndrained by order for {since}: {target}{colon}{why}");
    }
    for fault in list(snapshot, "faults") {
        let _ = write!(
            shown,
            "\nfault: {}: {}: {}",
            text(fault, "origin"),
            text(fault, "label"),
            text(fault, "message")
        );
    }
    if !shown.ends_with('\n') {
        shown.push('\n');
    }
    shown
}

/// How bytes travel, where that is not as ever.
fn way(path: &Value) -> String {
    match (text(path, "path"), text(path, "reason")) {
        ("", _) | ("userspace", "") => String::new(),
        (by, "") => format!(", by {by}"),
        (by, why) => format!(", by {by}: {why}"),
    }
}

/// What there is to say of a source that does not answer.
fn silence(source: &Value) -> Option<String> {
    let (provider, lost) = (text(source, "provider"), text(source, "lost"));
    match (source["keptSince"].as_f64(), lost) {
        (None, "") => None,
        (None, lost) => Some(format!("{provider} does not answer ({lost}); what it said last is shown")),
        (Some(since), lost) => {
            let why = if lost.is_empty() { "nothing heard yet" } else { lost };
            let age = age(since);
            Some(format!(
                "{provider} does not answer ({why}); what an earlier process kept {age} ago is shown"
            ))
        }
    }
}

pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Rows as columns of their widest cell.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..count)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut shown = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        shown.push_str(cells.join("  ").trim_end());
        shown.push('\n');
    }
    shown
}

/// How long ago, in its largest unit: `5s`, `3m`, `2h`, `9d`.
fn age(since: f64) -> String {
    let since = Duration::try_from_secs_f64(since).map_or(UNIX_EPOCH, |since| UNIX_EPOCH + since);
    match SystemTime::now().duration_since(since).map_or(0, |age| age.as_secs()) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_not_serve_is_shown_with_its_reason() {
        let shown = table(&json!({
            "services": [{ "name": "web@docker", "endpoints": [
                { "name": "web-1", "ipv4": "10.0.0.2", "ipv6": null, "state": "ready", "reason": "running", "since": 0 },
                { "name": "web-2", "ipv4": null, "ipv6": null, "state": "stopped", "reason": "exited (137)", "since": 0 },
            ]}],
            "publications": [{ "hostPort": 8080, "targetPort": 80, "protocol": "tcp", "service": "web@docker" }],
            "tcpServices": [
                { "name": "db@file", "dataPath": { "path": "userspace", "reason": "no" } },
                { "name": "mq@file", "dataPath": { "path": "sockmap", "reason": null } },
                { "name": "ftp@file", "dataPath": { "path": "userspace", "reason": null } },
            ],
            "sources": [{ "provider": "docker", "lost": "connection refused" }],
            "orders": [{ "target": "node/n1", "since": 0, "reason": "new disk" }, { "target": "a@docker", "since": 0, "reason": "" }],
            "faults": [{ "origin": "container web-1", "label": "x", "message": "no" }],
        }));
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].starts_with("SERVICE     ENDPOINT  ADDRESS   STATE"), "{shown}");
        assert!(lines[2].starts_with("web@docker  web-2     -         stopped"), "{shown}");
        assert!(lines[2].ends_with("exited (137)"), "{shown}");
        assert!(shown.contains("port 8080/tcp -> web@docker port 80"), "{shown}");
        assert!(
            shown.contains("\ntcp service db@file, by userspace: no\ntcp service mq@file, by sockmap\n"),
            "{shown}"
        );
        assert!(!shown.contains("ftp"), "{shown}");
        assert!(shown.contains("docker does not answer (connection refused)"), "{shown}");
        assert!(shown.contains("d: node/n1: new disk\ndrained by order for "), "{shown}");
        assert!(shown.contains("d: a@docker\n"), "{shown}");
        assert!(shown.ends_with("fault: container web-1: x: no\n"), "{shown}");
    }
}
