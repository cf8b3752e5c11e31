//! What a TLS client says first, as far as routing needs it: the name it asks for and the protocols it offers.
//!
//! Sans-I/O: bytes in, in whatever pieces they come, over as many records as the client likes. Nothing is checked here
//! that the handshake itself checks; what is left to an endpoint is for the endpoint to judge.

use std::fmt;

use crate::limits::CLIENT_HELLO_BYTES_MAX;

/// A record that begins a handshake, and the first message in it (RFC 8446 §5.1, §4).
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// The most that a record in the clear may hold.
const RECORD_BYTES_MAX: usize = 1 << 14;

/// Extensions (RFC 6066 §3, RFC 7301 §3.1).
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientHello {
    /// In lower case, without a trailing dot; empty where no name is asked for.
    pub(crate) server_name: String,
    /// The protocols it would speak, the one liked most first.
    pub(crate) alpn: Vec<Vec<u8>>,
}

/// Bytes that are no beginning of a TLS handshake, or a longer one than is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no TLS handshake begins so")
    }
}

/// Reads a client's first message while it comes.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Bytes of the input that were understood.
    seen: usize,
    /// Bytes that the record in hand has yet.
    left: usize,
    /// The message, out of its records.
    message: Vec<u8>,
}

impl Reader {
    /// Reads on. `input` is everything that came so far, from the first byte. `None` while there is more to come.
    pub(crate) fn read(&mut self, input: &[u8]) -> Result<Option<ClientHello>, Malformed> {
        loop {
            let fresh = input.get(self.seen..).unwrap_or_default();
            if self.left == 0 {
                let Some(header) = fresh.first_chunk::<RECORD_HEADER>() else {
                    return if begins_record(fresh) { self.wait(input) } else { Err(Malformed) };
                };
                let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
                // An empty record of a handshake is as good as none, and forbidden (RFC 8446 §5.1).
                if !begins_record(header) || length == 0 || length > RECORD_BYTES_MAX {
                    return Err(Malformed);
                }
                self.seen += RECORD_HEADER;
                self.left = length;
                continue;
            }
            let taken = fresh.len().min(self.left);
            self.message.extend_from_slice(&fresh[..taken]);
            self.seen += taken;
            self.left -= taken;
            if let Some(header) = self.message.first_chunk::<MESSAGE_HEADER>() {
                let [kind, length @ ..] = *header;
                let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
                if kind != CLIENT_HELLO || MESSAGE_HEADER + length > CLIENT_HELLO_BYTES_MAX {
                    return Err(Malformed);
                }
                if let Some(body) = self.message.get(MESSAGE_HEADER..MESSAGE_HEADER + length) {
                    return parse(body).map(Some).ok_or(Malformed);
                }
            }
            if taken == 0 {
                return self.wait(input);
            }
        }
    }

    fn wait(&self, input: &[u8]) -> Result<Option<ClientHello>, Malformed> {
        debug_assert!(self.seen <= input.len());
        if input.len() >= CLIENT_HELLO_BYTES_MAX { Err(Malformed) } else { Ok(None) }
    }
}

/// Whether these can be the first bytes of a handshake's record: its kind, and TLS's major version.
fn begins_record(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|kind| *kind == HANDSHAKE_RECORD) && bytes.get(1).is_none_or(|major| *major == 3)
}

/// A message's body (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2).
fn parse(body: &[u8]) -> Option<ClientHello> {
    let mut rest = Cursor(body);
    // Version and random.
    rest.take(2 + 32)?;
    // A session, cipher suites, ways to compress.
    rest.vector8()?;
    rest.vector16()?;
    rest.vector8()?;
    let mut hello = ClientHello::default();
    if rest.0.is_empty() {
        // Before TLS 1.3, a client may have no extensions.
        return Some(hello);
    }
    let mut extensions = Cursor(rest.vector16()?);
    let (mut named, mut offered) = (false, false);
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let data = Cursor(extensions.vector16()?);
        let repeated = match kind {
            SERVER_NAME => std::mem::replace(&mut named, true),
            ALPN => std::mem::replace(&mut offered, true),
            _ => continue,
        };
        // Two readers could take different ones of them.
        if repeated {
            return None;
        }
        match kind {
            SERVER_NAME => hello.server_name = server_name(data)?,
            _ => hello.alpn = protocols(data)?,
        }
    }
    rest.0.is_empty().then_some(hello)
}

fn server_name(mut data: Cursor<'_>) -> Option<String> {
    let mut names = Cursor(data.vector16()?);
    // There is one kind of name, and one name of a kind.
    let kind = names.take(1)?;
    let name = names.vector16()?;
    if kind != [0] || !names.0.is_empty() || !data.0.is_empty() {
        return None;
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    let plain = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    plain.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

fn protocols(mut data: Cursor<'_>) -> Option<Vec<Vec<u8>>> {
    let mut names = Cursor(data.vector16()?);
    let mut protocols = Vec::new();
    while !names.0.is_empty() {
        protocols.push(names.vector8().filter(|name| !name.is_empty())?.to_vec());
    }
    data.0.is_empty().then_some(protocols)
}

/// Bytes taken from the front.
struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let (number, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*number))
    }

    /// What a length of one byte announces.
    fn vector8(&mut self) -> Option<&'b [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    /// What a length of two bytes announces.
    fn vector16(&mut self) -> Option<&'b [u8]> {
        let length = self.number()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// What a real client says.
    fn said(name: &'static str, alpn: &[&str]) -> Vec<u8> {
        let mut config =
            ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut client = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The same message in records of this many bytes each.
    fn split(bytes: &[u8], size: usize) -> Vec<u8> {
        let pieces = bytes[RECORD_HEADER..].chunks(size);
        let record = |piece: &[u8]| [&[22, 3, 1], &(piece.len() as u16).to_be_bytes()[..], piece].concat();
        pieces.flat_map(record).collect()
    }

    fn read(bytes: &[u8]) -> Result<Option<ClientHello>, Malformed> {
        Reader::default().read(bytes)
    }

    #[test]
    fn a_name_and_protocols_are_read_from_whatever_pieces_they_come_in() {
        let whole = said("db.example.test", &["postgresql", "h2"]);
        let expected = ClientHello {
            server_name: "db.example.test".to_owned(),
            alpn: vec![b"postgresql".to_vec(), b"h2".to_vec()],
        };
        for size in [1, 2, 7, 100, 1 << 14] {
            let bytes = split(&whole, size);
            for step in [1, 3, bytes.len()] {
                let mut reader = Reader::default();
                let mut end = 0;
                let found = loop {
                    end = (end + step).min(bytes.len());
                    if let Some(found) = reader.read(&bytes[..end]).unwrap() {
                        break found;
                    }
                    assert!(end < bytes.len(), "it was whole");
                };
                assert_eq!((found, end), (expected.clone(), bytes.len()), "{size} {step}");
            }
        }
    }

    #[test]
    fn who_asks_for_nothing_is_understood_too() {
        assert_eq!(read(&said("192.0.2.7", &[])), Ok(Some(ClientHello::default())));
    }

    #[test]
    fn what_begins_otherwise_is_noticed_at_its_first_byte() {
        for bytes in
            [&b"GET / HTTP/1.1"[..], b"\x16\x02", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x40\x01", b"\0"]
        {
            assert_eq!(read(bytes), Err(Malformed), "{bytes:?}");
        }
        assert_eq!(read(b"\x16\x03"), Ok(None));
        // A server's message.
        assert_eq!(read(b"\x16\x03\x03\x00\x04\x02\x00\x00\x00"), Err(Malformed));
    }

    #[test]
    fn an_extension_that_is_there_twice_is_not_guessed_at() {
        let whole = said("db.example.test", &["h2"]);
        let at = whole.windows(4).position(|bytes| bytes == [0, 16, 0, 5]).unwrap();
        let mut twice = whole.clone();
        // Another one of the same kind in place of ALPN's, of the same length.
        twice.splice(at..at + 9, [0, 0, 0, 5, 0, 3, 0, 0, 0]);
        assert_eq!(read(&twice), Err(Malformed));
    }

    #[test]
    fn no_more_is_read_than_the_limit() {
        let length = (CLIENT_HELLO_BYTES_MAX as u32).to_be_bytes();
        let announced = [&[22, 3, 1, 0, 4, 1][..], &length[1..]].concat();
        assert_eq!(read(&announced), Err(Malformed));
        // One that says little at a time, in records that hold a byte each.
        let bytes = [1, 0, 0x3f].into_iter().chain(std::iter::repeat(0));
        let records = bytes.flat_map(|byte| [22, 3, 1, 0, 1, byte]);
        let drip: Vec<u8> = records.take(CLIENT_HELLO_BYTES_MAX).collect();
        assert_eq!(read(&drip), Err(Malformed));
        assert_eq!(read(&drip[..drip.len() / 2]), Ok(None));
    }
}
