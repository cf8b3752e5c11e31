//! What is known of a request when it is done.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use portolan_config::settings::Filters;

use crate::http::{Reason, RequestHead};

/// What the client asked. Copied only where there is a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query, as sent.
    pub(crate) target: String,
    pub(crate) protocol: &'static str,
    pub(crate) host: String,
    pub(crate) referer: String,
    pub(crate) user_agent: String,
    /// Who says to ask, where a middleware wants to know.
    pub(crate) user: String,
}

impl Asked {
    pub(crate) fn of(head: &RequestHead) -> Self {
        let field = |name: &str| {
            let found = head.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            found.map_or_else(String::new, |field| String::from_utf8_lossy(field.value).into_owned())
        };
        Self {
            method: head.method_text.to_owned(),
            target: head.target.to_owned(),
            protocol: if head.is_http10 { "HTTP/1.0" } else { "HTTP/1.1" },
            host: head.authority.to_owned(),
            referer: field("referer"),
            user_agent: field("user-agent"),
            user: String::new(),
        }
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
