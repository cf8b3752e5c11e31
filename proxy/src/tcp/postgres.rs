//! How PostgreSQL asks for TLS: in the clear, before its first message (PostgreSQL's documentation, "Message Formats":
//! SSLRequest, GSSENCRequest). Sans-I/O.

/// "TLS?": its length, and a number in place of a version.
pub(super) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// The same for GSSAPI, which clients with a Kerberos ticket ask for first.
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

/// "Yes" and "no".
pub(super) const YES: u8 = b'S';
pub(super) const NO: u8 = b'N';

/// What a client's first bytes ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    ForTls,
    ForGss,
    /// Something else, or in another protocol.
    Nothing,
    /// It is not clear yet.
    NotYet,
}

/// Says what these bytes ask for.
pub(super) fn asked(bytes: &[u8]) -> Asked {
    let begun = bytes.len().min(SSL_REQUEST.len());
    if bytes[..begun] != SSL_REQUEST[..begun] && bytes[..begun] != GSS_REQUEST[..begun] {
        Asked::Nothing
    } else if begun < SSL_REQUEST.len() {
        Asked::NotYet
    } else if bytes[..begun] == SSL_REQUEST {
        Asked::ForTls
    } else {
        Asked::ForGss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_from_what_only_begins_like_it() {
        for (bytes, expected) in [
            (&SSL_REQUEST[..], Asked::ForTls),
            (&GSS_REQUEST[..], Asked::ForGss),
            (&SSL_REQUEST[..7], Asked::NotYet),
            (&[], Asked::NotYet),
            // One that asks to cancel, one that begins in the clear, and others' protocols.
            (&[0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e], Asked::Nothing),
            (&[0, 0, 0, 8, 0, 3, 0, 0], Asked::Nothing),
            (b"\x16\x03\x01", Asked::Nothing),
            (b"GET", Asked::Nothing),
        ] {
            assert_eq!(asked(bytes), expected, "{bytes:?}");
        }
        assert_eq!(asked(&[&SSL_REQUEST[..], b"\x16\x03"].concat()), Asked::ForTls);
    }
}
