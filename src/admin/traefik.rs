//! The API in Traefik's shapes, so that tools made for Traefik work: `/api/rawdata`, `/api/overview`, `/api/http/…`,
//! `/api/tcp/…`, `/api/udp/…` and `/api/entrypoints`.
//!
//! It knows paths and how they are answered; what an item looks like is in `items`. It changes nothing.

use portolan_config::Settings;
use portolan_proxy::ShownCertificates;
use serde_json::{Map, Value, json};

use self::page::Query;
use crate::steer::Status;

mod certificates;
mod entry_points;
mod faults;
mod internal;
mod items;
mod page;
mod spelling;
#[cfg(test)]
mod tests;

/// What is listed, by protocol and kind, with the key it has in `/api/rawdata`.
const LISTS: [(&str, &str, &str); 8] = [
    ("http", "routers", "routers"),
    ("http", "middlewares", "middlewares"),
    ("http", "services", "services"),
    ("tcp", "routers", "tcpRouters"),
    ("tcp", "middlewares", "tcpMiddlewares"),
    ("tcp", "services", "tcpServices"),
    ("udp", "routers", "udpRouters"),
    ("udp", "services", "udpServices"),
];

/// What is said to a request.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// This.
    Found(Value),
    /// A page of a list, and the number of the next one; 1 after the last.
    Page(Value, usize),
    /// There is none of that name.
    Missing(String),
    /// The query makes no sense.
    Wrong(String),
}

/// Answers what is asked for below `/api/`; `None` where Traefik has no such path.
pub fn answer(
    status: &Status,
    settings: &Settings,
    shown: &ShownCertificates,
    path: &str,
    query: &str,
) -> Option<Answer> {
    let mut parts = path.splitn(3, '/');
    match (parts.next()?, parts.next(), parts.next()) {
        ("rawdata", None, None) => Some(Answer::Found(raw_data(status, settings))),
        ("overview", None, None) => Some(Answer::Found(overview(status, settings, shown))),
        ("entrypoints", None, None) => {
            Some(listed(entry_points::all(settings, &status.entry_points.load()), query))
        }
        ("entrypoints", Some(name), None) => {
            Some(named(entry_points::all(settings, &status.entry_points.load()), "entry point", name))
        }
        ("certificates", None, None) => Some(listed(certificates::items(shown.list()), query)),
        ("certificates", Some(name), None) => {
            Some(named(certificates::items(shown.list()), "certificate", name))
        }
        (protocol, Some(kind), name) => {
            let (protocol, kind, _) = *LISTS.iter().find(|list| (list.0, list.1) == (protocol, kind))?;
            let items = items::all(status, settings, protocol, kind);
            let singular = kind.trim_end_matches('s');
            Some(
                name.map_or_else(
                    || listed(items.clone(), query),
                    |name| named(items.clone(), singular, name),
                ),
            )
        }
        _ => None,
    }
}

fn listed(items: Vec<Value>, query: &str) -> Answer {
    match Query::read(query).and_then(|query| query.page(items)) {
        Ok((page, next)) => Answer::Page(Value::Array(page), next),
        Err(message) => Answer::Wrong(message),
    }
}

fn named(items: Vec<Value>, what: &str, name: &str) -> Answer {
    let name = super::resolve::decode(name);
    let found = items.into_iter().find(|item| item["name"] == *name);
    found.map_or_else(|| Answer::Missing(format!("{what} not found: {name}")), Answer::Found)
}

/// Everything by name. A list that is empty is left out.
fn raw_data(status: &Status, settings: &Settings) -> Value {
    let mut all = Map::new();
    for (protocol, kind, key) in LISTS {
        let mut by_name = Map::new();
        for mut item in items::all(status, settings, protocol, kind) {
            let Some(fields) = item.as_object_mut() else { continue };
            for only_listed in ["provider", "type", "priorityStr"] {
                fields.remove(only_listed);
            }
            if let Some(Value::String(name)) = fields.remove("name") {
                by_name.insert(name, item);
            }
        }
        if !by_name.is_empty() {
            all.insert(key.to_owned(), Value::Object(by_name));
        }
    }
    Value::Object(all)
}

fn counted(items: &[Value]) -> Value {
    let count = |status: &str| items.iter().filter(|item| item["status"] == status).count();
    json!({ "total": items.len(), "warnings": count("warning"), "errors": count("disabled") })
}

/// How many there are of each, and how many of them have something wrong.
fn overview(status: &Status, settings: &Settings, shown: &ShownCertificates) -> Value {
    let mut all = json!({
        "certificates": counted(&certificates::items(shown.list())),
        "features": {
            "tracing": "",
            "metrics": if settings.internal.has_metrics() { "Prometheus" } else { "" },
            "accessLog": settings.access_log.is_some(),
        },
        // What Portolan serves of itself is no provider there.
        "providers": status.snapshot.load().sources.iter().filter(|source| &*source.provider.0 != "internal").map(|source| {
            let mut letters = source.provider.0.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        }).collect::<Vec<_>>(),
    });
    for (protocol, kind, _) in LISTS {
        let items = items::all(status, settings, protocol, kind);
        all[protocol][kind] = counted(&items);
    }
    all
}
