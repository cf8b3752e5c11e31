//! The path as routing sees it.

use std::borrow::Cow;

/// The path that rules are compared with, and that is sent on: `//`, `.` and `..` are resolved (RFC 3986 §5.2.4) and
/// percent-encoded unreserved characters decoded (§6.2.2.2), so that `/a/%2e%2e/admin` can't pass as something other
/// than `/admin`. Reserved characters stay encoded.
pub(crate) fn routing_path(path: &str) -> Cow<'_, str> {
    // Nearly every path is clean, and is only looked at.
    let bytes = path.as_bytes();
    let suspicious =
        memchr::memchr(b'%', bytes).is_some() || bytes.windows(2).any(|pair| pair == b"//" || pair == b"/.");
    if !suspicious {
        return Cow::Borrowed(path);
    }
    Cow::Owned(resolve_dots(&decode_unreserved(path)))
}

/// The path where it is not to be cleaned (`sanitizePath`): one spelling of each character, and nothing resolved.
fn spelled_path(path: &str) -> Cow<'_, str> {
    if path.contains('%') { Cow::Owned(decode_unreserved(path)) } else { Cow::Borrowed(path) }
}

/// The path of a request at an entry point that cleans paths (`sanitizePath`) or does not.
pub(crate) fn path_at(sanitizes: bool, path: &str) -> Cow<'_, str> {
    if sanitizes { routing_path(path) } else { spelled_path(path) }
}

/// The path as rules read it: what is encoded in it is decoded, so that a rule says `/a b`, but for reserved characters
/// (RFC 3986 §2.2) and the percent sign itself, which would say something else then.
pub(crate) fn rule_path(path: &str) -> Cow<'_, str> {
    if memchr::memchr(b'%', path.as_bytes()).is_none() {
        return Cow::Borrowed(path);
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| rest.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (*first, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                let byte = (high << 4 | low) as u8;
                if b":/?#[]@!$&'()*+,;=%".contains(&byte) {
                    decoded.extend_from_slice(&rest[..3]);
                } else {
                    decoded.push(byte);
                }
                rest = &rest[3..];
            }
            _ => {
                decoded.push(*first);
                rest = behind;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn decode_unreserved(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        let escaped = rest.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(byte.into());
            }
            Some(_) => decoded.push_str(&rest[at..at + 3].to_ascii_uppercase()),
            None => {
                decoded.push('%');
                rest = &rest[at + 1..];
                continue;
            }
        }
        rest = &rest[at + 3..];
    }
    decoded.push_str(rest);
    decoded
}

fn resolve_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let ends_in_slash = path.ends_with('/');
    let mut resolved = String::with_capacity(path.len());
    for segment in &segments {
        resolved.push('/');
        resolved.push_str(segment);
    }
    if ends_in_slash || segments.is_empty() {
        resolved.push('/');
    }
    resolved
}

/// The host as rules are compared with it: lower case, without port or trailing dot.
pub(crate) fn routing_host(authority: &str) -> Cow<'_, str> {
    let port_at =
        authority.bytes().rposition(|byte| byte == b':').filter(|at| !authority[*at..].contains(']'));
    let host = &authority[..port_at.unwrap_or(authority.len())];
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for (written, resolved) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a//b///c", "/a/b/c"),
            ("/a/./b/../c", "/a/c"),
            ("/../../etc", "/etc"),
            ("/a/%2e%2E/admin", "/admin"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b"),
            ("/a/b/..", "/a"),
            ("/a/b/./", "/a/b/"),
            ("/%61%7euser", "/a~user"),
            ("/a%2fb%2Fc", "/a%2Fb%2Fc"),
            ("/.well-known/x", "/.well-known/x"),
            ("/100%", "/100%"),
            ("/%zz/%4", "/%zz/%4"),
            ("/é//ü", "/é/ü"),
        ] {
            assert_eq!(routing_path(written), resolved, "{written}");
        }
    }

    #[test]
    fn rules_read_what_is_encoded() {
        for (path, read) in [
            ("/a%20b", "/a b"),
            ("/%C3%A9", "/é"),
            ("/a%2Fb%25c%3Bd", "/a%2Fb%25c%3Bd"),
            ("/100%", "/100%"),
            ("/%zz", "/%zz"),
            ("/%ff", "/\u{fffd}"),
        ] {
            assert_eq!(rule_path(path), read, "{path}");
        }
        assert!(matches!(rule_path("/a b"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_clean_path_is_not_copied() {
        assert!(matches!(routing_path("/a/b.html"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_host_is_compared_without_port_dot_and_case() {
        for (authority, host) in [
            ("a.test", "a.test"),
            ("A.Test:8000", "a.test"),
            ("a.test.", "a.test"),
            ("a.test.:80", "a.test"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(routing_host(authority), host, "{authority}");
        }
    }
}
