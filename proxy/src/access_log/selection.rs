//! What of a request is in its line: `accessLog.fields`.

use std::borrow::Cow;

use portolan_config::settings::{AccessLogFormat, FieldMode, Fields};

use super::Asked;
use super::told::Shown;
use crate::http::{RequestHead, path_of};

/// What stands for a value that is not to be seen.
const REDACTED: &str = "REDACTED";

/// Fields that have a place of their own in every format, and are written there unless somebody says otherwise.
const ALWAYS: [&str; 2] = ["referer", "user-agent"];

/// Which fields are written, and how.
#[derive(Debug)]
pub(super) struct Selection {
    fields: Fields,
    /// Whether all of Portolan's fields are.
    all: bool,
    /// Whether any field of a request may be, beside those that always are.
    headers: bool,
    /// Whether queries, or fields that are written in any case, are not as they were.
    edits: bool,
}

impl Selection {
    pub(super) fn new(fields: &Fields, format: AccessLogFormat) -> Self {
        let keeps = |mode: &FieldMode| *mode != FieldMode::Drop;
        let all = fields.default_mode == FieldMode::Keep && fields.names.values().all(keeps);
        let headers = keeps(&fields.headers_default_mode) || fields.headers.values().any(keeps);
        // The others have no place for them.
        let headers = headers && format == AccessLogFormat::Json;
        let edits = fields.query_mode == FieldMode::Drop
            || ALWAYS.iter().any(|name| fields.headers.contains_key(*name));
        Self { fields: fields.clone(), all, headers, edits }
    }

    /// Whether a field of Portolan's is written. Traefik's names count in whatever case.
    pub(super) fn keeps<'n>(&self, name: impl FnOnce() -> &'n str) -> bool {
        if self.all {
            return true;
        }
        let name = name();
        let named = self.fields.names.iter().find(|(named, _)| named.eq_ignore_ascii_case(name));
        *named.map_or(&self.fields.default_mode, |(_, mode)| mode) == FieldMode::Keep
    }

    /// What is kept of what a client asked.
    pub(super) fn asked(&self, head: &RequestHead) -> Asked {
        let mut asked = Asked::of(head);
        if self.edits {
            let target = asked.target();
            let target = if self.fields.query_mode == FieldMode::Drop { path_of(target) } else { target };
            let (referer, user_agent) =
                (self.shown("referer", asked.referer()), self.shown("user-agent", asked.user_agent()));
            asked = Asked::new(asked.protocol, [asked.method(), target, asked.host(), referer, user_agent]);
        }
        if self.headers {
            asked.fields = self.headers(head);
        }
        asked
    }

    /// One of those that are written in any case, unless somebody says otherwise.
    fn shown<'v>(&self, name: &str, value: &'v str) -> &'v str {
        match self.fields.headers.get(name) {
            Some(FieldMode::Redact) if !value.is_empty() => REDACTED,
            Some(FieldMode::Drop) => "",
            _ => value,
        }
    }

    /// Whether any field of an answer may be written.
    pub(super) fn has_answers(&self) -> bool {
        self.headers
    }

    /// The fields of a request that are kept.
    fn headers(&self, head: &RequestHead) -> Shown {
        // These are in fields of their own.
        let others = head.fields.iter().filter(|field| {
            !["host"].iter().chain(&ALWAYS).any(|name| field.name.eq_ignore_ascii_case(name))
        });
        self.answered(others.map(|field| (field.name, field.value)))
    }

    /// Those of these fields that are kept, by name; the values of one name are one.
    pub(super) fn answered<'f>(&self, fields: impl Iterator<Item = (&'f str, &'f [u8])>) -> Shown {
        let mut kept = Shown::new();
        for (name, value) in fields {
            let name = name.to_ascii_lowercase();
            let mode = *self.fields.headers.get(&name).unwrap_or(&self.fields.headers_default_mode);
            let value = match mode {
                FieldMode::Keep => String::from_utf8_lossy(value),
                FieldMode::Redact => Cow::Borrowed(REDACTED),
                FieldMode::Drop => continue,
            };
            let name = canonical(&name);
            match kept.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) if mode == FieldMode::Keep => {
                    known.push(',');
                    known.push_str(&value);
                }
                Some(_) => {}
                None => kept.push((name, value.into_owned())),
            }
        }
        kept.sort();
        kept
    }
}

/// A name as Go spells it: `X-Request-Id`.
fn canonical(name: &str) -> String {
    let mut begins = true;
    let letters = name.chars().map(|letter| {
        let letter = if begins { letter.to_ascii_uppercase() } else { letter };
        begins = letter == '-';
        letter
    });
    letters.collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use FieldMode::{Drop, Keep, Redact};

    use super::*;
    use crate::http::parse_request;

    const HEAD: &str = "GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nx-one: 1\r\nUser-Agent: ua\r\nX-One: 2\r\n\
                        Authorization: secret\r\nCookie: a=b\r\nCookie: c=d\r\nReferer: r\r\n\r\n";

    pub(in crate::access_log) fn modes(modes: &[(&str, FieldMode)]) -> BTreeMap<String, FieldMode> {
        modes.iter().map(|(name, mode)| ((*name).to_owned(), *mode)).collect()
    }

    fn asked(fields: &Fields, format: AccessLogFormat) -> Asked {
        let mut room = crate::http::fields();
        let head = parse_request(HEAD.as_bytes(), &mut room).unwrap().unwrap();
        Selection::new(fields, format).asked(&head)
    }

    #[test]
    fn unless_asked_for_no_field_of_a_request_is_kept_but_two() {
        let found = asked(&Fields::default(), AccessLogFormat::Json);
        assert_eq!((found.referer(), found.user_agent()), ("r", "ua"));
        assert_eq!((found.target(), found.fields.len()), ("/a?b=c", 0));
    }

    #[test]
    fn fields_of_a_request_are_kept_dropped_and_redacted() {
        let chosen = Fields {
            headers_default_mode: Keep,
            headers: modes(&[
                ("authorization", Redact),
                ("cookie", Redact),
                ("user-agent", Drop),
                ("referer", Redact),
            ]),
            query_mode: Drop,
            ..Fields::default()
        };
        let found = asked(&chosen, AccessLogFormat::Json);
        let shown: Vec<_> =
            found.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(shown, [("Authorization", "REDACTED"), ("Cookie", "REDACTED"), ("X-One", "1,2")]);
        assert_eq!((found.referer(), found.user_agent()), ("REDACTED", ""));
        assert_eq!(found.target(), "/a");
        let one = Fields { headers: modes(&[("x-one", Keep)]), ..Fields::default() };
        assert_eq!(asked(&one, AccessLogFormat::Json).fields, [("X-One".to_owned(), "1,2".to_owned())]);
        // There is no place for it in a line of text.
        assert!(asked(&one, AccessLogFormat::Common).fields.is_empty());
    }

    #[test]
    fn names_count_in_whatever_case() {
        let chosen = Fields { names: modes(&[("startutc", Drop)]), ..Fields::default() };
        let selection = Selection::new(&chosen, AccessLogFormat::Json);
        assert!(!selection.keeps(|| "StartUTC") && selection.keeps(|| "RouterName"));
        let chosen =
            Fields { default_mode: Drop, names: modes(&[("ROUTERNAME", Keep)]), ..Fields::default() };
        let selection = Selection::new(&chosen, AccessLogFormat::Json);
        assert!(!selection.keeps(|| "StartUTC") && selection.keeps(|| "RouterName"));
    }
}
