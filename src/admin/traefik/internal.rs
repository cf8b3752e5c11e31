//! What Traefik shows of itself among the items: the routers of `ping`, of the metrics and of the API, those of entry
//! points that send everybody elsewhere, and the services behind them. Needs no chart.

use portolan_config::Settings;
use portolan_config::settings::EntryPoint;
use serde_json::{Value, json};

/// The name of the entry point that Portolan itself has.
const TRAEFIK: &str = "traefik";
/// Above every length of a rule, as Traefik shows it.
const FIRST: i64 = i64::MAX;

/// The internal items of a kind of `http`. Where a path is a router of another entry point, the chart has it.
pub fn items(settings: &Settings, entry_points: &[EntryPoint], kind: &str) -> Vec<Value> {
    match kind {
        "routers" => routers(settings, entry_points),
        "services" => services(settings),
        _ => middlewares(entry_points),
    }
}

/// Those of the entry point `traefik`: their names, paths and priorities.
fn own(settings: &Settings) -> Vec<(&'static str, &'static str, i64)> {
    let internal = &settings.internal;
    let all = [
        (internal.has_api(), ("api", "/api", FIRST - 1)),
        (internal.has_ping(), ("ping", "/ping", FIRST)),
        (internal.has_metrics(), ("prometheus", "/metrics", FIRST)),
    ];
    all.into_iter().filter(|(has, _)| *has).map(|(_, path)| path).collect()
}

/// The name of the router of an entry point that sends everybody elsewhere, without its provider.
fn redirection(entry_point: &EntryPoint) -> Option<String> {
    let written = entry_point.redirection.as_ref()?;
    Some(format!("{}-to-{}", entry_point.name, written.to.trim_start_matches(':')))
}

fn router(name: &str, entry_point: &str, service: &str, rule: &str, priority: i64) -> Value {
    json!({
        "name": format!("{name}@internal"),
        "provider": "internal",
        "entryPoints": [entry_point],
        "using": [entry_point],
        "service": format!("{service}@internal"),
        "rule": rule,
        "ruleSyntax": "default",
        "priority": priority,
        "priorityStr": priority.to_string(),
        "observability": super::items::observability(None, None, None),
    })
}

fn routers(settings: &Settings, entry_points: &[EntryPoint]) -> Vec<Value> {
    let own = own(settings).into_iter().map(|(name, path, priority)| {
        router(name, TRAEFIK, name, &format!("PathPrefix(`{path}`)"), priority)
    });
    let redirections = entry_points.iter().filter_map(|entry_point| {
        let name = redirection(entry_point)?;
        let priority = entry_point.redirection.as_ref()?.priority;
        let mut item = router(&name, &entry_point.name, "noop", "HostRegexp(`^.+$`)", priority);
        item["middlewares"] = json!([format!("redirect-{name}@internal")]);
        Some(item)
    });
    own.chain(redirections).collect()
}

fn services(settings: &Settings) -> Vec<Value> {
    // Each is there by itself, also where no router leads to it.
    let internal = &settings.internal;
    let all = [
        (internal.api.is_some(), "api"),
        (internal.ping.is_some(), "ping"),
        (internal.metrics.is_some(), "prometheus"),
        (true, "noop"),
    ];
    let there = all.into_iter().filter(|(is_there, _)| *is_there);
    there.map(|(_, name)| json!({ "name": format!("{name}@internal"), "provider": "internal" })).collect()
}

fn middlewares(entry_points: &[EntryPoint]) -> Vec<Value> {
    let redirection = |entry_point: &EntryPoint| {
        let written = entry_point.redirection.as_ref()?;
        Some(json!({
            "name": format!("redirect-{}@internal", redirection(entry_point)?),
            "provider": "internal",
            "type": "redirectscheme",
            "redirectScheme": super::spelling::as_traefik(json!({
                "scheme": written.scheme,
                "port": written.port.to_string(),
                "permanent": written.permanent,
            })),
        }))
    };
    entry_points.iter().filter_map(redirection).collect()
}
