//! A request while middlewares edit it: what an endpoint would be sent if nothing more were changed.

use bytes::Bytes;

use super::FieldList;
use crate::http::{Method, Peer, RequestHead, write_field};
use crate::worker::Buffer;

const FORWARDED_FOR: &str = "X-Forwarded-For";

/// The request as it is by now.
///
/// Its fields are those that the endpoint gets, with what Portolan says of the client; none that is for this hop only.
/// `X-Forwarded-For` has what a trusted client said in it. The client itself is added at the end.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) method: Method,
    /// The method as written.
    pub(crate) method_text: String,
    /// The path, percent-encoded.
    pub(crate) path: String,
    /// The query with its question mark; empty where there is none.
    pub(crate) query: String,
    /// The host asked for, with the port where one was written.
    pub(crate) host: String,
    pub(crate) fields: FieldList,
    /// Whether it asks for another protocol.
    pub(crate) upgrade: bool,
    /// Who sent it.
    pub(crate) peer: Peer,
    /// Who asks, as far as it was said; for the log.
    pub(crate) user: String,
    /// Whether the client is added to `X-Forwarded-For`.
    pub(crate) tells_client: bool,
    /// Its body.
    pub(crate) content: Content,
}

/// A request's body, as far as middlewares know it.
#[derive(Clone, Debug, Default)]
pub(crate) enum Content {
    /// Nobody has asked for it yet.
    #[default]
    Unread,
    /// All of it.
    Whole(Bytes),
    /// There is more of it than was asked for.
    TooLong,
}

impl Draft {
    /// The draft of a request whose head was written for the endpoint already.
    pub(crate) fn of(head: &RequestHead, written: &[u8], peer: &Peer) -> Self {
        let mut lines = Lines(written);
        let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let at = memchr::memchr(b'?', target.as_bytes()).unwrap_or(target.len());
        // Middlewares add some.
        let mut fields = FieldList::with_capacity(head.fields.len() + 12, written.len() + 256);
        let mut rest = lines.0;
        while let Some((name, value, behind)) = next_field(rest) {
            rest = behind;
            match name.len() {
                4 if name.eq_ignore_ascii_case("host") => {}
                10 if name.eq_ignore_ascii_case("connection") => {}
                15 if name == FORWARDED_FOR => {
                    let own = if peer.is_told() { peer.text() } else { "" };
                    let said = value.strip_suffix(own.as_bytes()).unwrap_or(value);
                    let said = said.strip_suffix(b", ").unwrap_or(said);
                    if !said.is_empty() {
                        fields.add(name, said);
                    }
                }
                _ => fields.add(name, value),
            }
        }
        Self {
            method: head.method,
            method_text: method.to_owned(),
            path: target[..at].to_owned(),
            query: target[at..].to_owned(),
            host: head.authority.to_owned(),
            fields,
            upgrade: head.upgrade,
            peer: peer.clone(),
            user: String::new(),
            tells_client: peer.is_told(),
            content: Content::Unread,
        }
    }

    /// Writes the head for the endpoint. The host is kept, or left out for each server's own; then this gives the place
    /// for it.
    pub(crate) fn write(&self, keep_host: bool, out: &mut Buffer) -> Option<usize> {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        for part in [&self.method_text, " ", path, &self.query, " HTTP/1.1\r\n"] {
            out.put(part.as_bytes());
        }
        let host_at = (!keep_host).then(|| out.filled().len() + "Host: ".len());
        write_field("Host", if keep_host { self.host.as_bytes() } else { b"" }, out);
        for (name, value) in self.fields.iter() {
            if !(self.tells_client && name.eq_ignore_ascii_case(FORWARDED_FOR)) {
                write_field(name, value, out);
            }
        }
        if self.upgrade {
            write_field("Connection", b"Upgrade", out);
        }
        if self.tells_client {
            out.put(b"X-Forwarded-For: ");
            for said in self.fields.all(FORWARDED_FOR) {
                out.put(said);
                out.put(b", ");
            }
            out.put(self.peer.text().as_bytes());
            out.put(b"\r\n");
        }
        out.put(b"\r\n");
        host_at
    }

    /// Whether the client speaks TLS to us.
    pub(crate) fn is_secure(&self) -> bool {
        self.peer.is_secure()
    }
}

/// Lines of text.
struct Lines<'w>(&'w [u8]);

impl<'w> Lines<'w> {
    fn next(&mut self) -> Option<&'w str> {
        let end = memchr::memchr(b'\r', self.0)?;
        let line = std::str::from_utf8(&self.0[..end]).ok();
        self.0 = self.0.get(end + 2..).unwrap_or_default();
        line
    }
}

/// The first field, and what is behind it. No value has a CR in it.
fn next_field(lines: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let end = memchr::memchr(b'\r', lines)?;
    let (line, behind) = (&lines[..end], lines.get(end + 2..)?);
    let colon = memchr::memchr(b':', line)?;
    Some((std::str::from_utf8(&line[..colon]).ok()?, line.get(colon + 2..).unwrap_or_default(), behind))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::rc::Rc;

    use portolan_config::settings::Forwarded;

    use super::*;
    use crate::http::{fields, parse_request, write_request};
    use crate::worker::Buffers;

    /// A request as it is sent on without middlewares, and as its draft would be; with the draft.
    fn both(head: &str, trusted: bool, keep_host: bool) -> (String, String, Draft) {
        let mut room = fields();
        let head = parse_request(head.as_bytes(), &mut room).unwrap().unwrap();
        let buffers = Rc::new(Buffers::default());
        let (mut plain, mut drafted) = (buffers.take(), buffers.take());
        let trust = Forwarded { insecure: trusted, ..Forwarded::default() };
        let peer = Peer::new("192.0.2.7:1234".parse().unwrap(), false, &trust);
        let path = head.target.split('?').next().unwrap();
        let host_at = write_request(&head, path, keep_host, &peer, "here", &mut plain);
        let draft = Draft::of(&head, plain.filled(), &peer);
        assert_eq!(draft.write(keep_host, &mut drafted), host_at);
        let text = |buffer: &Buffer| String::from_utf8(buffer.filled().to_vec()).unwrap();
        (text(&plain), text(&drafted), draft)
    }

    fn sorted(head: &str) -> Vec<&str> {
        let mut lines: Vec<&str> = head.lines().collect();
        lines[1..].sort_unstable();
        lines
    }

    /// The draft of this request, from a client at 192.0.2.7 whose word is taken.
    pub(crate) fn asked(head: &str) -> Draft {
        both(head, true, true).2
    }

    #[test]
    fn an_unchanged_draft_is_sent_on_as_if_there_were_none() {
        for head in [
            "GET /a?b=c HTTP/1.1\r\nHost: a.test:81\r\nAccept: */*\r\nX-Empty:\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nCookie: a: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nX-Forwarded-Proto: https\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.7\r\nForwarded: for=x\r\n\r\n",
        ] {
            for (trusted, keep_host) in [(false, true), (true, true), (true, false)] {
                let (plain, drafted, _) = both(head, trusted, keep_host);
                assert_eq!(sorted(&plain), sorted(&drafted), "{head}");
            }
        }
    }

    #[test]
    fn the_draft_says_what_was_asked() {
        let head = "GET /a%20b?c=d?e HTTP/1.1\r\nHost: a.test:81\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n";
        let (_, _, draft) = both(head, true, false);
        assert_eq!((draft.path.as_str(), draft.query.as_str()), ("/a%20b", "?c=d?e"));
        assert_eq!((draft.host.as_str(), draft.method_text.as_str()), ("a.test:81", "GET"));
        assert_eq!(draft.fields.text("x-forwarded-for"), "1.2.3.4");
        let (_, _, stranger) = both(head, false, true);
        assert_eq!(stranger.fields.get("x-forwarded-for"), None);
        assert_eq!(stranger.fields.text("X-Real-Ip"), "192.0.2.7");
    }
}
