//! Routers, services and middlewares of the chart, each as Traefik shows it.

use portolan_config::dynamic::tcp::LayerFourWeighted;
use portolan_config::settings::EntryPoint;
use portolan_config::tls::Scheme;
use portolan_config::{Protocol, Settings};
use portolan_discovery::{Snapshot, Target};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{faults, internal, spelling};
use crate::steer::Status;

/// All of one kind by name: `http`, `tcp` or `udp`, and `routers`, `services` or `middlewares`.
pub fn all(status: &Status, settings: &Settings, protocol: &str, kind: &str) -> Vec<Value> {
    let snapshot = status.snapshot.load();
    let entry_points = status.entry_points.load();
    let of_kind = |kind: &str| {
        let mut items = match kind {
            "routers" => routers(&snapshot, &entry_points, protocol),
            "services" => services(&snapshot, protocol),
            _ => middlewares(&snapshot, protocol),
        };
        if protocol == "http" {
            items.extend(internal::items(settings, &entry_points, kind));
        }
        items
    };
    let mut items = of_kind(kind);
    if kind != "routers" {
        let key = if kind == "services" { "service" } else { "middlewares" };
        let routers = of_kind("routers");
        for item in &mut items {
            let users: Vec<&Value> = routers
                .iter()
                .filter(|router| uses(router, key, &item["name"]))
                .map(|router| &router["name"])
                .collect();
            if !users.is_empty() {
                item["usedBy"] = json!(users);
                // Traefik qualifies what a chain names once the chain is in use.
                let provider = item["provider"].as_str().unwrap_or_default().to_owned();
                if let Some(names) = item.pointer_mut("/chain/middlewares").and_then(Value::as_array_mut) {
                    for name in names {
                        qualify(name, &provider);
                    }
                }
            }
        }
    }
    faults::tell(&mut items, &status.faults.load(), protocol, kind);
    for item in &mut items {
        // A router on no entry point takes nothing.
        if kind == "routers" && item["using"].as_array().is_some_and(Vec::is_empty) {
            item["status"] = json!("disabled");
            item.as_object_mut().map(|fields| fields.remove("using"));
        }
    }
    items.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    items
}

/// With the provider, unless it names one.
fn qualify(name: &mut Value, provider: &str) {
    if let Some(bare) = name.as_str().filter(|name| !name.contains('@')) {
        *name = json!(format!("{bare}@{provider}"));
    }
}

fn uses(router: &Value, key: &str, name: &Value) -> bool {
    match &router[key] {
        Value::Array(names) => names.contains(name),
        Value::String(service) => {
            let name = name.as_str().unwrap_or_default();
            let provider = router["provider"].as_str().unwrap_or_default();
            name == service
                || name.strip_suffix(provider).and_then(|name| name.strip_suffix('@')) == Some(service)
        }
        _ => false,
    }
}

fn routers(snapshot: &Snapshot, entry_points: &[EntryPoint], protocol: &str) -> Vec<Value> {
    let router = |name: &str, named: &[String], upstream: &str, transport| {
        let on = entry_points_of(entry_points, named, transport);
        let is_there = |name: &&String| entry_points.iter().any(|one| one.name == **name);
        let using: Vec<&String> = on.iter().filter(is_there).collect();
        let mut item = item(name, Map::new());
        let provider = name.rsplit('@').next().unwrap_or_default();
        // One of the same provider is written without it.
        let own = upstream.strip_suffix(provider).and_then(|service| service.strip_suffix('@'));
        // What is Portolan's own is one service here, and one for each path in Traefik.
        let is_internal = provider == "internal";
        item["service"] = if is_internal { json!(name) } else { json!(own.unwrap_or(upstream)) };
        item["entryPoints"] = json!(on);
        item["using"] = json!(using);
        item
    };
    let prioritized = |item: &mut Value, rule: String, priority: i64, middlewares: &[String]| {
        item["rule"] = json!(rule);
        item["priority"] = json!(priority);
        item["priorityStr"] = json!(priority.to_string());
        if !middlewares.is_empty() {
            item["middlewares"] = json!(middlewares);
        }
    };
    let http = snapshot.routers.iter().map(|it| {
        let mut item = router(&it.name, &it.entry_points, &it.upstream, Protocol::Tcp);
        prioritized(&mut item, it.rule.to_string(), it.priority, it.named());
        if let Some(tls) = &it.tls {
            let domains = tls.domains.iter().map(|(main, sans)| json!({ "main": main, "sans": sans }));
            item["tls"] = spelling::as_traefik(json!({
                "options": tls.options.as_deref().unwrap_or("default"),
                "certResolver": tls.cert_resolver,
                "domains": domains.collect::<Vec<_>>(),
            }));
        }
        let told = &it.observability;
        item["observability"] = observability(told.access_logs, told.metrics, told.tracing);
        spelling::without_provider(&mut item["tls"], provider_of(&it.name));
        if item["tls"].is_null() {
            item.as_object_mut().map(|fields| fields.remove("tls"));
        }
        item
    });
    let tcp = snapshot.layer_four.tcp_routers.iter().map(|it| {
        let mut item = router(&it.name, &it.entry_points, &it.upstream, Protocol::Tcp);
        prioritized(&mut item, it.rule.to_string(), it.priority, &it.middlewares);
        if let Some(tls) = &it.tls {
            item["tls"] = options(tls);
        }
        item
    });
    let udp = snapshot.layer_four.udp_routers.iter();
    match protocol {
        "http" => http.collect(),
        "tcp" => tcp.collect(),
        _ => udp.map(|it| router(&it.name, &it.entry_points, &it.upstream, Protocol::Udp)).collect(),
    }
}

/// Those that are named, or the default ones: those that say so, or all, of the transport.
fn entry_points_of(all: &[EntryPoint], named: &[String], transport: Protocol) -> Vec<String> {
    if !named.is_empty() {
        return named.to_vec();
    }
    let any_default = all.iter().any(|one| one.as_default);
    let mut names: Vec<String> = all
        .iter()
        .filter(|one| one.protocol == transport && (one.as_default || !any_default))
        .map(|one| one.name.clone())
        .collect();
    names.sort();
    names
}

fn services(snapshot: &Snapshot, protocol: &str) -> Vec<Value> {
    use portolan_discovery::{TcpUpstream, UdpUpstream};
    match protocol {
        "http" => {
            let shown = |name: &str| provider_of(name) != "internal";
            let plain = snapshot.upstreams.iter().filter(|upstream| shown(&upstream.name)).map(|upstream| {
                let mut balancing = options(&*upstream.balancing);
                balancing["passHostHeader"] = json!(upstream.pass_host_header);
                name_cookie(&mut balancing, &upstream.name);
                balanced(&upstream.name, balancing, &upstream.targets, "url")
            });
            let composed = snapshot.composites.iter().map(|composite| {
                let mut item = item(&composite.name, named_in(&composite.name, &composite.kind));
                if let Some(weighted) = item.get_mut("weighted") {
                    name_cookie(weighted, &composite.name);
                }
                item
            });
            plain.chain(composed).collect()
        }
        "tcp" => {
            let upstreams = snapshot.layer_four.tcp_upstreams.iter();
            upstreams
                .map(|(name, upstream)| match &**upstream {
                    TcpUpstream::Targets { upstream, balancing, .. } => {
                        balanced(name, options(&**balancing), &upstream.targets, "address")
                    }
                    TcpUpstream::Weighted(weighted) => spread(name, weighted),
                })
                .collect()
        }
        _ => {
            let upstreams = snapshot.layer_four.udp_upstreams.iter();
            upstreams
                .map(|(name, upstream)| match &**upstream {
                    UdpUpstream::Targets(targets) => {
                        let mut item = balanced(name, json!({}), targets, "address");
                        // Nobody asks a server of UDP how it is.
                        item.as_object_mut().map(|fields| fields.remove("serverStatus"));
                        item
                    }
                    UdpUpstream::Weighted(weighted) => spread(name, weighted),
                })
                .collect()
        }
    }
}

/// Names the cookie of a service that has one without a name, as clients are given it.
fn name_cookie(service: &mut Value, name: &str) {
    if let Some(Value::Object(cookie)) = service.pointer_mut("/sticky/cookie") {
        cookie.entry("name").or_insert_with(|| json!(portolan_proxy::default_cookie_name(name)));
    }
}

fn spread(name: &str, weighted: &LayerFourWeighted) -> Value {
    item(name, named_in(name, &json!({ "weighted": options(weighted) })))
}

/// A service of servers, by `url` or `address`, and whether each may be given work.
fn balanced(name: &str, mut balancing: Value, targets: &[Target], key: &str) -> Value {
    let mut servers = Vec::new();
    let mut up = Map::new();
    for target in targets {
        let Some(place) = place(target, key) else { continue };
        let mut server = json!({ key: place });
        if target.weight != 1 {
            server["weight"] = json!(target.weight);
        }
        if !target.path_prefix.is_empty() {
            server["preservePath"] = json!(true);
        }
        if key == "address" && target.scheme == Scheme::Https {
            server["tls"] = json!(true);
        }
        servers.push(server);
        up.insert(place, json!(if target.endpoint.is_available() { "UP" } else { "DOWN" }));
    }
    if !servers.is_empty() {
        balancing["servers"] = json!(servers);
    }
    let mut item = item(name, typed(json!({ "loadBalancer": balancing })));
    if !up.is_empty() {
        item["serverStatus"] = Value::Object(up);
    }
    item
}

/// Where a server is, as it was written or as it was found; `None` where it has no address.
fn place(target: &Target, key: &str) -> Option<String> {
    if !target.url.is_empty() {
        return Some(target.url.to_string());
    }
    let address = std::net::SocketAddr::new(target.endpoint.address()?, target.port);
    if key == "address" {
        return Some(address.to_string());
    }
    let scheme = match target.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
        Scheme::H2c => "h2c",
    };
    Some(format!("{scheme}://{address}"))
}

fn middlewares(snapshot: &Snapshot, protocol: &str) -> Vec<Value> {
    match protocol {
        "http" => snapshot.middlewares.iter().map(|(name, it)| item(name, named_in(name, &**it))).collect(),
        _ => {
            let all = snapshot.layer_four.tcp_middlewares.iter();
            all.map(|(name, it)| item(name, typed(options(&**it)))).collect()
        }
    }
}

fn item(name: &str, mut fields: Map<String, Value>) -> Value {
    fields.insert("name".to_owned(), json!(name));
    fields.insert("provider".to_owned(), json!(name.rsplit('@').next()));
    Value::Object(fields)
}

/// What is told of a router's requests.
pub(super) fn observability(logs: Option<bool>, metrics: Option<bool>, tracing: Option<bool>) -> Value {
    json!({
        "accessLogs": logs.unwrap_or(true),
        "metrics": metrics.unwrap_or(true),
        "tracing": tracing.unwrap_or(true),
        "traceVerbosity": "minimal",
    })
}

fn provider_of(name: &str) -> &str {
    name.rsplit('@').next().unwrap_or_default()
}

/// Options in which others of the same provider are named.
fn named_in(name: &str, written: &impl Serialize) -> Map<String, Value> {
    let mut options = options(written);
    spelling::without_provider(&mut options, provider_of(name));
    typed(options)
}

/// With the name of its only option as its type, in lower case.
fn typed(options: Value) -> Map<String, Value> {
    let Value::Object(mut fields) = options else { return Map::new() };
    if let Some(kind) = fields.keys().next().map(|key| key.to_lowercase()) {
        fields.insert("type".to_owned(), json!(kind));
    }
    fields
}

/// Options as Traefik writes them.
fn options(written: &impl Serialize) -> Value {
    spelling::as_traefik(serde_json::to_value(written).unwrap_or_default())
}
