//! One query to one answer, from bytes to bytes: no sockets, no clock.
//!
//! It knows the protocol's rules. It must not know how the zone came about, nor who asks.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::RecordType;

use crate::cookie::Cookies;
use crate::describe;
use crate::forward::Entry;
use crate::message::{Data, Flags, Owner, Section, UDP_SIZE, UDP_SIZE_WITHOUT_EDNS, Writer};
use crate::rcode::Rcode;
use crate::records::{Node, RrSet, addresses};
use crate::request::{ClientEdns, Request};
use crate::special::Special;
use crate::view::View;
use crate::zone::{Found, HOSTMASTER, Lookup, NAME_SERVER, Zone};

/// Aliases that are followed, one to the other.
const ALIASES_MAX: usize = 8;
/// How long an answer that has run out may be kept, in seconds (RFC 8767 §4).
const STALE_TTL: u32 = 30;

/// How a query came, and its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram: at most what the client takes, and never more than 1232 bytes.
    Udp,
    /// On a connection: at most 65535 bytes.
    Tcp,
    /// The same, encrypted.
    Tls,
    /// In an HTTP request: at most 65535 bytes.
    Https,
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
    /// Whether others' names are looked up for this client.
    pub recursion: bool,
    /// Whether it is on this host or in a network of ours, and takes us for its only name server.
    pub near: bool,
    /// Whether a client in a container sees only what is on its networks.
    pub views: bool,
    /// Whether it may have all of a zone at once.
    pub may_transfer: bool,
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
    /// Whether the client showed a cookie of ours: that its address is its own.
    pub known: bool,
    /// Whether the query asked for signatures, too (RFC 3225).
    pub dnssec_ok: bool,
}

/// Appends the answer to `query` to `reply`, or leaves it alone and returns `None` where silence is the answer: the
/// bytes are no message, or are an answer themselves.
pub fn answer(zone: &Zone, query: &[u8], asker: &Asker<'_>, reply: &mut Vec<u8>) -> Option<Outcome> {
    let asker = Asker { recursion: false, near: false, ..*asker };
    match answer_here(zone, &Request::read(query)?, &asker, reply) {
        Answered::Here(outcome) => Some(outcome),
        Answered::Elsewhere { .. } => None,
    }
}

/// What answers a query that was read.
#[derive(Debug)]
pub(crate) enum Answered {
    /// This, which was appended.
    Here(Outcome),
    /// What others are asked: nothing was appended.
    Elsewhere {
        /// The name to ask for, where it is not the question's: an alias of ours leads there.
        led_to: Option<Box<[u8]>>,
    },
}

/// What another server said: so many seconds ago, or, where that is `None`, so long ago that it has run out.
type Said<'a> = (&'a Entry, Option<u32>);

/// Whether others were asked where an alias led.
#[derive(Clone, Copy)]
enum Others<'a> {
    NotAsked,
    /// They gave no answer.
    Silent,
    Said(Said<'a>),
}

/// The same of a query that was read, and what others are asked where it is not known here.
pub(crate) fn answer_here(
    zone: &Zone,
    request: &Request<'_>,
    asker: &Asker<'_>,
    reply: &mut Vec<u8>,
) -> Answered {
    build(zone, request, asker, Others::NotAsked, reply)
}

fn build(
    zone: &Zone,
    request: &Request<'_>,
    asker: &Asker<'_>,
    others: Others<'_>,
    reply: &mut Vec<u8>,
) -> Answered {
    let record_type = request.question.as_ref().map(|question| question.record_type);
    let known = cookie(request, asker).is_some_and(|(_, good)| good);
    let dnssec_ok = wants_signatures(request);
    let mut flags = Flags { recursion_available: asker.recursion, ..Flags::default() };
    let (Some(question), None) = (&request.question, request.refusal) else {
        let rcode = request.refusal.unwrap_or(Rcode::FormErr);
        begin(zone, request, None, asker, reply).finish(request, rcode, flags);
        return Answered::Here(Outcome { record_type, rcode, truncated: false, known, dnssec_ok });
    };
    let name = question.name.lower();
    let Lookup { found, suffix, origin, reverse } = zone.find(name);
    // Resolvers wait for another server after REFUSED; that such a name is nobody's needs no other to know.
    let special = Special::of(name, question.record_type).filter(|_| asker.near && request.recursion_desired);
    let transfer = matches!(question.record_type, RecordType::AXFR | RecordType::IXFR);
    let is_elsewhere = matches!(found, Found::Outside) && special.is_none() && !transfer;
    let asks_others = asker.recursion && request.recursion_desired;
    if is_elsewhere && asks_others {
        return Answered::Elsewhere { led_to: None };
    }
    let start = reply.len();
    let mut answer = Answer {
        zone,
        apex: match reverse {
            _ if suffix.is_some() => Owner::Zone(&[]),
            Some(at) => Owner::Whole(&name[at..]),
            None => Owner::Question,
        },
        is_reverse: reverse.is_some(),
        view: if asker.views { View::of(zone, asker.client) } else { None },
        is_first: origin == zone.origin(),
        writer: begin(zone, request, Some((origin, suffix)), asker, reply),
        truncated: false,
        others,
        led_to: None,
    };
    let rcode = match (&found, special) {
        (Found::Outside, Some(special)) => answer.special(special, question.record_type),
        _ if transfer => answer.no_transfer(&found, question.record_type, asker),
        _ => answer.fill(&found, question.record_type),
    };
    if let Some(led_to) = answer.led_to.take().filter(|_| asks_others) {
        reply.truncate(start);
        return Answered::Elsewhere { led_to: Some(led_to) };
    }
    flags.truncated = answer.truncated;
    flags.authoritative = matches!(rcode, Rcode::NoError | Rcode::NxDomain);
    answer.writer.finish(request, rcode, flags);
    Answered::Here(Outcome { record_type, rcode, truncated: flags.truncated, known, dnssec_ok })
}

/// Appends what another server said to `reply`, behind the alias that led there, if one did. Without anything said, none
/// could be had.
pub(crate) fn relay(
    zone: &Zone,
    request: &Request<'_>,
    asker: &Asker<'_>,
    said: Option<Said<'_>>,
    reply: &mut Vec<u8>,
) -> Outcome {
    let record_type = request.question.as_ref().map(|question| question.record_type);
    let is_ours = request
        .question
        .as_ref()
        .is_some_and(|question| !matches!(zone.find(question.name.lower()).found, Found::Outside));
    let others = said.map_or(Others::Silent, Others::Said);
    if is_ours && let Answered::Here(outcome) = build(zone, request, asker, others, reply) {
        return outcome;
    }
    let known = cookie(request, asker).is_some_and(|(_, good)| good);
    let dnssec_ok = wants_signatures(request);
    let mut flags = Flags { recursion_available: true, ..Flags::default() };
    let mut writer = begin(zone, request, None, asker, reply);
    let mut rcode = Rcode::ServFail;
    if let Some((entry, age)) = said {
        flags.truncated = writer.relay(&entry.reply, age.unwrap_or(0), stale(age)).is_err();
        flags.authentic = entry.reply.authentic && dnssec_ok;
        rcode = said_rcode(entry);
    }
    writer.finish(request, rcode, flags);
    Outcome { record_type, rcode, truncated: flags.truncated, known, dnssec_ok }
}

/// How long what has run out may be kept.
fn stale(age: Option<u32>) -> Option<u32> {
    if age.is_none() { Some(STALE_TTL) } else { None }
}

fn said_rcode(entry: &Entry) -> Rcode {
    match entry.reply.rcode {
        0 => Rcode::NoError,
        3 => Rcode::NxDomain,
        _ => Rcode::ServFail,
    }
}

/// Begins the answer; with the zone that the question's name is in, and where in it that begins, if it does.
fn begin<'a>(
    zone: &'a Zone,
    request: &Request<'_>,
    place: Option<(&'a [u8], Option<usize>)>,
    asker: &Asker<'_>,
    reply: &'a mut Vec<u8>,
) -> Writer<'a> {
    let (origin, suffix) = place.unwrap_or((zone.origin(), None));
    let cookie = cookie(request, asker).map(|(cookie, _)| cookie);
    let size = size(asker.transport, request.edns);
    Writer::begin(reply, size, request, origin, suffix, zone.ttl(), cookie)
}

/// The cookie to be given back, and whether the client showed a good one.
fn cookie(request: &Request<'_>, asker: &Asker<'_>) -> Option<([u8; 24], bool)> {
    let sent = request.edns.and_then(|edns| edns.cookie)?;
    Some(asker.cookies?.answer(sent, asker.client, asker.now))
}

fn wants_signatures(request: &Request<'_>) -> bool {
    request.edns.is_some_and(|edns| edns.dnssec_ok)
}

/// How long the answer may be (RFC 6891 §6.2.3–6.2.5: less than 512 means 512).
fn size(transport: Transport, edns: Option<ClientEdns>) -> u16 {
    match (transport, edns) {
        (Transport::Tcp | Transport::Tls | Transport::Https, _) => u16::MAX,
        (Transport::Udp, Some(edns)) => edns.udp_size.clamp(UDP_SIZE_WITHOUT_EDNS, UDP_SIZE),
        (Transport::Udp, None) => UDP_SIZE_WITHOUT_EDNS,
    }
}

struct Answer<'a> {
    zone: &'a Zone,
    /// What the client sees; `None` is everything.
    view: Option<View<'a>>,
    /// Whether the name is in the first zone, which records point to.
    is_first: bool,
    /// Who owns the SOA: the zone's apex; for names elsewhere, each of which we serve as a zone of its own, the name itself.
    apex: Owner<'a>,
    /// Whether the name is in a zone of reverse names.
    is_reverse: bool,
    writer: Writer<'a>,
    truncated: bool,
    /// What others said of the name that an alias leads to, once they were asked.
    others: Others<'a>,
    /// That name, before.
    led_to: Option<Box<[u8]>>,
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
            Found::Reverse => self.reverse(record_type),
            Found::Node(node) if self.view.as_ref().is_some_and(|view| !view.sees(node)) => {
                self.negative();
                return Rcode::NxDomain;
            }
            Found::Node(node) | Found::Alone(node) if is_alias(node, record_type) => {
                return self.follow(node, record_type);
            }
            Found::Node(node) => self.node(node, record_type),
            Found::Alone(node) => self.alone(node, record_type),
        }
        Rcode::NoError
    }

    /// What is not had in one message. A datagram tells whether there is something new (RFC 1995 §2).
    fn no_transfer(&mut self, found: &Found<'_>, record_type: RecordType, asker: &Asker<'_>) -> Rcode {
        match (found, record_type) {
            (Found::NotSynced, _) => Rcode::ServFail,
            (Found::Apex | Found::Reverse, RecordType::IXFR) if asker.may_transfer => {
                self.soa(Section::Answer);
                Rcode::NoError
            }
            _ => Rcode::Refused,
        }
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
            _ => match self.zone.apex().and_then(|node| node.get(record_type)) {
                Some(set) => self.set(set),
                None => self.negative(),
            },
        }
    }

    /// The name of a zone of reverse names, which has nothing but what every zone has.
    fn reverse(&mut self, record_type: RecordType) {
        match record_type {
            RecordType::SOA | RecordType::NS | RecordType::ANY => self.apex(record_type),
            _ => self.negative(),
        }
    }

    /// An alias, and what the name has that it stands for (RFC 1034 §3.6.2), as far as that is ours. The code is the
    /// last name's (RFC 6604 §2).
    fn follow(&mut self, node: &Node, record_type: RecordType) -> Rcode {
        let zone = self.zone;
        let Some(mut alias) = node.get(RecordType::CNAME) else { return Rcode::NoError };
        self.truncated = self.writer.answers(alias, 0).is_err();
        for _ in 1..ALIASES_MAX {
            if self.truncated {
                return Rcode::NoError;
            }
            let target = alias.data(0).to_ascii_lowercase();
            let owner = Owner::Whole(&target);
            let (Found::Node(node) | Found::Alone(node)) = zone.find(&target).found else {
                let missing = matches!(zone.find(&target).found, Found::Missing);
                if missing {
                    self.negative();
                    return Rcode::NxDomain;
                }
                return self.leave(&target, record_type);
            };
            let is_alias = is_alias(node, record_type);
            let Some(set) = node.get(if is_alias { RecordType::CNAME } else { record_type }) else {
                self.negative();
                return Rcode::NoError;
            };
            self.truncated = self.writer.set(Section::Answer, owner, set).is_err();
            if !is_alias {
                return Rcode::NoError;
            }
            alias = set;
        }
        Rcode::NoError
    }

    /// An alias leads to a name of others: what they said of it, or that they are to be asked.
    fn leave(&mut self, target: &[u8], record_type: RecordType) -> Rcode {
        match self.others {
            Others::NotAsked => {
                self.led_to = Some(target.into());
                Rcode::NoError
            }
            Others::Silent => Rcode::ServFail,
            Others::Said((entry, age)) => {
                for (owner, record) in
                    entry.reply.answers(target, record_type.into(), age.unwrap_or(0), stale(age))
                {
                    self.truncated |= self.writer.foreign(&owner, &record).is_err();
                }
                said_rcode(entry)
            }
        }
    }

    fn node(&mut self, node: &Node, record_type: RecordType) {
        match record_type {
            RecordType::ANY if !node.is_empty() => self.any(),
            RecordType::TXT => self.text(node),
            RecordType::A | RecordType::AAAA if self.view.is_some() && node.about.is_somebody() => {
                self.seen_addresses(node, record_type);
            }
            RecordType::SRV if self.view.is_some() => self.seen_services(node),
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
            (None, RecordType::NS | RecordType::SOA) if !self.is_reverse => self.apex(record_type),
            _ => self.node(node, record_type),
        }
    }

    /// The records asked for: as many as fit, and TC where that is not all (RFC 2181 §9).
    fn set(&mut self, set: &RrSet) {
        let first = set.take_turn();
        self.truncated = self.writer.answers(set, first).is_err();
        for host in set.hosts(first) {
            if !self.is_first || self.truncated || !self.glue(&host.name, &host.node) {
                return;
            }
        }
    }

    /// The addresses that the client can reach, in their turn.
    fn seen_addresses(&mut self, node: &Node, record_type: RecordType) {
        let Some(view) = &self.view else { return };
        let mut ips = view.addresses(&node.about);
        ips.retain(|ip| ip.is_ipv4() == (record_type == RecordType::A));
        let turn = node.get(record_type).map_or(0, RrSet::take_turn);
        match addresses(record_type, ips, self.zone.ttl(), None) {
            Some(set) => {
                let first = turn % set.len();
                self.truncated = self.writer.answers(&set, first).is_err();
            }
            None => self.negative(),
        }
    }

    /// The ports of hosts that the client sees, with the addresses that it can reach.
    fn seen_services(&mut self, node: &Node) {
        let (Some(set), Some(view)) = (node.get(RecordType::SRV), &self.view) else { return self.negative() };
        let seen = set.filtered(|host| view.sees(&host.node));
        let Some(seen) = seen else { return self.negative() };
        let first = set.take_turn() % seen.len();
        self.truncated = self.writer.answers(&seen, first).is_err();
        for host in seen.hosts(first) {
            let ips = view.addresses(&host.node.about);
            for kind in [RecordType::A, RecordType::AAAA] {
                let Some(set) = addresses(kind, ips.iter().copied(), self.zone.ttl(), None) else { continue };
                let owner = Owner::Zone(&host.name);
                if !self.is_first
                    || self.truncated
                    || self.writer.set(Section::Additional, owner, &set).is_err()
                {
                    return;
                }
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

    fn special(&mut self, special: Special, record_type: RecordType) -> Rcode {
        match (special, record_type) {
            (Special::Nothing, _) => return Rcode::NxDomain,
            (Special::Loopback, RecordType::A) => self.own(Data::Address(Special::V4.into())),
            (Special::Loopback, RecordType::AAAA) => self.own(Data::Address(Special::V6.into())),
            (Special::Loopback, _) => {}
        }
        Rcode::NoError
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

/// Whether a name stands for another one, as far as this type is concerned.
fn is_alias(node: &Node, record_type: RecordType) -> bool {
    let any = matches!(record_type, RecordType::CNAME | RecordType::ANY);
    !any && node.get(RecordType::CNAME).is_some() && node.get(record_type).is_none()
}

#[cfg(test)]
mod tests;
