//! Record sets: what a name has, as bytes that only have to be copied into an answer.

use std::net::IpAddr;
use std::ops::Deref;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hickory_proto::rr::RecordType;
use portolan_discovery::{Endpoint, Service};

use crate::key::Key;

/// A pointer to the question's name, which begins right after the header (RFC 1035 §4.1.4).
const QUESTION_NAME: [u8; 2] = [0xC0, 12];

/// Records of one name and one type, in wire form.
///
/// A zone has tens of thousands, nearly all of one record: what those don't need stands apart.
#[derive(Debug)]
pub(crate) struct RrSet {
    kind: RecordType,
    /// How long each record is, where all are so long, as addresses are.
    every: u32,
    /// Where the next answer starts.
    ///
    /// It counts per set, not per zone: stub resolvers ask for A and AAAA in pairs, and a counter that both share would
    /// give every A query the same one of two replicas.
    turn: AtomicU32,
    /// Whether each answer starts one further; not where the order means something.
    rotates: bool,
    /// The records one after the other, each with a pointer to the question's name as its owner.
    bytes: Box<[u8]>,
    more: Option<Box<More>>,
}

#[derive(Debug)]
struct More {
    /// Where each record ends, unless all are of one length.
    ends: Box<[u32]>,
    /// The hosts that the records point to, each with its first record.
    hosts: Box<[(u32, Arc<Host>)]>,
}

/// A host that SRV records point to: what its name resolves to comes along.
#[derive(Debug)]
pub(crate) struct Host {
    /// A name that only this container has.
    pub(crate) name: Key,
    pub(crate) node: Arc<Node>,
}

/// Everything one name has. Without any record it is an empty non-terminal (RFC 8020 §3): it exists because of a name
/// below.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) sets: Sets,
    pub(crate) about: About,
}

/// The record sets of a name. One needs no list.
#[derive(Clone, Debug)]
pub(crate) enum Sets {
    One(Arc<RrSet>),
    Many(Box<[Arc<RrSet>]>),
}

impl Default for Sets {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl Deref for Sets {
    type Target = [Arc<RrSet>];

    fn deref(&self) -> &[Arc<RrSet>] {
        match self {
            Self::One(set) => slice::from_ref(set),
            Self::Many(sets) => sets,
        }
    }
}

impl FromIterator<Arc<RrSet>> for Sets {
    fn from_iter<I: IntoIterator<Item = Arc<RrSet>>>(sets: I) -> Self {
        let mut sets = sets.into_iter();
        match (sets.next(), sets.next()) {
            (None, _) => Self::default(),
            (Some(one), None) => Self::One(one),
            (Some(one), Some(two)) => Self::Many([one, two].into_iter().chain(sets).collect()),
        }
    }
}

/// Whose name it is.
#[derive(Clone, Debug, Default)]
pub(crate) enum About {
    /// Nobody's in particular.
    #[default]
    Nothing,
    /// All replicas of a service.
    Service(Arc<Service>),
    /// The same, those that can't be given work included.
    All(Arc<Service>),
    /// One container.
    Container(Arc<Endpoint>),
    /// Whoever has this alias.
    Alias(Arc<Vec<Arc<Endpoint>>>),
}

impl About {
    /// Whether it is about some container.
    pub(crate) fn is_somebody(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

impl Node {
    pub(crate) fn new(sets: impl IntoIterator<Item = Option<RrSet>>, about: About) -> Self {
        Self { sets: sets.into_iter().flatten().map(Arc::new).collect(), about }
    }

    pub(crate) fn get(&self, kind: RecordType) -> Option<&RrSet> {
        self.sets.iter().find(|set| set.kind == kind).map(|set| &**set)
    }

    /// Whether it has no record of any type at present.
    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// What several give to one name together.
    pub(crate) fn merged(nodes: &[&Self], about: About, turn: u32) -> Self {
        let mut sets: Vec<Arc<RrSet>> = Vec::new();
        for set in nodes.iter().flat_map(|node| node.sets.iter()) {
            if sets.iter().any(|other| other.kind == set.kind) {
                continue;
            }
            let parts: Vec<&RrSet> = nodes.iter().filter_map(|node| node.get(set.kind)).collect();
            sets.push(match *parts {
                [_] => Arc::clone(set),
                _ => Arc::new(RrSet::merged(&parts, set.kind, turn)),
            });
        }
        Self { sets: sets.into_iter().collect(), about }
    }
}

impl RrSet {
    pub(crate) fn kind(&self) -> RecordType {
        self.kind
    }

    pub(crate) fn len(&self) -> usize {
        match self.every {
            0 => self.ends().len(),
            every => self.bytes.len() / every as usize,
        }
    }

    fn ends(&self) -> &[u32] {
        self.more.as_ref().map_or(&[], |more| &more.ends)
    }

    fn places(&self) -> &[(u32, Arc<Host>)] {
        self.more.as_ref().map_or(&[], |more| &more.hosts)
    }

    /// Where the record at `index` begins, and the one before ends.
    fn start(&self, index: usize) -> usize {
        match (self.every, index.checked_sub(1)) {
            (0, None) => 0,
            (0, Some(before)) => self.ends()[before] as usize,
            (every, _) => index * every as usize,
        }
    }

    /// The record at `index`, from its owner on.
    pub(crate) fn record(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index)..self.start(index + 1)]
    }

    /// The data of the record at `index`.
    pub(crate) fn data(&self, index: usize) -> &[u8] {
        // The owner's pointer, type, class, time to live and length come first.
        &self.record(index)[12..]
    }

    /// Every record, from its owner on, as they are.
    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.record(index))
    }

    /// All records before the one at `index`, and all from there on.
    pub(crate) fn split_at(&self, index: usize) -> (&[u8], &[u8]) {
        self.bytes.split_at(self.start(index))
    }

    /// The record that this answer starts with.
    pub(crate) fn take_turn(&self) -> usize {
        let count = self.len() as u32;
        if !self.rotates || count < 2 {
            return 0;
        }
        (self.turn.fetch_add(1, Ordering::Relaxed) % count) as usize
    }

    /// The hosts that the records point to, beginning with the one that the record at `start` does.
    pub(crate) fn hosts(&self, start: usize) -> impl Iterator<Item = &Arc<Host>> {
        let hosts = self.places();
        let first = hosts.partition_point(|(record, _)| *record as usize <= start).saturating_sub(1);
        let (end, begin) = hosts.split_at(first.min(hosts.len()));
        begin.iter().chain(end).map(|(_, host)| host)
    }

    /// The records of the hosts that `is_seen`; `None` where there are none.
    pub(crate) fn filtered(&self, is_seen: impl Fn(&Host) -> bool) -> Option<Self> {
        let mut builder = Builder::new(self.kind, 0);
        let hosts = self.places();
        for (at, (start, host)) in hosts.iter().enumerate() {
            let end = hosts.get(at + 1).map_or(self.len(), |(next, _)| *next as usize);
            if is_seen(host) {
                builder.host(host);
                for index in *start as usize..end {
                    builder.bytes.extend_from_slice(self.record(index));
                    builder.ends.push(builder.bytes.len() as u32);
                }
            }
        }
        builder.build()
    }

    fn merged(parts: &[&Self], kind: RecordType, turn: u32) -> Self {
        let mut builder = Builder { turn: None, ..Builder::new(kind, 0) };
        let mut seen = foldhash::HashSet::default();
        let mut rotated = false;
        for part in parts {
            rotated |= part.rotates;
            for record in part.records() {
                if seen.insert(record) {
                    builder.bytes.extend_from_slice(record);
                    builder.ends.push(builder.bytes.len() as u32);
                }
            }
        }
        builder.turn = rotated.then_some(turn);
        builder.build().expect("parts are not empty")
    }
}

/// Puts records together.
pub(crate) struct Builder {
    kind: RecordType,
    ttl: u32,
    bytes: Vec<u8>,
    ends: Vec<u32>,
    hosts: Vec<(u32, Arc<Host>)>,
    turn: Option<u32>,
}

impl Builder {
    /// Records of one type that are given out as they are, the preferred one first.
    pub(crate) fn new(kind: RecordType, ttl: u32) -> Self {
        Self { kind, ttl, bytes: Vec::new(), ends: Vec::new(), hosts: Vec::new(), turn: None }
    }

    /// Every answer is to start one further; the first one at `turn`.
    pub(crate) fn rotated(mut self, turn: u32) -> Self {
        self.turn = Some(turn);
        self
    }

    /// Adds a record: its data in wire form, names whole.
    pub(crate) fn push(&mut self, data: &[&[u8]]) {
        self.bytes.extend_from_slice(&QUESTION_NAME);
        self.bytes.extend_from_slice(&u16::from(self.kind).to_be_bytes());
        self.bytes.extend_from_slice(&[0, 1]); // the Internet
        self.bytes.extend_from_slice(&self.ttl.to_be_bytes());
        let length: usize = data.iter().map(|part| part.len()).sum();
        self.bytes.extend_from_slice(&(length as u16).to_be_bytes());
        for part in data {
            self.bytes.extend_from_slice(part);
        }
        self.ends.push(self.bytes.len() as u32);
    }

    /// The record added next points to this host. Records of one host stand in a row.
    pub(crate) fn host(&mut self, host: &Arc<Host>) {
        if self.hosts.last().is_none_or(|(_, last)| !Arc::ptr_eq(last, host)) {
            self.hosts.push((self.ends.len() as u32, Arc::clone(host)));
        }
    }

    /// The set; `None` where no record was added.
    pub(crate) fn build(self) -> Option<RrSet> {
        let first = *self.ends.first()?;
        let equal = self.ends.iter().zip(1..).all(|(end, number)| *end == number * first);
        let ends = if equal { Box::default() } else { self.ends.into_boxed_slice() };
        let has_more = !ends.is_empty() || !self.hosts.is_empty();
        Some(RrSet {
            kind: self.kind,
            every: if equal { first } else { 0 },
            turn: AtomicU32::new(self.turn.unwrap_or(0)),
            rotates: self.turn.is_some(),
            bytes: self.bytes.into(),
            more: has_more.then(|| Box::new(More { ends, hosts: self.hosts.into() })),
        })
    }
}

/// The A or AAAA records of these addresses; those of the other family are passed over.
pub(crate) fn addresses(
    kind: RecordType,
    ips: impl IntoIterator<Item = IpAddr>,
    ttl: u32,
    turn: Option<u32>,
) -> Option<RrSet> {
    let mut builder = Builder { turn, ..Builder::new(kind, ttl) };
    for ip in ips {
        match (kind, ip) {
            (RecordType::A, IpAddr::V4(ip)) => builder.push(&[&ip.octets()]),
            (RecordType::AAAA, IpAddr::V6(ip)) => builder.push(&[&ip.octets()]),
            _ => {}
        }
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_most_names_have_takes_little() {
        assert_eq!([size_of::<RrSet>(), size_of::<Node>(), size_of::<Sets>()], [40, 32, 16]);
    }

    fn set(count: u8, turn: Option<u32>) -> RrSet {
        addresses(RecordType::A, (0..count).map(|n| IpAddr::from([10, 0, 0, n])), 2, turn).unwrap()
    }

    #[test]
    fn every_answer_starts_one_further() {
        let rotated = set(3, Some(2));
        assert_eq!([(); 4].map(|()| rotated.take_turn()), [2, 0, 1, 2]);
        let ordered = set(2, None);
        assert!((0..3).all(|_| ordered.take_turn() == 0));
        assert_eq!(set(1, Some(7)).take_turn(), 0);
    }

    #[test]
    fn records_are_whole_whatever_their_lengths() {
        let equal = set(3, None);
        assert_eq!(equal.len(), 3);
        assert_eq!(equal.record(1), [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 2, 0, 4, 10, 0, 0, 1]);
        let mut builder = Builder::new(RecordType::TXT, 1);
        for text in [&b"\x01a"[..], b"\x02bc", b"\x01d"] {
            builder.push(&[text]);
        }
        let uneven = builder.build().unwrap();
        let data: Vec<&[u8]> = uneven.records().map(|record| &record[12..]).collect();
        assert_eq!(data, [&b"\x01a"[..], b"\x02bc", b"\x01d"]);
        for set in [equal, uneven] {
            let (before, after) = set.split_at(2);
            assert_eq!(before, [set.record(0), set.record(1)].concat());
            assert_eq!(after, set.record(2));
        }
        assert!(Builder::new(RecordType::A, 1).build().is_none());
    }

    #[test]
    fn what_several_give_is_given_once() {
        let [one, two] = [2, 3].map(|count| Node::new([Some(set(count, Some(0)))], About::Nothing));
        let merged = Node::merged(&[&one, &two], About::Nothing, 0);
        assert_eq!(merged.get(RecordType::A).unwrap().len(), 3);
        assert_eq!(merged.sets.len(), 1);
    }
}
