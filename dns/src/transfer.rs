//! All of a zone at once: AXFR (RFC 5936), and what is different from an earlier one: IXFR (RFC 1995).
//!
//! It knows zones and messages. It must not know sockets, nor who may ask.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, RecordType};

use crate::describe;
use crate::key::Key;
use crate::message::{Flags, SOA_TIMERS, Writer};
use crate::rcode::Rcode;
use crate::records::Node;
use crate::request::Request;
use crate::zone::{HOSTMASTER, NAME_SERVER, Versions, Zone, key_below};

/// Bytes of one message: as far as names can be pointed to (RFC 1035 §4.1.4).
const MESSAGE: u16 = 0x3FFF;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// All of it.
    Whole,
    /// What is different from the zone with this serial.
    Since(u32),
}

/// A record: its owner below the zone, and what follows the owner on the wire.
type Row<'z> = (Cow<'z, [u8]>, Cow<'z, [u8]>);

impl Wish {
    /// What this query asks for; `None` where it is something else.
    pub(crate) fn read(query: &[u8], request: &Request<'_>) -> Option<Self> {
        let question = request.question.as_ref().filter(|_| request.refusal.is_none())?;
        match question.record_type {
            RecordType::AXFR => Some(Self::Whole),
            RecordType::IXFR => {
                // The SOA that the client has stands in the authority section (RFC 1995 §3).
                let message = Message::from_vec(query).ok()?;
                let serial = message.authorities.iter().find_map(|record| match &record.data {
                    RData::SOA(soa) => Some(soa.serial),
                    _ => None,
                });
                Some(serial.map_or(Self::Whole, Self::Since))
            }
            _ => None,
        }
    }

    /// What it is called in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "axfr",
            Self::Since(_) => "ixfr",
        }
    }
}

/// A zone on its way, message by message.
pub(crate) struct Transfer<'z> {
    zone: &'z Zone,
    origin: &'z [u8],
    rows: std::iter::Peekable<Box<dyn Iterator<Item = Row<'z>> + Send + 'z>>,
}

impl<'z> Transfer<'z> {
    /// What answers the wish: all of the zone where the one that the client has is not remembered (RFC 1995 §4). `None`
    /// where the name is no zone's.
    pub(crate) fn begin(
        zone: &'z Zone,
        versions: &Versions,
        request: &Request<'_>,
        wish: Wish,
    ) -> Option<Self> {
        let name = request.question.as_ref()?.name.lower();
        let place = Place::called(zone, name)?;
        let soa = move || -> Row<'z> { (Cow::Borrowed(&[]), place.soa(zone).into()) };
        let past = match wish {
            Wish::Since(serial) if serial == zone.serial() => {
                return Some(Self::of(zone, place, std::iter::once_with(soa)));
            }
            Wish::Since(serial) => versions.past(serial),
            Wish::Whole => None,
        };
        Some(match past {
            Some(past) => Self::of(zone, place, differences(&past, zone, place).into_iter()),
            None => {
                let name_server = (Cow::Borrowed(&[][..]), ns(place.base(zone), zone.ttl()).into());
                let begin = std::iter::once_with(soa).chain(std::iter::once(name_server));
                Self::of(zone, place, begin.chain(place.rows(zone)).chain(std::iter::once_with(soa)))
            }
        })
    }

    fn of(zone: &'z Zone, place: Place<'z>, rows: impl Iterator<Item = Row<'z>> + Send + 'z) -> Self {
        let rows: Box<dyn Iterator<Item = Row<'z>> + Send + 'z> = Box::new(rows);
        Self { zone, origin: place.origin, rows: rows.peekable() }
    }

    /// Appends the next message; `false` where none is left.
    pub(crate) fn append(&mut self, request: &Request<'_>, out: &mut Vec<u8>) -> bool {
        if self.rows.peek().is_none() {
            return false;
        }
        let mut writer = Writer::begin(out, MESSAGE, request, self.origin, Some(0), self.zone.ttl(), None);
        let mut written = 0;
        while let Some((owner, record)) = self.rows.peek() {
            if writer.row(owner, record).is_err() {
                if written > 0 {
                    break;
                }
                // One that is longer than others may be; what fits no message at all is left out.
                writer.widen();
                let _ = writer.row(owner, record);
                self.rows.next();
                break;
            }
            written += 1;
            self.rows.next();
        }
        writer.finish(request, Rcode::NoError, Flags { authoritative: true, ..Flags::default() });
        true
    }
}

/// Which zone it is.
#[derive(Clone, Copy)]
struct Place<'z> {
    /// Its name.
    origin: &'z [u8],
    /// Whether it is one of reverse names.
    reverse: bool,
}

impl<'z> Place<'z> {
    fn called(zone: &'z Zone, name: &[u8]) -> Option<Self> {
        let forward = zone.origin_called(name).map(|origin| Self { origin, reverse: false });
        forward.or_else(|| zone.reverse_called(name).map(|origin| Self { origin, reverse: true }))
    }

    /// The zone that our own name is in.
    fn base(self, zone: &'z Zone) -> &'z [u8] {
        if self.reverse { zone.origin() } else { self.origin }
    }

    fn soa(self, zone: &Zone) -> Vec<u8> {
        let base = if self.reverse { zone.origin() } else { self.origin };
        soa(zone.serial(), base, zone.ttl())
    }

    /// Everything in it.
    fn rows(self, zone: &'z Zone) -> Box<dyn Iterator<Item = Row<'z>> + Send + 'z> {
        if self.reverse {
            let nodes = zone.nodes_below(self.origin);
            Box::new(nodes.flat_map(move |(key, node)| rows(key, node, zone.ttl())))
        } else {
            Box::new(zone.nodes().flat_map(move |(key, node)| rows(key, node, zone.ttl())))
        }
    }

    /// The names that may have something else in the other one.
    fn differing(self, past: &Zone, zone: &Zone) -> BTreeSet<Key> {
        if self.reverse { past.differing_below(zone, self.origin) } else { past.differing(zone) }
    }

    fn node<'a>(self, zone: &'a Zone, key: &[u8]) -> Option<&'a Arc<Node>> {
        if self.reverse { zone.alone(key) } else { zone.node(key) }
    }

    /// The part of a key that stands before the zone's name.
    fn owner(self, key: &Key) -> Vec<u8> {
        if self.reverse { key_below(key, self.origin).unwrap_or_default().to_vec() } else { key.to_vec() }
    }
}

/// One difference for all that lie between (RFC 1995 §5): what went, then what came.
fn differences<'z>(past: &Zone, zone: &'z Zone, place: Place<'z>) -> Vec<Row<'z>> {
    let soa_of = |zone: &Zone| -> Row<'z> { (Cow::Borrowed(&[]), Cow::Owned(place.soa(zone))) };
    let (mut gone, mut come) = (vec![soa_of(past)], vec![soa_of(zone)]);
    for key in place.differing(past, zone) {
        let set = |zone: &Zone| -> BTreeSet<Vec<u8>> {
            let node = place.node(zone, &key);
            node.into_iter()
                .flat_map(|node| rows(&key, node, zone.ttl()))
                .map(|(_, row)| row.into_owned())
                .collect()
        };
        let (before, now) = (set(past), set(zone));
        let name = place.owner(&key);
        let owned = |row: &Vec<u8>| -> Row<'z> { (Cow::Owned(name.clone()), Cow::Owned(row.clone())) };
        gone.extend(before.difference(&now).map(owned));
        come.extend(now.difference(&before).map(owned));
    }
    let mut all = vec![soa_of(zone)];
    all.append(&mut gone);
    all.append(&mut come);
    all.push(soa_of(zone));
    all
}

/// What a name has, as it is answered: with what is known of it, where nobody wrote a text.
fn rows<'z>(key: &'z [u8], node: &'z Arc<Node>, ttl: u32) -> Vec<Row<'z>> {
    let sets = node.sets.iter().flat_map(|set| set.records());
    let mut rows: Vec<Row<'z>> =
        sets.map(|record| (Cow::Borrowed(key), Cow::Borrowed(&record[2..]))).collect();
    if node.get(RecordType::TXT).is_none()
        && node.get(RecordType::CNAME).is_none()
        && let Some(strings) = describe::strings(&node.about)
    {
        rows.push((Cow::Borrowed(key), record(RecordType::TXT, ttl, &[&strings]).into()));
    }
    rows
}

fn soa(serial: u32, origin: &[u8], ttl: u32) -> Vec<u8> {
    let numbers: Vec<u8> =
        [serial].iter().chain(&SOA_TIMERS).chain([&ttl]).flat_map(|number| number.to_be_bytes()).collect();
    record(RecordType::SOA, ttl, &[NAME_SERVER, origin, HOSTMASTER, origin, &numbers])
}

fn ns(origin: &[u8], ttl: u32) -> Vec<u8> {
    record(RecordType::NS, ttl, &[NAME_SERVER, origin])
}

/// A record from its type on.
fn record(kind: RecordType, ttl: u32, data: &[&[u8]]) -> Vec<u8> {
    let data = data.concat();
    let mut record = Vec::with_capacity(10 + data.len());
    record.extend_from_slice(&u16::from(kind).to_be_bytes());
    record.extend_from_slice(&[0, 1]); // the Internet
    record.extend_from_slice(&ttl.to_be_bytes());
    record.extend_from_slice(&(data.len() as u16).to_be_bytes());
    record.extend_from_slice(&data);
    record
}

#[cfg(test)]
mod tests;
