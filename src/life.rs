//! The life of a process that serves: until a signal stops it, or another process takes over.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portolan_config::Settings;
use portolan_discovery::registry;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};

use crate::follow::Followers;
use crate::handover::{self, Ask, Upgrade};
use crate::manager;
use crate::name_server::NameServer;
use crate::reload;
use crate::signals::{Asked, Signals};
use crate::state;
use crate::steer::{Order, Status};

/// How often an entry point is tried whose port a container may just be giving up, and how long between.
const ENTRY_POINT_ATTEMPTS: u32 = 10;
const ENTRY_POINT_RETRY: Duration = Duration::from_millis(50);
/// How long a name server's last answers are waited for.
pub const NAME_SERVER_WAIT: Duration = Duration::from_secs(2);

/// A process that serves.
pub struct Life {
    pub settings: Settings,
    pub signals: Signals,
    pub status: Arc<Status>,
    /// To who steers.
    pub orders: mpsc::Sender<Order>,
    /// Ends when the last connection has, after draining began.
    pub steered: JoinHandle<()>,
    /// From who would take over.
    pub asks: mpsc::Receiver<Ask>,
    /// The sockets that are not the proxy's.
    pub sockets: Vec<OwnedFd>,
    /// To who knows what there is.
    pub kept: mpsc::Sender<registry::Ask>,
    /// What serves them, besides the name server; and what writes to disk.
    pub servers: Vec<AbortHandle>,
    /// What follows the settings.
    pub followers: Followers,
    /// Ends with the last answer of the name server, once that was told to stop.
    pub last_answers: Option<oneshot::Receiver<()>>,
    /// What tells the service manager how things are.
    pub reporting: AbortHandle,
}

impl Life {
    /// Lives; gives the exit code.
    pub async fn live(mut self) -> Result<ExitCode, String> {
        let code = self.serve().await?;
        if code == ExitCode::SUCCESS {
            self.end().await;
        }
        Ok(code)
    }

    /// Waits for the last words, of names and of the access log.
    async fn end(mut self) {
        let server = self.followers.name_server.take();
        if let Some(ended) = self.last_answers.or_else(|| server.and_then(NameServer::stop)) {
            // Whatever query it has taken, nobody else will answer.
            let _ = tokio::time::timeout(NAME_SERVER_WAIT, ended).await;
        }
        self.followers.access_logs.finish();
    }

    async fn serve(&mut self) -> Result<ExitCode, String> {
        let upgrade = Upgrade::default();
        loop {
            tokio::select! {
                asked = self.signals.next() => match asked {
                    Asked::Stop(signal) => return Ok(self.stop(signal).await),
                    Asked::Reload => {
                        manager::reloading();
                        self.reload().await;
                        manager::serving();
                    }
                    Asked::Upgrade => upgrade.begin(),
                },
                Some(ask) = self.asks.recv() => match ask {
                    Ask::Sockets(answer) => drop(answer.send(self.all_sockets().await)),
                    Ask::Leave(pid) => return Ok(self.leave(pid).await),
                },
                ended = &mut self.steered => {
                    return Err(format!("steering ended: {}", ended.map_or_else(|error| error.to_string(), |()| "too early".to_owned())));
                }
            }
        }
    }

    /// Follows the settings as they are written now, as far as that can be done; says what can't.
    async fn reload(&mut self) {
        let reread = match reload::read(&self.settings) {
            Ok(reread) => reread,
            Err(faults) => return tracing::error!(%faults, "the settings are at fault; nothing changes"),
        };
        let reload::Reread { mut settings, at_restart } = reread;
        // A published port that now is an entry point's is closed a moment after it is told.
        self.followers.follow(&self.settings, &mut settings, &self.orders, &self.kept).await;
        let mut attempts = ENTRY_POINT_ATTEMPTS;
        let errors = loop {
            let (answer, answered) = oneshot::channel();
            let _ = self.orders.send(Order::EntryPoints(settings.entry_points.clone(), answer)).await;
            let errors = answered.await.unwrap_or_default();
            if errors.is_empty() || attempts == 0 {
                break errors;
            }
            attempts -= 1;
            tokio::time::sleep(ENTRY_POINT_RETRY).await;
        };
        for error in errors {
            tracing::error!(%error, "an entry point is as it was");
        }
        self.settings = settings;
        self.status.entry_points.store(Arc::new(self.settings.entry_points.clone()));
        if !at_restart.is_empty() {
            tracing::warn!(
                options = at_restart.join(", "),
                "these can't change while the process runs; SIGUSR2 starts it anew without losing a request, but where the \
                 admin address changes"
            );
        }
        tracing::info!(entry_points = self.settings.entry_points.len(), "the settings were read again");
    }

    async fn all_sockets(&self) -> io::Result<Vec<OwnedFd>> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Sockets(answer)).await;
        let mut sockets = answered.await.map_err(io::Error::other)??;
        for socket in &self.sockets {
            sockets.push(socket.try_clone()?);
        }
        if let Some(server) = &self.followers.name_server {
            sockets.extend(server.handles()?);
        }
        if let Some(kept) = state::ask(&self.kept).await {
            // It may be large, and others wait for this thread.
            let put = tokio::task::spawn_blocking(move || handover::memory::put(&kept)).await;
            match put.map_err(io::Error::other).flatten() {
                Ok(memory) => sockets.push(memory),
                Err(error) => tracing::warn!(%error, "what is known can't be handed over"),
            }
        }
        Ok(sockets)
    }

    /// Stops as it was told to, and waits for what is in progress.
    async fn stop(&mut self, signal: &'static str) -> ExitCode {
        // Nobody takes over from a process that ends.
        self.asks.close();
        self.status.draining.store(true, Ordering::Relaxed);
        manager::stopping();
        let grace = self.settings.accept_grace;
        if !grace.is_zero() {
            tracing::info!(signal, ?grace, "told to stop; new requests are still taken");
            tokio::select! {
                () = tokio::time::sleep(grace) => {}
                signal = self.signals.stop() => return at_once(signal),
            }
        }
        tracing::info!(signal, deadline = ?self.settings.drain_timeout, "draining");
        self.drain().await
    }

    async fn drain(&mut self) -> ExitCode {
        let _ = self.orders.send(Order::Drain).await;
        tokio::select! {
            ended = tokio::time::timeout(self.settings.drain_timeout, &mut self.steered) => {
                match ended {
                    Ok(_) => tracing::info!("drained"),
                    Err(_) => tracing::warn!("the deadline is over; connections still open are cut off"),
                }
                ExitCode::SUCCESS
            }
            signal = self.signals.stop() => at_once(signal),
        }
    }

    /// Leaves all further work to another process; what was begun goes on for as long as it may.
    async fn leave(&mut self, pid: Option<u32>) -> ExitCode {
        self.status.draining.store(true, Ordering::Relaxed);
        for server in self.servers.drain(..) {
            server.abort();
        }
        self.sockets.clear();
        self.last_answers = self.followers.name_server.take().and_then(NameServer::stop);
        self.reporting.abort();
        if let Some(pid) = pid {
            manager::handed_over(pid);
        }
        let deadline: Duration = self.settings.takeover_timeout;
        tracing::info!(?pid, ?deadline, "another process has taken over; what was begun here goes on");
        let _ = self.orders.send(Order::Leave).await;
        let still_open = tokio::select! {
            ended = tokio::time::timeout(deadline, &mut self.steered) => ended.is_err(),
            signal = self.signals.stop() => {
                tracing::info!(signal, "told to stop");
                true
            }
        };
        if still_open {
            return self.drain().await;
        }
        tracing::info!("drained");
        ExitCode::SUCCESS
    }
}

fn at_once(signal: &str) -> ExitCode {
    tracing::warn!(signal, "told to stop at once");
    ExitCode::from(2)
}
