//! Whether the engine answers, and what to do when it does not.
//!
//! It knows the environment's names, agrees on a version of the API, and turns every failure into a sentence that says what to do next.

use std::fmt;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, ClientVersion};
use tokio::time::timeout;

use super::address::Address;
use super::connect_error::ConnectError;

/// How long an engine may take to say who it is.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// What bollard itself waits for a response's head. Every call has a shorter deadline here.
const CLIENT_DEADLINE_SECONDS: u64 = 60;

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// Where it answers, as in `DOCKER_HOST`.
    pub host: String,
    /// `docker`, or `podman`.
    pub kind: &'static str,
    /// Its version: `20.10.24`.
    pub version: String,
    /// The version of the API that is spoken with it: `1.41`.
    pub api_version: String,
}

impl fmt::Display for EngineInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} engine {} at {}", self.kind, self.version, self.host)
    }
}

/// Asks the engine at `host` (as in `DOCKER_HOST`; else the environment, else the default socket) who it is.
///
/// Answers within two seconds.
pub async fn probe(host: Option<&str>) -> Result<EngineInfo, ConnectError> {
    connect(host).await.map(|connection| connection.info)
}

/// An engine that answered.
pub(super) struct Connection {
    pub(super) client: bollard::Docker,
    pub(super) info: EngineInfo,
    pub(super) address: Address,
}

/// Dials the engine, and agrees on a version of the API.
pub(super) async fn connect(host: Option<&str>) -> Result<Connection, ConnectError> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let address = Address::resolve(host, environment)?;
    let pinned = pinned_version(environment)?;
    let late = || ConnectError::NoAnswer {
        host: address.to_string(),
        reason: format!("no answer within {} s", CONNECT_DEADLINE.as_secs()),
    };
    let (client, info) =
        timeout(CONNECT_DEADLINE, greet(&address, pinned)).await.map_err(|_| late()).flatten()?;
    Ok(Connection { client, info, address })
}

async fn greet(
    address: &Address,
    pinned: Option<ClientVersion>,
) -> Result<(bollard::Docker, EngineInfo), ConnectError> {
    let host = address.to_string();
    // bollard folds every failure to connect into one; the system's own error says what to do.
    address.dial().await.map_err(|error| address.explain(&error))?;
    let not_an_engine = |error: bollard::errors::Error| ConnectError::NotAnEngine {
        host: host.clone(),
        reason: chain(&error),
    };
    let pinned = pinned.as_ref().unwrap_or(API_DEFAULT_VERSION);
    let client = match address {
        Address::Unix(path) => {
            bollard::Docker::connect_with_unix(&path.to_string_lossy(), CLIENT_DEADLINE_SECONDS, pinned)
        }
        Address::Tcp(authority) => {
            bollard::Docker::connect_with_http(authority, CLIENT_DEADLINE_SECONDS, pinned)
        }
    };
    let client = client.map_err(not_an_engine)?.negotiate_version().await.map_err(not_an_engine)?;
    let version = client.version().await.map_err(not_an_engine)?;
    let podman = version
        .components
        .iter()
        .flatten()
        .any(|component| component.name.to_ascii_lowercase().contains("podman"));
    let info = EngineInfo {
        host: host.clone(),
        kind: if podman { "podman" } else { "docker" },
        version: version.version.unwrap_or_else(|| "of unknown version".to_owned()),
        api_version: client.client_version().to_string(),
    };
    Ok((speak_agreed_version(client), info))
}

/// Puts the agreed version in front of every path.
///
/// bollard 0.21.1 means to, and loses it again when it joins the path to the base; the engine would answer in the newest
/// version it has, which may have values that bollard's closed enums refuse.
fn speak_agreed_version(client: bollard::Docker) -> bollard::Docker {
    let prefix = format!("/v{}", client.client_version());
    client.with_request_modifier(move |mut request| {
        let mut parts = request.uri().clone().into_parts();
        let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
        if !path.starts_with("/v1.")
            && let Ok(path) = format!("{prefix}{path}").parse()
        {
            parts.path_and_query = Some(path);
            if let Ok(uri) = hyper::Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        request
    })
}

fn pinned_version(
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<ClientVersion>, ConnectError> {
    let Some(text) = environment("DOCKER_API_VERSION") else { return Ok(None) };
    let parts =
        text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    match parts {
        Some((major_version, minor_version)) => Ok(Some(ClientVersion { major_version, minor_version })),
        None => Err(ConnectError::ApiVersion(text)),
    }
}

/// An error with what caused it: bollard's own words alone are often just "client error (Connect)".
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_pinned_version_is_honoured() {
        let version = pinned_version(|_| Some("1.40".to_owned())).unwrap().unwrap();
        assert_eq!(version.to_string(), "1.40");
        assert!(pinned_version(|_| Some("newest".to_owned())).is_err());
    }

    #[tokio::test]
    async fn a_missing_socket_is_told_at_once() {
        let error = probe(Some("unix:///nowhere/docker.sock")).await.unwrap_err();
        assert!(matches!(error, ConnectError::NoSocket { .. }), "{error}");
    }

    /// A socket that leaves no file behind.
    struct Socket {
        host: String,
        path: PathBuf,
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    fn listen(name: &str) -> (Socket, tokio::net::UnixListener) {
        let path = std::env::temp_dir().join(format!("portolan-{name}-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        (Socket { host: format!("unix://{}", path.display()), path }, listener)
    }

    /// Answers every request with `body`, and gives the requests' first lines.
    fn engine(name: &str, body: &'static str) -> (Socket, tokio::sync::mpsc::UnboundedReceiver<String>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let (socket, listener) = listen(name);
        let (lines, seen) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let Ok(length @ 1..) = stream.read(&mut head).await else { continue };
                let line = String::from_utf8_lossy(&head[..length]);
                let _ = lines.send(line.lines().next().unwrap_or_default().to_owned());
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(format!("{answer}{body}").as_bytes()).await;
            }
        });
        (socket, seen)
    }

    #[tokio::test]
    async fn calls_are_made_in_the_version_that_was_agreed_on() {
        let (socket, mut seen) = engine("agreed", r#"{"Version":"20.10.24","ApiVersion":"1.41"}"#);
        let connection = connect(Some(&socket.host)).await.unwrap();
        assert_eq!(connection.info.to_string(), format!("docker engine 20.10.24 at {}", socket.host));
        assert_eq!(connection.info.api_version, "1.41");
        connection.client.info().await.unwrap();
        let mut last = String::new();
        while let Ok(line) = seen.try_recv() {
            last = line;
        }
        assert_eq!(last, "GET /v1.41/info HTTP/1.1");
    }

    #[tokio::test]
    async fn something_else_that_answers_is_told_from_an_engine() {
        let (socket, _seen) = engine("other", "hello");
        let error = probe(Some(&socket.host)).await.unwrap_err();
        assert!(matches!(error, ConnectError::NotAnEngine { .. }), "{error}");
    }

    #[tokio::test]
    async fn one_that_accepts_and_says_nothing_is_given_up_on() {
        let (socket, _listener) = listen("mute");
        let begun = std::time::Instant::now();
        let error = probe(Some(&socket.host)).await.unwrap_err();
        assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
        assert!(begun.elapsed() < CONNECT_DEADLINE * 2, "{:?}", begun.elapsed());
    }
}
