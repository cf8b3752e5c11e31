//! Where an engine is: what may be written, what that means, and why it can't be dialled.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use tokio::net::{TcpStream, UnixStream};

use super::connect_error::ConnectError;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
const DEFAULT_PORT: u16 = 2375;

/// Where an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// `host:port`, without TLS.
    Tcp(String),
}

impl Address {
    pub(super) fn resolve(
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

    /// Dials it, and hangs up.
    pub(super) async fn dial(&self) -> io::Result<()> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).await.map(drop),
            Self::Tcp(authority) => TcpStream::connect(authority).await.map(drop),
        }
    }

    /// What a failure to dial means for whoever has to mend it.
    pub(super) fn explain(&self, error: &io::Error) -> ConnectError {
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
}
