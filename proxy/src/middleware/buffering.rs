//! `buffering`: how much of bodies is gathered before they are passed on, how much there may be at all, and when a
//! request is sent again.

use portolan_config::dynamic::middleware as dynamic;

use super::expression::{self, Condition, Given, Kind, Value};
use crate::limits::GATHERED_BYTES_MAX;

/// How often a request is sent again at most, whatever the condition says; as in Traefik.
const ATTEMPTS_MAX: u32 = 11;

/// The middleware, as compiled.
#[derive(Debug)]
pub(crate) struct Buffering {
    /// Of requests.
    pub(crate) request: Room,
    /// Of answers.
    pub(crate) answer: Room,
    again: Option<Condition<Function>>,
}

/// How much of one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes there may be; `None` is any number.
    pub(crate) bytes_max: Option<u64>,
    /// Bytes that are gathered; what is longer is passed on as it comes from there on.
    pub(crate) gathered_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Attempts,
    ResponseCode,
    IsNetworkError,
    RequestMethod,
}

impl Buffering {
    /// Compiles the middleware.
    pub(crate) fn compile(written: &dynamic::Buffering) -> Result<Self, String> {
        let again = Some(written.retry_expression.as_str()).filter(|text| !text.trim().is_empty());
        let again = again.map(|text| expression::parse(text, &build)).transpose();
        Ok(Self {
            request: Room::of(written.max_request_body_bytes, written.mem_request_body_bytes),
            answer: Room::of(written.max_response_body_bytes, written.mem_response_body_bytes),
            again: again.map_err(|why| format!("`retryExpression`: {why}"))?,
        })
    }

    /// Whether a request is sent again, after so many attempts and the last one's answer.
    pub(crate) fn repeats(&self, attempts: u32, status: u16, method: &str) -> bool {
        let Some(condition) = self.again.as_ref().filter(|_| attempts < ATTEMPTS_MAX) else { return false };
        condition.holds(&|function| match function {
            Function::Attempts => Given::Number(f64::from(attempts)),
            Function::ResponseCode => Given::Number(f64::from(status)),
            Function::IsNetworkError => Given::Truth(matches!(status, 502 | 504)),
            Function::RequestMethod => Given::Text(method),
        })
    }
}

impl Room {
    fn of(max: i64, memory: i64) -> Self {
        let bytes_max = u64::try_from(max).ok().filter(|max| *max > 0);
        let memory = u64::try_from(memory).unwrap_or(0);
        // What may not be longer is gathered whole where that can be.
        let wished = bytes_max.map_or(memory, |max| max.max(memory));
        Self { bytes_max, gathered_max: wished.min(GATHERED_BYTES_MAX) }
    }

    /// Whether there may be so much of it.
    pub(crate) fn allows(&self, bytes: u64) -> bool {
        self.bytes_max.is_none_or(|max| bytes <= max)
    }
}

fn build(name: &str, values: &[Value]) -> Result<(Function, Kind), String> {
    let function = match name {
        "Attempts" => (Function::Attempts, Kind::Number),
        "ResponseCode" => (Function::ResponseCode, Kind::Number),
        "IsNetworkError" => (Function::IsNetworkError, Kind::Truth),
        "RequestMethod" => (Function::RequestMethod, Kind::Text),
        _ => {
            return Err(format!(
                "there is no `{name}`: known are Attempts, ResponseCode, IsNetworkError and RequestMethod"
            ));
        }
    };
    if values.is_empty() { Ok(function) } else { Err(format!("`{name}` takes no values")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeats(expression: &str) -> Result<Buffering, String> {
        Buffering::compile(&dynamic::Buffering {
            retry_expression: expression.to_owned(),
            ..dynamic::Buffering::default()
        })
    }

    #[test]
    fn a_request_is_sent_again_as_the_condition_says() {
        let twice = repeats("IsNetworkError() && Attempts() < 2").unwrap();
        assert!(twice.repeats(1, 502, "GET") && twice.repeats(1, 504, "GET"));
        assert!(!twice.repeats(2, 502, "GET") && !twice.repeats(1, 500, "GET"));
        let posts = repeats("RequestMethod() == \"POST\" && ResponseCode() >= 500").unwrap();
        assert!(posts.repeats(5, 500, "POST") && !posts.repeats(5, 500, "GET"));
        assert!(posts.repeats(10, 500, "POST") && !posts.repeats(11, 500, "POST"), "there is an end to it");
        let never = repeats("").unwrap();
        assert!(!never.repeats(1, 502, "GET"));
        assert!(repeats("Attempts(1) < 2").unwrap_err().starts_with("`retryExpression`: "));
        assert!(repeats("Status() < 2").unwrap_err().contains("there is no `Status`"));
    }

    #[test]
    fn room_is_as_written_within_what_there_is() {
        const MIB: u64 = 1024 * 1024;
        let mib = MIB as i64;
        for (max, memory, expected) in [
            (0, mib, (None, MIB)),
            (-1, -1, (None, 0)),
            (100, mib, (Some(100), MIB)),
            (2 * mib, mib, (Some(2 * MIB), 2 * MIB)),
            (i64::MAX, mib, (Some(i64::MAX.unsigned_abs()), GATHERED_BYTES_MAX)),
        ] {
            let room = Room::of(max, memory);
            assert_eq!((room.bytes_max, room.gathered_max), expected, "{max} {memory}");
        }
        assert!(
            Room::of(100, 0).allows(100) && !Room::of(100, 0).allows(101) && Room::of(0, 0).allows(u64::MAX)
        );
    }
}
