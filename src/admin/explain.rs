//! Who would take a request, for `/api/explain` and `portolan explain`.

use portolan_proxy::explain::{Ask, Explanation, Known, explain};
use serde_json::Value;

use super::Admin;
use super::resolve::decode;

impl Admin {
    /// Explains what is asked for by `url=…`, and perhaps `method=…`, `header=Name: value` (repeated), `client=…` and
    /// `on=…`, an entry point. Errors say what is wrong.
    pub(super) fn explain(&self, query: &str) -> Result<Value, String> {
        let known = Known {
            table: &self.table.load(),
            snapshot: &self.status.snapshot.load(),
            entry_points: &self.status.entry_points.load(),
            faults: &self.status.faults.load(),
        };
        Ok(shown(&explain(known, &asked(query)?)?))
    }
}

/// As JSON.
pub fn shown(explanation: &Explanation) -> Value {
    serde_json::to_value(explanation).unwrap_or_default()
}

/// The request that a query asks about.
pub fn asked(query: &str) -> Result<Ask, String> {
    let mut headers = Vec::new();
    let (mut method, mut url, mut client, mut on) = ("GET".to_owned(), None, None, None);
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value);
        match key {
            "method" => method = value,
            "url" => url = Some(value),
            "header" => headers.push(value),
            "client" => {
                let address = value.parse();
                client = Some(address.map_err(|_| format!("`{value}` is no address of a client"))?);
            }
            "on" => on = Some(value),
            _ => {}
        }
    }
    let ask = Ask::new(&method, &url.ok_or("expected url=URL")?, &headers)?.on(on);
    Ok(client.map_or_else(|| ask.clone(), |client| ask.clone().by(client)))
}
