//! Paths of requests as middlewares read and write them: what is encoded, what it stands for, and whether it is plain.

use std::borrow::Cow;

/// What a percent-encoded path stands for.
pub(super) fn decoded(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        match escaped(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[3..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Bytes of an encoded path that so many decoded ones take at its beginning.
pub(super) fn encoded_length(path: &str, decoded: usize) -> usize {
    let bytes = path.as_bytes();
    let mut at = 0;
    for _ in 0..decoded {
        at += if bytes.get(at..).and_then(escaped).is_some() { 3 } else { 1 };
    }
    at.min(bytes.len())
}

/// A text as a path: what may not stand in one is encoded, `%` as well.
pub(super) fn encode(text: &str) -> String {
    encode_unless(text, |_| false)
}

/// An encoded path in which nothing is left that may not stand there; what is encoded stays so.
pub(super) fn as_sent(path: &str) -> String {
    encode_unless(path, |rest| escaped(rest).is_some())
}

fn encode_unless(text: &str, is_encoded: impl Fn(&[u8]) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        if stands_for_itself(byte) || (byte == b'%' && is_encoded(&text.as_bytes()[at..])) {
            out.push(byte.into());
        } else {
            let digit =
                |value: u8| char::from_digit(value.into(), 16).unwrap_or_default().to_ascii_uppercase();
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}

/// Whether each `%` has two digits behind it.
pub(super) fn is_decodable(path: &str) -> bool {
    path.bytes().enumerate().all(|(at, byte)| byte != b'%' || escaped(&path.as_bytes()[at..]).is_some())
}

/// Whether nothing in a path leads up, stands still or is empty: `//`, `.` and `..` are not in it.
pub(super) fn is_plain(path: &str) -> bool {
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let may_be_empty = segments.peek().is_none();
        if segment == "." || segment == ".." || (segment.is_empty() && !may_be_empty) {
            return false;
        }
    }
    true
}

/// The byte that stands at the beginning in three.
fn escaped(rest: &[u8]) -> Option<u8> {
    let digits = rest.strip_prefix(b"%")?.get(..2)?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(digits[0])? << 4 | digit(digits[1])?) as u8)
}

/// RFC 3986 §3.3, and brackets, which servers take as they are.
fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/[]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded_and_decoded() {
        assert_eq!(decoded("/a%20b%2Fc%"), "/a b/c%");
        assert_eq!(encode("/a b%20é?#"), "/a%20b%2520%C3%A9%3F%23");
        assert_eq!(as_sent("/a b%20c%2"), "/a%20b%20c%252");
        assert!(is_decodable("/a%20b") && !is_decodable("/a%2") && !is_decodable("/%zz"));
        for (path, decoded, length) in [("/a%2Fb/c", 4, 6), ("/abc", 2, 2), ("/a", 9, 2), ("%20%20", 1, 3)] {
            assert_eq!(encoded_length(path, decoded), length, "{path}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_not_plain() {
        for path in ["/", "/a/b", "/a/", "/.a/..b/c..", "/..."] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["//", "/a//b", "/./a", "/a/..", "/../a", "//a", "/a/."] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
