//! One query to one answer, from bytes to bytes: no sockets, no clock.
//!
//! It knows the protocol's rules. It must not know how the zone came about, nor who asks.

use std::sync::Arc;

use hickory_proto::rr::RecordType;

use crate::message::{Data, Owner, Section, UDP_SIZE, UDP_SIZE_WITHOUT_EDNS, Writer};
use crate::rcode::Rcode;
use crate::records::{Addresses, Host, Node, RrSet, Srv};
use crate::request::{ClientEdns, Request};
use crate::zone::{Found, HOSTMASTER, NAME_SERVER, Zone};

/// How a query came, and its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram: at most what the client takes, and never more than 1232 bytes.
    Udp,
    /// On a connection: at most 65535 bytes.
    Tcp,
}

/// What was asked and how it was answered, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The type asked for, if the question could be read.
    pub record_type: Option<RecordType>,
    /// The answer's code.
    pub rcode: Rcode,
    /// Whether the answer was cut, and the client told to ask again over TCP.
    pub truncated: bool,
}

/// Appends the answer to `query` to `reply`, or leaves it alone and returns `None` where silence is the answer: the
/// bytes are no message, or are an answer themselves.
pub fn answer(zone: &Zone, query: &[u8], transport: Transport, reply: &mut Vec<u8>) -> Option<Outcome> {
    let request = Request::read(query)?;
    let size = size(transport, request.edns);
    let record_type = request.question.as_ref().map(|question| question.record_type);
    let (rcode, truncated) = match (request.refusal, &request.question) {
        (None, Some(question)) => {
            let (found, suffix) = zone.find(question.name.lower());
            let mut answer = Answer {
                zone,
                apex: if suffix.is_some() { Owner::Zone(&[]) } else { Owner::Question },
                writer: Writer::begin(reply, size, &request, zone.origin(), suffix, zone.ttl()),
                truncated: false,
            };
            let rcode = answer.fill(&found, question.record_type);
            let truncated = answer.truncated;
            let authoritative = matches!(rcode, Rcode::NoError | Rcode::NxDomain);
            answer.writer.finish(&request, rcode, authoritative, truncated);
            (rcode, truncated)
        }
        (refusal, _) => {
            let rcode = refusal.unwrap_or(Rcode::FormErr);
            Writer::begin(reply, size, &request, zone.origin(), None, 0)
                .finish(&request, rcode, false, false);
            (rcode, false)
        }
    };
    Some(Outcome { record_type, rcode, truncated })
}

/// How long the answer may be (RFC 6891 §6.2.3–6.2.5: less than 512 means 512).
fn size(transport: Transport, edns: Option<ClientEdns>) -> u16 {
    match (transport, edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, Some(edns)) => edns.udp_size.clamp(UDP_SIZE_WITHOUT_EDNS, UDP_SIZE),
        (Transport::Udp, None) => UDP_SIZE_WITHOUT_EDNS,
    }
}

struct Answer<'a> {
    zone: &'a Zone,
    /// Who owns the SOA: the zone's apex; for reverse names, each of which we serve as a zone of its own, the name itself.
    apex: Owner<'static>,
    writer: Writer<'a>,
    truncated: bool,
}

impl Answer<'_> {
    fn fill(&mut self, found: &Found<'_>, record_type: RecordType) -> Rcode {
        match found {
            Found::Outside => return Rcode::Refused,
            Found::NotSynced => return Rcode::ServFail,
            Found::Missing => {
                self.negative();
                return Rcode::NxDomain;
            }
            Found::Apex => self.apex(record_type),
            Found::Node(node) => self.node(node, record_type),
            Found::Reverse(hosts) => self.reverse(hosts, record_type),
        }
        Rcode::NoError
    }

    fn apex(&mut self, record_type: RecordType) {
        match record_type {
            RecordType::SOA => self.soa(Section::Answer),
            RecordType::NS => {
                self.answers([Data::Ns(NAME_SERVER)].into_iter());
                if let Some(addresses) = self.zone.name_server() {
                    self.glue(NAME_SERVER, addresses);
                }
            }
            RecordType::ANY => self.any(),
            _ => self.negative(),
        }
    }

    fn node(&mut self, node: &Node, record_type: RecordType) {
        match (record_type, &node.addresses, &node.services) {
            (RecordType::A, Some(addresses), _) => {
                self.answers(addresses.v4.take_turn().map(|ip| Data::A(*ip)));
            }
            (RecordType::AAAA, Some(addresses), _) => {
                self.answers(addresses.v6.take_turn().map(|ip| Data::Aaaa(*ip)));
            }
            (RecordType::SRV, _, Some(services)) => self.services(services),
            (RecordType::ANY, ..) if !node.is_empty() => self.any(),
            _ => self.negative(),
        }
    }

    fn reverse(&mut self, hosts: &[Arc<Host>], record_type: RecordType) {
        match record_type {
            RecordType::PTR => self.answers(hosts.iter().map(|host| Data::Ptr(&host.name))),
            RecordType::ANY => self.any(),
            _ => self.apex(record_type),
        }
    }

    /// The records asked for: as many as fit, and TC where that is not all (RFC 2181 §9). None at all is NODATA.
    fn answers<'d>(&mut self, records: impl Iterator<Item = Data<'d>>) {
        let mut records = records.peekable();
        if records.peek().is_none() {
            return self.negative();
        }
        self.truncated =
            records.any(|data| self.writer.record(Section::Answer, Owner::Question, data).is_err());
    }

    fn services(&mut self, services: &RrSet<Srv>) {
        let turn = services.take_turn();
        self.answers(turn.clone().map(|srv| Data::Srv { port: srv.port, target: &srv.host.name }));
        let first = turn.clone().next().map(|srv| &srv.host);
        let mut previous: Option<&Arc<Host>> = None;
        for Srv { host, .. } in turn {
            // A host with several ports stands in a row of its own, which the rotation may have cut in two.
            let is = |other: Option<&Arc<Host>>| other.is_some_and(|o| Arc::ptr_eq(o, host));
            if is(previous) || (previous.is_some() && is(first)) {
                continue;
            }
            if self.truncated || !self.glue(&host.name, &host.addresses) {
                return;
            }
            previous = Some(host);
        }
    }

    /// The addresses of a name the answer points to: a help, so what does not fit is left out without TC (RFC 2181 §9),
    /// and only ever whole sets are given. `false` when there is no room left.
    fn glue(&mut self, name: &[u8], addresses: &Addresses) -> bool {
        let owner = Owner::Zone(name);
        let v4 = addresses.v4.as_slice().iter().map(|ip| Data::A(*ip));
        let v6 = addresses.v6.as_slice().iter().map(|ip| Data::Aaaa(*ip));
        self.writer.all(Section::Additional, owner, v4).is_ok()
            && self.writer.all(Section::Additional, owner, v6).is_ok()
    }

    /// The least that answers ANY (RFC 8482 §4.2).
    fn any(&mut self) {
        self.answers([Data::Hinfo { cpu: "RFC8482" }].into_iter());
    }

    /// NODATA and NXDOMAIN may be kept as long as the SOA beside them says (RFC 2308 §3).
    fn negative(&mut self) {
        self.soa(Section::Authority);
    }

    /// The SOA. Its own TTL and the minimum within are equal, so the lesser of both is too (RFC 2308 §5).
    fn soa(&mut self, section: Section) {
        let soa = Data::Soa {
            primary: NAME_SERVER,
            mailbox: HOSTMASTER,
            serial: self.zone.serial(),
            negative_ttl: self.zone.ttl(),
        };
        self.truncated |= self.writer.record(section, self.apex, soa).is_err();
    }
}

#[cfg(test)]
mod tests;
