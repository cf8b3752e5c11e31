//! The name server: whatever is asked, and whatever another server says.

use portolan_dns::fuzz::{answered, said};

/// The longest answer by UDP.
const UDP_MAX: usize = 1232;

/// Queries: an answer has the query's number, says that it is one, repeats the question, and keeps to its length.
pub fn queries(bytes: &[u8]) {
    for by_udp in [true, false] {
        let reply = answered(bytes, by_udp);
        assert_eq!(reply.len(), answered(bytes, by_udp).len(), "one query has answers of one length");
        if reply.is_empty() {
            continue;
        }
        assert!(reply.len() >= 12 && reply[..2] == bytes[..2], "it answers another query");
        assert!(reply[2] & 0x80 != 0, "it is no answer");
        assert!(bytes[2] & 0x80 == 0, "an answer is answered");
        assert!(!by_udp || reply.len() <= UDP_MAX, "it is longer than a datagram may be");
        let questions = u16::from_be_bytes([reply[4], reply[5]]);
        if questions == 1
            && bytes.get(4..6) == Some(&[0, 1])
            && bytes.get(12).is_some_and(|label| *label < 64)
        {
            let length = reply[12..].iter().position(|byte| *byte == 0).unwrap_or(0);
            assert!(reply[12..12 + length].len() <= 255, "its question has no name's length");
        }
    }
}

/// Answers of others: what is given on is no more than came, and whole. The bytes are the answer behind a query of ours.
pub fn name_servers(bytes: &[u8]) {
    // A query for www.example, A, with 7 as its number.
    const QUERY: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x01\0\x01";
    // Half of the time it is an answer to that, whatever follows.
    let mut message = bytes.to_vec();
    if bytes.first().is_some_and(|byte| byte & 1 == 1) && bytes.len() > 12 {
        message[..6].copy_from_slice(b"\0\x07\x81\x80\0\x01");
        message.splice(12..12, QUERY[12..].iter().copied());
    }
    if let Some((given, records)) = said(&message, QUERY) {
        assert_eq!(given.len(), records, "what is given on is not what came");
        assert!(given.len() <= message.len(), "more is given on than came");
    }
}
