//! Passwords as htpasswd writes them: bcrypt, MD5 (`$apr1$`, `$1$`) and SHA-1.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use data_encoding::BASE64;
use md5::{Digest, Md5};

/// What a password is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    /// `$2y$…` and its like.
    Bcrypt(String),
    /// `$apr1$salt$…`, `$1$salt$…`
    Md5 { magic: String, salt: String, hash: String },
    /// `{SHA}…`
    Sha1(Vec<u8>),
}

impl Secret {
    /// Reads a hash. `None` for one of another kind.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(hash) = text.strip_prefix("{SHA}") {
            return BASE64.decode(hash.as_bytes()).ok().map(Self::Sha1);
        }
        if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|magic| text.starts_with(magic)) {
            return text.parse::<bcrypt::HashParts>().ok().map(|_| Self::Bcrypt(text.to_owned()));
        }
        let magic = ["$apr1$", "$1$"].into_iter().find(|magic| text.starts_with(magic))?;
        let (salt, hash) = text[magic.len()..].split_once('$')?;
        // More of the salt is not used.
        let salt = salt.get(..salt.len().min(8))?.to_owned();
        Some(Self::Md5 { magic: magic.to_owned(), salt, hash: hash.to_owned() })
    }

    /// Whether this is the password. It may take tenths of a second.
    pub(super) fn is(&self, password: &[u8]) -> bool {
        match self {
            // A password with a NUL in it is none that htpasswd could have taken.
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Md5 { magic, salt, hash } => {
                let made = md5_crypt(password, magic.as_bytes(), salt.as_bytes());
                verify_slices_are_equal(made.as_bytes(), hash.as_bytes()).is_ok()
            }
            Self::Sha1(hash) => {
                let made = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password);
                verify_slices_are_equal(made.as_ref(), hash).is_ok()
            }
        }
    }
}

/// The MD5-based crypt(3) of FreeBSD, which Apache's differs from by its magic only.
fn md5_crypt(password: &[u8], magic: &[u8], salt: &[u8]) -> String {
    let mut inner = Md5::new();
    for part in [password, salt, password] {
        inner.update(part);
    }
    let inner = inner.finalize();
    let mut outer = Md5::new();
    for part in [password, magic, salt] {
        outer.update(part);
    }
    for piece in password.chunks(16) {
        outer.update(&inner[..piece.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        let byte = if bits & 1 == 1 { 0 } else { password[0] };
        outer.update([byte]);
        bits >>= 1;
    }
    let mut hash = outer.finalize();
    for round in 0..1000 {
        let (first, last) = if round & 1 == 1 { (password, &hash[..]) } else { (&hash[..], password) };
        let mut next = Md5::new();
        next.update(first);
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(last);
        hash = next.finalize();
    }
    as_text(&hash)
}

/// The hash in the order and the digits that crypt(3) uses.
fn as_text(hash: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(22);
    let mut put = |mut bits: u32, digits: usize| {
        for _ in 0..digits {
            text.push(DIGITS[(bits & 0x3f) as usize].into());
            bits >>= 6;
        }
    };
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        put(u32::from(hash[a]) << 16 | u32::from(hash[b]) << 8 | u32::from(hash[c]), 4);
    }
    put(u32::from(hash[11]), 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `htpasswd` and `openssl passwd` write them.
    #[test]
    fn passwords_are_known_by_what_htpasswd_wrote() {
        for (hash, password) in [
            ("$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/", "test"),
            ("$apr1$d9hr9HBB$4HxwgUir3HP4EsggP/QNo0", "test2"),
            ("$apr1$abcdefgh$5MT.bUwCwhCf2blpqTwiG/", "correct horse battery staple"),
            ("$1$xyz$LR4giuEdCJh9gZXQkz20T/", "s3cret"),
            ("{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", "test"),
            ("$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC", "myPassword"),
        ] {
            let secret = Secret::parse(hash).unwrap_or_else(|| panic!("{hash}"));
            assert!(secret.is(password.as_bytes()), "{hash}");
            assert!(!secret.is(b"other") && !secret.is(b""), "{hash}");
        }
    }

    #[test]
    fn what_is_no_such_hash_is_none() {
        for text in ["", "plain", "$apr1$x", "$5$salt$hash", "{SHA}??", "$2y$05$short", "$2y$x"] {
            assert_eq!(Secret::parse(text), None, "{text}");
        }
    }
}
