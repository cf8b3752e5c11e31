//! `portolan explain`.

use std::fmt::Write;
use std::process::ExitCode;

use portolan_proxy::explain::{Known, explain as explain_in};
use serde_json::Value;

use super::ps::{columns, list, text};
use super::resolve::encode;
use super::say::say;
use super::{ask, check};
use crate::admin::explain as api;
use crate::cli::{ExplainOptions, Output};
use crate::gather::{self, Gathered};

/// Routers that do not take the request, in the table for people.
const LOSERS_SHOWN: usize = 20;

/// Explains who would take a request. Exit 1 where nobody would.
pub fn explain(gathered: &Gathered, options: &ExplainOptions) -> Result<ExitCode, String> {
    let query = query(options)?;
    // What makes no sense is said without asking anybody.
    let asked = api::asked(&query)?;
    let answer: Value = if options.offline {
        let settings = gathered.settings().map_err(|faults| gather::lines(&faults))?;
        let (snapshot, table, faults) = check::as_it_would_be(&settings)?;
        // Those of routers are told with the routers.
        for fault in faults.iter().filter(|fault| !fault.key.contains("routers.")) {
            eprintln!("portolan: {fault}");
        }
        let known = Known {
            table: &table,
            snapshot: &snapshot,
            entry_points: &settings.entry_points,
            faults: &faults,
        };
        api::shown(&explain_in(known, &asked)?)
    } else {
        ask::understood(ask::get(gathered, &format!("/api/explain?{query}"))?)?.1
    };
    say(&match options.output.output {
        Output::Json => format!("{answer:#}\n"),
        Output::Table => table(&answer),
    })?;
    Ok(if answer["isServed"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is asked for, as the API takes it.
fn query(options: &ExplainOptions) -> Result<String, String> {
    let (method, url) = match options.request.as_slice() {
        [url] => ("GET", url),
        [method, url] => (method.as_str(), url),
        _ => return Err("expected a URL, or a method and a URL".to_owned()),
    };
    let mut query = format!("method={}&url={}", encode(&method.to_uppercase()), encode(url));
    let headers = options.headers.iter().map(|header| ("header", header.clone()));
    let others = [("client", options.client.map(|client| client.to_string())), ("on", options.on.clone())];
    let others = others.into_iter().filter_map(|(key, value)| Some((key, value?)));
    for (key, value) in headers.chain(others) {
        let _ = write!(query, "&{key}={}", encode(&value));
    }
    Ok(query)
}

fn table(answer: &Value) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    let request = &answer["request"];
    if !text(request, "method").is_empty() {
        let query = text(request, "query");
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        let by = if request["tls"] == true { "by TLS" } else { "in the clear" };
        row(
            "request",
            format!(
                "{} {}{}{query} {by}, from {}",
                text(request, "method"),
                text(request, "host"),
                text(request, "path"),
                text(request, "client")
            ),
        );
    }
    let place = match (text(answer, "entryPoint"), text(answer, "address")) {
        ("", address) => format!("none, but port {address}"),
        (name, address) => format!("{name} ({address})"),
    };
    row("entry point", place);
    if !text(answer, "note").is_empty() {
        row("", text(answer, "note").to_owned());
    }
    let router = &answer["router"];
    if router.is_object() {
        let kind = if router["protocol"] == "tcp" { "TCP, " } else { "" };
        row(
            "router",
            format!(
                "{}: {} ({kind}priority {}, of {})",
                text(router, "name"),
                text(router, "rule"),
                router["priority"],
                text(router, "origin")
            ),
        );
    }
    for through in list(answer, "middlewares") {
        let of = text(through, "of");
        let does = text(through, "does");
        let does = if does.is_empty() { String::new() } else { format!(": {does}") };
        row(
            "middleware",
            format!("{} ({}, of the {of}){does}", text(through, "name"), text(through, "kind")),
        );
    }
    let arrives = &answer["arrives"];
    if arrives["edited"] == true {
        let host = arrives["host"].as_str().map_or("each server's own host", |host| host);
        row("arrives", format!("{} {host}{}", text(arrives, "method"), text(arrives, "target")));
    }
    services(&answer["service"], 0, &mut row);
    let own = &answer["answer"];
    match (answer["refusal"].as_str(), own["location"].as_str()) {
        (None, None) if own.is_null() => row("answer", "of an endpoint".to_owned()),
        (None, None) => row("answer", format!("{}, of Portolan itself", own["status"])),
        (None, Some(to)) => row("answer", format!("{}, to {to}", own["status"])),
        (Some(refusal), _) => row("answer", format!("{refusal}, of Portolan itself")),
    }
    if answer["refusal"].is_null() && answer["service"].is_null() && own.is_null() {
        rows.pop();
    }
    let mut shown = columns(&rows);
    let mut endpoints =
        vec![["SERVICE", "ENDPOINT", "ADDRESS", "STATE", "GIVEN", "REASON"].map(str::to_owned).to_vec()];
    list_endpoints(&answer["service"], &mut endpoints);
    if endpoints.len() > 1 {
        shown.push('\n');
        shown.push_str(&columns(&endpoints));
    }
    let losers = list(answer, "losers");
    if !losers.is_empty() {
        let mut rows = vec![["NOT TAKEN BY", "PRIORITY", "BECAUSE"].map(str::to_owned).to_vec()];
        for loser in losers.iter().take(LOSERS_SHOWN) {
            let why: Vec<&str> = list(loser, "why").iter().filter_map(Value::as_str).collect();
            let kind = if loser["protocol"] == "tcp" { " (TCP)" } else { "" };
            rows.push(vec![
                format!("{}{kind}", text(loser, "name")),
                loser["priority"].as_i64().map_or_else(|| "-".to_owned(), |priority| priority.to_string()),
                why.join("; "),
            ]);
        }
        shown.push('\n');
        shown.push_str(&columns(&rows));
        if losers.len() > LOSERS_SHOWN {
            let _ = writeln!(shown, "and {} more: -o json has all", losers.len() - LOSERS_SHOWN);
        }
    }
    shown
}

/// A service and those in it, each a row.
fn services(service: &Value, depth: usize, row: &mut impl FnMut(&str, String)) {
    if !service.is_object() {
        return;
    }
    let weight = service["weight"].as_u64().map(|weight| format!(", weight {weight}")).unwrap_or_default();
    let not = if service["canServe"] == true { "" } else { ", can't serve" };
    let indent = "  ".repeat(depth);
    row(
        if depth == 0 { "service" } else { "" },
        format!("{indent}{} ({}{weight}{not})", text(service, "name"), text(service, "kind")),
    );
    for child in list(service, "services") {
        services(child, depth + 1, row);
    }
}

fn list_endpoints(service: &Value, rows: &mut Vec<Vec<String>>) {
    for endpoint in list(service, "endpoints") {
        rows.push(vec![
            text(service, "name").to_owned(),
            text(endpoint, "name").to_owned(),
            endpoint["address"].as_str().unwrap_or("-").to_owned(),
            text(endpoint, "state").to_owned(),
            if endpoint["given"] == true { "yes" } else { "no" }.to_owned(),
            text(endpoint, "reason").to_owned(),
        ]);
    }
    for child in list(service, "services") {
        list_endpoints(child, rows);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_middleware_answers_is_shown() {
        let shown = table(&json!({
            "entryPoint": "web", "address": ":80",
            "answer": { "status": 301, "location": "https://a.test/" }, "refusal": null, "isServed": true,
        }));
        assert_eq!(shown.lines().last(), Some("answer       301, to https://a.test/"));
    }

    #[test]
    fn who_takes_a_request_is_shown_with_those_who_do_not() {
        let shown = table(&json!({
            "request": { "method": "GET", "host": "a.test", "path": "/x", "query": "y", "client": "127.0.0.1", "tls": true },
            "entryPoint": "web", "address": ":8000", "note": null,
            "router": { "name": "web@file", "protocol": "http", "rule": "Host(`a.test`)", "priority": 14, "origin": "f:1" },
            "middlewares": [{ "name": "cut@file", "kind": "stripPrefix", "of": "router", "does": "the path becomes /" }],
            "arrives": { "method": "GET", "target": "/?y", "host": "a.test", "edited": true },
            "service": { "name": "web@file", "kind": "weighted", "canServe": false, "services": [
                { "name": "one@file", "kind": "loadBalancer", "weight": 3, "canServe": false, "services": [], "endpoints": [
                    { "name": "one-1", "address": null, "state": "stopped", "given": false, "reason": "exited (1)" },
                ]},
            ], "endpoints": [] },
            "isServed": false, "refusal": "503 no_endpoint",
            "losers": [{ "name": "b@file", "protocol": "http", "priority": 3, "why": ["one thing", "another"] }],
        }));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "request      GET a.test/x?y by TLS, from 127.0.0.1",
                "entry point  web (:8000)",
                "router       web@file: Host(`a.test`) (priority 14, of f:1)",
                "middleware   cut@file (stripPrefix, of the router): the path becomes /",
                "arrives      GET a.test/?y",
                "service      web@file (weighted, can't serve)",
                "               one@file (loadBalancer, weight 3, can't serve)",
                "answer       503 no_endpoint, of Portolan itself",
                "",
                "SERVICE   ENDPOINT  ADDRESS  STATE    GIVEN  REASON",
                "one@file  one-1     -        stopped  no     exited (1)",
                "",
                "NOT TAKEN BY  PRIORITY  BECAUSE",
                "b@file        3         one thing; another",
            ]
        );
    }
}
