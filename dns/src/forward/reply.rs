//! An upstream's answer: whether it is one to our question, how long it may be kept, and its records as they are given
//! on. Made by hand, as what is given on is the upstream's bytes.
//!
//! It knows messages. It must not know where they come from.

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use hickory_proto::serialize::binary::BinEncodable;

use crate::names::MAX_NAME;

const HEADER: usize = 12;
/// The longest that an answer is kept, in seconds (RFC 8767 §4 has a week as the most).
const TTL_MAX: u32 = 86_400;
/// The same for one that says there is nothing (RFC 2308 §5 has 1 to 3 hours).
const NEGATIVE_TTL_MAX: u32 = 3_600;
/// How long it is remembered that nobody gave an answer, in seconds (RFC 9520 §3.2: 1 to 300).
const FAILURE_TTL: u32 = 2;
/// Records in an answer; who sends more is not read further.
const RECORDS_MAX: usize = 4_096;

/// What an upstream said, ready to be given on behind the question of whoever asks.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The code's four bits.
    pub(crate) rcode: u8,
    /// AD: the upstream says it has checked the signatures.
    pub(crate) authentic: bool,
    /// Seconds that it may be kept.
    pub(crate) ttl: u32,
    /// Records in the answer, authority and additional section.
    pub(crate) counts: [u16; 3],
    /// They, as the message had them right behind its question; without OPT. Names may point into the question.
    pub(crate) records: Box<[u8]>,
    /// Where in them the times to live are.
    pub(crate) ttls: Box<[u32]>,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is no answer to this question: forged, late, or noise. The answer may still come.
    NotOurs,
    /// It is, but the name is written in other letters than we wrote it: this server does not keep them.
    OtherCase,
    /// Cut: to be asked for again over TCP.
    Truncated,
    /// The server does not know what OPT is.
    NoEdns,
    /// It says that it can't or will not answer, or can't be read.
    Refused,
}

impl Reply {
    /// Reads the answer to `query`, which was sent just so.
    pub(crate) fn read(message: &[u8], query: &[u8]) -> Result<Self, Unfit> {
        let (header, query_header) = (head(message)?, head(query)?);
        let question = question(query).ok_or(Unfit::NotOurs)?;
        if header[..2] != query_header[..2] || header[2] & 0xF8 != 0x80 {
            return Err(Unfit::NotOurs);
        }
        let rcode = header[3] & 0x0F;
        // A server that can't read the question need not repeat it.
        if header[4..6] == [0, 0] && matches!(rcode, 1 | 4) && message.len() == HEADER {
            return Err(Unfit::NoEdns);
        }
        let repeated = message.get(HEADER..HEADER + question.len()).ok_or(Unfit::NotOurs)?;
        if header[4..6] != [0, 1] || !repeated.eq_ignore_ascii_case(question) {
            return Err(Unfit::NotOurs);
        }
        if repeated != question {
            return Err(Unfit::OtherCase);
        }
        if header[2] & 2 != 0 {
            return Err(Unfit::Truncated);
        }
        match rcode {
            0 | 3 => Self::read_records(message, HEADER + question.len(), rcode).ok_or(Unfit::Refused),
            1 | 4 => Err(Unfit::NoEdns),
            _ => Err(Unfit::Refused),
        }
    }

    /// Nobody gave an answer.
    pub(crate) fn failure() -> Self {
        Self {
            rcode: 2,
            authentic: false,
            ttl: FAILURE_TTL,
            counts: [0; 3],
            records: Box::default(),
            ttls: Box::default(),
        }
    }

    pub(crate) fn is_failure(&self) -> bool {
        self.rcode == 2
    }

    /// Whether it says that there is nothing.
    pub(crate) fn is_denial(&self) -> bool {
        self.rcode == 3 || self.counts[0] == 0
    }

    /// Appends the records, `age` seconds older; all with `stale` seconds to live where that is given.
    pub(crate) fn append(&self, out: &mut Vec<u8>, age: u32, stale: Option<u32>) {
        let start = out.len();
        out.extend_from_slice(&self.records);
        for &at in &self.ttls {
            let Some(place) = out.get_mut(start + at as usize..).and_then(<[u8]>::first_chunk_mut::<4>)
            else {
                continue;
            };
            let left = u32::from_be_bytes(*place).min(TTL_MAX).saturating_sub(age);
            *place = stale.unwrap_or(left).to_be_bytes();
        }
    }

    /// The answers to a question for `name`, each by its owner and what follows that, all names whole: for a message with
    /// another question. `age` and `stale` as in [`Self::append`].
    pub(crate) fn answers(
        &self,
        name: &[u8],
        kind: u16,
        age: u32,
        stale: Option<u32>,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        // As the message was that they came in, but for what is not asked for here.
        let mut message = vec![0, 0, 0x80, 0, 0, 1];
        message.extend(self.counts.iter().flat_map(|count| count.to_be_bytes()));
        message.extend_from_slice(name);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        self.append(&mut message, age, stale);
        let Ok(message) = Message::from_vec(&message) else { return Vec::new() };
        let answers = message.answers.iter().filter_map(|record| {
            let mut owner = Vec::with_capacity(MAX_NAME);
            for label in &record.name {
                owner.push(label.len() as u8);
                owner.extend_from_slice(label);
            }
            owner.push(0);
            let data = record.data.to_bytes().ok()?;
            let mut rest = u16::from(record.record_type()).to_be_bytes().to_vec();
            rest.extend_from_slice(&[0, 1]);
            rest.extend_from_slice(&record.ttl.to_be_bytes());
            rest.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
            rest.extend_from_slice(&data);
            Some((owner, rest))
        });
        answers.collect()
    }

    fn read_records(message: &[u8], start: usize, rcode: u8) -> Option<Self> {
        let count = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
        let mut counts = [count(6), count(8), count(10)];
        if counts.iter().map(|count| usize::from(*count)).sum::<usize>() > RECORDS_MAX {
            return None;
        }
        let (mut at, mut end) = (start, start);
        let mut ttls = Vec::new();
        let (mut ttl, mut negative_ttl) = (TTL_MAX, None);
        let mut opts = 0;
        for (section, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                let record = Record::read(message, at)?;
                at = record.end;
                if record.kind == u16::from(RecordType::OPT) {
                    // Only there (RFC 6891 §6.1.1).
                    if section != 2 {
                        return None;
                    }
                    opts += 1;
                    continue;
                }
                if opts > 0 {
                    // Behind an OPT that is taken out, what points to names would point beside them.
                    return None;
                }
                end = at;
                ttls.push((record.ttl_at - start) as u32);
                match section {
                    0 => ttl = ttl.min(record.ttl),
                    1 if record.kind == u16::from(RecordType::SOA) => {
                        let minimum = message.get(record.end - 4..record.end)?.first_chunk().copied()?;
                        negative_ttl = Some(record.ttl.min(u32::from_be_bytes(minimum)));
                    }
                    _ => {}
                }
            }
        }
        counts[2] -= opts;
        if rcode == 3 || counts[0] == 0 {
            // Without an SOA it may not be kept (RFC 2308 §5).
            ttl = negative_ttl.unwrap_or(0).min(NEGATIVE_TTL_MAX);
        }
        Some(Self {
            rcode,
            authentic: message[3] & 0x20 != 0,
            ttl,
            counts,
            records: message[start..end].into(),
            ttls: ttls.into(),
        })
    }

    #[cfg(test)]
    pub(crate) fn for_test(ttl: u32) -> Self {
        Self { ttl, rcode: 0, counts: [1, 0, 0], ..Self::failure() }
    }
}

struct Record {
    kind: u16,
    ttl: u32,
    ttl_at: usize,
    end: usize,
}

impl Record {
    fn read(message: &[u8], at: usize) -> Option<Self> {
        let fixed_at = skip_name(message, at)?;
        let fixed: &[u8; 10] = message.get(fixed_at..)?.first_chunk()?;
        let end = fixed_at + 10 + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        if end > message.len() {
            return None;
        }
        let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        Some(Self {
            kind: u16::from_be_bytes([fixed[0], fixed[1]]),
            // The highest bit set means none at all (RFC 2181 §8).
            ttl: if ttl > i32::MAX as u32 { 0 } else { ttl },
            ttl_at: fixed_at + 4,
            end,
        })
    }
}

/// Where what follows a name begins.
fn skip_name(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xC0.. => return Some(at + 2),
            _ => return None,
        }
        if at - start > MAX_NAME {
            return None;
        }
    }
}

fn head(message: &[u8]) -> Result<&[u8; HEADER], Unfit> {
    message.first_chunk().ok_or(Unfit::NotOurs)
}

/// The one question of a query of ours: name, type and class.
fn question(query: &[u8]) -> Option<&[u8]> {
    query.get(HEADER..skip_name(query, HEADER)? + 4)
}

/// The name and the type that a query of ours asks for.
pub(crate) fn question_of(query: &[u8]) -> Option<(&[u8], u16)> {
    let (name, rest) = question(query)?.split_last_chunk::<4>()?;
    Some((name, u16::from_be_bytes([rest[0], rest[1]])))
}

/// The query that is sent upstream: with random letters' case ("0x20"), and OPT unless the server does not know it.
pub(crate) fn query(asked: &super::cache::Asked, id: u16, case: u128, edns: bool) -> Vec<u8> {
    let mut query = Vec::with_capacity(HEADER + asked.name.len() + 4 + 11);
    query.extend_from_slice(&id.to_be_bytes());
    let checking = if asked.checking_disabled { 0x10 } else { 0 };
    query.extend_from_slice(&[1, checking, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
    let mut bits = case;
    for byte in &asked.name {
        // Lengths are at most 63, below every letter.
        let mut byte = *byte;
        if byte.is_ascii_lowercase() {
            if bits & 1 == 1 {
                byte = byte.to_ascii_uppercase();
            }
            bits = bits.rotate_right(1);
        }
        query.push(byte);
    }
    query.extend_from_slice(&asked.record_type.to_be_bytes());
    query.extend_from_slice(&[0, 1]);
    if edns {
        let flags = if asked.dnssec_ok { 0x80 } else { 0 };
        query.extend_from_slice(&[0, 0, 41]);
        query.extend_from_slice(&crate::message::UDP_SIZE.to_be_bytes());
        query.extend_from_slice(&[0, 0, flags, 0, 0, 0]);
    }
    query
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
    use hickory_proto::rr::rdata::{A, SOA};
    use hickory_proto::rr::{Name, RData, Record as Whole};

    use super::*;
    use crate::forward::cache::Asked;
    use crate::test_support::Random;

    fn asked() -> Asked {
        let name = b"\x03www\x07example\x00"[..].into();
        Asked { name, record_type: 1, dnssec_ok: false, checking_disabled: false }
    }

    /// An answer to `query`, with so many addresses.
    fn answer(query: &[u8], code: ResponseCode, addresses: u8, soa: Option<(u32, u32)>) -> Message {
        let mut message = Message::from_vec(query).unwrap();
        message.metadata.message_type = MessageType::Response;
        message.metadata.response_code = code;
        let name = message.queries[0].name().clone();
        for n in 0..addresses {
            let data = RData::A(A::new(192, 0, 2, n));
            message.add_answer(Whole::from_rdata(name.clone(), 300 + u32::from(n), data));
        }
        if let Some((ttl, minimum)) = soa {
            let root = Name::root();
            let data = RData::SOA(SOA::new(root.clone(), root, 1, 2, 3, 4, minimum));
            message.add_authority(Whole::from_rdata(Name::from_ascii("example.").unwrap(), ttl, data));
        }
        message
    }

    #[test]
    fn a_query_says_what_was_asked_in_its_own_letters() {
        let bytes = query(&asked(), 7, 0b101, true);
        let message = Message::from_vec(&bytes).unwrap();
        assert_eq!(message.queries[0].name().to_ascii(), "WwW.example.");
        assert!(message.metadata.recursion_desired && message.edns.is_some());
        assert_eq!(
            message.queries[0],
            Query::query(Name::from_ascii("WwW.example.").unwrap(), RecordType::A)
        );
        assert!(Message::from_vec(&query(&asked(), 7, 0, false)).unwrap().edns.is_none());
    }

    #[test]
    fn an_answer_is_kept_as_long_as_its_shortest_record() {
        let query = query(&asked(), 7, 5, true);
        let reply =
            Reply::read(&answer(&query, ResponseCode::NoError, 3, None).to_vec().unwrap(), &query).unwrap();
        assert_eq!((reply.ttl, reply.counts, reply.is_denial()), (300, [3, 0, 0], false));
        let mut out = query[..query.len() - 11].to_vec();
        out[2] |= 0x80;
        out[7] = 3;
        out[11] = 0;
        reply.append(&mut out, 100, None);
        let given = Message::from_vec(&out).unwrap();
        assert_eq!(given.answers.iter().map(|record| record.ttl).collect::<Vec<_>>(), [200, 201, 202]);
        assert_eq!(given.answers[2].data.to_string(), "192.0.2.2");
    }

    #[test]
    fn a_denial_is_kept_as_its_soa_says_or_not_at_all() {
        let query = query(&asked(), 7, 5, true);
        for (code, soa, ttl) in [
            (ResponseCode::NXDomain, Some((60, 900)), 60),
            (ResponseCode::NXDomain, Some((900, 60)), 60),
            (ResponseCode::NoError, Some((99_999, 99_999)), NEGATIVE_TTL_MAX),
            (ResponseCode::NXDomain, None, 0),
        ] {
            let message = answer(&query, code, 0, soa).to_vec().unwrap();
            let reply = Reply::read(&message, &query).unwrap();
            assert_eq!((reply.ttl, reply.is_denial()), (ttl, true), "{soa:?}");
        }
    }

    #[test]
    fn what_is_no_answer_to_our_question_is_told_apart() {
        let sent = query(&asked(), 7, 5, true);
        let good = answer(&sent, ResponseCode::NoError, 1, None);
        let read = |message: &Message| Reply::read(&message.to_vec().unwrap(), &sent).err();
        assert_eq!(read(&good), None);
        let mut other_id = good.clone();
        other_id.metadata.id = 8;
        assert_eq!(read(&other_id), Some(Unfit::NotOurs));
        assert_eq!(Reply::read(&sent, &sent).err(), Some(Unfit::NotOurs), "our own query");
        let mut truncated = good.clone();
        truncated.metadata.truncation = true;
        assert_eq!(read(&truncated), Some(Unfit::Truncated));
        let lower = query(&asked(), 7, 0, true);
        assert_eq!(read(&answer(&lower, ResponseCode::NoError, 1, None)), Some(Unfit::OtherCase));
        let elsewhere = Asked { name: b"\x03wwx\x07example\x00"[..].into(), ..asked() };
        assert_eq!(
            read(&answer(&query(&elsewhere, 7, 5, true), ResponseCode::NoError, 1, None)),
            Some(Unfit::NotOurs)
        );
        for (code, expected) in [
            (ResponseCode::FormErr, Unfit::NoEdns),
            (ResponseCode::ServFail, Unfit::Refused),
            (ResponseCode::Refused, Unfit::Refused),
        ] {
            assert_eq!(read(&answer(&sent, code, 0, None)), Some(expected));
        }
        let mut with_edns = good;
        with_edns.set_edns(Edns::new());
        let reply = Reply::read(&with_edns.to_vec().unwrap(), &sent).unwrap();
        assert_eq!(reply.counts, [1, 0, 0], "OPT is the upstream's own affair");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let sent = query(&asked(), 7, 5, true);
        let seed = answer(&sent, ResponseCode::NoError, 5, Some((1, 1))).to_vec().unwrap();
        let mut random = Random(0xF00D);
        let mut read = 0;
        for _ in 0..50_000 {
            if let Ok(reply) = Reply::read(&random.packet(&seed), &sent) {
                read += 1;
                reply.append(&mut Vec::new(), 5, None);
            }
        }
        assert!(read > 1000, "{read}");
    }
}
