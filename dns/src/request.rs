//! A query, read from bytes that anybody may have sent.
//!
//! Reading never fails with nothing to say: it ends with silence, a refusal, or a question. What nearly every query is,
//! one question and perhaps an OPT, is read here; anything else by hickory, which knows all there is.

use std::borrow::Cow;

use hickory_proto::op::{Edns, Header, HeaderCounts, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::EdnsCode;
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, DecodeError};

use crate::cookie::ClientCookie;
use crate::names::MAX_NAME;
use crate::rcode::Rcode;

/// The records that a query may carry beside its question; one that needs more is not read further.
///
/// An honest one has an OPT and perhaps a signature. Thousands of records of chained compression pointers would cost
/// far more to read than to send.
const MAX_RECORDS: u32 = 16;

const HEADER: usize = 12;

/// A query, as far as it could be read.
pub(crate) struct Request<'q> {
    pub(crate) id: u16,
    /// As on the wire, shifted to its place in the header.
    pub(crate) op_code: u8,
    pub(crate) recursion_desired: bool,
    /// CD: signatures are not to be checked on the way (RFC 4035 §3.2.2).
    pub(crate) checking_disabled: bool,
    /// To be repeated in the answer, where it could be read.
    pub(crate) question: Option<Question<'q>>,
    pub(crate) edns: Option<ClientEdns>,
    /// The answer, where no zone needs to be asked for it.
    pub(crate) refusal: Option<Rcode>,
}

/// What is asked.
pub(crate) struct Question<'q> {
    pub(crate) name: QuestionName<'q>,
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
    /// Its cookie (RFC 7873), where it has one.
    pub(crate) cookie: Option<ClientCookie>,
    /// A cookie of a length that none may have (RFC 7873 §5.2.2), or options that can't be told apart.
    broken: bool,
}

impl<'q> Request<'q> {
    /// Reads a query; `None` when it deserves silence: no header, or itself an answer, which answering might loop.
    pub(crate) fn read(bytes: &'q [u8]) -> Option<Self> {
        Self::read_usual(bytes).or_else(|| Self::read_any(bytes))
    }

    /// One question in IN, nothing but an OPT beside it.
    fn read_usual(bytes: &'q [u8]) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        // QR and the operation clear; one question, no records but perhaps one additional.
        if header[2] & 0xF8 != 0 || header[4..10] != [0, 1, 0, 0, 0, 0] || header[10] != 0 || header[11] > 1 {
            return None;
        }
        let name = QuestionName::read(&bytes[HEADER..])?;
        let after = &bytes[HEADER + name.length..];
        let (fixed, rest) = after.split_first_chunk::<4>()?;
        if fixed[2..] != [0, 1] {
            return None;
        }
        let edns = match (header[11], rest) {
            (0, []) => None,
            (1, rest) => Some(ClientEdns::read(rest)?),
            _ => return None,
        };
        let record_type = RecordType::from(u16::from_be_bytes([fixed[0], fixed[1]]));
        let mut request = Self {
            id: u16::from_be_bytes([header[0], header[1]]),
            op_code: 0,
            recursion_desired: header[2] & 1 != 0,
            checking_disabled: header[3] & 0x10 != 0,
            question: Some(Question { name, record_type, class: DNSClass::IN }),
            edns,
            refusal: None,
        };
        request.refusal = request.judge(true, OpCode::Query);
        Some(request)
    }

    fn read_any(bytes: &'q [u8]) -> Option<Self> {
        let mut decoder = BinDecoder::new(bytes);
        let Header { metadata, counts } = Header::read(&mut decoder).ok()?;
        if metadata.message_type == MessageType::Response {
            return None;
        }
        let mut request = Self {
            id: metadata.id,
            op_code: u8::from(metadata.op_code) << 3,
            recursion_desired: metadata.recursion_desired,
            checking_disabled: metadata.checking_disabled,
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
        if self.edns.is_some_and(|edns| edns.broken) {
            return Some(Rcode::FormErr);
        }
        let question = self.question.as_ref()?;
        match question.record_type {
            RecordType::OPT => Some(Rcode::FormErr), // a pseudo-type, nothing to ask for (RFC 6891 §6.1.1)
            _ if question.class != DNSClass::IN => Some(Rcode::Refused),
            _ => None,
        }
    }
}

impl From<&Query> for Question<'_> {
    fn from(query: &Query) -> Self {
        Self {
            name: QuestionName::from(query.name()),
            record_type: query.query_type(),
            class: query.query_class(),
        }
    }
}

impl ClientEdns {
    /// Reads an OPT record that fills `bytes`; `None` where it is something else.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (fixed, options) = bytes.split_first_chunk::<11>()?;
        let [0, 0, 41, size_high, size_low, _, version, flags, _, length_high, length_low] = *fixed else {
            return None;
        };
        if options.len() != usize::from(u16::from_be_bytes([length_high, length_low])) {
            return None;
        }
        let mut edns = Self {
            udp_size: u16::from_be_bytes([size_high, size_low]),
            version,
            dnssec_ok: flags & 0x80 != 0,
            cookie: None,
            broken: false,
        };
        let mut rest = options;
        while !rest.is_empty() {
            let (head, after) = rest.split_first_chunk::<4>()?;
            let (data, after) = after.split_at_checked(u16::from_be_bytes([head[2], head[3]]).into())?;
            if head[..2] == [0, 10] {
                edns.take_cookie(data);
            }
            rest = after;
        }
        Some(edns)
    }

    /// The first cookie counts (RFC 7873 §5.2).
    fn take_cookie(&mut self, data: &[u8]) {
        if self.cookie.is_none() {
            self.cookie = ClientCookie::read(data);
            self.broken |= self.cookie.is_none();
        }
    }
}

impl From<&Edns> for ClientEdns {
    fn from(edns: &Edns) -> Self {
        let mut this = Self {
            udp_size: edns.max_payload(),
            version: edns.version(),
            dnssec_ok: edns.flags().dnssec_ok,
            cookie: None,
            broken: false,
        };
        if let Some(option) = edns.option(EdnsCode::Cookie)
            && let Ok(data) = option.to_bytes()
        {
            this.take_cookie(&data);
        }
        this
    }
}

/// A name in wire form, root included: as it was written, which the answer repeats bit by bit (the "0x20" trick tells
/// forged answers by it), and in lower case, by which it is looked up.
pub(crate) struct QuestionName<'q> {
    written: Cow<'q, [u8]>,
    lower: [u8; MAX_NAME],
    length: usize,
}

impl<'q> QuestionName<'q> {
    /// Reads a name without compression; `None` where it is none.
    fn read(bytes: &'q [u8]) -> Option<Self> {
        let mut length = 0;
        loop {
            let label = usize::from(*bytes.get(length)?);
            if label > 63 {
                return None;
            }
            length += 1 + label;
            if label == 0 {
                break;
            }
        }
        let written = bytes.get(..length).filter(|name| name.len() <= MAX_NAME)?;
        Some(Self::new(Cow::Borrowed(written)))
    }

    fn new(written: Cow<'q, [u8]>) -> Self {
        let mut lower = [0; MAX_NAME];
        let length = written.len().min(MAX_NAME);
        lower[..length].copy_from_slice(&written[..length]);
        // Lengths are at most 63, below every letter: lowering the whole name leaves them alone.
        lower[..length].make_ascii_lowercase();
        Self { written, lower, length }
    }

    pub(crate) fn written(&self) -> &[u8] {
        &self.written
    }

    pub(crate) fn lower(&self) -> &[u8] {
        &self.lower[..self.length]
    }
}

impl From<&Name> for QuestionName<'_> {
    fn from(name: &Name) -> Self {
        let mut written = Vec::with_capacity(MAX_NAME);
        for label in name {
            // The decoder holds names to 255 bytes; this keeps that from being a matter of life and death.
            if written.len() + 1 + label.len() >= MAX_NAME {
                break;
            }
            written.push(label.len() as u8);
            written.extend_from_slice(label);
        }
        written.push(0);
        Self::new(Cow::Owned(written))
    }
}
