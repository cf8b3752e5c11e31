//! Signals: the first SIGTERM or SIGINT begins to drain, the second does not wait; SIGHUP has the settings read
//! again, SIGUSR2 starts a successor.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that the process takes.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
    upgrade: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To stop; by the signal of this name.
    Stop(&'static str),
    /// To read the settings again.
    Reload,
    /// To be taken over by the program as it is on disk.
    Upgrade,
}

impl Signals {
    /// Takes the signals over, from now on.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.reload.recv() => Asked::Reload,
            _ = self.upgrade.recv() => Asked::Upgrade,
        }
    }

    /// Waits for the next one that asks to stop; gives its name.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            if let Asked::Stop(signal) = self.next().await {
                return signal;
            }
        }
    }
}
