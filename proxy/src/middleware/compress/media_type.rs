//! Media types, as far as they are compared: by name, without parameters (RFC 9110 §8.3.1).

/// `type/subtype`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MediaType(String);

impl MediaType {
    /// Reads a type that an operator wrote.
    pub(super) fn parse_name(text: &str) -> Result<Self, String> {
        Self::parse(text.as_bytes())
            .ok_or_else(|| format!("`{text}` is not a media type: write `text/plain`, for example"))
    }

    /// Reads the value of `Content-Type`.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let name = value.split(|byte| *byte == b';').next()?.trim_ascii();
        let is_token = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        };
        let name = std::str::from_utf8(name).ok()?;
        let is_type = match name.split_once('/') {
            Some((main, sub)) => is_token(main) && is_token(sub),
            // Go takes a type without a subtype.
            None => is_token(name),
        };
        is_type.then(|| Self(name.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_whatever_follows() {
        for (value, name) in [
            ("text/html", Some("text/html")),
            (" Text/HTML ; charset=utf-8", Some("text/html")),
            ("application/vnd.api+json", Some("application/vnd.api+json")),
            ("text", Some("text")),
            ("", None),
            ("text/", None),
            ("/html", None),
            ("text/html/x", None),
            ("text html", None),
            ("; charset=utf-8", None),
        ] {
            assert_eq!(MediaType::parse(value.as_bytes()).map(|read| read.0).as_deref(), name, "{value}");
        }
        assert_eq!(MediaType::parse(b"text/\xff"), None);
    }
}
