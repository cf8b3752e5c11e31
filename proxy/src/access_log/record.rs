//! What is known of a request when it is done.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use portolan_config::settings::Filters;

use super::told::Told;
use crate::http::{Reason, RequestHead};

/// What the client asked. Copied only where there is a log, and into one piece of memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// The parts, one behind the other.
    text: String,
    /// Where each of them ends.
    ends: [u32; 5],
    pub(crate) protocol: &'static str,
    /// Who says to ask, where a middleware wants to know.
    pub(crate) user: String,
    /// Fields besides these that are to be in its line, as they are shown there.
    pub(crate) fields: Vec<(String, String)>,
}

impl Asked {
    /// In this protocol: method, target, host, referrer and user agent.
    pub(crate) fn new(protocol: &'static str, parts: [&str; 5]) -> Self {
        let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        // No head is as long as that.
        let ends = parts.map(|part| {
            text.push_str(part);
            text.len() as u32
        });
        Self { text, ends, protocol, user: String::new(), fields: Vec::new() }
    }

    /// What a head says, of which nothing tells that it is one of HTTP/2.
    pub(super) fn of(head: &RequestHead) -> Self {
        let protocol = if head.is_http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        let (mut referer, mut user_agent) = (None, None);
        for field in head.fields {
            let found = match field.name.len() {
                7 if field.name.eq_ignore_ascii_case("referer") => &mut referer,
                10 if field.name.eq_ignore_ascii_case("user-agent") => &mut user_agent,
                _ => continue,
            };
            // The first, where there are several.
            if found.is_none() {
                *found = Some(String::from_utf8_lossy(field.value));
            }
        }
        let parts = [
            head.method_text,
            head.target,
            head.authority,
            referer.as_deref().unwrap_or_default(),
            user_agent.as_deref().unwrap_or_default(),
        ];
        Self::new(protocol, parts)
    }

    /// The same in another protocol.
    pub(crate) fn by(self, protocol: &'static str) -> Self {
        Self { protocol, ..self }
    }

    fn part(&self, part: usize) -> &str {
        let start = part.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[part] as usize]
    }

    pub(super) fn method(&self) -> &str {
        self.part(0)
    }

    /// Path and query, as sent.
    pub(super) fn target(&self) -> &str {
        self.part(1)
    }

    pub(super) fn host(&self) -> &str {
        self.part(2)
    }

    pub(super) fn referer(&self) -> &str {
        self.part(3)
    }

    pub(super) fn user_agent(&self) -> &str {
        self.part(4)
    }
}

/// What a client and Portolan have agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// The version: `1.3`.
    pub(crate) version: &'static str,
    /// The cipher suite, by its IANA name.
    pub(crate) cipher: String,
}

/// One request, from its first byte to the last of its answer.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// When its first byte came.
    pub(crate) started: SystemTime,
    /// Until the answer's last byte was sent.
    pub(crate) took: Duration,
    pub(crate) client: SocketAddr,
    /// What its TLS is, if it speaks it.
    pub(crate) tls: Option<&'a Agreed>,
    pub(crate) entry_point: &'a str,
    /// `None` where the head was not understood.
    pub(crate) asked: Option<&'a Asked>,
    /// The status that the client got.
    pub(crate) status: u16,
    /// Bytes of the request's body.
    pub(crate) received: u64,
    /// Bytes of the answer, its head included.
    pub(crate) sent: u64,
    /// The qualified names, where it was routed.
    pub(crate) router: Option<&'a str>,
    pub(crate) service: Option<&'a str>,
    /// The endpoint that answered last, by name and address.
    pub(crate) endpoint: Option<(&'a str, SocketAddr)>,
    /// How often it was sent to yet another endpoint.
    pub(crate) retries: u32,
    /// Why Portolan answered or broke off itself.
    pub(crate) reason: Option<Reason>,
    /// The fields of the answer, where the log has any.
    pub(crate) told: Option<&'a Told>,
}

impl Record<'_> {
    /// Whether a request has a line: if one of the filters takes it, or if there are none.
    pub(super) fn passes(&self, filters: &Filters) -> bool {
        passes(filters, self.status, self.retries, self.took)
    }
}

/// Whether something with this outcome has a line.
pub(super) fn passes(filters: &Filters, status: u16, retries: u32, took: Duration) -> bool {
    let Filters { statuses, retried, min_duration } = filters;
    if statuses.is_empty() && !retried && min_duration.is_none() {
        return true;
    }
    statuses.iter().any(|(first, last)| (*first..=*last).contains(&status))
        || (*retried && retries > 0)
        || min_duration.is_some_and(|least| took >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_line_if_one_filter_takes_it() {
        let record = |status, retries, millis| Record {
            started: SystemTime::UNIX_EPOCH,
            took: Duration::from_millis(millis),
            client: SocketAddr::from(([127, 0, 0, 1], 1)),
            tls: None,
            entry_point: "web",
            asked: None,
            status,
            received: 0,
            sent: 0,
            router: None,
            service: None,
            endpoint: None,
            retries,
            reason: None,
            told: None,
        };
        let statuses = Filters { statuses: vec![(500, 599), (404, 404)], ..Filters::default() };
        let retried = Filters { retried: true, ..Filters::default() };
        let slow = Filters { min_duration: Some(Duration::from_millis(10)), ..Filters::default() };
        let any = Filters { statuses: vec![(500, 599)], retried: true, ..slow.clone() };
        for (filters, status, retries, millis, passes) in [
            (&Filters::default(), 200, 0, 1, true),
            (&statuses, 200, 1, 99, false),
            (&statuses, 404, 0, 1, true),
            (&statuses, 503, 0, 1, true),
            (&retried, 500, 0, 99, false),
            (&retried, 200, 1, 1, true),
            (&slow, 500, 1, 9, false),
            (&slow, 200, 0, 10, true),
            (&any, 200, 0, 9, false),
            (&any, 200, 1, 9, true),
        ] {
            let found = record(status, retries, millis).passes(filters);
            assert_eq!(found, passes, "{filters:?} {status} {retries} {millis}");
        }
    }
}
