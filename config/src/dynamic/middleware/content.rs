//! Middlewares that look at what requests and answers hold.

use serde::{Deserialize, Serialize};

/// `compress`: answers made smaller.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Compress {
    /// What is left as it is.
    pub excluded_content_types: Vec<String>,
    /// What alone is made smaller.
    pub included_content_types: Vec<String>,
    /// Bytes from which on it is worth it.
    pub min_response_body_bytes: u64,
    /// The one liked most first.
    pub encodings: Vec<Encoding>,
    /// For clients that do not say what they take.
    pub default_encoding: Option<Encoding>,
}

impl Default for Compress {
    fn default() -> Self {
        Self {
            excluded_content_types: Vec::new(),
            included_content_types: Vec::new(),
            min_response_body_bytes: 1024,
            encodings: vec![Encoding::Gzip, Encoding::Br, Encoding::Zstd],
            default_encoding: None,
        }
    }
}

impl Compress {
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.excluded_content_types.is_empty() && !self.included_content_types.is_empty() {
            return Err(
                "`excludedContentTypes` and `includedContentTypes` exclude each other: write one".to_owned()
            );
        }
        if self.encodings.is_empty() {
            return Err("needs `encodings`: gzip, br, zstd".to_owned());
        }
        Ok(())
    }
}

/// How an answer is made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// RFC 1952
    Gzip,
    /// RFC 7932
    Br,
    /// RFC 8878
    Zstd,
}

/// `contentType`: an answer without a type is given one, found from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContentType {
    /// The old way to switch it off.
    pub auto_detect: Option<bool>,
}

/// `grpcWeb`: gRPC for browsers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcWeb {
    /// Whose pages may ask; `*` is any.
    pub allow_origins: Vec<String>,
}

/// `encodedCharacters`: what may be percent-encoded in a path; nothing of it unless written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EncodedCharacters {
    /// `%2F`
    pub allow_encoded_slash: bool,
    /// `%5C`
    pub allow_encoded_back_slash: bool,
    /// `%00`
    pub allow_encoded_null_character: bool,
    /// `%3B`
    pub allow_encoded_semicolon: bool,
    /// `%25`
    pub allow_encoded_percent: bool,
    /// `%3F`
    pub allow_encoded_question_mark: bool,
    /// `%23`
    pub allow_encoded_hash: bool,
}
