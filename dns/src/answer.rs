//! One query to one answer, from bytes to bytes: no sockets, no clock.
//!
//! It knows the protocol's rules. It must not know how the zone came about, nor who asks.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::RecordType;

use crate::cookie::Cookies;
use crate::describe;
use crate::message::{Data, Owner, Section, UDP_SIZE, UDP_SIZE_WITHOUT_EDNS, Writer};
use crate::rcode::Rcode;
use crate::records::{Node, RrSet};
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

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// How the query came.
    pub transport: Transport,
    /// Whom it came from.
    pub client: IpAddr,
    /// Makes server cookies for those who send theirs; `None` gives none.
    pub cookies: Option<&'a Cookies>,
    /// Seconds since the epoch, modulo 2³².
    pub now: u32,
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
pub fn answer(zone: &Zone, query: &[u8], asker: &Asker<'_>, reply: &mut Vec<u8>) -> Option<Outcome> {
    Some(answer_request(zone, &Request::read(query)?, asker, reply))
}

pub(crate) fn answer_request(
    zone: &Zone,
    request: &Request<'_>,
    asker: &Asker<'_>,
    reply: &mut Vec<u8>,
) -> Outcome {
    let size = size(asker.transport, request.edns);
    let record_type = request.question.as_ref().map(|question| question.record_type);
    let sent = request.edns.and_then(|edns| edns.cookie);
    let cookie = sent.zip(asker.cookies).map(|(sent, ours)| ours.answer(sent, asker.client, asker.now).0);
    let (rcode, truncated) = match (request.refusal, &request.question) {
        (None, Some(question)) => {
            let (found, suffix) = zone.find(question.name.lower());
            let mut answer = Answer {
                zone,
                apex: if suffix.is_some() { Owner::Zone(&[]) } else { Owner::Question },
                writer: Writer::begin(reply, size, request, zone.origin(), suffix, zone.ttl(), cookie),
                truncated: false,
            };
            let rcode = answer.fill(&found, question.record_type);
            let truncated = answer.truncated;
            let authoritative = matches!(rcode, Rcode::NoError | Rcode::NxDomain);
            answer.writer.finish(request, rcode, authoritative, truncated);
            (rcode, truncated)
        }
        (refusal, _) => {
            let rcode = refusal.unwrap_or(Rcode::FormErr);
            Writer::begin(reply, size, request, zone.origin(), None, 0, cookie)
                .finish(request, rcode, false, false);
            (rcode, false)
        }
    };
    Outcome { record_type, rcode, truncated }
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
            Found::Alone(node) => self.alone(node, record_type),
        }
        Rcode::NoError
    }

    fn apex(&mut self, record_type: RecordType) {
        match record_type {
            RecordType::SOA => self.soa(Section::Answer),
            RecordType::NS => {
                self.own(Data::Ns(NAME_SERVER));
                if let Some(node) = self.zone.name_server() {
                    self.glue(NAME_SERVER, node);
                }
            }
            RecordType::ANY => self.any(),
            _ => self.negative(),
        }
    }

    fn node(&mut self, node: &Node, record_type: RecordType) {
        match record_type {
            RecordType::ANY if !node.is_empty() => self.any(),
            RecordType::TXT => self.text(node),
            _ => match node.get(record_type) {
                Some(set) => self.set(set),
                None => self.negative(),
            },
        }
    }

    /// A name that is a zone of its own.
    fn alone(&mut self, node: &Node, record_type: RecordType) {
        match (node.get(record_type), record_type) {
            (Some(set), _) => self.set(set),
            (None, RecordType::NS | RecordType::SOA) => self.apex(record_type),
            _ => self.node(node, record_type),
        }
    }

    /// The records asked for: as many as fit, and TC where that is not all (RFC 2181 §9).
    fn set(&mut self, set: &RrSet) {
        let first = set.take_turn();
        self.truncated = self.writer.answers(set, first).is_err();
        for host in set.hosts(first) {
            if self.truncated || !self.glue(&host.name, &host.node) {
                return;
            }
        }
    }

    /// What is known of the name, made when it is asked for.
    fn text(&mut self, node: &Node) {
        match node.get(RecordType::TXT) {
            Some(set) => self.set(set),
            None => match describe::strings(&node.about) {
                Some(strings) => self.own(Data::Txt(&strings)),
                None => self.negative(),
            },
        }
    }

    /// A record of the name asked for.
    fn own(&mut self, data: Data<'_>) {
        self.truncated |= self.writer.record(Section::Answer, Owner::Question, data).is_err();
    }

    /// The addresses of a name the answer points to: a help, so what does not fit is left out without TC (RFC 2181 §9),
    /// and only ever whole sets are given. `false` when there is no room left.
    fn glue(&mut self, name: &[u8], node: &Arc<Node>) -> bool {
        let mut sets = [RecordType::A, RecordType::AAAA].into_iter().filter_map(|kind| node.get(kind));
        sets.all(|set| self.writer.set(Section::Additional, Owner::Zone(name), set).is_ok())
    }

    /// The least that answers ANY (RFC 8482 §4.2).
    fn any(&mut self) {
        self.own(Data::Hinfo { cpu: "RFC8482" });
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
