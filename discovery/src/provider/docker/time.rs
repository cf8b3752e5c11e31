//! The engine's times: RFC 3339 with up to nine digits of a second, and nanoseconds since the epoch.
//!
//! It reads no clock. Everything here is by the engine's clock, and is only compared with other times of that clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The moment written as RFC 3339. `None` for what can't be read, and for Go's zero time, which means "never".
pub(super) fn rfc3339(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || bytes[4] != b'-' || bytes[7] != b'-' || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    let field = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok();
    let (year, month, day) = (i64::from(field(0, 4)?), field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (fraction, zone) = rest.split_at(zone_at);
    let nanos = fraction_nanos(fraction)?;
    let seconds = days_since_epoch(year, i64::from(month), i64::from(day)) * 86_400
        + i64::from(hour * 3600 + minute * 60 + second)
        - zone_seconds(zone)?;
    at(seconds, nanos)
}

/// The moment so many nanoseconds after the epoch.
pub(super) fn from_nanos(nanos: i64) -> Option<SystemTime> {
    u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(|nanos| UNIX_EPOCH + Duration::from_nanos(nanos))
}

/// The moment so many seconds after the epoch.
pub(super) fn from_seconds(seconds: i64) -> Option<SystemTime> {
    at(seconds, 0).filter(|time| *time > UNIX_EPOCH)
}

/// The moment as `since` of the events call reads it: `seconds.nanoseconds`.
pub(super) fn since(time: SystemTime) -> String {
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", elapsed.as_secs(), elapsed.subsec_nanos())
}

fn at(seconds: i64, nanos: u32) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).ok()?, nanos))
}

fn fraction_nanos(fraction: &str) -> Option<u32> {
    let Some(digits) = fraction.strip_prefix('.') else { return fraction.is_empty().then_some(0) };
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u32>().ok().map(|value| value * 10_u32.pow(9 - digits.len() as u32))
}

fn zone_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let seconds = hours.parse::<u32>().ok()? * 3600 + minutes.parse::<u32>().ok()? * 60;
    Some(if zone.starts_with('-') { -i64::from(seconds) } else { i64::from(seconds) })
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, counting years from March so that leap days come last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_s_times_are_read() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some((0, 0))),
            ("2026-08-23T10:11:12.5Z", Some((1_787_479_872, 500_000_000))),
            ("2026-08-23T12:11:12.000000001+02:00", Some((1_787_479_872, 1))),
            ("2024-02-29T23:59:59-00:30", Some((1_709_252_999, 0))),
            ("0001-01-01T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-08-23 10:11", None),
            ("2026-08-23T10:11:12", None),
            ("2026-08-23T10:11:12.1234567890Z", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(seconds, nanos)| UNIX_EPOCH + Duration::new(seconds, nanos));
            assert_eq!(rfc3339(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_time_goes_back_to_the_engine_with_all_nine_digits() {
        assert_eq!(since(UNIX_EPOCH + Duration::new(7, 42)), "7.000000042");
    }
}
