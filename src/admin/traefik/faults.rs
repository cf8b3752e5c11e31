//! What is wrong with an item: a fault of something that works costs an option of it, one of something that is not in
//! the chart costs all of it.

use std::collections::BTreeMap;

use portolan_config::Fault;
use serde_json::{Value, json};

/// Sets `status` and `error` of the items, and adds those that are not in the chart because of their faults.
pub fn tell(items: &mut Vec<Value>, faults: &[Fault], protocol: &str, kind: &str) {
    let mut told: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for fault in faults {
        if let Some(name) = about(fault, protocol, kind) {
            told.entry(name).or_default().push(&fault.message);
        }
    }
    for item in items.iter_mut() {
        let errors = item["name"].as_str().and_then(|name| told.remove(name));
        item["status"] = json!(if errors.is_some() { "warning" } else { "enabled" });
        if let Some(errors) = errors {
            item["error"] = json!(errors);
        }
    }
    items.extend(told.into_iter().map(|(name, errors)| {
        let provider = name.rsplit('@').next();
        json!({ "name": name, "provider": provider, "status": "disabled", "error": errors })
    }));
}

/// The qualified name of what a fault is about, where that is of this kind: `http.routers.web.rule` is about a router.
fn about(fault: &Fault, protocol: &str, kind: &str) -> Option<String> {
    let key = ["traefik.", "portolan."].iter().find_map(|prefix| {
        fault.key.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix))?;
        fault.key.get(prefix.len()..)
    });
    let mut parts = key.unwrap_or(&fault.key).split('.');
    let is = |part: Option<&str>, wanted: &str| part.is_some_and(|part| part.eq_ignore_ascii_case(wanted));
    if !is(parts.next(), protocol) || !is(parts.next(), kind) {
        return None;
    }
    let name = parts.next().filter(|name| !name.is_empty())?;
    let provider = match fault.origin.split_once(' ').map_or("", |(first, _)| first) {
        "container" => "docker",
        "service" | "task" => "swarm",
        _ => "file",
    };
    Some(format!("{name}@{provider}"))
}
