//! An answer of the name server, explained, for `/api/resolve` and `portolan resolve`.

use std::net::IpAddr;

use portolan_discovery::Snapshot;
use portolan_dns::{Zone, explain};
use serde_json::{Value, json};

/// Explains what is asked for by `name=…`, `type=…` and perhaps `from=…`, a container. Errors say what is wrong.
pub fn resolve(zone: &Zone, snapshot: &Snapshot, query: &str) -> Result<Value, String> {
    let value = |key: &str| {
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        pair.map(decode)
    };
    let name = value("name").ok_or("expected name=NAME")?;
    let record_type = value("type").unwrap_or_else(|| "A".to_owned());
    let from = value("from").map(|container| address(snapshot, &container)).transpose()?;
    let explanation = explain(zone, &name, &record_type, from)?;
    Ok(json!({
        "name": explanation.name,
        "type": record_type.to_ascii_uppercase(),
        "from": from,
        "rcode": explanation.rcode,
        "records": explanation.records,
        "endpoints": explanation.endpoints.iter().map(|endpoint| json!({
            "name": endpoint.name,
            "addresses": endpoint.addresses,
            "state": endpoint.state.as_str(),
            "given": endpoint.given,
            "why": endpoint.why,
        })).collect::<Vec<_>>(),
    }))
}

/// An address that the container, by name or short id, asks from.
fn address(snapshot: &Snapshot, container: &str) -> Result<IpAddr, String> {
    let mut endpoints = snapshot.services.iter().flat_map(|service| &service.endpoints);
    let endpoint = endpoints
        .find(|endpoint| endpoint.instance.name == container || endpoint.instance.id.short() == container)
        .ok_or_else(|| format!("there is no container `{container}`"))?;
    endpoint.address().ok_or_else(|| format!("`{container}` has no address to ask from: {}", endpoint.reason))
}

/// `%XX` as the byte it stands for.
pub(super) fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code =
            after.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
