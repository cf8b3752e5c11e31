//! The list of Traefik's dynamic options, one by one: each is read from a file and, where Traefik does so, from a
//! label, under its own spelling, and arrives with the value written. Those that are not are exceptions with a reason.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::decode::{Decoded, decode};
use super::file::tree;
use super::node::{Node, Value};
use super::*;
use crate::not_yet::{NEVER, NOT_YET};
use crate::{DataPath, Labels};

const LIST: &str = include_str!("options.tsv");

struct Row {
    path: &'static str,
    kind: &'static str,
    set_by: &'static str,
}

fn rows() -> Vec<Row> {
    let rows: Vec<Row> = LIST
        .lines()
        .skip(1)
        .map(|line| {
            let mut cells = line.split('\t');
            let mut next = || cells.next().unwrap_or_default();
            Row { path: next(), kind: next(), set_by: next() }
        })
        .collect();
    assert_eq!(rows.len(), 431, "the list has changed");
    rows
}

/// Rows that hold a value, or may stand alone.
fn options() -> Vec<Row> {
    let options: Vec<Row> = rows().into_iter().filter(|row| row.kind != "struct").collect();
    assert!(options.len() > 330, "only {} options", options.len());
    options
}

fn is_below(path: &str, option: &str) -> bool {
    path.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A value as it is written, and as it arrives.
fn sample(row: &Row) -> (String, Json) {
    let last = row.path.rsplit('.').next().unwrap_or_default();
    let same = |text: &str| (text.to_owned(), json!(text));
    let listed = |text: &str| (text.to_owned(), json!([text]));
    match (last, row.kind) {
        ("rule", _) if row.path.starts_with("tcp") => same("HostSNI(`*`)"),
        ("rule", _) => same("Host(`a`)"),
        ("ruleSyntax", _) => same("v2"),
        ("traceVerbosity", _) => same("detailed"),
        ("strategy", _) => same("p2c"),
        ("mode", _) => same("grpc"),
        ("sameSite", _) => same("lax"),
        ("url", _) => same("http://10.0.0.1:1"),
        ("address", _) => same("10.0.0.1:1"),
        ("minVersion" | "maxVersion", _) => same("VersionTLS13"),
        ("defaultEncoding", _) => same("br"),
        ("encodings", _) => listed("zstd"),
        ("sourceRange" | "excludedIPs", _) => listed("10.0.0.0/8"),
        ("regex" | "accessControlAllowOriginListRegex", "list") => listed("^a"),
        ("status", "list") => listed("500-599"),
        ("terminationDelay", "int") => ("250".to_owned(), json!(250)),
        ("<name>", "map") if row.path.contains("statusRewrites") => ("404".to_owned(), json!(404)),
        ("<name>", "map") => same("value"),
        ("port", "string") if row.path.contains("redirectScheme") => same("8443"),
        ("port", "string") => ("81".to_owned(), json!(81)),
        (_, "bool") => ("true".to_owned(), json!(true)),
        (_, "int") => ("7".to_owned(), json!(7)),
        (_, "duration") => ("7s".to_owned(), json!("7s")),
        (_, "list of {certFile,keyFile}") => (
            "[{certFile: a, keyFile: b}]".to_owned(),
            json!([{"certFile": "a", "keyFile": "b", "stores": []}]),
        ),
        (_, "list" | "list of file|content") => listed("one"),
        (_, "{}") => ("{}".to_owned(), json!({})),
        (_, "struct (allowEmpty)") => ("true".to_owned(), Json::Null),
        _ => same("one"),
    }
}

/// Options that only make sense beside another, which is written as well.
fn beside(path: &str) -> &'static str {
    match path {
        path if path.ends_with("redirectRegex.replacement") || path.ends_with("redirectRegex.permanent") => {
            "regex: ^a, "
        }
        path if path.ends_with("replacePathRegex.replacement") => "regex: ^a, ",
        path if path.ends_with("services[n].weight") || path.ends_with("mirrors[n].percent") => "name: x, ",
        _ => "",
    }
}

/// The option as a file in one line.
fn flow(path: &str, value: &str) -> String {
    let mut text = if value.starts_with(['[', '{']) { value.to_owned() } else { format!("\"{value}\"") };
    for (index, part) in path.split('.').rev().enumerate() {
        let extra = if index == 0 { beside(path) } else { "" };
        let (name, list) = match part.strip_suffix("[n]") {
            Some(name) => (name, true),
            None => (part, false),
        };
        let name = if name == "<name>" { "n" } else { name };
        text = if list { format!("{{{name}: [{text}]}}") } else { format!("{{{extra}{name}: {text}}}") };
    }
    text
}

/// Decodes a node; gives what it came to, the faults, and the options that were asked for.
type Decode = fn(&Node, &'static str) -> (Json, Vec<String>, Vec<String>);

/// The kinds of things that have options: where they stand, and how they are decoded.
const KINDS: [(&str, Decode); 13] = [
    ("http.routers", decoded::<http::Router>),
    ("http.services", decoded::<service::ServiceWritten>),
    ("http.middlewares", decoded::<middleware::Middleware>),
    ("http.serversTransports", decoded::<tls::ServersTransport>),
    ("tcp.routers", decoded::<tcp::TcpRouter>),
    ("tcp.services", decoded::<tcp::TcpServiceWritten>),
    ("tcp.middlewares", decoded::<tcp::TcpMiddleware>),
    ("tcp.serversTransports", decoded::<tcp::TcpServersTransport>),
    ("udp.routers", decoded::<tcp::UdpRouter>),
    ("udp.services", decoded::<tcp::UdpServiceWritten>),
    ("tls.options", decoded::<tls::TlsOptions>),
    ("tls.stores", decoded::<tls::Store>),
    ("tls.certificates", decoded::<tls::Certificate>),
];

/// What arrives, what is wrong, and the options that were seen.
fn decoded<T: DeserializeOwned + Serialize>(
    node: &Node,
    kind: &'static str,
) -> (Json, Vec<String>, Vec<String>) {
    let Decoded { value, wrong, used } = decode::<T>(node, kind, "n");
    let value = value.map_or(Json::Null, |value| serde_json::to_value(value).unwrap());
    let wrong = wrong.into_iter().map(|wrong| wrong.message).collect();
    (value, wrong, used.into_iter().map(|used| used.option).collect())
}

/// The node of the thing within a tree.
fn thing<'n>(mut node: &'n Node, kind: &str) -> &'n Node {
    for _ in 0..=kind.split('.').count() {
        node = match &node.value {
            Value::Map(entries) => &entries[0].1,
            Value::List(items) => &items[0],
            other => panic!("{other:?}"),
        };
    }
    node
}

/// The value at an option's path within a thing; lists have one item.
fn at<'j>(mut value: &'j Json, path: &str) -> &'j Json {
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, list) = match part.strip_suffix("[n]") {
            Some(name) => (name, true),
            None => (part, false),
        };
        value = &value[if name == "<name>" { "n" } else { name }];
        if list {
            value = &value[0];
        }
    }
    value
}

#[test]
fn every_option_is_read_from_a_file_and_arrives() {
    let mut seen = 0;
    for row in options() {
        if NOT_READ.iter().any(|option| is_below(row.path, option)) {
            continue;
        }
        let (written, expected) = sample(&row);
        let text = flow(row.path, &written);
        let root =
            tree("options.yml", Format::Yaml, &text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
        let (kind, decode) = KINDS
            .into_iter()
            .find(|(kind, _)| is_below(row.path, kind))
            .unwrap_or_else(|| panic!("nothing decodes {}", row.path));
        let (value, wrong, used) = decode(thing(&root, kind), kind);
        assert!(wrong.is_empty(), "{text}: {wrong:?}");
        let below = row.path[kind.len()..].trim_start_matches(".<name>").trim_start_matches("[n]");
        let arrived = at(&value, below);
        match expected {
            // One that stands alone has what it has unless written.
            Json::Null => assert!(arrived.is_object(), "{text}: {value}"),
            expected => assert_eq!(*arrived, expected, "{text}: {value}"),
        }
        let spelled = row.path.strip_suffix("headers.<name>").is_some()
            || used.iter().any(|used| {
                used.strip_prefix("tls.certificates.<name>").map_or(used.as_str(), |_| row.path) == row.path
            });
        assert!(spelled, "{} is not among {used:?}", row.path);
        seen += 1;
    }
    assert!(seen > 300, "only {seen} options seen");
}

/// Exceptions that are refused before they are read.
const NOT_READ: [&str; 2] = ["http.models", "http.middlewares.<name>.plugin"];

#[test]
fn every_option_that_traefik_reads_from_labels_is_read_from_labels() {
    let mut seen = 0;
    for row in options() {
        let is_file_option = row.set_by == "file/KV";
        let never = NEVER.iter().any(|(option, _)| is_below(row.path, option));
        if never || row.kind == "{}" || row.kind.starts_with("list of {") {
            continue;
        }
        let (written, _) = sample(&row);
        let path = row.path.replace("loadBalancer.servers[n]", "loadBalancer.server").replace("[n]", "[0]");
        let path = path.replace("<name>", "n");
        let mut labels = BTreeMap::from([(format!("traefik.{path}"), written.clone())]);
        let (parent, _) = path.rsplit_once('.').unwrap();
        for extra in beside(row.path).split(", ").filter(|extra| !extra.is_empty()) {
            let (name, value) = extra.split_once(": ").unwrap();
            labels.insert(format!("traefik.{parent}.{name}"), value.to_owned());
        }
        let faults: Vec<String> =
            Labels::decode(&labels).faults.into_iter().map(|fault| fault.message).collect();
        if is_file_option {
            assert!(
                faults.iter().any(|fault| fault.contains("Traefik does not read this from labels")),
                "{labels:?}: {faults:?}"
            );
        }
        let own: BTreeMap<String, String> = labels
            .iter()
            .map(|(name, value)| (name.replacen("traefik.", "portolan.", 1), value.clone()))
            .collect();
        for labels in if is_file_option { vec![own] } else { vec![labels, own] } {
            for fault in Labels::decode(&labels).faults {
                let fine =
                    ["can't do this yet", "needs `", "needs a rule", "is not", "without `", "says nothing"]
                        .iter()
                        .any(|known| fault.message.contains(known));
                assert!(fine, "{labels:?}: {fault:?}");
                assert!(!fault.message.contains("there is no option"), "{labels:?}: {fault:?}");
            }
        }
        seen += 1;
    }
    assert!(seen > 290, "only {seen} options seen");
}

#[test]
fn what_is_not_applied_is_spelled_as_in_the_list() {
    let rows = rows();
    for option in NOT_YET.iter().map(|entry| entry.option).chain(NEVER.iter().map(|(option, _)| *option)) {
        assert!(rows.iter().any(|row| is_below(row.path, option)), "the list has no {option}");
    }
}

#[test]
fn what_a_tcp_service_has_of_portolans_own_is_read_and_what_it_can_not_have_is_told() {
    let service = |options: &str| {
        let text = format!("{{tcp: {{services: {{n: {{loadBalancer: {{{options}}}}}}}}}}}");
        let root = tree("options.yml", Format::Yaml, &text).expect("YAML");
        let Decoded { value, wrong, .. } =
            decode::<tcp::TcpServiceWritten>(thing(&root, "tcp.services"), "tcp.services", "n");
        assert!(wrong.is_empty(), "{text}: {wrong:?}");
        value.expect("a service").meant()
    };
    let meant =
        service("maxConnections: 7, maxConnectionsPerEndpoint: 3, idleTimeout: 5m, dataPath: Sockmap");
    let Ok(tcp::TcpService::LoadBalancer(balancer)) = meant else { panic!("{meant:?}") };
    assert_eq!((balancer.connections_max(), balancer.per_endpoint_max()), (Some(7), Some(3)));
    assert_eq!(balancer.idle_timeout, Some(value::Span::secs(300)));
    assert_eq!(balancer.data_path, Some(DataPath::Sockmap));
    let Ok(tcp::TcpService::LoadBalancer(balancer)) = service("maxConnections: 0") else { panic!() };
    assert_eq!((balancer.connections_max(), balancer.idle_timeout), (None, None));
    for path in ["nftables", "transparent"] {
        let refused = service(&format!("dataPath: {path}")).unwrap_err();
        assert!(refused.contains("is for published ports"), "{refused}");
    }
}
