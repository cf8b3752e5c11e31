//! `errors`: pages in the place of faulty answers. Which answers, under which status, and what the page's server is
//! asked.

use portolan_config::dynamic::middleware as dynamic;
use portolan_config::dynamic::value::StatusRange;

/// The middleware, as compiled. Who has the pages, the table says.
#[derive(Debug)]
pub(crate) struct ErrorPages {
    status: Vec<StatusRange>,
    rewrites: Vec<(StatusRange, u16)>,
    query: String,
    /// Fields of the request that the page's server is sent, in lower case; `None` is all of them.
    request_fields: Option<Vec<String>>,
}

impl ErrorPages {
    /// Compiles the middleware.
    pub(crate) fn compile(written: &dynamic::Errors) -> Result<Self, String> {
        let rewrite = |(from, to): (&String, &u16)| {
            let range = StatusRange::parse(from).map_err(|why| format!("`statusRewrites`: {why}"))?;
            if !(200..1000).contains(to) {
                return Err(format!("`statusRewrites`: {to} is not a status code that can be shown"));
            }
            Ok((range, *to))
        };
        let mut rewrites = written.status_rewrites.iter().map(rewrite).collect::<Result<Vec<_>, String>>()?;
        // The narrowest first: `503` says more than `500-599`.
        rewrites.sort_by_key(|(range, _)| range.last - range.first);
        Ok(Self {
            status: written.status.clone(),
            rewrites,
            query: written.query.clone(),
            request_fields: written
                .error_request_headers
                .as_ref()
                .map(|names| names.iter().map(|name| name.to_ascii_lowercase()).collect()),
        })
    }

    /// The status under which the page is shown, where this answer is replaced by one.
    pub(crate) fn catches(&self, status: u16) -> Option<u16> {
        self.status.iter().any(|range| range.contains(status)).then(|| {
            let rewritten = self.rewrites.iter().find(|(range, _)| range.contains(status));
            rewritten.map_or(status, |(_, to)| *to)
        })
    }

    /// What the page's server is asked: a target in origin form. `url` is what the client asked for, whole.
    pub(crate) fn target(&self, shown: u16, original: u16, url: &str) -> String {
        let query = self
            .query
            .replace("{status}", &shown.to_string())
            .replace("{originalStatus}", &original.to_string())
            .replace("{url}", &escaped(url));
        let slash = if query.starts_with('/') { "" } else { "/" };
        // What can't stand in a request line was written by the operator, not sent by a client.
        let safe = |character: char| if character.is_ascii_graphic() { character } else { '+' };
        format!("{slash}{query}").chars().map(safe).collect()
    }

    /// Whether the page's server is sent this field of the request.
    pub(crate) fn passes(&self, name: &str) -> bool {
        let is_of_the_body = |name: &str| {
            ["content-length", "transfer-encoding", "expect", "trailer", "content-encoding", "upgrade"]
                .iter()
                .any(|field| name.eq_ignore_ascii_case(field))
        };
        match &self.request_fields {
            Some(names) => names.iter().any(|field| name.eq_ignore_ascii_case(field)),
            None => !is_of_the_body(name),
        }
    }
}

/// As a value within a query, in the way of HTML forms, which is Go's.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 2);
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => out.push(byte as char),
            byte => {
                out.push('%');
                for digit in [byte >> 4, byte & 15] {
                    out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(status: &[&str], rewrites: &[(&str, u16)], query: &str) -> ErrorPages {
        ErrorPages::compile(&dynamic::Errors {
            status: status.iter().map(|text| StatusRange::parse(text).unwrap()).collect(),
            status_rewrites: rewrites.iter().map(|(from, to)| ((*from).to_owned(), *to)).collect(),
            service: "pages".to_owned(),
            query: query.to_owned(),
            ..dynamic::Errors::default()
        })
        .unwrap()
    }

    #[test]
    fn answers_are_caught_and_shown_under_another_status() {
        let pages = pages(&["404", "500-599"], &[("500-599", 500), ("503", 200)], "");
        for (status, shown) in
            [(200, None), (403, None), (404, Some(404)), (502, Some(500)), (503, Some(200)), (599, Some(500))]
        {
            assert_eq!(pages.catches(status), shown, "{status}");
        }
    }

    #[test]
    fn the_page_is_asked_for_with_what_is_known() {
        for (query, target) in [
            ("/{status}.html", "/404.html"),
            ("{originalStatus}", "/418"),
            ("/?s={status}&u={url}", "/?s=404&u=http%3A%2F%2Fa.test%2Fb+c%3Fd%3D%C3%A9"),
            ("", "/"),
            ("/with space", "/with+space"),
        ] {
            let pages = pages(&["404"], &[], query);
            assert_eq!(pages.target(404, 418, "http://a.test/b c?d=é"), target, "{query}");
        }
    }

    #[test]
    fn a_page_is_not_sent_what_is_about_the_body() {
        let all = pages(&["404"], &[], "");
        assert!(all.passes("Accept") && all.passes("cookie") && !all.passes("Content-Length"));
        let some = ErrorPages::compile(&dynamic::Errors {
            error_request_headers: Some(vec!["Accept".to_owned()]),
            ..dynamic::Errors::default()
        })
        .unwrap();
        assert!(some.passes("accept") && !some.passes("cookie"));
    }

    #[test]
    fn rewrites_that_are_none_are_said() {
        for (from, to) in [("5xx", 500), ("500", 20), ("500", 100)] {
            let written = dynamic::Errors {
                status_rewrites: [(from.to_owned(), to)].into(),
                ..dynamic::Errors::default()
            };
            assert!(ErrorPages::compile(&written).unwrap_err().starts_with("`statusRewrites`: "));
        }
    }
}
