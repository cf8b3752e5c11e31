//! What the field `Date` says (RFC 9110 §5.6.7, §6.6.1). It changes once a second, and is worked out as seldom.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// `Sun, 06 Nov 1994 08:49:37 GMT`
const FORMAT: &[BorrowedFormatItem] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// The time at a second since the epoch, as the field says it.
struct Said {
    second: u64,
    text: String,
}

thread_local! {
    static SAID: RefCell<Said> = const { RefCell::new(Said { second: u64::MAX, text: String::new() }) };
}

/// Gives the present time to `tell`, as the field says it.
pub(super) fn with_now<T>(tell: impl FnOnce(&str) -> T) -> T {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    SAID.with_borrow_mut(|said| {
        if said.second != second {
            *said = Said { second, text: at(second) };
        }
        tell(&said.text)
    })
}

/// The present time as a value of a field.
pub(super) fn now() -> Option<HeaderValue> {
    with_now(|text| HeaderValue::from_str(text).ok())
}

fn at(second: u64) -> String {
    let time = i64::try_from(second).ok().and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
    time.and_then(|time| time.format(FORMAT).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_said_as_in_the_standard() {
        assert_eq!(at(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(now().unwrap().len(), 29);
    }
}
