//! What a proxy has to know of gRPC: how a call is told from another request, how long it may take, and how a refusal is
//! told to it.

use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::http::Reason;

/// Whether a request is a call.
pub(in crate::http) fn is_spoken(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let rest = kind.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| rest.is_empty() || matches!(rest[0], b'+' | b';'))
    })
}

/// How long its client waits for the answer: up to eight digits and a unit.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// The status that says the same, also by what the server broke the call off with.
pub(super) fn status(reason: Reason, broken_by: Option<h2::Reason>) -> u16 {
    const CANCELLED: u16 = 1;
    const DEADLINE_EXCEEDED: u16 = 4;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    match broken_by {
        Some(h2::Reason::CANCEL) => return CANCELLED,
        Some(h2::Reason::ENHANCE_YOUR_CALM) => return RESOURCE_EXHAUSTED,
        _ => {}
    }
    match reason {
        Reason::BadRequest | Reason::BadFrame | Reason::HeadTooLarge | Reason::BadResponse => INTERNAL,
        Reason::NoRoute | Reason::NotImplemented => UNIMPLEMENTED,
        Reason::ClientGone => CANCELLED,
        Reason::RequestTimeout
        | Reason::AnswerTimeout
        | Reason::ResponseTimeout
        | Reason::ConnectTimeout
        | Reason::BodyIdle => DEADLINE_EXCEEDED,
        Reason::BodyTooLarge | Reason::FrameFlood | Reason::ResetFlood | Reason::ConnectionMemory => {
            RESOURCE_EXHAUSTED
        }
        _ => UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_call_is_told_by_its_type() {
        for (kind, spoken) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_spoken(&headers("content-type", kind)), spoken, "{kind}");
        }
    }

    #[test]
    fn a_timeout_has_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("123456789m", None),
            ("5", None),
            ("S", None),
            ("", None),
            ("-5S", None),
            ("5s", None),
        ] {
            assert_eq!(timeout(&headers("grpc-timeout", text)), expected, "{text:?}");
        }
    }
}
