//! Whose request it is: the client's address as a proxy in front may say it, a field, or the host.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use portolan_config::dynamic::middleware::{IpStrategy, SourceCriterion};
use portolan_config::dynamic::value::IpRange;

use super::Draft;

/// How the client's address is found. What strangers say of it never came this far.
#[derive(Debug)]
pub(super) enum Strategy {
    /// The connection's. IPv6 counts by so many bits.
    Connection(Option<u8>),
    /// The so many-th of `X-Forwarded-For`, from the right.
    Depth(usize, Option<u8>),
    /// The first of `X-Forwarded-For`, from the right, that is none of these.
    Excluded(Vec<IpRange>),
}

impl Strategy {
    pub(super) fn of(written: Option<&IpStrategy>) -> Result<Self, String> {
        let Some(written) = written else { return Ok(Self::Connection(None)) };
        let bits = written.ipv6_subnet;
        if let Some(bits) = bits.filter(|bits| !(1..=128).contains(bits)) {
            return Err(format!("`ipStrategy.ipv6Subnet`: {bits} is not a number of bits (1-128)"));
        }
        Ok(match written.depth as usize {
            0 if written.excluded_ips.is_empty() => Self::Connection(bits),
            0 => Self::Excluded(written.excluded_ips.clone()),
            depth => Self::Depth(depth, bits),
        })
    }

    /// The client's address as text; empty where none is said.
    pub(super) fn find<'d>(&self, draft: &'d Draft) -> Cow<'d, str> {
        let said = draft.fields.text("X-Forwarded-For");
        match self {
            Self::Connection(bits) => shortened(draft.peer.text(), *bits),
            Self::Depth(depth, bits) => {
                let found = said.rsplit(',').nth(depth - 1).unwrap_or_default();
                shortened(found.trim(), *bits)
            }
            Self::Excluded(excluded) => {
                let is_excluded = |text: &str| {
                    let address = text.parse::<IpAddr>();
                    address.is_ok_and(|address| excluded.iter().any(|range| range.contains(address)))
                };
                let mut said = said.rsplit(',').map(str::trim).filter(|text| !text.is_empty());
                Cow::Borrowed(said.find(|text| !is_excluded(text)).unwrap_or_default())
            }
        }
    }
}

/// An IPv6 address, cut to so many bits.
fn shortened(text: &str, bits: Option<u8>) -> Cow<'_, str> {
    let Some(bits) = bits else { return Cow::Borrowed(text) };
    match text.parse::<IpAddr>() {
        Ok(address @ IpAddr::V6(_)) => {
            let cut = IpNet::new(address, bits).map_or(address, |net| net.network());
            Cow::Owned(cut.to_string())
        }
        _ => Cow::Borrowed(text),
    }
}

/// Whose requests count together.
#[derive(Debug)]
pub(super) enum Criterion {
    Address(Strategy),
    Field(String),
    Host,
}

impl Criterion {
    /// As written; `usual` unless it is.
    pub(super) fn of(written: &SourceCriterion, usual: Self) -> Result<Self, String> {
        if written.request_host {
            return Ok(Self::Host);
        }
        if !written.request_header_name.is_empty() {
            return Ok(Self::Field(written.request_header_name.clone()));
        }
        match &written.ip_strategy {
            Some(strategy) => Ok(Self::Address(Strategy::of(Some(strategy))?)),
            None => Ok(usual),
        }
    }

    /// What stands for those that count together.
    pub(super) fn find<'d>(&self, draft: &'d Draft) -> Cow<'d, str> {
        match self {
            Self::Address(strategy) => strategy.find(draft),
            Self::Field(name) => {
                let value = draft.fields.get(name).unwrap_or_default();
                String::from_utf8_lossy(value)
            }
            Self::Host => Cow::Borrowed(&draft.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::draft::tests::asked;

    fn found(strategy: &IpStrategy, said: &str) -> String {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {said}\r\n\r\n");
        Strategy::of(Some(strategy)).unwrap().find(&asked(&head)).into_owned()
    }

    #[test]
    fn addresses_are_counted_from_the_right() {
        let depth = |depth, ipv6_subnet| IpStrategy { depth, ipv6_subnet, ..IpStrategy::default() };
        let said = "10.0.0.1, 10.0.0.2,10.0.0.3";
        for (strategy, said, address) in [
            (depth(0, None), said, "192.0.2.7"),
            (depth(1, None), said, "10.0.0.3"),
            (depth(3, None), said, "10.0.0.1"),
            (depth(4, None), said, ""),
            (depth(1, Some(64)), "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            (depth(1, Some(64)), "10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(found(&strategy, said), address, "{strategy:?} {said}");
        }
        assert!(Strategy::of(Some(&depth(0, Some(129)))).is_err());
    }

    #[test]
    fn those_that_do_not_count_are_passed_over() {
        let excluded = |ranges: &[&str]| IpStrategy {
            excluded_ips: ranges.iter().map(|range| IpRange::parse(range).unwrap()).collect(),
            ..IpStrategy::default()
        };
        for (ranges, said, address) in [
            (&["10.0.0.3"][..], "10.0.0.1,10.0.0.2, 10.0.0.3", "10.0.0.2"),
            (&["10.0.0.0/8"], "1.2.3.4, 10.0.0.2,", "1.2.3.4"),
            (&["10.0.0.0/8"], "10.0.0.1", ""),
            (&["10.0.0.0/8"], "unknown, 10.0.0.1", "unknown"),
        ] {
            assert_eq!(found(&excluded(ranges), said), address, "{ranges:?} {said}");
        }
    }
}
