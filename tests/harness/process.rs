//! A process in a sandbox: its real pid, its log, its end.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

use super::sandbox::Sandbox;
use super::wait::{PATIENCE, eventually};

/// How much of a log a failed test shows.
const SHOWN_LINES: usize = 60;

/// A process that the sandbox runs. Dropping it kills it; when a test fails, that shows the end of its log.
#[derive(Debug)]
pub struct Process {
    name: String,
    /// nsenter, which waits for the process and ends as it ends.
    parent: Child,
    /// The process itself, unless it ended at once.
    pid: Option<u32>,
    log: PathBuf,
    // Last: the log is in the sandbox.
    sandbox: Arc<Sandbox>,
}

impl Process {
    pub(super) fn spawn(sandbox: Arc<Sandbox>, name: &str, mut command: Command) -> Self {
        let log = sandbox.path(format!("/run/log/{name}.log"));
        // Appending, because a restarted process continues the log of the one before.
        let file = File::options().create(true).append(true).open(&log).expect("open a log in the sandbox");
        let errors = file.try_clone().expect("a second handle of the log");
        let mut parent = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        let pid = eventually(PATIENCE, "nsenter to fork", || match only_child(parent.id()) {
            Some(pid) => Ok(Some(pid)),
            None if matches!(parent.try_wait(), Ok(Some(_))) => Ok(None),
            None => Err("it has not"),
        });
        Self { name: name.to_owned(), parent, pid, log, sandbox }
    }

    /// Its pid as the test sees it, for `/proc`. Panics if it ended as soon as it started.
    pub fn pid(&self) -> u32 {
        self.pid.unwrap_or_else(|| panic!("{} ended at once: {}", self.name, self.log()))
    }

    /// Sends a signal to it, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        let Some(pid) = self.pid.filter(|_| self.exited().is_none()) else { return };
        // Losing the race against its end is no error.
        let _ = kill_process(raw(pid), signal);
        // nsenter stops itself when its child is stopped, and then would not see the end of it.
        if matches!(signal, Signal::CONT | Signal::KILL) {
            let _ = kill_process(raw(self.parent.id()), Signal::CONT);
        }
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.parent.try_wait().expect("ask for the end of a child")
    }

    /// Waits for its end. Panics after `deadline`.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} to exit", self.name);
        eventually(deadline, &what, || self.exited().ok_or("it runs"))
    }

    /// What the kernel says it does: `R` runs, `S` sleeps, `T` is stopped, `Z` waits to be collected.
    pub fn state(&self) -> char {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // The state follows the program's name, which is in parentheses and may hold anything.
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('X')
    }

    /// All that it has written to standard output and standard error.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The sandbox that it runs in.
    pub fn sandbox(&self) -> &Arc<Sandbox> {
        &self.sandbox
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.parent.wait();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
            eprintln!("--- the end of the log of {} ---\n{shown}\n---", self.name);
        }
    }
}

/// Sends a signal to a process of any sandbox, by its pid as the test sees it, unless it has ended.
pub fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(raw(pid), signal);
}

/// The one child of a process, if it has one.
pub(super) fn only_child(parent: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn raw(pid: u32) -> Pid {
    let pid = pid.try_into().expect("a pid fits its type");
    Pid::from_raw(pid).expect("a pid is not 0")
}
