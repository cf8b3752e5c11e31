//! What an entry point cleans or refuses of a request before anything else sees it: `http.encodedCharacters`,
//! `http.encodeQuerySemicolons`, `http.underscoreHeadersStrategy`.
//!
//! Routing goes by what is left, and so does whatever comes behind it. The path itself is resolved elsewhere
//! (`sanitizePath`): routes are compiled for that.

use httparse::Header;
use portolan_config::dynamic::middleware::EncodedCharacters;
use portolan_config::settings::{self, Underscores};

use super::Reason;
use super::head::{Refused, RequestHead};
use super::request;
use crate::middleware::Encoded;

/// Cleans requests of an entry point.
#[derive(Debug)]
pub(crate) struct Cleaning {
    encoded: Encoded,
    semicolons: bool,
    underscores: Underscores,
}

/// What a cleaned head borrows from and that was not in the request.
#[derive(Default)]
pub(crate) struct Cleaned<'b> {
    target: String,
    fields: Vec<Header<'b>>,
}

impl Cleaning {
    /// What is written, if it is anything but what is done in any case.
    pub(crate) fn of(written: &settings::Cleaning) -> Option<Self> {
        let usual =
            settings::Cleaning { sanitize_path: written.sanitize_path, ..settings::Cleaning::default() };
        let encoded = Encoded::compile(EncodedCharacters {
            allow_encoded_slash: written.encoded.slash,
            allow_encoded_back_slash: written.encoded.backslash,
            allow_encoded_null_character: written.encoded.null,
            allow_encoded_semicolon: written.encoded.semicolon,
            allow_encoded_percent: written.encoded.percent,
            allow_encoded_question_mark: written.encoded.question_mark,
            allow_encoded_hash: written.encoded.hash,
        });
        let (semicolons, underscores) = (written.encode_query_semicolons, written.underscores);
        (*written != usual).then_some(Self { encoded, semicolons, underscores })
    }

    /// The request as it goes on, unless it is refused.
    pub(crate) fn clean<'h, 'b>(
        &self,
        head: &RequestHead<'h, 'b>,
        cleaned: &'h mut Cleaned<'b>,
    ) -> Result<RequestHead<'h, 'h>, Refused>
    where
        'b: 'h,
    {
        let path = request::path(head.target);
        if self.encoded.refuses(path) {
            return Err(Refused { reason: Reason::EncodedCharacter, detail: "" });
        }
        let is_odd = |field: &Header| field.name.contains('_');
        let drops = match self.underscores {
            Underscores::Keep => false,
            Underscores::Delete => head.fields.iter().any(is_odd),
            Underscores::Reject if head.fields.iter().any(is_odd) => {
                return Err(Refused { reason: Reason::BadRequest, detail: "a field with `_` in its name" });
            }
            Underscores::Reject => false,
        };
        let query = &head.target[path.len()..];
        let encodes = self.semicolons && query.contains(';');
        if encodes {
            cleaned.target = [path, &query.replace(';', "%3B")].concat();
        }
        if drops {
            cleaned.fields.extend(head.fields.iter().filter(|field| !is_odd(field)).copied());
        }
        let cleaned: &'h Cleaned<'b> = cleaned;
        Ok(RequestHead {
            target: if encodes { &cleaned.target } else { head.target },
            fields: if drops { &cleaned.fields } else { head.fields },
            ..*head
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{fields, parse_request};

    /// What is left of a request by this cleaning: its target, and the names of its fields.
    fn left(written: &settings::Cleaning, path: &str) -> Result<(String, String), Reason> {
        let text = format!("GET {path} HTTP/1.1\r\nHost: a\r\nx_a: 1\r\nX-B: 2\r\n\r\n");
        let mut room = fields();
        let head = parse_request(text.as_bytes(), &mut room).expect("a head").expect("a whole one");
        let mut cleaned = Cleaned::default();
        let cleaning = Cleaning::of(written).expect("it does something");
        let head = cleaning.clean(&head, &mut cleaned).map_err(|refused| refused.reason)?;
        let names: Vec<&str> = head.fields.iter().map(|field| field.name).collect();
        Ok((head.target.to_owned(), names.join(" ")))
    }

    #[test]
    fn requests_are_cleaned_as_written() {
        let usual = settings::Cleaning { sanitize_path: false, ..settings::Cleaning::default() };
        assert!(Cleaning::of(&usual).is_none());
        let with = |underscores| {
            let mut written = settings::Cleaning {
                encode_query_semicolons: true,
                underscores,
                ..settings::Cleaning::default()
            };
            written.encoded.slash = false;
            written
        };
        for (underscores, path, expected) in [
            (Underscores::Keep, "/a;b?b;c=;d", Ok(("/a;b?b%3Bc=%3Bd", "Host x_a X-B"))),
            (Underscores::Delete, "/a%5Cb", Ok(("/a%5Cb", "Host X-B"))),
            (Underscores::Keep, "/a%2Fb", Err(Reason::EncodedCharacter)),
            (Underscores::Keep, "/a?b=%2F", Ok(("/a?b=%2F", "Host x_a X-B"))),
            (Underscores::Reject, "/", Err(Reason::BadRequest)),
        ] {
            let expected = expected.map(|(target, names)| (target.to_owned(), names.to_owned()));
            assert_eq!(left(&with(underscores), path), expected, "{underscores:?} {path}");
        }
    }
}
