//! Single values of the model: durations, ranges of addresses and status codes, patterns.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

mod pattern;

pub use pattern::Pattern;

/// A span of time as Traefik reads it: whole seconds, or Go's `1h2m3s`, `500ms`. It may be negative where an option
/// gives that a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    nanoseconds: i64,
}

impl Span {
    /// This many milliseconds.
    pub const fn millis(millis: u32) -> Self {
        Self { nanoseconds: millis as i64 * 1_000_000 }
    }

    /// This many seconds.
    pub const fn secs(seconds: u32) -> Self {
        Self { nanoseconds: seconds as i64 * 1_000_000_000 }
    }

    /// This duration, as far as there is room for it: 292 years.
    pub fn of(duration: Duration) -> Self {
        Self { nanoseconds: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX) }
    }

    /// The span as a duration; a negative one is none at all.
    pub fn duration(self) -> Duration {
        Duration::from_nanos(self.nanoseconds.try_into().unwrap_or(0))
    }

    /// The span, unless it is zero or negative, which most options take for "not set".
    pub fn positive(self) -> Option<Duration> {
        Some(self.duration()).filter(|duration| !duration.is_zero())
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.nanoseconds < 0
    }

    /// Reads a span.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is not a duration: write seconds, or `500ms`, `10s`, `1h30m`");
        if let Ok(seconds) = text.parse::<i64>() {
            let nanoseconds = seconds.checked_mul(1_000_000_000).ok_or_else(fault)?;
            return Ok(Self { nanoseconds });
        }
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1.0, rest),
            None => (1.0, text.strip_prefix('+').unwrap_or(text)),
        };
        let mut total = 0.0;
        if rest.is_empty() {
            return Err(fault());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fault)?;
            let number: f64 = rest[..digits].parse().map_err(|_| fault())?;
            rest = &rest[digits..];
            let units =
                [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
            let (unit, nanos) = units
                .into_iter()
                .find(|(unit, _)| rest.starts_with(unit) && (*unit != "m" || !rest.starts_with("ms")))
                .ok_or_else(fault)?;
            total += number * nanos;
            rest = &rest[unit.len()..];
        }
        // Go's durations end at 292 years.
        if total >= 9.2e18 {
            return Err(fault());
        }
        Ok(Self { nanoseconds: (sign * total).round() as i64 })
    }
}

impl fmt::Display for Span {
    /// As Go writes it: `1m30s`, `100ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_negative() {
            f.write_str("-")?;
        }
        let nanos = self.nanoseconds.unsigned_abs();
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", nanos as f64 / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{}ms", nanos as f64 / 1e6),
            _ => {
                let (seconds, below) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                write!(f, "{}s", (seconds % 60) as f64 + below as f64 / 1e9)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A range of addresses in CIDR form, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpRange(IpNet);

impl IpRange {
    /// Reads `10.0.0.0/8` or `10.0.0.1`, `fd00::/8` or `::1`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let net = match text.parse::<IpAddr>() {
            Ok(address) => Some(IpNet::from(address)),
            Err(_) => text.parse::<IpNet>().ok(),
        };
        net.map(|net| Self(net.trunc())).ok_or_else(|| {
            format!("`{text}` is not a range of addresses: write `10.0.0.0/8`, or one address")
        })
    }

    /// Whether the address is in it. An IPv4 address in IPv6's clothes (RFC 4291 §2.5.5.2) counts as itself.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for IpRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for IpRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Status codes: `404`, or `500-599`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl StatusRange {
    /// Reads one code, or two with a hyphen between.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let code = |code: &str| code.trim().parse::<u16>().ok().filter(|code| (100..1000).contains(code));
        match (code(first), code(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!("`{text}` is neither a status code nor a range: write `404` or `500-599`")),
        }
    }

    /// Whether the code is in it.
    pub fn contains(self, code: u16) -> bool {
        (self.first..=self.last).contains(&code)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for StatusRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (text, shown) in [
            ("30", "30s"),
            ("1h2m3s", "1h2m3s"),
            ("90s", "1m30s"),
            ("500ms", "500ms"),
            ("1.5s", "1.5s"),
            ("10us", "10µs"),
            ("-1", "-1s"),
            ("-5ms", "-5ms"),
            ("0", "0s"),
        ] {
            assert_eq!(Span::parse(text).map(|span| span.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for text in ["", "s", "1d", "1", "x1s", "1s1", "-", "9999999999999999999h"] {
            assert_eq!(Span::parse(text).is_err(), text != "1", "{text}");
        }
        assert_eq!(Span::parse("-1").unwrap().duration(), Duration::ZERO);
    }

    #[test]
    fn an_address_is_in_its_range_in_either_clothes() {
        for (range, ip, inside) in [
            ("10.0.0.0/8", "10.9.8.7", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.9.8.7", true),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("::1", "::1", true),
            ("fd00::/8", "fd12::1", true),
            ("::/0", "fe80::1", true),
        ] {
            let read = IpRange::parse(range).unwrap();
            assert_eq!(read.contains(ip.parse().unwrap()), inside, "{ip} in {range}");
        }
        for text in ["", "10.0.0.0/33", "::1/129", "10.0.0/8", "host"] {
            assert!(IpRange::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn status_codes_stand_alone_and_in_ranges() {
        assert!(StatusRange::parse("500-599").unwrap().contains(503));
        assert!(!StatusRange::parse("404").unwrap().contains(405));
        for text in ["", "abc", "599-500", "99", "200-"] {
            assert!(StatusRange::parse(text).is_err(), "{text}");
        }
    }
}
