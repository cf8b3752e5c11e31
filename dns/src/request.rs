//! A query, read from bytes that anybody may have sent.
//!
//! Reading never fails with nothing to say: it ends with silence, a refusal, or a question.

use hickory_proto::op::{Edns, Header, HeaderCounts, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

use crate::names::MAX_NAME;
use crate::rcode::Rcode;

/// The records that a query may carry beside its question; one that needs more is not read further.
///
/// An honest one has an OPT and perhaps a signature. Thousands of records of chained compression pointers would cost
/// far more to read than to send.
const MAX_RECORDS: u32 = 16;

/// A query, as far as it could be read.
pub(crate) struct Request {
    pub(crate) id: u16,
    /// As on the wire, shifted to its place in the header.
    pub(crate) op_code: u8,
    pub(crate) recursion_desired: bool,
    /// To be repeated in the answer, where it could be read.
    pub(crate) question: Option<Question>,
    pub(crate) edns: Option<ClientEdns>,
    /// The answer, where no zone needs to be asked for it.
    pub(crate) refusal: Option<Rcode>,
}

/// What is asked.
pub(crate) struct Question {
    pub(crate) name: QuestionName,
    pub(crate) record_type: RecordType,
    pub(crate) class: DNSClass,
}

/// What the client says of itself in OPT (RFC 6891 §6.1.3).
#[derive(Clone, Copy)]
pub(crate) struct ClientEdns {
    /// The largest UDP payload it takes.
    pub(crate) udp_size: u16,
    /// The version it speaks.
    pub(crate) version: u8,
    /// DO; copied to the answer (RFC 3225 §3).
    pub(crate) dnssec_ok: bool,
}

impl Request {
    /// Reads a query; `None` when it deserves silence: no header, or itself an answer, which answering might loop.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut decoder = BinDecoder::new(bytes);
        let Header { metadata, counts } = Header::read(&mut decoder).ok()?;
        if metadata.message_type == MessageType::Response {
            return None;
        }
        let mut request = Self {
            id: metadata.id,
            op_code: u8::from(metadata.op_code) << 3,
            recursion_desired: metadata.recursion_desired,
            question: None,
            edns: None,
            refusal: None,
        };
        let readable = request.read_body(&mut decoder, counts, metadata.op_code).is_ok();
        request.refusal = request.judge(readable && counts.queries == 1, metadata.op_code);
        Some(request)
    }

    fn read_body(
        &mut self,
        decoder: &mut BinDecoder<'_>,
        counts: HeaderCounts,
        op_code: OpCode,
    ) -> Result<(), DecodeError> {
        let extra = [counts.answers, counts.authorities, counts.additionals];
        if counts.queries > 1 || extra.into_iter().map(u32::from).sum::<u32>() > MAX_RECORDS {
            return Err(DecodeError::InsufficientBytes);
        }
        if counts.queries == 1 {
            self.question = Some(Question::from(&Query::read(decoder)?));
        }
        Message::read_records(decoder, counts.answers.into(), false, op_code)?;
        Message::read_records(decoder, counts.authorities.into(), false, op_code)?;
        let (_, edns, _) = Message::read_records(decoder, counts.additionals.into(), true, op_code)?;
        self.edns = edns.as_ref().map(ClientEdns::from);
        Ok(())
    }

    /// The refusals that come from the message alone, in the order of what is known first.
    fn judge(&self, readable: bool, op_code: OpCode) -> Option<Rcode> {
        if op_code != OpCode::Query {
            return Some(Rcode::NotImp);
        }
        // One question, no more and no fewer (RFC 9619 §4).
        if !readable {
            return Some(Rcode::FormErr);
        }
        if self.edns.is_some_and(|edns| edns.version != 0) {
            return Some(Rcode::BadVers); // RFC 6891 §6.1.3
        }
        let question = self.question.as_ref()?;
        match question.record_type {
            RecordType::OPT => Some(Rcode::FormErr), // a pseudo-type, nothing to ask for (RFC 6891 §6.1.1)
            RecordType::AXFR | RecordType::IXFR => Some(Rcode::Refused),
            _ if question.class != DNSClass::IN => Some(Rcode::Refused),
            _ => None,
        }
    }
}

impl From<&Query> for Question {
    fn from(query: &Query) -> Self {
        Self {
            name: QuestionName::from(query.name()),
            record_type: query.query_type(),
            class: query.query_class(),
        }
    }
}

impl From<&Edns> for ClientEdns {
    fn from(edns: &Edns) -> Self {
        Self { udp_size: edns.max_payload(), version: edns.version(), dnssec_ok: edns.flags().dnssec_ok }
    }
}

/// A name in wire form, root included: as it was written, which the answer repeats bit by bit (the "0x20" trick tells
/// forged answers by it), and in lower case, by which it is looked up.
pub(crate) struct QuestionName {
    written: [u8; MAX_NAME],
    lower: [u8; MAX_NAME],
    length: usize,
}

impl QuestionName {
    pub(crate) fn written(&self) -> &[u8] {
        &self.written[..self.length]
    }

    pub(crate) fn lower(&self) -> &[u8] {
        &self.lower[..self.length]
    }
}

impl From<&Name> for QuestionName {
    fn from(name: &Name) -> Self {
        let mut written = [0; MAX_NAME];
        let mut length = 0;
        for label in name {
            // The decoder holds names to 255 bytes; `get_mut` keeps that from being a matter of life and death.
            let Some(place) = written.get_mut(length..=length + label.len()) else { break };
            place[0] = label.len() as u8;
            place[1..].copy_from_slice(label);
            length += 1 + label.len();
        }
        length = (length + 1).min(MAX_NAME); // the root: a zero, which is there already
        // Lengths are at most 63, below every letter: lowering the whole name leaves them alone.
        let lower = written.map(|byte| byte.to_ascii_lowercase());
        Self { written, lower, length }
    }
}
