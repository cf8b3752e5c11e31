//! The head of an answer, as it is sent back.

use super::exchange::Cookies;
use super::field::{write_field, write_fields};
use super::head::{ResponseHead, is_nominated};
use super::{Reason, date};
use crate::middleware::{AnswerHead, FieldList, OwnAnswer};
use crate::worker::Buffer;

/// What becomes of the client's connection, as far as the head has to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// It is closed after this answer.
    pub(super) close: bool,
    /// The client speaks HTTP/1.0: it takes no chunks, and must be told that the connection stays open.
    pub(super) is_http10: bool,
}

/// Writes the head for the client.
pub(super) fn write(head: &ResponseHead, manner: Manner, cookies: &Cookies, out: &mut Buffer) {
    write_status(head.status, head.phrase, out);
    write_fields(head.text, head.fields, |field| passes(head, field.name, manner), out);
    if head.status >= 200 || head.status == 101 {
        cookies.each(|cookie| write_field("Set-Cookie", cookie.as_bytes(), out));
    }
    write_end(head.status, head.has_date, manner, out);
}

/// The head as middlewares edit it, without what is for this hop only.
pub(super) fn to_edit(head: &ResponseHead, manner: Manner) -> AnswerHead {
    let mut fields = FieldList::with_capacity(head.fields.len() + 12, head.length + 256);
    for field in head.fields {
        if passes(head, field.name, manner) {
            fields.add(field.name, field.value);
        }
    }
    AnswerHead { status: head.status, phrase: head.phrase.to_owned(), fields }
}

/// Writes the head that middlewares have edited.
pub(super) fn write_edited(head: &AnswerHead, manner: Manner, out: &mut Buffer) {
    write_status(head.status, &head.phrase, out);
    head.fields.write(out);
    write_end(head.status, head.fields.get("Date").is_some(), manner, out);
}

/// Writes a whole answer that middlewares have edited.
pub(super) fn write_own(answer: &OwnAnswer, manner: Manner, with_body: bool, out: &mut Buffer) {
    write_status(answer.head.status, &answer.head.phrase, out);
    answer.head.fields.write(out);
    if may_have_length(answer.head.status) {
        write_field("Content-Length", answer.body.len().to_string().as_bytes(), out);
    }
    write_end(answer.head.status, answer.head.fields.get("Date").is_some(), manner, out);
    if with_body {
        out.put(&answer.body);
    }
}

/// A refusal for middlewares to edit.
pub(super) fn refusal(reason: Reason, detail: &str) -> OwnAnswer {
    let mut answer = OwnAnswer::refusal(reason, reason.status().0, refusal_text(reason, detail));
    if let Some(seconds) = reason.retry_after() {
        answer.head.fields.add("Retry-After", seconds.to_string().as_bytes());
    }
    answer
}

/// Whether an answer of Portolan's own says how long it is (RFC 9110 §8.6).
pub(super) fn may_have_length(status: u16) -> bool {
    status >= 200 && status != 204 && status != 304
}

/// Writes when the answer was made, unless that is said; what becomes of the connection; and the end of the head. Whoever
/// keeps an answer reckons its age by the date (RFC 9110 §6.6.1).
fn write_end(status: u16, has_date: bool, manner: Manner, out: &mut Buffer) {
    if !has_date && status >= 200 {
        date::with_now(|now| write_field("Date", now.as_bytes(), out));
    }
    if status == 101 {
        write_field("Connection", b"Upgrade", out);
    } else if status < 200 {
        // What becomes of the connection is for the answer itself to say.
    } else if manner.close {
        write_field("Connection", b"close", out);
    } else if manner.is_http10 {
        write_field("Connection", b"keep-alive", out);
    }
    out.put(b"\r\n");
}

/// Writes a whole answer of Portolan's own. `detail` says more than the reason's explanation where there is more.
pub(super) fn write_refusal(reason: Reason, detail: &str, manner: Manner, with_body: bool, out: &mut Buffer) {
    let (status, phrase) = reason.status();
    write_status(status, phrase, out);
    let body = refusal_text(reason, detail);
    write_field("Content-Type", b"text/plain; charset=utf-8", out);
    write_field("X-Content-Type-Options", b"nosniff", out);
    write_field("Content-Length", body.len().to_string().as_bytes(), out);
    if let Some(seconds) = reason.retry_after() {
        write_field("Retry-After", seconds.to_string().as_bytes(), out);
    }
    write_end(status, false, manner, out);
    if with_body {
        out.put(body.as_bytes());
    }
}

/// What an answer of Portolan's own says.
pub(super) fn refusal_text(reason: Reason, detail: &str) -> String {
    match detail {
        "" => format!("{}\n", reason.explanation()),
        detail => format!("{}: {detail}\n", reason.explanation()),
    }
}

fn write_status(status: u16, phrase: &str, out: &mut Buffer) {
    out.put(b"HTTP/1.1 ");
    let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
    out.put(&digits);
    out.put(b" ");
    out.put(phrase.as_bytes());
    out.put(b"\r\n");
}

/// Whether a field is for the client, and not for this hop only (RFC 9110 §7.6.1).
fn passes(head: &ResponseHead, name: &str, manner: Manner) -> bool {
    let hop_by_hop = match name.len() {
        7 if name.eq_ignore_ascii_case("upgrade") => return head.status == 101,
        10 => name.eq_ignore_ascii_case("connection") || name.eq_ignore_ascii_case("keep-alive"),
        14 if name.eq_ignore_ascii_case("content-length") => return may_have_body(head),
        16 => name.eq_ignore_ascii_case("proxy-connection"),
        17 if name.eq_ignore_ascii_case("transfer-encoding") => {
            return may_have_body(head) && !manner.is_http10;
        }
        _ => false,
    };
    !hop_by_hop && !(head.nominates && is_nominated(head.fields, name))
}

/// The same for a client that speaks HTTP/2, where no field is about the connection (RFC 9113 §8.2.2).
pub(super) fn passes_to_http2(head: &ResponseHead, name: &str) -> bool {
    let manner = Manner { close: false, is_http10: true };
    passes(head, name, manner) && !name.eq_ignore_ascii_case("upgrade")
}

/// Whether a field may stand behind a body: none that says how the message is to be read (RFC 9110 §6.5.1).
pub(super) fn may_trail(name: &str) -> bool {
    !["content-length", "transfer-encoding", "trailer", "host", "connection", "te", "upgrade", "keep-alive"]
        .iter()
        .any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

/// Not every client knows that these end with their head, whatever their fields say (RFC 9110 §8.6, RFC 9112 §6.1).
fn may_have_body(head: &ResponseHead) -> bool {
    head.status >= 200 && head.status != 204
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::http::Method;
    use crate::http::head::{fields, parse_response};
    use crate::worker::Buffers;

    fn sent_back(head: &str, manner: Manner) -> String {
        let mut room = fields();
        let head = parse_response(head.as_bytes(), &mut room, Method::Get).unwrap().unwrap();
        let mut out = Rc::new(Buffers::default()).take();
        write(&head, manner, &Cookies::default(), &mut out);
        String::from_utf8(out.filled().to_vec()).unwrap()
    }

    #[test]
    fn an_answer_says_when_it_was_made() {
        for (head, dates) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1),
            ("HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n", 0),
            ("HTTP/1.1 103 Early Hints\r\n\r\n", 0),
        ] {
            assert_eq!(sent_back(head, KEEP).matches("\r\nDate: ").count(), dates, "{head}");
        }
    }

    const KEEP: Manner = Manner { close: false, is_http10: false };

    #[test]
    fn the_client_sees_the_endpoints_answer_without_what_was_for_this_hop() {
        let head = "HTTP/1.1 404 Nope\r\nServer: nginx\r\nDate: x\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(
            sent_back(head, KEEP),
            "HTTP/1.1 404 Nope\r\nServer: nginx\r\nDate: x\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn what_was_upgraded_to_is_told_whatever_else_connection_names() {
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: X, Upgrade\r\nUpgrade: other\r\nX: 1\r\n\r\n";
        assert_eq!(
            sent_back(head, KEEP),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n"
        );
    }

    #[test]
    fn http10_is_told_what_it_can_understand() {
        let head = "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let manner = Manner { close: true, is_http10: true };
        assert_eq!(sent_back(head, manner), "HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close\r\n\r\n");
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let manner = Manner { close: false, is_http10: true };
        assert!(sent_back(head, manner).contains("Connection: keep-alive\r\n"));
    }

    #[test]
    fn a_refusal_is_short_and_plain() {
        let mut out = Rc::new(Buffers::default()).take();
        write_refusal(Reason::NoEndpoint, "2 endpoints: 2 stopped", KEEP, true, &mut out);
        let text = String::from_utf8(out.filled().to_vec()).unwrap();
        assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nno available server: 2 endpoints: 2 stopped\n"), "{text}");
    }
}
