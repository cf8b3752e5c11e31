//! What Portolan has for a load balancer beside what Traefik has.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// `hashBy`: what of a request decides where it goes, with the strategies `hrw` and `maglev`. Requests without it take
/// turns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum HashBy {
    /// The client's address.
    #[default]
    Address,
    /// The path, without the query.
    Path,
    /// The value of this field.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
}

impl HashBy {
    /// Reads `address`, `path`, `header:NAME` or `cookie:NAME`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once(':').map_or((text, ""), |(kind, name)| (kind, name.trim()));
        match (kind.trim().to_ascii_lowercase().as_str(), name) {
            ("address", "") => Ok(Self::Address),
            ("path", "") => Ok(Self::Path),
            ("header", name) if !name.is_empty() => Ok(Self::Header(name.to_owned())),
            ("cookie", name) if !name.is_empty() => Ok(Self::Cookie(name.to_owned())),
            _ => Err(format!(
                "`{text}` is nothing that can be hashed: write `address`, `path`, `header:NAME` or `cookie:NAME`"
            )),
        }
    }
}

/// `healthCheck.initial`: what a server is taken for before its first answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Initial {
    /// It is given work, as Traefik does it.
    #[default]
    Up,
    /// It has to answer first.
    Unknown,
}

/// `panic`: who serves when no server is healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Panic {
    /// Nobody: requests are answered 503.
    #[default]
    Refuse,
    /// All that run, unhealthy as they are.
    Any,
}

/// `retryBudget`: how many requests may be sent to another server after one failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryBudget {
    /// Of a hundred requests.
    pub percent: u8,
    /// In any case, within ten seconds.
    pub min_retries: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20, min_retries: 100 }
    }
}

impl<'de> Deserialize<'de> for HashBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for HashBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Address => serializer.serialize_str("address"),
            Self::Path => serializer.serialize_str("path"),
            Self::Header(name) => serializer.collect_str(&format_args!("header:{name}")),
            Self::Cookie(name) => serializer.collect_str(&format_args!("cookie:{name}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hashed_is_read_and_what_is_not_is_told() {
        for (text, meant) in [
            ("address", HashBy::Address),
            ("Path", HashBy::Path),
            ("header:X-User", HashBy::Header("X-User".into())),
            ("cookie: session", HashBy::Cookie("session".into())),
        ] {
            assert_eq!(HashBy::parse(text), Ok(meant), "{text}");
        }
        for text in ["", "header", "header:", "address:x", "body"] {
            assert!(HashBy::parse(text).is_err(), "{text}");
        }
    }
}
