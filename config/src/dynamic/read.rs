//! From the tree to the whole dynamic configuration: sections, names, and what a fault costs.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::decode::{Decoded, Used, Wrong, decode};
use super::nearest::hint;
use super::node::{Node, Value};
use super::service::ServiceWritten;
use super::tcp::{TcpRouter, TcpServersTransport, TcpServiceWritten, UdpServiceWritten};
use super::{Dynamic, Item, Items, options};
use crate::not_yet::{self, Cost};
use crate::rule::{Rule, TcpRule};

/// Reads a whole tree.
pub(crate) fn read(root: &Node) -> Dynamic {
    let mut dynamic = Dynamic::default();
    let mut wrong = Vec::new();
    for (name, node) in section(root, "", &mut wrong) {
        match lower(name).as_str() {
            "http" => http(node, &mut dynamic, &mut wrong),
            "tcp" => tcp(node, &mut dynamic, &mut wrong),
            "udp" => udp(node, &mut dynamic, &mut wrong),
            "tls" => tls(node, &mut dynamic, &mut wrong),
            _ => unknown(node, name, name, &["http", "tcp", "udp", "tls"], &mut wrong),
        }
    }
    dynamic.wrong = wrong;
    dynamic
}

fn http(node: &Node, dynamic: &mut Dynamic, wrong: &mut Vec<Wrong>) {
    for (name, node) in section(node, "http", wrong) {
        match lower(name).as_str() {
            "routers" => dynamic.routers = items(node, "http.routers", wrong, http_router),
            "services" => {
                dynamic.services =
                    items(node, "http.services", wrong, |written: ServiceWritten| Ok(written.meant()?));
            }
            "middlewares" => {
                dynamic.middlewares =
                    items(node, "http.middlewares", wrong, |middleware: super::middleware::Middleware| {
                        let name = middleware.name();
                        middleware.check().map_err(|error| format!("{name}: {error}"))?;
                        Ok(middleware)
                    });
            }
            "serverstransports" => {
                dynamic.servers_transports = items(
                    node,
                    "http.serversTransports",
                    wrong,
                    |transport: super::tls::ServersTransport| Ok(transport.meant()?),
                );
            }
            "models" => refuse(
                node,
                "http.models",
                "this is how Traefik tells itself what entry points add: write it at the entry point",
                wrong,
            ),
            _ => {
                let known = ["routers", "services", "middlewares", "serversTransports"];
                unknown(node, name, &format!("http.{name}"), &known, wrong);
            }
        }
    }
}

fn tcp(node: &Node, dynamic: &mut Dynamic, wrong: &mut Vec<Wrong>) {
    for (name, node) in section(node, "tcp", wrong) {
        match lower(name).as_str() {
            "routers" => dynamic.tcp_routers = items(node, "tcp.routers", wrong, tcp_router),
            "services" => {
                dynamic.tcp_services =
                    items(node, "tcp.services", wrong, |written: TcpServiceWritten| Ok(written.meant()?));
            }
            "middlewares" => dynamic.tcp_middlewares = items(node, "tcp.middlewares", wrong, Ok),
            "serverstransports" => {
                dynamic.tcp_servers_transports =
                    items(node, "tcp.serversTransports", wrong, |written: TcpServersTransport| {
                        Ok(written.meant()?)
                    });
            }
            _ => {
                let known = ["routers", "services", "middlewares", "serversTransports"];
                unknown(node, name, &format!("tcp.{name}"), &known, wrong);
            }
        }
    }
}

fn udp(node: &Node, dynamic: &mut Dynamic, wrong: &mut Vec<Wrong>) {
    for (name, node) in section(node, "udp", wrong) {
        match lower(name).as_str() {
            "routers" => dynamic.udp_routers = items(node, "udp.routers", wrong, Ok),
            "services" => {
                dynamic.udp_services =
                    items(node, "udp.services", wrong, |written: UdpServiceWritten| Ok(written.meant()?));
            }
            _ => unknown(node, name, &format!("udp.{name}"), &["routers", "services"], wrong),
        }
    }
}

fn tls(node: &Node, dynamic: &mut Dynamic, wrong: &mut Vec<Wrong>) {
    for (name, node) in section(node, "tls", wrong) {
        match lower(name).as_str() {
            "certificates" => certificates(node, dynamic, wrong),
            "options" => {
                dynamic.tls_options =
                    items(node, "tls.options", wrong, |options: super::tls::TlsOptions| Ok(options.meant()?));
            }
            "stores" => dynamic.stores = items(node, "tls.stores", wrong, Ok),
            _ => unknown(node, name, &format!("tls.{name}"), &["certificates", "options", "stores"], wrong),
        }
    }
}

/// `tls.certificates` is a list; in labels, `certificates[0]`.
fn certificates(node: &Node, dynamic: &mut Dynamic, wrong: &mut Vec<Wrong>) {
    if is_traefiks_file_option(node, "tls.certificates", wrong) {
        return;
    }
    let pairs: Vec<&Node> = match &node.value {
        Value::List(pairs) => pairs.iter().collect(),
        Value::Map(pairs) => pairs.iter().map(|(_, node)| node).collect(),
        Value::Null | Value::Text(_) => {
            refuse(node, "tls.certificates", "expected a list of `certFile` and `keyFile`", wrong);
            return;
        }
    };
    for (index, node) in pairs.into_iter().enumerate() {
        let name = format!("[{index}]");
        let pair = item(node, "tls.certificates", &name, wrong, |written: super::tls::Certificate| {
            Ok((written.key_pair()?, written.stores))
        });
        dynamic.certificates.extend(pair.value.map(Arc::unwrap_or_clone));
    }
}

/// The things of one kind.
fn items<W: DeserializeOwned, T>(
    node: &Node,
    kind: &'static str,
    wrong: &mut Vec<Wrong>,
    meant: impl Fn(W) -> Result<T, Misfit>,
) -> Items<T> {
    let mut items = Items::new();
    if is_traefiks_file_option(node, kind, wrong) {
        return items;
    }
    for (name, node) in section(node, kind, wrong) {
        if name.contains('@') {
            let message = "a name ends with `@provider` where it is asked for, not where it is given";
            refuse(node, &format!("{kind}.{name}"), message, wrong);
            continue;
        }
        items.insert(name.clone(), item(node, kind, name, wrong, &meant));
    }
    items
}

fn item<W: DeserializeOwned, T>(
    node: &Node,
    kind: &'static str,
    name: &str,
    wrong: &mut Vec<Wrong>,
    meant: impl Fn(W) -> Result<T, Misfit>,
) -> Item<T> {
    let Decoded { value, wrong: mut found, used } = decode::<W>(node, kind, name);
    let mut lost = found.iter().any(|wrong| costs_all(kind, &wrong.path));
    let value = value.and_then(|written| {
        meant(written)
            .map_err(|misfit| {
                // What could not be read may well be missing now.
                if found.is_empty() {
                    found.push(misfit.wrong(node, &format!("{kind}.{name}"), &used));
                }
            })
            .ok()
    });
    for used in &used {
        let Some((cost, message)) = not_yet::refusal(&used.option) else { continue };
        lost |= cost == Cost::Owner;
        // One word is enough for all that stands below it.
        if !found.iter().any(|told| used.path.starts_with(&told.path) && told.message == message) {
            found.push(Wrong { place: used.place.clone(), path: used.path.clone(), message });
        }
    }
    let value = value.filter(|_| !lost);
    if value.is_none() {
        // Singular: `http.routers` holds routers.
        let thing = thing(kind);
        for wrong in &mut found {
            wrong.message = format!("{}; {thing} `{name}` is left out", wrong.message);
        }
    }
    wrong.extend(found);
    Item { place: node.place.clone(), value: value.map(Arc::new) }
}

/// Why a thing that could be read does not do.
struct Misfit {
    /// The option to blame, below the thing; empty for the thing itself.
    option: &'static str,
    message: String,
}

impl From<String> for Misfit {
    fn from(message: String) -> Self {
        Self { option: "", message }
    }
}

impl Misfit {
    fn wrong(self, node: &Node, path: &str, used: &[Used]) -> Wrong {
        let path = if self.option.is_empty() { path.to_owned() } else { format!("{path}.{}", self.option) };
        let place = used.iter().find(|used| used.path == path).map_or(&node.place, |used| &used.place);
        Wrong { place: place.clone(), path, message: self.message }
    }
}

/// A router whose rule can be read, where it has one.
fn http_router(router: super::http::Router) -> Result<super::http::Router, Misfit> {
    let text = &router.rule;
    if !text.is_empty() {
        Rule::parse_as(text, router.rule_syntax)
            .map_err(|error| Misfit { option: "rule", message: format!("rule `{text}`: {error}") })?;
    }
    Ok(router)
}

/// A router whose rule can be read.
fn tcp_router(router: TcpRouter) -> Result<TcpRouter, Misfit> {
    let text = &router.rule;
    let misfit = |message: String| Misfit { option: "rule", message };
    if text.is_empty() {
        return Err(misfit("needs a rule, such as HostSNI(`*`)".to_owned()));
    }
    let rule = TcpRule::parse_as(text, router.rule_syntax)
        .map_err(|error| misfit(format!("rule `{text}`: {error}")))?;
    if rule.needs_tls() && router.tls.is_none() {
        let message = "only TLS tells what this rule asks for: add `tls`, or write HostSNI(`*`)";
        return Err(misfit(format!("rule `{text}`: {message}")));
    }
    Ok(router)
}

/// Whether a fault costs the whole thing that it is in. Of a service, what is wrong with one option costs that option,
/// unless it says where requests go.
fn costs_all(kind: &str, path: &str) -> bool {
    !kind.ends_with(".services")
        || path.contains(".servers[")
        || path.ends_with(".servers")
        || path.to_ascii_lowercase().contains(".serverstransport")
        || !path.contains(".loadBalancer")
}

fn thing(kind: &str) -> &'static str {
    match kind {
        "http.routers" | "tcp.routers" | "udp.routers" => "router",
        "http.services" | "tcp.services" | "udp.services" => "service",
        "http.middlewares" | "tcp.middlewares" => "middleware",
        "http.serversTransports" | "tcp.serversTransports" => "transport",
        "tls.options" => "TLS options",
        "tls.stores" => "store",
        _ => "certificate",
    }
}

/// The entries of what must be a map.
fn section<'n>(node: &'n Node, path: &str, wrong: &mut Vec<Wrong>) -> &'n [(String, Node)] {
    match &node.value {
        Value::Map(entries) => entries,
        Value::Null => &[],
        Value::Text(_) | Value::List(_) => {
            let what = if path.is_empty() { "the file" } else { path };
            refuse(node, path, &format!("expected names and options in {what}"), wrong);
            &[]
        }
    }
}

fn is_traefiks_file_option(node: &Node, kind: &str, wrong: &mut Vec<Wrong>) -> bool {
    let refused = node.place.is_traefiks() && options::is_for_files(kind);
    if refused {
        let message = format!("Traefik does not read this from labels; Portolan does, as `portolan.{kind}`");
        refuse(node, kind, &message, wrong);
    }
    refused
}

fn unknown(node: &Node, name: &str, path: &str, known: &[&str], wrong: &mut Vec<Wrong>) {
    refuse(node, path, &format!("there is no option `{name}`: {}", hint(name, known)), wrong);
}

fn refuse(node: &Node, path: &str, message: &str, wrong: &mut Vec<Wrong>) {
    let places = if node.place.label().is_some() { node.leaves() } else { vec![&node.place] };
    for place in places {
        wrong.push(Wrong { place: place.clone(), path: path.to_owned(), message: message.to_owned() });
    }
}

fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}
