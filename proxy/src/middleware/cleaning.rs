//! What an entry point cleans or refuses before anything else sees a request: `http.encodedCharacters`,
//! `http.encodeQuerySemicolons`, `http.underscoreHeadersStrategy`.

use portolan_config::dynamic::middleware::EncodedCharacters;
use portolan_config::settings::{Cleaning, Underscores};

use super::encoded_characters::EncodedStep;
use super::{Draft, OwnAnswer};
use crate::http::Reason;

/// Cleans requests of an entry point.
#[derive(Debug)]
pub(crate) struct CleaningStep {
    encoded: EncodedStep,
    semicolons: bool,
    underscores: Underscores,
}

impl CleaningStep {
    /// What is written, if it is anything but what is done in any case.
    pub(super) fn compile(written: &Cleaning) -> Option<Self> {
        let usual = Cleaning { sanitize_path: written.sanitize_path, ..Cleaning::default() };
        let encoded = EncodedStep::compile(EncodedCharacters {
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

    pub(super) fn request(&self, draft: &mut Draft) -> Result<(), Box<OwnAnswer>> {
        self.encoded.request(draft)?;
        if self.semicolons && draft.query.contains(';') {
            draft.query = draft.query.replace(';', "%3B");
        }
        match self.underscores {
            Underscores::Keep => {}
            Underscores::Delete => draft.fields.retain(|name| !name.contains('_')),
            Underscores::Reject if draft.has_underscores => {
                return Err(OwnAnswer::refusal(Reason::BadRequest, 400, "Bad Request\n").into());
            }
            Underscores::Reject => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::draft::tests::asked;

    #[test]
    fn requests_are_cleaned_as_written() {
        assert!(CleaningStep::compile(&Cleaning { sanitize_path: false, ..Cleaning::default() }).is_none());
        let step = |underscores| {
            let mut written = Cleaning { encode_query_semicolons: true, underscores, ..Cleaning::default() };
            written.encoded.slash = false;
            CleaningStep::compile(&written).expect("it does something")
        };
        let request =
            |path: &str| asked(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nx_a: 1\r\nX-B: 2\r\n\r\n"));
        let mut draft = request("/a?b;c=;d");
        step(Underscores::Delete).request(&mut draft).expect("it goes on");
        assert_eq!((draft.query.as_str(), draft.fields.get("x_a")), ("?b%3Bc=%3Bd", None));
        assert_eq!(draft.fields.text("X-B"), "2");
        for (underscores, path, status) in [
            (Underscores::Keep, "/a%2Fb", Some(400)),
            (Underscores::Keep, "/a%5Cb", None),
            (Underscores::Reject, "/", Some(400)),
        ] {
            let refused = step(underscores).request(&mut request(path)).err();
            assert_eq!(refused.map(|answer| answer.head.status), status, "{underscores:?} {path}");
        }
    }
}
