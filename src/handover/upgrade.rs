//! Starts this program again, as it is on disk now, to take over from this process.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What tells the new process to take over.
const TAKEOVER: &str = "--takeover";

/// Starts successors, one at a time.
#[derive(Debug, Default)]
pub struct Upgrade {
    running: Arc<AtomicBool>,
}

impl Upgrade {
    /// Starts the program by the name and with the arguments that this process was started with. It says in the log what
    /// becomes of it; this process goes on until it is taken over.
    pub fn begin(&self) {
        if std::process::id() == 1 {
            return tracing::error!(
                "this is the first process of its container, which would end with it: start a second container with \
                 `--takeover`, in the same network, instead"
            );
        }
        if self.running.swap(true, Ordering::AcqRel) {
            return tracing::warn!("a new process has been started already, and has not taken over yet");
        }
        let started = start();
        let running = self.running.clone();
        let waiting = started.and_then(|(mut child, program)| {
            tracing::info!(pid = child.id(), ?program, "a new process was started to take over");
            // Nothing else collects it, should it end before this one does.
            std::thread::Builder::new().name("successor".to_owned()).spawn(move || {
                let ended = child.wait();
                tracing::error!(?ended, "the new process ended; this one goes on");
                running.store(false, Ordering::Release);
            })
        });
        if let Err(error) = waiting {
            self.running.store(false, Ordering::Release);
            tracing::error!(%error, "no new process could be started; this one goes on");
        }
    }
}

fn start() -> std::io::Result<(std::process::Child, OsString)> {
    let mut arguments = std::env::args_os();
    // Its name, and not the file that runs, which may have been replaced.
    let program = arguments.next().ok_or(std::io::ErrorKind::NotFound)?;
    let mut arguments: Vec<OsString> = arguments.collect();
    if !arguments.iter().any(|argument| argument == TAKEOVER) {
        arguments.push(TAKEOVER.into());
    }
    let child = Command::new(&program).args(arguments).stdin(Stdio::null()).spawn()?;
    Ok((child, program))
}
