//! Why an answer is as it is: what is answered, and each container that the name is about, given or not.
//!
//! It asks as a client would, and reads what comes back.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use portolan_discovery::{Endpoint, State};

use crate::answer::{Asker, Transport, answer};
use crate::records::About;
use crate::view::View;
use crate::zone::{Found, Zone};

/// An answer, explained.
#[derive(Debug)]
pub struct Explanation {
    /// The whole name that was asked for.
    pub name: String,
    /// The code of the answer, as `dig` writes it; `None` where others would be asked.
    pub rcode: Option<String>,
    /// The records of the answer, as a zone file has them.
    pub records: Vec<String>,
    /// Every container that the name is about.
    pub endpoints: Vec<Considered>,
}

/// A container that a name is about.
#[derive(Debug)]
pub struct Considered {
    /// Its name.
    pub name: String,
    /// The addresses of it that are in the answer, or could be.
    pub addresses: Vec<IpAddr>,
    /// Its state.
    pub state: State,
    /// Whether it is given.
    pub given: bool,
    /// Why it is, or is not.
    pub why: String,
}

/// Explains what a client at `from`, or on this host, is answered. A name without a final dot that is not in the zone is
/// one below it. Errors say what is no name or no type.
pub fn explain(
    zone: &Zone,
    name: &str,
    record_type: &str,
    from: Option<IpAddr>,
) -> Result<Explanation, String> {
    let record_type: RecordType =
        record_type.to_ascii_uppercase().parse().map_err(|_| format!("`{record_type}` is no record type"))?;
    let whole = whole_name(zone, name)?;
    let mut query = Message::new(0, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(whole.clone(), record_type));
    let client = from.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let asker = Asker {
        transport: Transport::Tcp,
        client,
        cookies: None,
        now: 0,
        recursion: false,
        near: false,
        views: true,
        may_transfer: false,
    };
    let mut reply = Vec::new();
    let bytes = query.to_vec().map_err(|error| format!("`{name}`: {error}"))?;
    answer(zone, &bytes, &asker, &mut reply).ok_or("no answer")?;
    let reply = Message::from_vec(&reply).map_err(|error| error.to_string())?;
    let mut explanation = Explanation {
        name: whole.to_ascii(),
        rcode: Some(format!("{:?}", reply.metadata.response_code).to_ascii_uppercase()),
        records: reply.answers.iter().map(ToString::to_string).collect(),
        endpoints: Vec::new(),
    };
    let mut wire: Vec<u8> = Vec::new();
    for label in &whole {
        wire.push(label.len() as u8);
        wire.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    wire.push(0);
    match zone.find(&wire).found {
        Found::Outside => explanation.rcode = None,
        Found::Node(node) | Found::Alone(node) => {
            let view = View::of(zone, client);
            explanation.endpoints = consider(&node.about, view.as_ref());
        }
        Found::NotSynced | Found::Missing | Found::Apex | Found::Reverse => {}
    }
    Ok(explanation)
}

fn whole_name(zone: &Zone, name: &str) -> Result<Name, String> {
    let fault = |error: &dyn std::fmt::Display| format!("`{name}` is no name: {error}");
    let origin = zone.zone_name();
    let lower = name.trim_end_matches('.').to_ascii_lowercase();
    let is_below = lower == origin || lower.strip_suffix(origin).is_some_and(|rest| rest.ends_with('.'));
    let is_whole = name.ends_with('.') || is_below || lower.rsplit('.').next() == Some("arpa");
    let text = if is_whole { format!("{lower}.") } else { format!("{lower}.{origin}.") };
    Name::from_ascii(text).map_err(|error| fault(&error))
}

fn consider(about: &About, view: Option<&View<'_>>) -> Vec<Considered> {
    let (endpoints, all): (&[Arc<Endpoint>], bool) = match about {
        About::Nothing => (&[], false),
        About::Service(service) => (&service.endpoints, false),
        About::All(service) => (&service.endpoints, true),
        About::Container(endpoint) => (std::slice::from_ref(endpoint), false),
        About::Alias(endpoints) => (endpoints.as_slice(), false),
    };
    let considered = endpoints.iter().map(|endpoint| {
        let one = About::Container(Arc::clone(endpoint));
        let addresses = match view {
            Some(view) => view.addresses(&one),
            None => endpoint.ipv4.map(IpAddr::V4).into_iter().chain(endpoint.ipv6.map(IpAddr::V6)).collect(),
        };
        let may = endpoint.is_available() || (all && endpoint.state != State::Stopped);
        let (given, why) = match (may, view.is_some_and(|_| addresses.is_empty())) {
            (false, _) => (false, format!("{}: {}", endpoint.state, endpoint.reason)),
            (true, true) => (false, "on no network of the client's".to_owned()),
            (true, false) => (true, endpoint.reason.clone()),
        };
        Considered { name: endpoint.instance.name.clone(), addresses, state: endpoint.state, given, why }
    });
    considered.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{container, zone};

    #[test]
    fn what_is_given_and_what_is_not_has_its_reason() {
        let zone = zone([
            container("client", "").moved("front", "10.1.0.9"),
            container("web-1", "").moved("front", "10.1.0.1").compose("shop", "web"),
            container("web-2", "").moved("back", "10.2.0.2").compose("shop", "web"),
            container("web-3", "").moved("front", "10.1.0.3").compose("shop", "web").is(State::Unhealthy),
        ]);
        let shown = |from: Option<&str>| {
            let from = from.map(|ip| ip.parse().unwrap());
            let explanation = explain(&zone, "web", "a", from).unwrap();
            assert_eq!(explanation.name, "web.portolan.internal.");
            let endpoints = explanation.endpoints.iter();
            let lines: Vec<String> = endpoints
                .map(|endpoint| format!("{} {} {}", endpoint.name, endpoint.given, endpoint.why))
                .collect();
            (explanation.rcode.unwrap(), explanation.records.len(), lines)
        };
        let sick = "web-3 false unhealthy: running".to_owned();
        let (code, records, lines) = shown(None);
        assert_eq!((&*code, records), ("NOERROR", 2));
        assert_eq!(lines, ["web-1 true running".to_owned(), "web-2 true running".to_owned(), sick.clone()]);
        let (_, records, lines) = shown(Some("10.1.0.9"));
        assert_eq!(records, 1);
        assert_eq!(lines[1], "web-2 false on no network of the client's");
        for (name, rcode) in
            [("nosuch", Some("NXDOMAIN")), ("www.example.", None), ("WEB.portolan.internal", Some("NOERROR"))]
        {
            assert_eq!(explain(&zone, name, "A", None).unwrap().rcode.as_deref(), rcode, "{name}");
        }
        assert!(explain(&zone, "web", "nonsense", None).is_err());
        assert!(explain(&zone, "a..b", "A", None).is_err());
    }
}
