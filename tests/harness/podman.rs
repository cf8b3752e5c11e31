//! Podman in a sandbox, serving the API that Docker's clients speak at the place where they look first.

use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;

use super::container::Container;
use super::engine::SOCKET;
use super::image;
use super::process::Process;
use super::sandbox::Sandbox;
use super::tools::{output, require};
use super::wait::{PATIENCE, eventually};

/// Everything below `/run`, which is the sandbox's own. Limits are what a container may have where none can be raised.
const CONTAINERS: &str = r#"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
"#;
const STORAGE: &str = r#"
[storage]
driver = "vfs"
graphroot = "/run/podman/root"
runroot = "/run/podman/run"
"#;

/// `podman system service` with the test's images. All of it ends with the value.
#[derive(Debug)]
pub struct Podman {
    _service: Process,
    sandbox: Arc<Sandbox>,
}

impl Podman {
    /// Moves this thread into a sandbox and starts the service there.
    pub fn start() -> Self {
        let archive = image::archive();
        let sandbox = Sandbox::enter();
        sandbox.write("/run/podman/containers.conf", CONTAINERS);
        sandbox.write("/run/podman/storage.conf", STORAGE);
        let podman = |arguments: &[&str]| {
            let mut command = sandbox.command(require("podman"));
            command.env("CONTAINERS_CONF", "/run/podman/containers.conf");
            command.env("CONTAINERS_STORAGE_CONF", "/run/podman/storage.conf").args(arguments);
            command
        };
        let archive = archive.to_str().expect("the cache's path is text");
        output(&mut podman(&["load", "--quiet", "--input", archive])).expect("load the images");
        let mut service = sandbox
            .spawn("podman", podman(&["system", "service", "--time", "0", &format!("unix://{SOCKET}")]));
        let socket = sandbox.path(SOCKET);
        eventually(PATIENCE, "podman to answer", || match service.exited() {
            None => UnixStream::connect(&socket).map(drop),
            Some(status) => panic!("podman ended with {status}: {}", service.log()),
        });
        Self { _service: service, sandbox }
    }

    /// Runs `docker` with these arguments against it.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        let mut docker = Command::new(require("docker"));
        for variable in ["DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION"] {
            docker.env_remove(variable);
        }
        docker.env("DOCKER_CONFIG", self.sandbox.path("/run/podman"));
        docker.env("DOCKER_HOST", format!("unix://{}", self.sandbox.path(SOCKET).display()));
        match output(docker.args(arguments)) {
            Ok(said) => said,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts a container and returns its id.
    #[track_caller]
    pub fn run(&self, container: Container) -> String {
        // Its control groups are to go with the sandbox.
        let container = container.option(&format!("--cgroup-parent=/{}", self.sandbox.cgroup()));
        self.docker(&container.arguments())
    }
}
