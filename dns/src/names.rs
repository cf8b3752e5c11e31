//! Domain names as keys: what may be one, and how reverse names spell an address.
//!
//! Compiling and looking up agree on them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::key::Key;

/// The longest name on the wire, lengths and root included (RFC 1035 §2.3.4).
pub(crate) const MAX_NAME: usize = 255;
/// The longest label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// Why a text is not a name in DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error("it is empty, or has nothing between two dots")]
    EmptyLabel,
    #[error("a part of it has {0} characters, DNS allows {MAX_LABEL}")]
    LongLabel(usize),
    #[error("it has `{0}`: use letters, digits, `-`, `_` and dots")]
    Character(char),
    #[error("with the zone it is longer than the {MAX_NAME} bytes DNS allows")]
    LongName,
}

/// The key of `name`, if it is at most `room` bytes long.
///
/// Underscores are fine (RFC 2181 §11): container names have them.
pub(crate) fn key(name: &str, room: usize) -> Result<Key, NameError> {
    let mut wire = Vec::with_capacity(name.len() + 1);
    for label in name.split('.') {
        push_label(&mut wire, label)?;
    }
    if wire.len() > room { Err(NameError::LongName) } else { Ok(Key::from(&*wire)) }
}

/// Appends one label, in lower case.
pub(crate) fn push_label(wire: &mut Vec<u8>, label: &str) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    if let Some(c) = label.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
        return Err(NameError::Character(c));
    }
    if label.len() > MAX_LABEL {
        return Err(NameError::LongLabel(label.len()));
    }
    wire.push(label.len() as u8);
    wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    Ok(())
}

/// The zone of the reverse names of a network's addresses (RFC 1035 §3.5, RFC 3596 §2.5), whole, root included. Bits of
/// the network that make no label count for nothing.
pub(crate) fn reverse_zone(network: &IpNet) -> Box<[u8]> {
    let bits = if network.addr().is_ipv4() { 8 } else { 4 };
    let key = reverse_key(network.network());
    let mut zone = &key[..];
    for _ in network.prefix_len() / bits..network.max_prefix_len() / bits {
        zone = parent(zone).unwrap_or_default();
    }
    [zone, &[0]].concat().into()
}

/// The key below `parent` that `labels` (in wire form) make, if it is at most `room` bytes long.
pub(crate) fn below(labels: &[u8], parent: &[u8], room: usize) -> Result<Key, NameError> {
    if labels.len() + parent.len() > room {
        return Err(NameError::LongName);
    }
    Ok(Key::join(labels, parent))
}

/// A key as it is written, for people.
pub(crate) fn shown(key: &[u8]) -> String {
    let labels = std::iter::successors(Some(key), |key| parent(key));
    let label = |key: &[u8]| {
        let length = usize::from(key.first().copied().unwrap_or_default());
        String::from_utf8_lossy(key.get(1..=length).unwrap_or_default()).into_owned()
    };
    labels.map(label).collect::<Vec<_>>().join(".")
}

/// The key one label up; `None` when that is the apex.
pub(crate) fn parent(key: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*key.first()?);
    key.get(1 + length..).filter(|rest| !rest.is_empty())
}

/// Whether a name is the other or below it, both in lower-case wire form, root included.
pub(crate) fn is_below(name: &[u8], suffix: &[u8]) -> bool {
    let mut at = 0;
    while let Some(rest) = name.get(at..).filter(|rest| rest.len() >= suffix.len()) {
        if rest == suffix {
            return true;
        }
        at += 1 + usize::from(rest[0]);
    }
    false
}

/// The address that a reverse name stands for: `4.3.2.1.in-addr.arpa` (RFC 1035 §3.5), and thirty-two nibbles under
/// `ip6.arpa` (RFC 3596 §2.5). `wire` is a whole name in lower case, root included.
pub(crate) fn reverse_address(wire: &[u8]) -> Option<IpAddr> {
    if let Some(labels) = wire.strip_suffix(b"\x07in-addr\x04arpa\0") {
        let mut octets = [0; 4];
        let mut rest = labels;
        for octet in octets.iter_mut().rev() {
            let (label, after) = split_label(rest)?;
            *octet = decimal(label)?;
            rest = after;
        }
        return rest.is_empty().then(|| Ipv4Addr::from(octets).into());
    }
    let labels = wire.strip_suffix(b"\x03ip6\x04arpa\0")?;
    if labels.len() != 64 {
        return None;
    }
    let mut address = 0_u128;
    for (place, label) in labels.chunks_exact(2).enumerate() {
        if label[0] != 1 {
            return None;
        }
        let nibble = char::from(label[1]).to_digit(16)?;
        address |= u128::from(nibble) << (4 * place);
    }
    Some(Ipv6Addr::from(address).into())
}

/// The key of the reverse name of an address: the whole name, in lower-case wire form, without the root.
pub(crate) fn reverse_key(ip: IpAddr) -> Key {
    match ip {
        IpAddr::V4(ip) => {
            let mut wire = Vec::with_capacity(30);
            for octet in ip.octets().into_iter().rev() {
                let digits = octet.to_string();
                wire.push(digits.len() as u8);
                wire.extend_from_slice(digits.as_bytes());
            }
            Key::join(&wire, b"\x07in-addr\x04arpa")
        }
        IpAddr::V6(ip) => {
            let mut wire = [1; 64];
            for (place, nibble) in wire.chunks_exact_mut(2).enumerate() {
                nibble[1] = b"0123456789abcdef"[(ip.to_bits() >> (4 * place) & 15) as usize];
            }
            Key::join(&wire, b"\x03ip6\x04arpa")
        }
    }
}

fn split_label(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = wire.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// An octet in its one spelling: `01` is another name than `1`.
fn decimal(label: &[u8]) -> Option<u8> {
    if label.len() > 1 && label[0] == b'0' || !label.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(label).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_keys_in_lower_case() {
        assert_eq!(&*key("Web.Shop_1", 200).unwrap(), b"\x03web\x06shop_1");
        assert_eq!(parent(b"\x03web\x06shop_1"), Some(&b"\x06shop_1"[..]));
        assert_eq!(parent(b"\x06shop_1"), None);
        assert_eq!(shown(b"\x03web\x06shop_1"), "web.shop_1");
    }

    #[test]
    fn what_is_no_name_says_why() {
        for (name, error) in [
            ("", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            ("a.", NameError::EmptyLabel),
            ("my app", NameError::Character(' ')),
            ("ünï", NameError::Character('ü')),
            (&"x".repeat(64), NameError::LongLabel(64)),
            ("abcdefghij", NameError::LongName),
        ] {
            assert_eq!(key(name, 10), Err(error), "{name}");
        }
        assert!(key(&"x".repeat(63), 64).is_ok());
    }

    #[test]
    fn reverse_names_are_read_whole_or_not_at_all() {
        let wire = |name: &str| {
            let mut wire = key(name, 255).unwrap().to_vec();
            wire.push(0);
            wire
        };
        let one = format!("1.{}ip6.arpa", "0.".repeat(31));
        for (name, address) in [
            ("4.3.2.1.in-addr.arpa", Some("1.2.3.4")),
            ("3.2.1.in-addr.arpa", None),
            ("5.4.3.2.1.in-addr.arpa", None),
            ("04.3.2.1.in-addr.arpa", None),
            ("256.3.2.1.in-addr.arpa", None),
            ("a.3.2.1.in-addr.arpa", None),
            ("in-addr.arpa", None),
            (&one, Some("::1")),
            ("1.0.ip6.arpa", None),
            (&one.replacen("1.0.", "g.0.", 1), None),
            (&one.replacen("1.0.", "10.", 1), None),
        ] {
            let address: Option<IpAddr> = address.map(|ip| ip.parse().unwrap());
            assert_eq!(reverse_address(&wire(name)), address, "{name}");
            if let Some(address) = address {
                assert_eq!(*reverse_key(address), *key(name, 255).unwrap(), "{name}");
            }
        }
    }
}
