//! `digestAuth`: proof of a password, by a challenge (RFC 7616, with MD5 as Traefik and htdigest have it).
//!
//! A challenge proves itself that it came from here and when, so that nothing is kept for those who never answer it. How
//! often it was used is counted, so that no answer is taken twice.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hmac, rand};
use md5::{Digest, Md5};
use portolan_config::dynamic::middleware::DigestAuth;

use super::users::Users;
use super::{Told, unauthorized};
use crate::limits::DIGEST_CHALLENGE_LIFE;
use crate::middleware::headers::check_value;
use crate::middleware::limits::now;
use crate::middleware::slots::Highest;
use crate::middleware::{Draft, OwnAnswer};
use crate::table::routing_path;

/// Asks for a proof of the password.
#[derive(Debug)]
pub(crate) struct DigestStep {
    /// By `name:realm`; what is known is the hash of name, realm and password.
    users: Users<String>,
    realm: String,
    told: Told,
    challenges: Arc<Challenges>,
}

/// What was asked, and how far it was answered.
#[derive(Debug)]
struct Challenges {
    key: hmac::Key,
    opaque: String,
    used: Highest,
}

/// Why an answer to a challenge is none.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// It is not right.
    Wrong,
    /// It is right, and too late or a second time: the client need not ask its user again.
    Stale,
}

impl DigestStep {
    pub(crate) fn compile(written: &DigestAuth, before: Option<&Self>) -> Result<Self, String> {
        let realm = if written.realm.is_empty() { "traefik" } else { &written.realm }.to_owned();
        check_value(&realm).map_err(|why| format!("`realm`: {why}"))?;
        let challenges = match before {
            Some(before) => before.challenges.clone(),
            None => Arc::new(Challenges::new().ok_or("the system has no randomness")?),
        };
        Ok(Self {
            users: Users::of(&written.users, &written.users_file, parse)?,
            realm,
            told: Told::compile(&written.header_field, written.remove_header)?,
            challenges,
        })
    }

    pub(crate) fn users_file(&self) -> Option<&Path> {
        self.users.file()
    }

    pub(crate) fn take_users(&self, text: &str) -> Result<(), String> {
        self.users.take(text)
    }

    pub(crate) fn request(&self, draft: &mut Draft) -> Result<(), Box<OwnAnswer>> {
        let shown = Shown::read(draft.fields.text("Authorization"));
        if let Some(shown) = &shown {
            draft.user.clone_from(&shown.user);
        }
        match shown.ok_or(Refused::Wrong).and_then(|shown| self.check(&shown, draft, now())) {
            Ok(user) => {
                self.told.tell(draft, &user);
                Ok(())
            }
            Err(refused) => Err(self.challenge(&refused).into()),
        }
    }

    /// Answers a request that shows nothing; whether a proof is right is not looked at.
    pub(crate) fn foresee(&self, draft: &Draft) -> Result<(), Box<OwnAnswer>> {
        let shown = Shown::read(draft.fields.text("Authorization"));
        shown.map(drop).ok_or_else(|| self.challenge(&Refused::Wrong).into())
    }

    fn check(&self, shown: &Shown, draft: &Draft, now: u64) -> Result<String, Refused> {
        let ours = shown.opaque == self.challenges.opaque
            && (shown.algorithm.is_empty() || shown.algorithm == "MD5")
            && shown.qop == "auth"
            && is_for(&shown.uri, draft);
        let known = self.users.get(&format!("{}:{}", shown.user, self.realm)).filter(|_| ours);
        let known = known.ok_or(Refused::Wrong)?;
        let asked = hash(&[&draft.method_text, &shown.uri]);
        let proof = hash(&[&known, &shown.nonce, &shown.nc, &shown.cnonce, &shown.qop, &asked]);
        if verify_slices_are_equal(proof.as_bytes(), shown.response.as_bytes()).is_err() {
            return Err(Refused::Wrong);
        }
        let count = u64::from_str_radix(&shown.nc, 16).map_err(|_| Refused::Wrong)?;
        let made = self.challenges.made(&shown.nonce).ok_or(Refused::Stale)?;
        let is_fresh = now.saturating_sub(made) <= DIGEST_CHALLENGE_LIFE.as_nanos() as u64;
        if is_fresh && self.challenges.used.raise(&shown.nonce, count) {
            Ok(shown.user.clone())
        } else {
            Err(Refused::Stale)
        }
    }

    fn challenge(&self, refused: &Refused) -> OwnAnswer {
        let nonce = self.challenges.make(now());
        let stale = if *refused == Refused::Stale { ", stale=true" } else { "" };
        unauthorized(&format!(
            "Digest realm=\"{}\", nonce=\"{nonce}\", opaque=\"{}\", algorithm=MD5, qop=\"auth\"{stale}",
            self.realm, self.challenges.opaque
        ))
    }
}

impl Challenges {
    fn new() -> Option<Self> {
        let (mut key, mut opaque) = ([0; 32], [0; 16]);
        rand::fill(&mut key).and_then(|()| rand::fill(&mut opaque)).ok()?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Some(Self { key, opaque: hex(&opaque), used: Highest::new() })
    }

    fn make(&self, now: u64) -> String {
        let mut unique = [0; 8];
        // Two that are alike would share a count, and nothing else.
        let _ = rand::fill(&mut unique);
        let head = format!("{now:016x}{}", hex(&unique));
        let seal = hmac::sign(&self.key, head.as_bytes());
        format!("{head}{}", hex(&seal.as_ref()[..16]))
    }

    /// When a challenge was made, if it was made here.
    fn made(&self, nonce: &str) -> Option<u64> {
        let (head, seal) = nonce.split_at_checked(32)?;
        let made = hmac::sign(&self.key, head.as_bytes());
        verify_slices_are_equal(hex(&made.as_ref()[..16]).as_bytes(), seal.as_bytes()).ok()?;
        u64::from_str_radix(head.get(..16)?, 16).ok()
    }
}

/// Whether the answer is for this request. Its path may be spelled as the client did.
fn is_for(uri: &str, draft: &Draft) -> bool {
    let at = uri.find('?').unwrap_or(uri.len());
    let (path, query) = uri.split_at(at);
    query == draft.query && (path == draft.path || routing_path(path) == draft.path)
}

/// What a client shows.
#[derive(Debug, Default)]
struct Shown {
    user: String,
    nonce: String,
    uri: String,
    response: String,
    opaque: String,
    algorithm: String,
    qop: String,
    nc: String,
    cnonce: String,
}

impl Shown {
    fn read(field: &str) -> Option<Self> {
        let (scheme, mut rest) = field.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let mut shown = Self::default();
        while let Some((name, behind)) = rest.split_once('=') {
            let (value, behind) = value(behind)?;
            rest = behind.trim_start().strip_prefix(',').unwrap_or_default();
            let place = match name.trim() {
                "username" => &mut shown.user,
                "nonce" => &mut shown.nonce,
                "uri" => &mut shown.uri,
                "response" => &mut shown.response,
                "opaque" => &mut shown.opaque,
                "algorithm" => &mut shown.algorithm,
                "qop" => &mut shown.qop,
                "nc" => &mut shown.nc,
                "cnonce" => &mut shown.cnonce,
                _ => continue,
            };
            *place = value;
        }
        Some(shown)
    }
}

/// A value in quotes or without (RFC 9110 §5.6), and what is behind it.
fn value(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

fn parse(line: &str) -> Result<(String, String), String> {
    match line.split(':').collect::<Vec<_>>()[..] {
        [name, realm, hash] if !name.is_empty() => Ok((format!("{name}:{realm}"), hash.to_ascii_lowercase())),
        _ => Err("an entry is not `name:realm:hash`, as htdigest writes it".to_owned()),
    }
}

/// The hash of these with colons between, in hexadecimal digits.
fn hash(parts: &[&str]) -> String {
    let mut hash = Md5::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hash.update(b":");
        }
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::draft::tests::asked;

    const HA1: &str = "c4e9ce2ab5bf7d31c8c42a0fcc5fc6d0";

    fn step() -> DigestStep {
        let written = DigestAuth { users: vec![format!("joe:traefik:{HA1}")], ..DigestAuth::default() };
        DigestStep::compile(&written, None).expect("it can be done")
    }

    /// The field that answers a challenge.
    fn answer(step: &DigestStep, nonce: &str, nc: &str, uri: &str, ha1: &str) -> String {
        let proof = hash(&[ha1, nonce, nc, "abc", "auth", &hash(&["GET", uri])]);
        format!(
            "Digest username=\"joe\", realm=\"traefik\", nonce=\"{nonce}\", uri=\"{uri}\", qop=auth, nc={nc}, \
             cnonce=\"abc\", response=\"{proof}\", opaque=\"{}\", algorithm=MD5",
            step.challenges.opaque
        )
    }

    fn check(step: &DigestStep, field: &str, at: u64) -> Result<String, Refused> {
        let draft = asked("GET /x/%7Ey?z=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        step.check(&Shown::read(field).expect("it is read"), &draft, at)
    }

    #[test]
    fn a_right_answer_is_taken_once() {
        let step = step();
        let nonce = step.challenges.make(5);
        let first = answer(&step, &nonce, "00000001", "/x/%7Ey?z=1", HA1);
        assert_eq!(check(&step, &first, 6), Ok("joe".to_owned()));
        assert_eq!(check(&step, &first, 6), Err(Refused::Stale));
        assert_eq!(
            check(&step, &answer(&step, &nonce, "0000000a", "/x/%7Ey?z=1", HA1), 6),
            Ok("joe".to_owned())
        );
        let late = 6 + DIGEST_CHALLENGE_LIFE.as_nanos() as u64;
        assert_eq!(
            check(&step, &answer(&step, &nonce, "0000000b", "/x/%7Ey?z=1", HA1), late),
            Err(Refused::Stale)
        );
    }

    #[test]
    fn what_is_not_right_is_refused() {
        let step = step();
        let nonce = step.challenges.make(5);
        let right = answer(&step, &nonce, "00000001", "/x/%7Ey?z=1", HA1);
        for (field, refused) in [
            (answer(&step, &nonce, "00000001", "/other", HA1), Refused::Wrong),
            (answer(&step, &nonce, "00000001", "/x/%7Ey?z=1", "0"), Refused::Wrong),
            (right.replace("username=\"joe\"", "username=\"jim\""), Refused::Wrong),
            (right.replace("qop=auth", "qop=auth-int"), Refused::Wrong),
            (right.replace(&step.challenges.opaque, "x"), Refused::Wrong),
            // Made by nobody here: right, but to no challenge.
            (answer(&step, &format!("{:064x}", 5), "00000001", "/x/%7Ey?z=1", HA1), Refused::Stale),
        ] {
            assert_eq!(check(&step, &field, 6), Err(refused), "{field}");
        }
    }

    #[test]
    fn pairs_are_read_quoted_or_not() {
        let shown = Shown::read("digest username=\"a\\\"b,c\" , nc=1,qop = auth,x=\"y\"").unwrap();
        assert_eq!((shown.user.as_str(), shown.nc.as_str(), shown.qop.as_str()), ("a\"b,c", "1", "auth"));
        assert!(Shown::read("Basic x").is_none() && Shown::read("Digest a=\"b").is_none());
    }

    /// The example of RFC 2617 §3.5, which is Traefik's as well.
    #[test]
    fn the_proof_is_that_of_the_standard() {
        let ha1 = hash(&["Mufasa", "testrealm@host.com", "Circle Of Life"]);
        let ha2 = hash(&["GET", "/dir/index.html"]);
        let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
        let proof = hash(&[&ha1, nonce, "00000001", "0a4f113b", "auth", &ha2]);
        assert_eq!(proof, "6629fae49393a05397450978507c4ef1");
    }
}
