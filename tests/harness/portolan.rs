//! The built binary, running beside the engine.

use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, SOCKET};
use super::http::{self, Response};
use super::metrics;
use super::process::{self, Process, Signal};
use super::sandbox::Sandbox;
use super::tools::require;
use super::wait::{PATIENCE, eventually};

/// Where the admin server listens unless flags say otherwise. Fixed ports are free: the network is the test's own.
pub const ADMIN: &str = "127.0.0.1:9080";
/// Where the first entry point listens.
pub const ENTRY_POINT: &str = "127.0.0.1:8000";
/// Where the DNS server listens.
pub const NAME_SERVER: &str = "127.0.0.1:1053";

/// `portolan run` in the sandbox of the test's thread. Dropping it kills it.
#[derive(Debug)]
pub struct Portolan {
    process: Process,
    admin: SocketAddr,
}

impl Portolan {
    /// Starts `portolan run` with these flags, and waits until it is ready. Without an engine it finds none.
    #[track_caller]
    pub fn start<'a>(engine: impl Into<Option<&'a Engine>>, flags: &[&str]) -> Self {
        let mut portolan = Self::spawn(engine, flags);
        portolan.await_ready();
        portolan
    }

    /// The same without waiting, for a test of the start itself.
    pub fn spawn<'a>(engine: impl Into<Option<&'a Engine>>, flags: &[&str]) -> Self {
        Self::spawn_by(&[], engine.into(), flags)
    }

    /// The same as root without a capability: `net_admin`.
    #[track_caller]
    pub fn start_without<'a>(
        capability: &str,
        engine: impl Into<Option<&'a Engine>>,
        flags: &[&str],
    ) -> Self {
        let setpriv = require("setpriv").display().to_string();
        let without = [format!("--bounding-set=-{capability}"), format!("--inh-caps=-{capability}")];
        let mut portolan = Self::spawn_by(&[&setpriv, &without[0], &without[1]], engine.into(), flags);
        portolan.await_ready();
        portolan
    }

    /// Starts it by a command that starts another.
    fn spawn_by(by: &[&str], engine: Option<&Engine>, flags: &[&str]) -> Self {
        let sandbox = engine.map_or_else(Sandbox::enter, |engine| Arc::clone(engine.sandbox()));
        let mut words = by.iter().copied().map(Path::new).chain([Self::binary()]);
        let mut command = sandbox.command(words.next().expect("there is the binary at least"));
        command.args(words);
        // What the user has set for their own portolan is not the test's.
        for (variable, _) in env::vars_os() {
            let name = variable.to_string_lossy();
            if ["PORTOLAN_", "TRAEFIK_", "DOCKER_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(&variable);
            }
        }
        if engine.is_some() {
            command.env("DOCKER_HOST", format!("unix://{SOCKET}"));
        }
        command.arg("run").args(flags);
        let admin = ADMIN.parse().expect("the default address is one");
        Self { process: sandbox.spawn("portolan", command), admin }
    }

    /// The program under test.
    pub fn binary() -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_portolan"))
    }

    /// Asks the admin server at another address, which a flag has given it.
    #[must_use]
    pub fn admin_at(mut self, admin: &str) -> Self {
        self.admin = admin.parse().expect("an address and a port");
        self
    }

    /// Waits until `/readyz` answers 200.
    #[track_caller]
    pub fn await_ready(&mut self) {
        eventually(PATIENCE, "portolan to be ready", || {
            if let Some(status) = self.process.exited() {
                panic!("portolan ended with {status}: {}", self.logs());
            }
            match self.admin("/readyz") {
                Ok(ready) if ready.status == 200 => Ok(()),
                Ok(not_yet) => Err(format!("/readyz answers {}: {}", not_yet.status, not_yet.text())),
                Err(error) => Err(error.to_string()),
            }
        });
    }

    /// Asks the admin server for a path.
    pub fn admin(&self, path: &str) -> std::io::Result<Response> {
        http::get(self.admin, "admin", path)
    }

    /// All metrics, as Prometheus reads them.
    #[track_caller]
    pub fn metrics(&self) -> String {
        self.expect_ok("/metrics").text()
    }

    /// The sum of the samples that a selector matches: a name, or `name{label="value"}` with some of its labels.
    ///
    /// 0 when there is none: counters with labels appear when they first count.
    #[track_caller]
    pub fn metric(&self, selector: &str) -> f64 {
        metrics::sum(&self.metrics(), selector)
    }

    /// What the registry has published last.
    #[track_caller]
    pub fn snapshot(&self) -> serde_json::Value {
        let snapshot = self.expect_ok("/api/snapshot");
        serde_json::from_slice(&snapshot.body).expect("the snapshot is JSON")
    }

    #[track_caller]
    fn expect_ok(&self, path: &str) -> Response {
        // No closure: a panic in one would not be reported at the caller's line.
        match self.admin(path) {
            Ok(response) if response.status == 200 => response,
            other => panic!("GET {path} of the admin server: {other:?}"),
        }
    }

    /// All that it has logged.
    pub fn logs(&self) -> String {
        self.process.log()
    }

    /// Its pid, for `/proc`.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Has the process of this pid, this one or one that took over from it, replace itself; gives the pid of the new one
    /// once that has taken over.
    #[track_caller]
    pub fn upgrade(&self, pid: u32) -> u32 {
        let taken = |log: String| log.matches("has taken over\"").count();
        let before = taken(self.logs());
        process::signal(pid, Signal::USR2);
        let successor = eventually(PATIENCE, "a new process", || process::only_child(pid).ok_or("none yet"));
        eventually(PATIENCE, "it to take over", || match taken(self.logs()) {
            now if now > before => Ok(()),
            _ => Err(self.logs()),
        });
        successor
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Asks it to stop (SIGTERM), without waiting.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Waits for its end. Panics after `deadline`.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        self.process.wait_exit(deadline)
    }
}
