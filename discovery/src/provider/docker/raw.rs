//! Lists from the engine as bytes, read leniently: one entry that can't be read costs itself, not the list.
//!
//! It knows HTTP and JSON. It must not know what the lists are about.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::address::Address;
use super::connect::chain;

/// How long an answer may take, whole.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long an answer may be, in bytes: a hundred thousand tasks are half of it.
const ANSWER_MAX: usize = 512 << 20;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such thing.
    NotFound,
    /// Something else.
    Other(String),
}

/// A connection to the engine that is used again.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    address: Address,
    api_version: String,
    idle: Arc<Mutex<Option<SendRequest<Empty<Bytes>>>>>,
}

impl Raw {
    pub(super) fn new(address: Address, api_version: String) -> Self {
        Self { address, api_version, idle: Arc::default() }
    }

    /// The entries of the list at `path`; those that can't be read are left out.
    pub(super) async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        let answer = self.get(path).await?;
        read_list(&answer).map_err(|error| Failure::Other(format!("{path}: {error}")))
    }

    /// The thing at `path`.
    pub(super) async fn one<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.get(path).await?;
        serde_json::from_slice(&answer).map_err(|error| Failure::Other(format!("{path}: {error}")))
    }

    async fn get(&self, path: &str) -> Result<Bytes, Failure> {
        let late = || Failure::Other(format!("{path}: no answer within {} s", DEADLINE.as_secs()));
        timeout(DEADLINE, self.exchange(path)).await.map_err(|_| late())?
    }

    async fn exchange(&self, path: &str) -> Result<Bytes, Failure> {
        let other = |error: &dyn std::error::Error| Failure::Other(format!("{path}: {}", chain(error)));
        let idle = self.idle.lock().await.take().filter(|sender| !sender.is_closed());
        let mut sender = match idle {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        sender.ready().await.map_err(|error| other(&error))?;
        let request = Request::get(format!("/v{}{path}", self.api_version))
            .header(header::HOST, "engine")
            .body(Empty::new())
            .map_err(|error| other(&error))?;
        let response = sender.send_request(request).await.map_err(|error| other(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| Failure::Other(format!("{path}: {error}")))?.to_bytes();
        *self.idle.lock().await = Some(sender);
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::NOT_FOUND => Err(Failure::NotFound),
            other => Err(Failure::Other(format!("{path}: {other}: {}", said(&body)))),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, Failure> {
        match &self.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| self.refused(&error))?;
                self.greet(TokioIo::new(stream)).await
            }
            Address::Tcp(authority) => {
                let stream = TcpStream::connect(authority).await.map_err(|error| self.refused(&error))?;
                self.greet(TokioIo::new(stream)).await
            }
        }
    }

    fn refused(&self, error: &std::io::Error) -> Failure {
        Failure::Other(self.address.explain(error).to_string())
    }

    async fn greet<S>(&self, stream: S) -> Result<SendRequest<Empty<Bytes>>, Failure>
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(stream).await.map_err(|error| Failure::Other(chain(&error)))?;
        // It ends when the sender is dropped, or the engine hangs up.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// What the engine said in its answer: `{"message":"…"}`.
fn said(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        message: String,
    }
    let text = || String::from_utf8_lossy(body).trim().to_owned();
    serde_json::from_slice::<Said>(body).map_or_else(|_| text(), |said| said.message)
}

/// Reads a list; entry by entry, if it can't be read as a whole.
fn read_list<T: DeserializeOwned>(text: &[u8]) -> Result<Vec<T>, serde_json::Error> {
    if let Ok(all) = serde_json::from_slice::<Option<Vec<T>>>(text) {
        return Ok(all.unwrap_or_default());
    }
    let entries: Vec<serde_json::Value> = serde_json::from_slice(text)?;
    let read = |entry| match serde_json::from_value(entry) {
        Ok(entry) => Some(entry),
        Err(error) => {
            tracing::debug!(%error, "an entry of a list can't be read, and is left out");
            None
        }
    };
    Ok(entries.into_iter().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_can_t_be_read_costs_itself_alone() {
        #[derive(serde::Deserialize)]
        struct Entry {
            #[serde(rename = "ID")]
            id: String,
            #[serde(rename = "Slot", default)]
            slot: u64,
        }
        let ids = |text: &str| {
            let entries: Result<Vec<Entry>, _> = read_list(text.as_bytes());
            entries.map(|entries| {
                assert!(entries.iter().all(|entry| entry.slot == 0));
                entries.into_iter().map(|entry| entry.id).collect::<Vec<_>>()
            })
        };
        assert_eq!(ids(r#"[{"ID":"a","Status":null},{"ID":"b"}]"#).unwrap(), ["a", "b"]);
        assert_eq!(ids(r#"[{"ID":"a","Slot":"first"},{"ID":"b"}]"#).unwrap(), ["b"]);
        assert_eq!(ids("null").unwrap(), [""; 0]);
        assert!(ids(r#"[{"ID":"a"},{"ID":"#).is_err(), "a list that is cut off is none");
    }

    #[test]
    fn the_engine_s_own_words_are_passed_on() {
        assert_eq!(
            said(br#"{"message":"This node is not a swarm manager."}"#),
            "This node is not a swarm manager."
        );
        assert_eq!(said(b"oops\n"), "oops");
    }
}
