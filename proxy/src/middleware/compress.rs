//! `compress`: which answers are made smaller, and how.
//!
//! ```text
//! request's head ──negotiate──▶ a coding, or none
//! answer's head  ──────────────▶ whether this one is worth it
//! answer's body  ──encoder─────▶ fewer bytes
//! ```
//!
//! Sans-I/O: whoever moves the bytes says when no more are there for the moment, so that streams are not held up.

use portolan_config::dynamic::middleware::{self as dynamic, Encoding};

mod encoder;
mod media_type;
mod negotiate;

use super::{Alteration, AnswerHead, Arrival, Draft};
use crate::http::Method;
pub(crate) use encoder::Encoder;
use media_type::MediaType;

/// The middleware, as compiled.
#[derive(Debug)]
pub(crate) struct Compress {
    encodings: Vec<Encoding>,
    default_encoding: Option<Encoding>,
    excluded: Vec<MediaType>,
    included: Vec<MediaType>,
    /// Bytes from which on it is worth it.
    bytes_min: u64,
}

/// What an answer's head says that matters here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Described<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) content_encoding: Option<&'a [u8]>,
    pub(crate) cache_control: Option<&'a [u8]>,
    pub(crate) has_content_range: bool,
    /// How long the body is, where that is known.
    pub(crate) length: Option<u64>,
}

/// What is to be done about an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// It goes as it is.
    Nothing,
    /// It is made smaller.
    All,
    /// It is made smaller if it has so many bytes, or comes in pieces.
    From(u64),
}

impl Compress {
    /// Compiles the middleware.
    pub(crate) fn compile(written: &dynamic::Compress) -> Result<Self, String> {
        let read = |list: &[String]| {
            list.iter().map(|text| MediaType::parse_name(text)).collect::<Result<Vec<_>, _>>()
        };
        let mut excluded = read(&written.excluded_content_types)?;
        // A call is many messages, each of which may be made smaller by itself.
        excluded.push(MediaType::parse_name("application/grpc")?);
        if let Some(default) = written.default_encoding
            && !written.encodings.contains(&default)
        {
            return Err(format!("`defaultEncoding`: {} is none of `encodings`", name(default)));
        }
        Ok(Self {
            encodings: written.encodings.clone(),
            default_encoding: written.default_encoding,
            excluded,
            included: read(&written.included_content_types)?,
            bytes_min: match written.min_response_body_bytes {
                0 => dynamic::Compress::default().min_response_body_bytes,
                bytes => bytes,
            },
        })
    }

    /// How answers to this request may be coded; `None` is not at all. `accepted` is every line of `Accept-Encoding`.
    pub(crate) fn choose<'a>(
        &self,
        is_head: bool,
        content_type: Option<&[u8]>,
        accepted: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Encoding> {
        if is_head || content_type.is_some_and(|text| self.is_excluded(text)) {
            return None;
        }
        negotiate::choose(accepted, &self.encodings, self.default_encoding)
    }

    /// What is to be done about this answer.
    pub(crate) fn worth(&self, answer: &Described<'_>) -> Worth {
        let says_something = |value: Option<&[u8]>| value.is_some_and(|value| !value.is_empty());
        if matches!(answer.status, 100..200 | 204 | 205 | 304)
            || says_something(answer.content_encoding)
            // A part of a coded answer is no coded part (RFC 9110 §14.4).
            || answer.has_content_range
            || answer.cache_control.is_some_and(forbids_change)
            || answer.content_type.filter(|text| !text.is_empty()).is_some_and(|text| !self.takes(text))
        {
            return Worth::Nothing;
        }
        match answer.length {
            Some(length) if length < self.bytes_min => Worth::Nothing,
            Some(_) => Worth::All,
            None => Worth::From(self.bytes_min),
        }
    }

    fn is_excluded(&self, content_type: &[u8]) -> bool {
        MediaType::parse(content_type).is_some_and(|found| self.excluded.contains(&found))
    }

    /// What can't be read is left alone, as Traefik does.
    fn takes(&self, content_type: &[u8]) -> bool {
        let Some(found) = MediaType::parse(content_type) else { return false };
        !self.excluded.contains(&found) && (self.included.is_empty() || self.included.contains(&found))
    }
}

/// The coding's name (RFC 9110 §8.4.1, RFC 7932, RFC 8878).
pub(crate) fn name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Gzip => "gzip",
        Encoding::Br => "br",
        Encoding::Zstd => "zstd",
    }
}

/// Whether nobody on the way may change the body (RFC 9111 §5.2.2.6).
fn forbids_change(cache_control: &[u8]) -> bool {
    cache_control
        .split(|byte| *byte == b',')
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// What an entity tag becomes: another body under the same strong tag would be taken for the same bytes
/// (RFC 9110 §8.8.3.3). `None` is a tag that is weak already.
pub(crate) fn weakened(tag: &[u8]) -> Option<Vec<u8>> {
    (!tag.starts_with(b"W/")).then(|| [b"W/", tag].concat())
}

/// How the answer to this request may be coded.
pub(super) fn request(step: &Compress, draft: &Draft) -> Option<Encoding> {
    let content_type = draft.fields.get("Content-Type");
    let is_head = draft.method == Method::Head || draft.upgrade;
    step.choose(is_head, content_type, draft.fields.all("Accept-Encoding"))
}

/// Says in the head that it depends on what the client takes, and what is to be done about the body.
pub(super) fn answer(
    step: &Compress,
    encoding: Encoding,
    head: &mut AnswerHead,
    arrival: &Arrival,
    alteration: &mut Alteration,
) {
    head.fields.add("Vary", b"Accept-Encoding");
    let worth = step.worth(&Described {
        status: head.status,
        content_type: head.fields.get("Content-Type"),
        content_encoding: head.fields.get("Content-Encoding"),
        cache_control: head.fields.get("Cache-Control"),
        has_content_range: head.fields.get("Content-Range").is_some(),
        length: arrival.length,
    });
    alteration.squeeze(encoding, worth);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(change: impl FnOnce(&mut dynamic::Compress)) -> Compress {
        let mut written = dynamic::Compress::default();
        change(&mut written);
        Compress::compile(&written).unwrap()
    }

    fn of_type(content_type: &str) -> Described<'_> {
        Described {
            status: 200,
            content_type: Some(content_type.as_bytes()),
            length: Some(5000),
            ..Described::default()
        }
    }

    #[test]
    fn answers_that_are_not_worth_it_are_left_alone() {
        let compress = compiled(|_| ());
        let usual = of_type("text/plain");
        assert_eq!(compress.worth(&usual), Worth::All);
        for (left_alone, why) in [
            (Described { status: 304, ..usual }, "no body"),
            (Described { status: 204, ..usual }, "no body"),
            (Described { length: Some(1023), ..usual }, "too short"),
            (Described { content_encoding: Some(b"gzip"), ..usual }, "coded already"),
            (Described { has_content_range: true, ..usual }, "a part"),
            (Described { cache_control: Some(b"public, No-Transform"), ..usual }, "must not be changed"),
            (Described { content_type: Some(b"application/grpc"), ..usual }, "gRPC"),
            (Described { content_type: Some(b"what is this"), ..usual }, "no type"),
        ] {
            assert_eq!(compress.worth(&left_alone), Worth::Nothing, "{why}");
        }
        for taken in [
            Described { length: Some(1024), ..usual },
            Described { content_encoding: Some(b""), ..usual },
            Described { content_type: None, ..usual },
            Described { status: 404, ..usual },
            Described { cache_control: Some(b"no-store"), ..usual },
        ] {
            assert_eq!(compress.worth(&taken), Worth::All, "{taken:?}");
        }
        assert_eq!(compress.worth(&Described { length: None, ..usual }), Worth::From(1024));
    }

    #[test]
    fn types_are_taken_by_name_whatever_else_they_say() {
        let excluding = compiled(|written| {
            written.excluded_content_types = vec!["text/csv; charset=x".into(), "IMAGE/png".into()];
        });
        let including = compiled(|written| written.included_content_types = vec!["text/csv".into()]);
        for (content_type, is_other, is_csv) in [
            ("text/csv", false, true),
            ("text/csv; charset=utf-8", false, true),
            ("Text/CSV;header=present", false, true),
            ("image/png", false, false),
            ("text/html", true, false),
            ("application/grpc", false, false),
        ] {
            assert_eq!(excluding.worth(&of_type(content_type)) == Worth::All, is_other, "{content_type}");
            assert_eq!(including.worth(&of_type(content_type)) == Worth::All, is_csv, "{content_type}");
        }
    }

    #[test]
    fn a_request_that_is_excluded_has_its_answer_as_it_is() {
        let compress = compiled(|written| written.excluded_content_types = vec!["text/event-stream".into()]);
        let gzip = || std::iter::once(&b"gzip"[..]);
        assert_eq!(compress.choose(false, None, gzip()), Some(Encoding::Gzip));
        assert_eq!(compress.choose(true, None, gzip()), None, "HEAD");
        assert_eq!(compress.choose(false, Some(b"text/event-stream"), gzip()), None);
        assert_eq!(compress.choose(false, Some(b"application/grpc"), gzip()), None);
        assert_eq!(compress.choose(false, Some(b"application/json"), gzip()), Some(Encoding::Gzip));
    }

    #[test]
    fn what_can_not_be_done_as_written_is_said() {
        let fault = |change: fn(&mut dynamic::Compress)| {
            let mut written = dynamic::Compress::default();
            change(&mut written);
            Compress::compile(&written).unwrap_err()
        };
        assert!(
            fault(|written| written.excluded_content_types = vec!["text plain".into()])
                .contains("text plain")
        );
        assert!(fault(|written| written.included_content_types = vec![String::new()]).contains("media type"));
        assert!(
            fault(|written| {
                written.encodings = vec![Encoding::Gzip];
                written.default_encoding = Some(Encoding::Br);
            })
            .contains("br is none of `encodings`")
        );
    }

    #[test]
    fn a_strong_tag_is_weakened() {
        assert_eq!(weakened(b"\"x\"").as_deref(), Some(&b"W/\"x\""[..]));
        assert_eq!(weakened(b"W/\"x\""), None);
    }
}
