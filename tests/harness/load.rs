//! Steady load while a test changes what runs, and what became of every request.

use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io};

use super::process::{Process, Signal};
use super::sandbox::Sandbox;
use super::tools::require;
use super::wait::{PATIENCE, eventually};

/// wrk, sending requests from the sandbox of the thread that started it, until it is stopped.
#[derive(Debug)]
pub struct Load {
    wrk: Process,
}

/// What wrk counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Answers received.
    pub requests: u64,
    /// Connections that could not be opened.
    pub connect_errors: u64,
    /// Connections that broke or closed in the middle of an answer.
    pub read_errors: u64,
    /// Requests that could not be sent.
    pub write_errors: u64,
    /// Answers that took longer than wrk waits: 2 s.
    pub timeouts: u64,
    /// Answers with a status of 400 and more; wrk counts 3xx as good.
    pub refusals: u64,
    /// Answers in a second.
    pub per_second: f64,
    /// All of what wrk wrote, latencies among it.
    pub text: String,
}

impl Load {
    /// Keeps `connections` busy with `GET url`, asking for `host`.
    pub fn start(url: &str, host: &str, connections: u32) -> Self {
        Self::start_with(
            url,
            &["--connections", &connections.to_string(), "--header", &format!("Host: {host}")],
        )
    }

    /// The same with any options of wrk. One thread, unless they say otherwise: the machine has other work to do.
    pub fn start_with(url: &str, options: &[&str]) -> Self {
        // Each run has a log of its own, because the log is the report.
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let sandbox = Sandbox::enter();
        let mut wrk = sandbox.command(require("wrk"));
        // An hour is "until stopped": SIGINT makes it write its report.
        wrk.args(["--threads", "1", "--duration", "1h", "--latency"]).args(options).arg(url);
        let mut wrk = sandbox.spawn(&format!("wrk-{run}"), wrk);
        eventually(PATIENCE, "wrk to catch SIGINT", || match wrk.exited() {
            None if catches_interrupt(wrk.pid()) => Ok(()),
            None => Err("it would die of it"),
            Some(status) => panic!("wrk ended with {status}: {}", wrk.log()),
        });
        Self { wrk }
    }

    /// Stops the load. Panics if wrk could not run.
    #[track_caller]
    pub fn stop(mut self) -> Report {
        self.wrk.signal(Signal::INT);
        let status = self.wrk.wait_exit(PATIENCE);
        let text = self.wrk.log();
        match Report::parse(&text) {
            Ok(report) => report,
            Err(error) => panic!("wrk ended with {status}, {error}: {text}"),
        }
    }
}

impl Report {
    /// Requests that got no good answer.
    pub fn failures(&self) -> u64 {
        self.connect_errors + self.read_errors + self.write_errors + self.timeouts + self.refusals
    }

    fn parse(text: &str) -> io::Result<Self> {
        let mut report = Self { text: text.to_owned(), ..Self::default() };
        let mut finished = false;
        for line in text.lines().map(str::trim) {
            let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
            match words[..] {
                [requests, "requests", "in", ..] => {
                    report.requests = number(requests)?;
                    finished = true;
                }
                [
                    "Socket",
                    "errors:",
                    "connect",
                    connect,
                    "read",
                    read,
                    "write",
                    write,
                    "timeout",
                    timeout,
                ] => {
                    report.connect_errors = number(connect)?;
                    report.read_errors = number(read)?;
                    report.write_errors = number(write)?;
                    report.timeouts = number(timeout)?;
                }
                ["Non-2xx", "or", "3xx", "responses:", refusals] => report.refusals = number(refusals)?,
                ["Requests/sec:", rate] => report.per_second = number(rate)?,
                _ => {}
            }
        }
        if finished { Ok(report) } else { Err(io::Error::other("it wrote no report")) }
    }
}

/// Whether a process has a handler for SIGINT: before that, wrk would die of the signal and report nothing.
fn catches_interrupt(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim);
    caught.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & 0b10 != 0)
}

fn number<T: std::str::FromStr>(word: &str) -> io::Result<T> {
    word.parse().map_err(|_| io::Error::other(format!("not a number: {word}")))
}

/// A fast run is over before the first line is expected, so the wording is held here.
#[test]
fn a_report_is_read_whole() {
    let text = "Running 1h test @ http://127.0.0.1/\n  1 threads and 4 connections\n  Latency Distribution\n     99%    1.05ms\n  \
                120 requests in 0.50s, 1.1MB read\n  Socket errors: connect 1, read 2, write 3, timeout 4\n  \
                Non-2xx or 3xx responses: 5\nRequests/sec:    240.50\nTransfer/sec:      2.20MB\n";
    let report = Report::parse(text).expect("a report");
    let counts =
        [report.connect_errors, report.read_errors, report.write_errors, report.timeouts, report.refusals];
    assert_eq!((report.requests, counts, report.failures()), (120, [1, 2, 3, 4, 5], 15));
    assert!(Report::parse("unable to connect to 127.0.0.1:80 Connection refused").is_err());
}
