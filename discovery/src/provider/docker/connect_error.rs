//! Why an engine was not reached: each variant a sentence that says what to do next.

use std::path::PathBuf;

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
