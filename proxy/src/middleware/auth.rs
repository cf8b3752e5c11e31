//! Middlewares that ask who the client is, or somebody else about it.
//!
//! Checking a password may take long on purpose. It is done by a thread of its own, and what was right once is
//! remembered by a keyed hash, so that a worker waits for nobody's arithmetic.

use super::headers::check_name;
use super::{Draft, OwnAnswer};
use crate::http::Reason;

mod basic;
mod cache;
mod digest;
mod forward;
mod names;
mod secret;
mod server;
mod users;
mod verifier;

pub(super) use basic::BasicStep;
pub(super) use digest::DigestStep;
pub(super) use forward::{Cookies, ForwardStep};
pub(crate) use server::{Idle, ServerError, key as auth_key, transport as auth_transport};

/// What the server is told of who asks.
#[derive(Debug)]
struct Told {
    /// The field that names the user; empty where none does.
    field: String,
    /// Whether it does not see what the client showed.
    removes: bool,
}

impl Told {
    fn compile(field: &str, removes: bool) -> Result<Self, String> {
        if !field.is_empty() {
            check_name(field).map_err(|why| format!("`headerField`: {why}"))?;
        }
        Ok(Self { field: field.to_owned(), removes })
    }

    fn tell(&self, draft: &mut Draft, user: &str) {
        if !self.field.is_empty() {
            draft.fields.claim(&self.field, user.as_bytes());
        }
        if self.removes {
            draft.fields.remove("Authorization");
        }
    }
}

/// The answer to who has not shown who it is.
fn unauthorized(challenge: &str) -> OwnAnswer {
    let mut answer = OwnAnswer::new(401);
    answer.head.fields.add("Content-Type", b"text/plain");
    answer.head.fields.add("WWW-Authenticate", challenge.as_bytes());
    answer.body = "401 Unauthorized\n".into();
    answer.reason = Some(Reason::Unauthorized);
    answer
}
