//! `encodedCharacters`: what may be percent-encoded in a path.

use portolan_config::dynamic::middleware::EncodedCharacters;

use super::{Draft, OwnAnswer};
use crate::http::Reason;

/// Refuses paths in which one of these is encoded.
#[derive(Debug)]
pub(crate) struct Encoded {
    refused: Vec<u8>,
}

impl Encoded {
    pub(crate) fn compile(written: EncodedCharacters) -> Self {
        let all = [
            (written.allow_encoded_slash, b'/'),
            (written.allow_encoded_back_slash, b'\\'),
            (written.allow_encoded_null_character, b'\0'),
            (written.allow_encoded_semicolon, b';'),
            (written.allow_encoded_percent, b'%'),
            (written.allow_encoded_question_mark, b'?'),
            (written.allow_encoded_hash, b'#'),
        ];
        Self { refused: all.iter().filter(|(allowed, _)| !allowed).map(|(_, byte)| *byte).collect() }
    }

    /// Whether a path has one of them.
    pub(crate) fn refuses(&self, path: &str) -> bool {
        encoded(path).any(|byte| byte.is_none_or(|byte| self.refused.contains(&byte)))
    }

    pub(super) fn request(&self, draft: &Draft) -> Result<(), Box<OwnAnswer>> {
        if self.refuses(&draft.path) {
            let mut answer = OwnAnswer::new(400);
            answer.reason = Some(Reason::EncodedCharacter);
            return Err(answer.into());
        }
        Ok(())
    }
}

/// The bytes that are encoded in a path; `None` for a `%` that begins none.
fn encoded(path: &str) -> impl Iterator<Item = Option<u8>> {
    memchr::memchr_iter(b'%', path.as_bytes()).map(move |at| {
        let digits =
            path.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::draft::tests::asked;

    #[test]
    fn what_is_not_allowed_is_refused_in_either_case() {
        let none = Encoded::compile(EncodedCharacters::default());
        let slash = EncodedCharacters { allow_encoded_slash: true, ..EncodedCharacters::default() };
        let slash = Encoded::compile(slash);
        let passes = |step: &Encoded, path: &str| {
            step.request(&asked(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))).is_ok()
        };
        for path in ["/a%2Fb", "/a%2fb", "/%5c", "/%00", "/%3B", "/%25", "/%3f", "/%23", "/%2", "/%zz"] {
            assert!(!passes(&none, path), "{path}");
        }
        for path in ["/", "/a%20b", "/%C3%A9"] {
            assert!(passes(&none, path), "{path}");
        }
        assert!(passes(&slash, "/a%2Fb") && passes(&slash, "/a%2fb") && !passes(&slash, "/%5C"));
    }
}
