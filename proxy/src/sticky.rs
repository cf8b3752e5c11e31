//! Cookies by which a client stays where it is, as Traefik has them. Knows names and texts: neither HTTP nor what is stuck
//! to.
//!
//! A cookie's value is a hash of what it stands for. Traefik hashes the server's URL; so do we where a URL was written,
//! and each reads the other's cookies. What labels ask for has no URL that would last: an address is given to another
//! container right after its owner died. There it is the instance that is hashed, so that a client comes back to a
//! container that was restarted; cookies that Traefik set are understood, and replaced.

use std::collections::HashMap;
use std::fmt::Write;

use aws_lc_rs::digest;
use foldhash::fast::RandomState;
use portolan_config::dynamic::service::{Cookie, SameSite};

/// A cookie, and what its values lead to.
#[derive(Debug)]
pub(crate) struct Sticky {
    name: String,
    /// What stands behind the value.
    attributes: String,
    doors: HashMap<String, Door, RandomState>,
    values: HashMap<u64, String, RandomState>,
}

/// What a value leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Door {
    /// The number of what it stands for.
    pub(crate) number: u64,
    /// Whether it is an old way of saying so, to be replaced.
    pub(crate) outdated: bool,
}

/// Something that can be stuck to.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) number: u64,
    /// What is hashed for its cookies.
    pub(crate) text: String,
    /// What else stands for it in cookies that were set by others, or earlier.
    pub(crate) also: Vec<String>,
}

impl Sticky {
    /// The cookie of a service, by its qualified name.
    pub(crate) fn new(cookie: &Cookie, service: &str, places: Vec<Place>) -> Self {
        let name = if cookie.name.is_empty() { default_name(service) } else { sanitized(&cookie.name) };
        let (mut doors, mut values) = (HashMap::default(), HashMap::default());
        for place in &places {
            let value = hashed(&place.text);
            doors.entry(value.clone()).or_insert(Door { number: place.number, outdated: false });
            values.insert(place.number, value);
        }
        // What is current comes first: nothing old can stand in its way.
        for place in places {
            for text in std::iter::once(place.text).chain(place.also) {
                let (once, twice) = (fnv(&text), fnv(&fnv(&text)));
                for old in [hashed(&text), once, twice, text] {
                    doors.entry(old).or_insert(Door { number: place.number, outdated: true });
                }
            }
        }
        Self { name, attributes: attributes(cookie), doors, values }
    }

    /// The cookie's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What a value leads to.
    pub(crate) fn find(&self, value: &[u8]) -> Option<Door> {
        self.doors.get(std::str::from_utf8(value).ok()?).copied()
    }

    /// What sets the cookie (RFC 6265 §4.1).
    pub(crate) fn set(&self, number: u64) -> Option<String> {
        let value = self.values.get(&number)?;
        Some(format!("{}={value}{}", self.name, self.attributes))
    }
}

/// Traefik's: `_` and the first five digits of SHA-1.
pub fn default_name(service: &str) -> String {
    let text = format!("_TRAEFIK_BACKEND_{service}");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    format!("_{}", &hex(hash.as_ref())[..5])
}

/// A name that a cookie can have (RFC 6265 §4.1.1); what it can't be made of becomes `_`, as Traefik does it.
fn sanitized(name: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^`|~".contains(c);
    name.chars().map(|c| if fine(c) { c } else { '_' }).collect()
}

/// In the order in which Go writes them.
fn attributes(cookie: &Cookie) -> String {
    let mut text = String::new();
    let plain = |value: &str| value.chars().filter(|c| c.is_ascii_graphic() && *c != ';').collect::<String>();
    if !cookie.path.is_empty() {
        let _ = write!(text, "; Path={}", plain(&cookie.path));
    }
    if !cookie.domain.is_empty() {
        let _ = write!(text, "; Domain={}", plain(cookie.domain.trim_start_matches('.')));
    }
    match cookie.max_age {
        0 => {}
        seconds => {
            let _ = write!(text, "; Max-Age={}", seconds.max(0));
        }
    }
    if cookie.http_only {
        text.push_str("; HttpOnly");
    }
    if cookie.secure {
        text.push_str("; Secure");
    }
    text.push_str(match cookie.same_site {
        None => "",
        Some(SameSite::None) => "; SameSite=None",
        Some(SameSite::Lax) => "; SameSite=Lax",
        Some(SameSite::Strict) => "; SameSite=Strict",
    });
    text
}

/// The first 16 digits of SHA-256.
fn hashed(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let mut digits = hex(hash.as_ref());
    digits.truncate(16);
    digits
}

/// FNV-1 with 64 bits, by which Traefik's older cookies were made.
fn fnv(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
    format!("{hash:x}")
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u64, text: &str, also: &[&str]) -> Place {
        Place { number, text: text.to_owned(), also: also.iter().map(|text| (*text).to_owned()).collect() }
    }

    /// What Traefik 3.7 makes of the same.
    #[test]
    fn names_and_values_are_those_of_traefik() {
        assert_eq!(default_name("web@file"), "_7052b");
        assert_eq!(sanitized("my cookie/1.ü"), "my_cookie_1._");
        assert_eq!(hashed("http://127.0.0.1:9001"), "b52e7b55edbbb02e");
        assert_eq!(fnv(""), "cbf29ce484222325");
        assert_eq!(fnv("a"), "af63bd4c8601b7be");
    }

    #[test]
    fn values_of_every_age_are_understood_and_the_old_ones_replaced() {
        let url = "http://10.0.0.1:80";
        let sticky = Sticky::new(&Cookie::default(), "s@docker", vec![place(7, "docker/abc:80", &[url])]);
        let set = sticky.set(7).unwrap();
        let value = hashed("docker/abc:80");
        assert_eq!(set, format!("{}={value}; Path=/", sticky.name()));
        assert_eq!(sticky.find(value.as_bytes()), Some(Door { number: 7, outdated: false }));
        for old in [hashed(url), fnv(url), fnv(&fnv(url)), url.to_owned()] {
            assert_eq!(sticky.find(old.as_bytes()), Some(Door { number: 7, outdated: true }), "{old}");
        }
        assert_eq!(sticky.find(b"other"), None);
        assert_eq!(sticky.find(b"\xff"), None);
        assert_eq!(sticky.set(8), None);
    }

    #[test]
    fn what_an_address_stood_for_never_hides_what_stands_for_it_now() {
        let sticky = Sticky::new(&Cookie::default(), "s", vec![place(1, "a", &["b"]), place(2, "b", &["a"])]);
        assert_eq!(sticky.find(hashed("b").as_bytes()), Some(Door { number: 2, outdated: false }));
    }

    #[test]
    fn attributes_are_written_as_go_does() {
        let cookie = Cookie {
            name: "n".to_owned(),
            secure: true,
            http_only: true,
            same_site: Some(SameSite::None),
            max_age: 42,
            path: "/foo".to_owned(),
            domain: ".foo.test".to_owned(),
        };
        let expected = "; Path=/foo; Domain=foo.test; Max-Age=42; HttpOnly; Secure; SameSite=None";
        assert_eq!(attributes(&cookie), expected);
        let cookie = Cookie { max_age: -1, path: "/a;\r\nX: y".to_owned(), ..Cookie::default() };
        assert_eq!(attributes(&cookie), "; Path=/aX:y; Max-Age=0");
    }
}
