//! Names that nobody else is to be asked for, whoever has the say over them.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::RecordType;

/// What such a name has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// This host (RFC 6761 §6.3).
    Loopback,
    /// It does not exist.
    Nothing,
}

impl Special {
    /// Whether a name, in lower-case wire form, is one.
    ///
    /// A name of one label is a search list's last resort: no server on the internet has an address for it, and it tells
    /// them what runs here.
    pub(crate) fn of(name: &[u8], kind: RecordType) -> Option<Self> {
        let last = last_label(name)?;
        match last {
            b"localhost" => Some(Self::Loopback),
            b"invalid" => Some(Self::Nothing), // RFC 6761 §6.4
            _ if last.len() + 2 == name.len() && matches!(kind, RecordType::A | RecordType::AAAA) => {
                Some(Self::Nothing)
            }
            _ => None,
        }
    }

    pub(crate) const V4: Ipv4Addr = Ipv4Addr::LOCALHOST;
    pub(crate) const V6: Ipv6Addr = Ipv6Addr::LOCALHOST;
}

fn last_label(name: &[u8]) -> Option<&[u8]> {
    let (mut at, mut last) = (0, None);
    while let Some(length @ 1..) = name.get(at).map(|length| usize::from(*length)) {
        last = name.get(at + 1..at + 1 + length);
        at += 1 + length;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_names_go_nowhere() {
        for (name, kind, expected) in [
            (&b"\x09localhost\x00"[..], RecordType::A, Some(Special::Loopback)),
            (b"\x03web\x09localhost\x00", RecordType::MX, Some(Special::Loopback)),
            (b"\x03web\x07invalid\x00", RecordType::A, Some(Special::Nothing)),
            (b"\x03web\x00", RecordType::AAAA, Some(Special::Nothing)),
            (b"\x03com\x00", RecordType::NS, None),
            (b"\x00", RecordType::NS, None),
            (b"\x09localhost\x03com\x00", RecordType::A, None),
        ] {
            assert_eq!(Special::of(name, kind), expected, "{}", name.escape_ascii());
        }
    }
}
