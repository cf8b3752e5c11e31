//! The service manager (systemd): sockets that it has bound, and what it is told. Where there is none, nothing happens.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::banner::count;
use crate::steer::Status;

/// How often it is told how things are, at least.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// The sockets of socket activation (`LISTEN_FDS`). Others than for TCP and UDP are said, and left.
pub fn sockets() -> Vec<OwnedFd> {
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..given.len() {
        let tcp = given.take_tcp_listener(index).ok().flatten().map(OwnedFd::from);
        let socket = tcp.or_else(|| given.take_udp_socket(index).ok().flatten().map(OwnedFd::from));
        match socket {
            Some(socket) => sockets.push(socket),
            None => tracing::warn!(index, "a socket of the service manager is neither for TCP nor for UDP"),
        }
    }
    sockets
}

/// Says that the process serves, and from then on how it stands; keeps the watchdog quiet.
pub async fn report(status: Arc<Status>) {
    serving();
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    // Twice in its time, as sd_watchdog_enabled(3) asks for.
    let every = watchdog.map_or(STATUS_EVERY, |time| (time / 2).min(STATUS_EVERY));
    let mut tick = tokio::time::interval(every.max(Duration::from_millis(1)));
    let mut said = String::new();
    loop {
        tick.tick().await;
        if watchdog.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
        let now = describe(&status);
        if now != said {
            tell(&[NotifyState::Status(&now)]);
            said = now;
        }
    }
}

fn describe(status: &Status) -> String {
    let not_ready = status.not_ready();
    if !not_ready.is_empty() {
        return not_ready.join("; ");
    }
    let snapshot = status.snapshot.load();
    let endpoints: usize = snapshot.services.iter().map(|service| service.endpoints.len()).sum();
    let faults = status.faults.load().len();
    let (services, endpoints) = (count(snapshot.services.len(), "service"), count(endpoints, "endpoint"));
    format!("serving {services}, {endpoints}, {}", count(faults, "fault"))
}

/// Says that the settings are read again, until the next [`serving`].
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Says that the process serves.
pub fn serving() {
    tell(&[NotifyState::Ready]);
}

/// Says that the process drains.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Says that another process is the service's main one from now on.
pub fn handed_over(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager can't be told");
    }
}
