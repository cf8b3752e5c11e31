//! Where the engine is, whether it answers, and what to do when it does not.
//!
//! It knows the environment's names, and turns every failure into a sentence that says what to do next.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use bollard::{API_DEFAULT_VERSION, ClientVersion};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// How long an engine may take to say who it is.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// What bollard itself waits for a response's head. Every call has a shorter deadline here.
const CLIENT_DEADLINE_SECONDS: u64 = 60;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
const DEFAULT_PORT: u16 = 2375;

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

/// Why no engine was reached, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is of a kind that can't be dialled.
    #[error("`{host}` can't be dialled: {advice}")]
    Unsupported {
        /// The address as written.
        host: String,
        /// What to do.
        advice: &'static str,
    },
    /// The environment asks for TLS.
    #[error(
        "`{host}` is to be reached over TLS ({variable} is set), which Portolan can't do yet: use the engine's unix \
         socket, a tunnel (`ssh -L`), or unset {variable}"
    )]
    Tls {
        /// The address as written.
        host: String,
        /// The variable that asks for it.
        variable: &'static str,
    },
    /// `DOCKER_API_VERSION` is no version.
    #[error("DOCKER_API_VERSION `{0}` is not a version: expected one such as `1.41`")]
    ApiVersion(String),
    /// There is no socket.
    #[error(
        "there is no socket at {}: is the engine installed and started? Point `--docker-host` or DOCKER_HOST to it \
         when it is elsewhere",
        path.display()
    )]
    NoSocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// The socket is not ours to use.
    #[error(
        "permission denied on {}: add yourself to the group docker (`sudo usermod -aG docker $USER`, then log in \
         again) or run as root",
        path.display()
    )]
    PermissionDenied {
        /// The socket's path.
        path: PathBuf,
    },
    /// Nothing accepts there, or nothing comes back.
    #[error("nothing answers at {host} ({reason}): is the engine running?")]
    NoAnswer {
        /// The address.
        host: String,
        /// What happened instead.
        reason: String,
    },
    /// Something answers, and it is no engine that we can talk to.
    #[error("what answers at {host} is no container engine that Portolan can talk to: {reason}")]
    NotAnEngine {
        /// The address.
        host: String,
        /// What it said.
        reason: String,
    },
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

/// Where an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// `host:port`, without TLS.
    Tcp(String),
}

impl Address {
    fn resolve(
        host: Option<&str>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConnectError> {
        let host = host.map(str::to_owned).or_else(|| environment("DOCKER_HOST"));
        let Some(host) = host else { return Ok(Self::Unix(DEFAULT_SOCKET.into())) };
        if let Some(path) = host.strip_prefix("unix://").or(host.starts_with('/').then_some(&host)) {
            return Ok(Self::Unix(path.into()));
        }
        let unsupported = |advice| Err(ConnectError::Unsupported { host: host.clone(), advice });
        let Some(rest) = host.strip_prefix("tcp://").or_else(|| host.strip_prefix("http://")) else {
            return match host.split_once("://").map(|(scheme, _)| scheme) {
                Some("ssh") => unsupported("tunnel it with `ssh -L /tmp/docker.sock:/var/run/docker.sock …`"),
                Some("https") => unsupported("TLS to the engine is not there yet; use its unix socket"),
                _ => unsupported("expected `unix:///path`, `tcp://host:port` or `http://host:port`"),
            };
        };
        for variable in ["DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
            if environment(variable).is_some() {
                return Err(ConnectError::Tls { host, variable });
            }
        }
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains('/') {
            return unsupported("expected `tcp://host:port`");
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:{DEFAULT_PORT}") };
        Ok(Self::Tcp(authority))
    }

    /// Where a container on the engine's host network is reached: on this host behind a unix socket, else where the
    /// engine is, as far as its address says so.
    pub(super) fn host_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Unix(_) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Self::Tcp(authority) => {
                let (host, _) = authority.rsplit_once(':')?;
                match host {
                    "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                    _ => host.trim_start_matches('[').trim_end_matches(']').parse().ok(),
                }
            }
        }
    }

    async fn dial(&self) -> io::Result<()> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).await.map(drop),
            Self::Tcp(authority) => TcpStream::connect(authority).await.map(drop),
        }
    }

    fn explain(&self, error: &io::Error) -> ConnectError {
        match (self, error.kind()) {
            (Self::Unix(path), io::ErrorKind::NotFound) => ConnectError::NoSocket { path: path.clone() },
            (Self::Unix(path), io::ErrorKind::PermissionDenied) => {
                ConnectError::PermissionDenied { path: path.clone() }
            }
            _ => ConnectError::NoAnswer { host: self.to_string(), reason: error.to_string() },
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", Path::display(path)),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
        }
    }
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
    use super::*;

    fn resolve(host: Option<&str>, environment: &[(&str, &str)]) -> Result<Address, ConnectError> {
        Address::resolve(host, |name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_flag_wins_over_the_environment_and_that_over_the_default() {
        let environment = [("DOCKER_HOST", "unix:///run/user/1000/docker.sock")];
        let cases = [
            (None, &[][..], "unix:///var/run/docker.sock"),
            (None, &environment[..], "unix:///run/user/1000/docker.sock"),
            (Some("tcp://10.0.0.5:2376"), &environment[..], "tcp://10.0.0.5:2376"),
            (Some("/run/podman/podman.sock"), &[], "unix:///run/podman/podman.sock"),
            (Some("http://engine"), &[], "tcp://engine:2375"),
            (Some("tcp://[::1]:2375/"), &[], "tcp://[::1]:2375"),
        ];
        for (host, environment, expected) in cases {
            assert_eq!(resolve(host, environment).unwrap().to_string(), expected, "{host:?}");
        }
    }

    #[test]
    fn what_can_t_be_dialled_says_what_to_do() {
        let cases = [
            (resolve(Some("ssh://me@there"), &[]), "ssh -L"),
            (resolve(Some("npipe:////./pipe/docker_engine"), &[]), "expected `unix:///path`"),
            (resolve(Some("https://engine:2376"), &[]), "TLS to the engine is not there yet"),
            (resolve(Some("tcp://engine:2376"), &[("DOCKER_TLS_VERIFY", "1")]), "DOCKER_TLS_VERIFY is set"),
            (resolve(Some("tcp://"), &[]), "expected `tcp://host:port`"),
        ];
        for (result, expected) in cases {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_refusal_by_the_system_says_what_to_do() {
        let unix = Address::Unix(DEFAULT_SOCKET.into());
        let explain = |kind: io::ErrorKind| unix.explain(&io::Error::from(kind)).to_string();
        assert!(explain(io::ErrorKind::NotFound).contains("there is no socket at /var/run/docker.sock"));
        assert!(explain(io::ErrorKind::PermissionDenied).contains("group docker"));
        assert!(explain(io::ErrorKind::ConnectionRefused).contains("nothing answers at unix://"));
    }

    #[test]
    fn containers_on_the_host_network_are_where_the_engine_is() {
        let cases = [
            ("unix:///var/run/docker.sock", Some("127.0.0.1")),
            ("tcp://10.0.0.5:2375", Some("10.0.0.5")),
            ("tcp://localhost:2375", Some("127.0.0.1")),
            ("tcp://[::1]:2375", Some("::1")),
            ("tcp://engine.internal:2375", None),
        ];
        for (host, expected) in cases {
            let expected = expected.map(|ip| ip.parse::<IpAddr>().unwrap());
            assert_eq!(resolve(Some(host), &[]).unwrap().host_ip(), expected, "{host}");
        }
    }

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

    /// Answers every request with `body`, and gives the requests' first lines.
    fn engine(name: &str, body: &'static str) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let path = std::env::temp_dir().join(format!("portolan-{name}-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let (lines, seen) = tokio::sync::mpsc::unbounded_channel();
        let host = format!("unix://{}", path.display());
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
            let _ = std::fs::remove_file(path);
        });
        (host, seen)
    }

    #[tokio::test]
    async fn calls_are_made_in_the_version_that_was_agreed_on() {
        let (host, mut seen) = engine("agreed", r#"{"Version":"20.10.24","ApiVersion":"1.41"}"#);
        let connection = connect(Some(&host)).await.unwrap();
        assert_eq!(connection.info.to_string(), format!("docker engine 20.10.24 at {host}"));
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
        let (host, _seen) = engine("other", "hello");
        let error = probe(Some(&host)).await.unwrap_err();
        assert!(matches!(error, ConnectError::NotAnEngine { .. }), "{error}");
    }

    #[tokio::test]
    async fn one_that_accepts_and_says_nothing_is_given_up_on() {
        let path = std::env::temp_dir().join(format!("portolan-mute-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let _listener = tokio::net::UnixListener::bind(&path).unwrap();
        let begun = std::time::Instant::now();
        let error = probe(path.to_str()).await.unwrap_err();
        let _ = std::fs::remove_file(&path);
        assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
        assert!(begun.elapsed() < CONNECT_DEADLINE * 2, "{:?}", begun.elapsed());
    }
}
