//! Durations as operators write them.

use std::time::Duration;

/// Units with their length in nanoseconds. `ms` is tried before `m`.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads `10s`, `500ms`, `1h30m`, `1.5s`, or a bare number of seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let fault =
        || format!("`{text}` is not a duration: expected a number with a unit, such as `10s` or `500ms`");
    if let Some(rest) = text.strip_prefix('-')
        && parse_duration(rest).is_ok()
    {
        return Err(format!(
            "`{text}` is less than nothing: expected a duration of 0 or more, such as `{rest}`"
        ));
    }
    if let Ok(seconds) = text.parse::<u64>() {
        // Go counts nanoseconds in 63 bits: 292 years.
        return Some(seconds).filter(|s| *s < 1 << 33).map(Duration::from_secs).ok_or_else(fault);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fault)?;
        let (number, behind) = rest.split_at(number);
        let (unit, nanos) = *UNITS.iter().find(|(unit, _)| behind.starts_with(unit)).ok_or_else(fault)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && part.is_empty()) || part.contains('.') || part.len() > 9 {
            return Err(fault());
        }
        let whole: u64 = if whole.is_empty() { Ok(0) } else { whole.parse() }.map_err(|_| fault())?;
        let below = part
            .bytes()
            .fold((0, nanos), |(sum, unit), digit| (sum + u64::from(digit - b'0') * unit / 10, unit / 10));
        let nanos =
            whole.checked_mul(nanos).and_then(|nanos| nanos.checked_add(below.0)).ok_or_else(fault)?;
        total = total.checked_add(Duration::from_nanos(nanos)).ok_or_else(fault)?;
        rest = &behind[unit.len()..];
    }
    if text.is_empty() { Err(fault()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7", 7000),
            ("0", 0),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            (".5s", 500),
            ("1h0.25m", 3_615_000),
            ("5000µs", 5),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "s",
            "1d",
            "-1s",
            "1s1",
            ".s",
            "1.2.3s",
            "99999999999999999999s",
            "99999999999999",
            "1.0000000001s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("-5s").is_err_and(|message| message.contains("such as `5s`")));
        assert!(parse_duration("--5s").is_err_and(|message| message.contains("is not a duration")));
    }
}
