//! `basicAuth`: name and password in every request (RFC 7617).

use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use portolan_config::dynamic::middleware::BasicAuth;

use super::cache::Cache;
use super::secret::Secret;
use super::users::Users;
use super::verifier::{Known, is_right};
use super::{Told, unauthorized};
use crate::http::Reason;
use crate::middleware::headers::check_value;
use crate::middleware::{Draft, OwnAnswer};

/// Asks for name and password.
#[derive(Debug)]
pub(crate) struct BasicStep {
    users: Users<Known>,
    challenge: String,
    told: Told,
    cache: Arc<Cache>,
}

impl BasicStep {
    pub(crate) fn compile(written: &BasicAuth) -> Result<Self, String> {
        let realm = if written.realm.is_empty() { "traefik" } else { &written.realm };
        let challenge = format!("Basic realm=\"{realm}\"");
        check_value(&challenge).map_err(|why| format!("`realm`: {why}"))?;
        Ok(Self {
            users: Users::of(&written.users, &written.users_file, parse)?,
            challenge,
            told: Told::compile(&written.header_field, written.remove_header)?,
            cache: Arc::new(Cache::new()),
        })
    }

    pub(crate) fn users_file(&self) -> Option<&Path> {
        self.users.file()
    }

    pub(crate) fn take_users(&self, text: &str) -> Result<(), String> {
        self.users.take(text)
    }

    pub(crate) async fn request(&self, draft: &mut Draft) -> Result<(), Box<OwnAnswer>> {
        let Some((name, password)) = credentials(draft.fields.get("Authorization")) else {
            return Err(self.refusal().into());
        };
        draft.user.clone_from(&name);
        // Who is unknown is answered no sooner than who is known.
        let (known, is_user) = match self.users.get(&name) {
            Some(known) => (Some(known), true),
            None => (self.users.any(), false),
        };
        let Some(known) = known else { return Err(self.refusal().into()) };
        match is_right(&known, &password, &self.cache).await {
            Ok(true) if is_user => {
                self.told.tell(draft, &name);
                Ok(())
            }
            Ok(_) => Err(self.refusal().into()),
            Err(_) => {
                Err(OwnAnswer::refusal(Reason::AuthBusy, 503, "too many passwords to be checked\n").into())
            }
        }
    }

    /// Answers a request that shows nobody it knows; whether a password is right is not looked at.
    pub(crate) fn foresee(&self, draft: &Draft) -> Result<(), Box<OwnAnswer>> {
        let shown = credentials(draft.fields.get("Authorization"));
        let known = shown.and_then(|(name, _)| self.users.get(&name));
        known.map(drop).ok_or_else(|| self.refusal().into())
    }

    fn refusal(&self) -> OwnAnswer {
        unauthorized(&self.challenge)
    }
}

fn parse(line: &str) -> Result<(String, Known), String> {
    match line.split(':').collect::<Vec<_>>()[..] {
        [name, hash] if !name.is_empty() => {
            let secret = Secret::parse(hash).ok_or_else(|| {
                format!("the password of `{name}` is no hash of bcrypt, MD5 or SHA-1: write one with `htpasswd -nB {name}`")
            })?;
            Ok((name.to_owned(), Known { written: hash.to_owned(), secret }))
        }
        // What it is may be a password: it is not shown.
        _ => Err("an entry is not `name:hash`, as htpasswd writes it".to_owned()),
    }
}

/// The name and the password that a client shows.
fn credentials(field: Option<&[u8]>) -> Option<(String, Vec<u8>)> {
    let field = field?;
    let (scheme, rest) = field.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let shown = BASE64.decode(rest).ok()?;
    let colon = memchr::memchr(b':', &shown)?;
    let name = String::from_utf8(shown[..colon].to_vec()).ok()?;
    // It may be told to the server, in a field.
    (!name.chars().any(char::is_control)).then(|| (name, shown[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_the_standard_has_them() {
        let shown = |text: &str| format!("Basic {}", BASE64.encode(text.as_bytes())).into_bytes();
        let found = |field: &[u8]| {
            credentials(Some(field)).map(|(name, password)| (name, String::from_utf8(password).unwrap()))
        };
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(found(&shown("joe:a:b")), pair("joe", "a:b"));
        assert_eq!(found(&shown("jö:")), pair("jö", ""));
        assert_eq!(found(b"bAsIc am9lOng="), pair("joe", "x"));
        for field in
            [&b""[..], b"Basic", b"Basic ", b"Basic ???", b"Bearer am9lOng=", &shown("joe"), &shown("a\nb:c")]
        {
            assert_eq!(found(field), None, "{}", String::from_utf8_lossy(field));
        }
    }

    #[test]
    fn users_are_name_and_hash() {
        assert!(parse("joe:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=").is_ok());
        for line in ["joe", "joe:", ":x", "joe:plain", "joe:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=:x"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
