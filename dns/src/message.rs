//! An answer's bytes: sections, sizes, truncation.
//!
//! Written by hand rather than with hickory's encoder: that stops compressing after 120 names, measures a name before
//! compressing it (so a record that fits may not), and emits OPT last, where a full message loses it. Tests read what is
//! written here with hickory's decoder.

use std::net::IpAddr;

use hickory_proto::rr::{DNSClass, RecordType};

use crate::forward::Reply;
use crate::rcode::Rcode;
use crate::records::RrSet;
use crate::request::{ClientEdns, Request};

/// The largest UDP payload we send, and say we take: what passes without fragments (RFC 9715 §3).
pub(crate) const UDP_SIZE: u16 = 1232;
/// Without EDNS (RFC 1035 §4.2.1).
pub(crate) const UDP_SIZE_WITHOUT_EDNS: u16 = 512;

/// Refresh, retry and expire of an SOA, in seconds: what secondaries go by that were not told of a change.
pub(crate) const SOA_TIMERS: [u32; 3] = [300, 60, 86_400];

const HEADER: usize = 12;
const OPT: usize = 11;
/// An option's code and length.
const OPTION: usize = 4;
/// A cookie of the client's and one of ours.
const COOKIE: usize = 24;
/// A pointer to the question's name, which begins right after the header (RFC 1035 §4.1.4).
const QUESTION_NAME: u16 = 0xC000 | HEADER as u16;
const MAX_POINTER: usize = 0x3FFF;

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Answer = 1,
    Authority = 2,
    Additional = 3,
}

/// Whose record it is.
#[derive(Clone, Copy)]
pub(crate) enum Owner<'a> {
    /// The name asked for, as it was written.
    Question,
    /// A name in the zone, by its key; the apex is empty.
    Zone(&'a [u8]),
    /// Any name, in wire form.
    Whole(&'a [u8]),
}

/// What a record says.
#[derive(Clone, Copy)]
pub(crate) enum Data<'a> {
    Address(IpAddr),
    Ns(&'a [u8]),
    /// Strings, each after its length (RFC 1035 §3.3.14).
    Txt(&'a [u8]),
    Soa {
        primary: &'a [u8],
        mailbox: &'a [u8],
        serial: u32,
        negative_ttl: u32,
    },
    Hinfo {
        cpu: &'a str,
    },
}

/// What the header says of the answer.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags {
    /// AA: we have the say over the name.
    pub(crate) authoritative: bool,
    /// TC: it was cut.
    pub(crate) truncated: bool,
    /// RA: others' names are looked up for this client.
    pub(crate) recursion_available: bool,
    /// AD: somebody who was asked says that signatures were checked.
    pub(crate) authentic: bool,
}

/// The record did not fit, and nothing of it was written.
#[derive(Debug)]
pub(crate) struct Full;

/// Appends one message to `out`.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Where the message begins in `out`.
    start: usize,
    /// How long it may become, without OPT.
    limit: usize,
    counts: [u16; 4],
    /// The zone's name in wire form, root included.
    origin: &'a [u8],
    /// Where in the message the zone's name is, to be pointed to.
    origin_at: Option<usize>,
    ttl: u32,
    /// What is given back in OPT.
    cookie: Option<[u8; COOKIE]>,
}

impl<'a> Writer<'a> {
    /// Begins the answer to `request`: at most `size` bytes. `zone_suffix` is where, in the question's name, the zone's
    /// name begins, if it ends with that.
    pub(crate) fn begin(
        out: &'a mut Vec<u8>,
        size: u16,
        request: &Request<'_>,
        origin: &'a [u8],
        zone_suffix: Option<usize>,
        ttl: u32,
        cookie: Option<[u8; COOKIE]>,
    ) -> Self {
        let start = out.len();
        // What OPT needs is set aside first, so that nothing else can push it out.
        let reserved = match cookie {
            Some(_) => OPT + OPTION + COOKIE,
            None if request.edns.is_some() => OPT,
            None => 0,
        };
        out.extend_from_slice(&[0; HEADER]);
        let mut counts = [0; 4];
        if let Some(question) = &request.question {
            out.extend_from_slice(question.name.written());
            out.extend_from_slice(&u16::from(question.record_type).to_be_bytes());
            out.extend_from_slice(&u16::from(question.class).to_be_bytes());
            counts[0] = 1;
        }
        let origin_at = zone_suffix.map(|at| HEADER + at);
        Self { out, start, limit: usize::from(size) - reserved, counts, origin, origin_at, ttl, cookie }
    }

    /// Appends a record, whole or not at all.
    pub(crate) fn record(&mut self, section: Section, owner: Owner<'_>, data: Data<'_>) -> Result<(), Full> {
        let before = self.mark();
        match owner {
            Owner::Question => self.u16(QUESTION_NAME),
            Owner::Zone(key) => self.name(key),
            Owner::Whole(name) => self.out.extend_from_slice(name),
        }
        self.u16(data.record_type().into());
        self.u16(DNSClass::IN.into());
        self.out.extend_from_slice(&self.ttl.to_be_bytes());
        self.u16(0);
        let data_at = self.out.len();
        self.data(data);
        let length = (self.out.len() - data_at) as u16;
        self.out[data_at - 2..data_at].copy_from_slice(&length.to_be_bytes());
        if self.out.len() - self.start > self.limit {
            self.back_to(before);
            return Err(Full);
        }
        self.counts[section as usize] += 1;
        Ok(())
    }

    /// Appends the records of a set as answers to the question, beginning with the one at `first`: as many as fit.
    pub(crate) fn answers(&mut self, set: &RrSet, first: usize) -> Result<(), Full> {
        let (end, begin) = set.split_at(first);
        let (length, count) = (end.len() + begin.len(), set.len());
        // What fits in a message are fewer records than its header can count.
        if self.out.len() - self.start + length <= self.limit {
            self.out.extend_from_slice(begin);
            self.out.extend_from_slice(end);
            self.counts[Section::Answer as usize] += count as u16;
            return Ok(());
        }
        for index in (first..count).chain(0..first) {
            let record = set.record(index);
            if self.out.len() - self.start + record.len() > self.limit {
                return Err(Full);
            }
            self.out.extend_from_slice(record);
            self.counts[Section::Answer as usize] += 1;
        }
        Ok(())
    }

    /// Appends what another server answered, all of it, `age` seconds after; or with `stale` seconds to live.
    pub(crate) fn relay(&mut self, reply: &Reply, age: u32, stale: Option<u32>) -> Result<(), Full> {
        if self.out.len() - self.start + reply.records.len() > self.limit {
            return Err(Full);
        }
        reply.append(self.out, age, stale);
        self.counts[1..].copy_from_slice(&reply.counts);
        Ok(())
    }

    /// Appends the records of a set of another name than the one asked for: all, or none.
    pub(crate) fn set(&mut self, section: Section, owner: Owner<'_>, set: &RrSet) -> Result<(), Full> {
        let before = self.mark();
        for record in set.records() {
            match owner {
                Owner::Question => self.u16(QUESTION_NAME),
                Owner::Zone(key) => self.name(key),
                Owner::Whole(name) => self.out.extend_from_slice(name),
            }
            self.out.extend_from_slice(&record[2..]);
            self.counts[section as usize] += 1;
        }
        if self.out.len() - self.start > self.limit {
            self.back_to(before);
            return Err(Full);
        }
        Ok(())
    }

    /// Appends a record to the answers: its owner is in the zone, the rest as it is from the type on.
    pub(crate) fn row(&mut self, owner: &[u8], record: &[u8]) -> Result<(), Full> {
        let before = self.mark();
        self.name(owner);
        self.out.extend_from_slice(record);
        if self.out.len() - self.start > self.limit {
            self.back_to(before);
            return Err(Full);
        }
        self.counts[Section::Answer as usize] += 1;
        Ok(())
    }

    /// Appends an answer of somebody else's name, as others gave it: its owner whole, the rest from the type on.
    pub(crate) fn foreign(&mut self, owner: &[u8], record: &[u8]) -> Result<(), Full> {
        if self.out.len() - self.start + owner.len() + record.len() > self.limit {
            return Err(Full);
        }
        self.out.extend_from_slice(owner);
        self.out.extend_from_slice(record);
        self.counts[Section::Answer as usize] += 1;
        Ok(())
    }

    /// Lets the message become as long as any on a connection.
    pub(crate) fn widen(&mut self) {
        self.limit = usize::from(u16::MAX) - OPT;
    }

    /// Completes the message: OPT where the query had one (RFC 6891 §6.1.1), then the header.
    pub(crate) fn finish(mut self, request: &Request<'_>, rcode: Rcode, flags: Flags) {
        if let Some(edns) = request.edns {
            self.opt(edns, rcode);
        }
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let head = [
            // QR, then the query's operation; RD is copied (RFC 1035 §4.1.1).
            0x80 | request.op_code
                | flag(flags.authoritative, 0x04)
                | flag(flags.truncated, 0x02)
                | flag(request.recursion_desired, 0x01),
            // CD is copied (RFC 4035 §3.1.6).
            flag(flags.recursion_available, 0x80)
                | flag(flags.authentic, 0x20)
                | flag(request.checking_disabled, 0x10)
                | (rcode.number() & 0x0F) as u8,
        ];
        let header = &mut self.out[self.start..self.start + HEADER];
        header[..2].copy_from_slice(&request.id.to_be_bytes());
        header[2..4].copy_from_slice(&head);
        for (place, count) in header[4..].chunks_exact_mut(2).zip(self.counts) {
            place.copy_from_slice(&count.to_be_bytes());
        }
    }

    fn opt(&mut self, edns: ClientEdns, rcode: Rcode) {
        self.out.push(0);
        self.u16(RecordType::OPT.into());
        self.u16(UDP_SIZE);
        let high = (rcode.number() >> 4) as u8;
        let flags = if edns.dnssec_ok { 0x80 } else { 0 };
        self.out.extend_from_slice(&[high, 0, flags, 0]); // version 0: the one we speak
        match self.cookie {
            Some(cookie) => {
                self.u16((OPTION + COOKIE) as u16);
                self.out.extend_from_slice(&[0, 10, 0, COOKIE as u8]);
                self.out.extend_from_slice(&cookie);
            }
            None => self.u16(0),
        }
        self.counts[Section::Additional as usize] += 1;
    }

    fn data(&mut self, data: Data<'_>) {
        match data {
            Data::Address(IpAddr::V4(ip)) => self.out.extend_from_slice(&ip.octets()),
            Data::Address(IpAddr::V6(ip)) => self.out.extend_from_slice(&ip.octets()),
            Data::Ns(name) => self.name(name),
            Data::Txt(strings) => self.out.extend_from_slice(strings),
            Data::Soa { primary, mailbox, serial, negative_ttl } => {
                self.name(primary);
                self.name(mailbox);
                for number in [serial].iter().chain(&SOA_TIMERS).chain([&negative_ttl]) {
                    self.out.extend_from_slice(&number.to_be_bytes());
                }
            }
            Data::Hinfo { cpu } => {
                self.out.push(cpu.len() as u8);
                self.out.extend_from_slice(cpu.as_bytes());
                self.out.push(0);
            }
        }
    }

    /// A name in the zone: its own labels, then a pointer to the zone's.
    fn name(&mut self, key: &[u8]) {
        if let Some(at) = self.origin_at {
            self.out.extend_from_slice(key);
            self.u16(0xC000 | at as u16);
            return;
        }
        let at = self.out.len() - self.start + key.len();
        self.whole_name(key);
        self.origin_at = (at <= MAX_POINTER).then_some(at);
    }

    fn whole_name(&mut self, key: &[u8]) {
        self.out.extend_from_slice(key);
        self.out.extend_from_slice(self.origin);
    }

    fn u16(&mut self, number: u16) {
        self.out.extend_from_slice(&number.to_be_bytes());
    }

    fn mark(&self) -> (usize, [u16; 4], Option<usize>) {
        (self.out.len(), self.counts, self.origin_at)
    }

    fn back_to(&mut self, (length, counts, origin_at): (usize, [u16; 4], Option<usize>)) {
        self.out.truncate(length);
        self.counts = counts;
        self.origin_at = origin_at;
    }
}

impl Data<'_> {
    fn record_type(&self) -> RecordType {
        match self {
            Self::Address(IpAddr::V4(_)) => RecordType::A,
            Self::Address(IpAddr::V6(_)) => RecordType::AAAA,
            Self::Ns(_) => RecordType::NS,
            Self::Txt(_) => RecordType::TXT,
            Self::Soa { .. } => RecordType::SOA,
            Self::Hinfo { .. } => RecordType::HINFO,
        }
    }
}
