//! Questions to the kernel by netlink (RFC 3549), one at a time, and its answers. It knows no subsystem.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};

pub(super) const REQUEST: u16 = 0x1;
pub(super) const ACKNOWLEDGE: u16 = 0x4;
pub(super) const DUMP: u16 = 0x300;
/// What tells attributes that hold others.
pub(super) const NESTED: u16 = 0x8000;

const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Of every message.
const HEADER: usize = 16;
/// How long an answer may take.
const DEADLINE_SECONDS: i64 = 1;

/// A way to a part of the kernel.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    pub(super) fn open(part: SockProtocol) -> io::Result<Self> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, part)?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(DEADLINE_SECONDS))?;
        Ok(Self { socket })
    }

    /// Asks, and waits for the end of the answer. `header` is what the part has before attributes, in questions and in
    /// answers; `found` is given the attributes of each.
    pub(super) fn ask(
        &self,
        kind: u16,
        flags: u16,
        header: &[u8],
        attributes: &[u8],
        mut found: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let length = HEADER + header.len() + attributes.len();
        let mut message = Vec::with_capacity(length);
        message.extend((length as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        // Sequence and port: there is one question at a time, on a socket of its own.
        message.extend([0; 8]);
        message.extend(header);
        message.extend(attributes);
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty())?;
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::empty())?;
            let mut rest = &bytes[..length];
            while let Some((kind, body)) = next_message(&mut rest) {
                match kind {
                    DONE => return Ok(()),
                    ERROR => {
                        let code = body.first_chunk::<4>().map_or(0, |code| i32::from_ne_bytes(*code));
                        return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    _ => found(body.get(header.len()..).unwrap_or_default()),
                }
            }
        }
    }
}

fn next_message<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*rest.get(4..)?.first_chunk()?);
    let body = rest.get(HEADER..length)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body))
}

/// The attributes in these bytes: kinds, values, and all of their bytes.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8], &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?) & !NESTED;
        let (value, whole) = (rest.get(4..length)?, rest.get(..length)?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value, whole))
    })
}

/// The value of the first attribute of a kind.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(other, ..)| *other == kind).map(|(_, value, _)| value)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::datapath) fn attribute_of(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn nonsense_of_any_length_has_no_attributes() {
        let whole = attribute_of(7 | NESTED, &attribute_of(1, &[1, 2, 3, 4, 5]));
        assert_eq!(attribute(&whole, 7).and_then(|inner| attribute(inner, 1)), Some(&[1, 2, 3, 4, 5][..]));
        for length in 0..whole.len() {
            assert_eq!(attribute(&whole[..length], 7), None);
        }
        assert_eq!(attributes(&[0; 64]).count(), 0);
        assert!(next_message(&mut &[0_u8; 16][..]).is_none());
    }

    #[test]
    fn the_kernel_answers_with_the_interfaces_there_are() {
        let route = Netlink::open(SockProtocol::NetlinkRoute).unwrap();
        let mut names = Vec::new();
        route
            .ask(18, REQUEST | DUMP, &[0; 16], &[], |link| {
                names.extend(attribute(link, 3).map(<[u8]>::to_vec));
            })
            .unwrap();
        assert!(names.contains(&b"lo\0".to_vec()), "{names:?}");
        let refused = route.ask(9999, REQUEST | ACKNOWLEDGE, &[0; 16], &[], |_| {});
        assert!(refused.is_err());
    }
}
