//! A Docker Engine in a sandbox, that a test may kill and start again.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use super::container::Container;
use super::http;
use super::image;
use super::process::{Process, Signal};
use super::sandbox::Sandbox;
use super::tools::{output, require};
use super::wait::{PATIENCE, eventually};

/// The engine's socket, as processes in the sandbox see it: where every client looks first.
pub(super) const SOCKET: &str = "/run/docker.sock";

/// dockerd may wait ten seconds for each container, and a busy machine is slow.
const DAEMON_PATIENCE: Duration = Duration::from_secs(30);

/// A Docker Engine with the test's images, on the network of the test's thread. All of it ends with the value.
#[derive(Debug)]
pub struct Engine {
    daemon: Option<Process>,
    flags: Vec<String>,
    sandbox: Arc<Sandbox>,
}

impl Engine {
    /// Moves this thread into a sandbox and starts an engine there, with the images of [`super::NGINX`].
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more flags of dockerd, say `--live-restore`, by which containers survive [`Self::kill`].
    pub fn start_with(flags: &[&str]) -> Self {
        let archive = image::archive();
        let sandbox = Sandbox::enter();
        // An empty file instead of the machine's own configuration, whose settings could contradict the flags.
        sandbox.write("/run/engine/daemon.json", "{}");
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let mut engine = Self { daemon: None, flags, sandbox };
        engine.restart();
        engine.docker(&["load", "--quiet", "--input", archive.to_str().expect("the cache's path is text")]);
        engine
    }

    /// The sandbox that the engine and its containers are in.
    pub fn sandbox(&self) -> &Arc<Sandbox> {
        &self.sandbox
    }

    /// `DOCKER_HOST` for a program that the test starts outside of the sandbox's mounts.
    pub fn host(&self) -> String {
        format!("unix://{}", self.sandbox.path(SOCKET).display())
    }

    /// Runs `docker` with these arguments. Panics with what it said when it fails.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        // No closure: a panic in one would not be reported at the caller's line.
        match self.try_docker(arguments) {
            Ok(said) => said,
            Err(error) => panic!("{error}"),
        }
    }

    /// Runs `docker` with these arguments: what it wrote, or why it failed.
    pub fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        let mut docker = Command::new(require("docker"));
        // The user's contexts, credentials and versions are not the test's.
        for variable in ["DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION"] {
            docker.env_remove(variable);
        }
        docker.env("DOCKER_CONFIG", self.sandbox.path("/run/engine")).env("DOCKER_HOST", self.host());
        output(docker.args(arguments))
    }

    /// Starts a container and returns its id. Its first process runs; its server may still be starting.
    ///
    /// Stopping it in that moment takes ten seconds: a first process gets no signal before it handles it. So a test
    /// that stops something waits for [`Self::serving`].
    #[track_caller]
    pub fn run(&self, container: &Container) -> String {
        self.docker(&container.arguments())
    }

    /// Runs a command in a container.
    #[track_caller]
    pub fn exec(&self, container: &str, command: &[&str]) -> String {
        self.docker(&[&["exec", container], command].concat())
    }

    /// Makes a bridge network.
    #[track_caller]
    pub fn network(&self, name: &str) {
        self.docker(&["network", "create", name]);
    }

    /// Makes a bridge network with IPv6, say on `fd00:1::/64`, besides IPv4.
    #[track_caller]
    pub fn network6(&self, name: &str, subnet: &str) {
        self.docker(&["network", "create", "--ipv6", "--subnet", subnet, name]);
    }

    /// What the engine knows of a container, network or image.
    #[track_caller]
    pub fn inspect(&self, name: &str) -> serde_json::Value {
        let mut found: serde_json::Value =
            serde_json::from_str(&self.docker(&["inspect", name])).expect("docker inspect writes JSON");
        found[0].take()
    }

    /// A running container's IPv4 address on a network (`bridge` is the default one).
    #[track_caller]
    pub fn address(&self, container: &str, network: &str) -> IpAddr {
        self.endpoint(container, network, "IPAddress")
    }

    /// A running container's IPv6 address on a network.
    #[track_caller]
    pub fn address6(&self, container: &str, network: &str) -> IpAddr {
        self.endpoint(container, network, "GlobalIPv6Address")
    }

    /// Waits until a container of [`super::NGINX`] answers, and returns where.
    #[track_caller]
    pub fn serving(&self, container: &str, network: &str) -> SocketAddr {
        let address = SocketAddr::from((self.address(container, network), 80));
        eventually(PATIENCE, &format!("{container} to answer"), || http::get(address, container, "/"));
        address
    }

    /// Runs `work` in a container's network. A socket made there stays there, as that of a program in the container.
    #[track_caller]
    pub fn in_network_of<T: Send>(&self, container: &str, work: impl FnOnce() -> T + Send) -> T {
        let pid = self.inspect(container)["State"]["Pid"].as_u64().unwrap_or_default();
        assert_ne!(pid, 0, "{container} does not run");
        self.sandbox.in_network_of(pid, work)
    }

    #[track_caller]
    fn endpoint(&self, container: &str, network: &str, field: &str) -> IpAddr {
        let found = self.inspect(container);
        let address = found["NetworkSettings"]["Networks"][network][field].as_str().unwrap_or_default();
        let Ok(address) = address.parse() else { panic!("{container} has no {field} on {network}") };
        address
    }

    /// Kills dockerd with SIGKILL. Containers run on, as they do when an engine crashes.
    pub fn kill(&mut self) {
        self.stop(Signal::KILL);
    }

    /// Stops dockerd with SIGTERM: it stops its containers first, unless it was started with `--live-restore`.
    pub fn terminate(&mut self) -> ExitStatus {
        self.stop(Signal::TERM)
    }

    fn stop(&mut self, signal: Signal) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("the engine runs");
        daemon.signal(signal);
        let status = daemon.wait_exit(DAEMON_PATIENCE);
        self.await_end_of_containerd();
        status
    }

    /// containerd dies with its dockerd, but a moment later. The next dockerd would take it for alive and wait for it.
    fn await_end_of_containerd(&self) {
        let pid_file = self.sandbox.path("/run/engine/exec/containerd/containerd.pid");
        let Ok(pid) = fs::read_to_string(pid_file) else { return };
        let process = self.sandbox.path(format!("/proc/{}", pid.trim()));
        eventually(DAEMON_PATIENCE, "containerd to end", || {
            if process.exists() { Err("it runs") } else { Ok(()) }
        });
    }

    /// Stops dockerd where it is (SIGSTOP): its sockets stay open and say nothing.
    pub fn freeze(&mut self) {
        self.daemon.as_mut().expect("the engine runs").signal(Signal::STOP);
    }

    /// Lets a frozen dockerd go on.
    pub fn thaw(&mut self) {
        self.daemon.as_mut().expect("the engine runs").signal(Signal::CONT);
    }

    /// The state of dockerd's process, a letter as in `/proc/<pid>/stat`.
    pub fn state(&self) -> char {
        self.daemon.as_ref().expect("the engine runs").state()
    }

    /// Starts dockerd, after [`Self::kill`] or [`Self::terminate`], on the same state and socket. Waits until it answers.
    ///
    /// Without `--live-restore` it stops what containers still run.
    pub fn restart(&mut self) {
        assert!(self.daemon.is_none(), "the engine runs");
        let mut daemon = self.sandbox.spawn("dockerd", self.command());
        let socket = self.sandbox.path(SOCKET);
        eventually(DAEMON_PATIENCE, "dockerd to answer", || match daemon.exited() {
            None => ping(&socket).map_err(|error| error.to_string()),
            Some(status) => panic!("dockerd ended with {status}: {}", daemon.log()),
        });
        self.daemon = Some(daemon);
    }

    fn command(&self) -> Command {
        require("containerd");
        let mut dockerd = self.sandbox.command(require("dockerd"));
        dockerd
            .args(["--config-file", "/run/engine/daemon.json", "--pidfile", "/run/engine/pid"])
            .args(["--data-root", "/run/engine/data", "--exec-root", "/run/engine/exec"])
            .args([
                "--host",
                &format!("unix://{SOCKET}"),
                "--cgroup-parent",
                &format!("/{}", self.sandbox.cgroup()),
            ])
            // Version 20.10 keeps its IPv6 packet filter behind the second flag; without it containers of different
            // networks reach each other by IPv6, which no later version allows.
            .args(["--ip6tables", "--experimental"])
            // At "info" containerd tells of each of its plugins, and a failed test would show nothing else.
            .args(["--log-level", "warn"])
            .args(&self.flags);
        dockerd
    }
}

/// Asks an engine whether it serves.
fn ping(socket: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.contains(" 200 ") { Ok(()) } else { Err(std::io::Error::other(answer)) }
}
