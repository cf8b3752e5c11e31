//! `portolan run` and `portolan demo`: joins the parts, serves until told to stop.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portolan_config::{Protocol, Settings};
use portolan_discovery::chart::{Policy, Reserved};
use portolan_discovery::provider::demo::{Demo, DemoControl};
use portolan_discovery::provider::docker::{self, ConnectError, Docker};
use portolan_discovery::provider::file::File;
use portolan_discovery::{Provider, Registry, Snapshot, Update};
use portolan_dns as dns;
use portolan_proxy::access_log::{AccessLog, Writer};
use portolan_proxy::{Proxy, ProxySettings};
use tokio::sync::{mpsc, oneshot, watch};

use crate::admin::{self, Admin};
use crate::banner;
use crate::cli::{RunOptions, ServeOptions, Source};
use crate::limits;
use crate::logging;
use crate::steer::{Status, Steering};
use crate::stop::StopSignals;

/// Updates that may wait for the registry; a provider that is faster than that waits.
const UPDATES_MAX: usize = 4096;
/// Replicas of the demo's service.
const DEMO_REPLICAS: usize = 3;

/// Serves what the engine runs, or the demo.
pub fn run(options: &RunOptions) -> Result<ExitCode, String> {
    serve(&options.serve, options.source)
}

/// Serves the demo.
pub fn demo(options: &ServeOptions) -> Result<ExitCode, String> {
    serve(options, Source::Demo)
}

fn serve(options: &ServeOptions, source: Source) -> Result<ExitCode, String> {
    let settings = options.settings.resolve()?;
    logging::start(&options.log)?;
    limits::raise_open_files();
    // The control plane has this thread to itself.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime can't start: {error}"))?;
    runtime.block_on(serve_until_stopped(&settings, source))
}

async fn serve_until_stopped(settings: &Settings, source: Source) -> Result<ExitCode, String> {
    let mut signals = StopSignals::listen().map_err(|error| format!("signals can't be had: {error}"))?;
    let source = choose(source, settings).await?;
    let registry = prometheus::Registry::new();
    let fault = |error: prometheus::Error| format!("metrics can't be registered: {error}");
    let discovery_metrics = portolan_discovery::Metrics::register(&registry).map_err(fault)?;
    let proxy_metrics = portolan_proxy::Metrics::register(&registry).map_err(fault)?;
    let status = Arc::new(Status::new());
    admin::metrics::register(&registry, &status).map_err(fault)?;

    // Every socket is had before anything is served: nothing is left half started.
    let admin_listener = admin::bind(settings.admin)
        .map_err(|error| format!("the admin address can't be had: {}: {error}", settings.admin))?;
    let (zone, name_server) = match &settings.dns {
        None => (None, None),
        Some(dns_settings) => {
            let (zone, server) = bind_dns(dns_settings, &registry)?;
            (Some(zone), Some(server))
        }
    };
    let (access_log, log_writer) = start_access_log(settings, &registry)?.unzip();
    let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let proxy_settings = ProxySettings {
        entry_points: settings.entry_points.clone(),
        workers: settings.workers,
        host_name,
        access_log,
    };
    let proxy = Proxy::start(&proxy_settings, proxy_metrics).map_err(|error| error.to_string())?;
    // The workers alone hold on to the access log from here: it ends with the last of them.
    drop(proxy_settings);
    if let Some(server) = name_server {
        serve_dns(server)?;
    }

    let (updates, received) = mpsc::channel(UPDATES_MAX);
    let (publisher, snapshots) = watch::channel(Arc::new(Snapshot::default()));
    let mut providers = Vec::new();
    if let Some(source) = &settings.file {
        let file = File::new(source.clone(), discovery_metrics.clone());
        providers.push(file.name());
        tokio::spawn(file.run(updates.clone()));
    }
    let (provider, demo) = observe(source, settings, &discovery_metrics, updates);
    providers.push(provider);
    tokio::spawn(Registry::new(policy(settings), providers).run(received, publisher));
    let admin = Admin { registry, status: status.clone(), settings: settings.clone(), demo };
    tokio::spawn(admin.serve(admin_listener));
    tokio::spawn(banner::show_when_ready(settings.clone(), source, status.clone()));

    let (stop, stopped) = oneshot::channel();
    let steering = Steering { proxy, zone, metrics: discovery_metrics, status: status.clone() };
    let steered = tokio::spawn(steering.follow(snapshots, async { stopped.await.unwrap_or(()) }));
    let signal = signals.next().await;
    status.draining.store(true, Ordering::Relaxed);
    tracing::info!(signal, deadline = ?settings.drain_timeout, "draining");
    let _ = stop.send(());
    let proxy = steered.await.map_err(|error| format!("steering ended: {error}"))?;
    let code = drain(proxy, settings.drain_timeout, &mut signals).await;
    if let Some(writer) = log_writer
        && code == ExitCode::SUCCESS
    {
        writer.finish();
    }
    Ok(code)
}

/// Waits for the last connection, the deadline, or somebody who does not want to wait.
async fn drain(proxy: Proxy, deadline: Duration, signals: &mut StopSignals) -> ExitCode {
    tokio::select! {
        drained = tokio::time::timeout(deadline, proxy.drain()) => {
            match drained {
                Ok(()) => tracing::info!("drained"),
                Err(_) => tracing::warn!("the deadline is over; connections still open are cut off"),
            }
            ExitCode::SUCCESS
        }
        signal = signals.next() => {
            tracing::warn!(signal, "told to stop at once");
            ExitCode::from(2)
        }
    }
}

/// Decides between engine and demo, where that was left open.
async fn choose(source: Source, settings: &Settings) -> Result<Source, String> {
    if source == Source::Demo {
        return Ok(source);
    }
    match docker::probe(settings.docker.host.as_deref()).await {
        Ok(_) => Ok(Source::Docker),
        // What more waiting would not mend.
        Err(
            error @ (ConnectError::PermissionDenied { .. }
            | ConnectError::Unsupported { .. }
            | ConnectError::Tls { .. }
            | ConnectError::ApiVersion(_)),
        ) => Err(error.to_string()),
        Err(error) if source == Source::Auto => {
            println!("No container engine, so here is the demo: {error}");
            Ok(Source::Demo)
        }
        Err(error) => {
            tracing::warn!(%error, "waiting for the container engine (`portolan demo` needs none)");
            Ok(Source::Docker)
        }
    }
}

/// Starts the provider; gives its name, and what steers the demo.
fn observe(
    source: Source,
    settings: &Settings,
    metrics: &portolan_discovery::Metrics,
    updates: mpsc::Sender<Update>,
) -> (portolan_discovery::ProviderName, Option<DemoControl>) {
    if source == Source::Demo {
        let (demo, control) = Demo::new(DEMO_REPLICAS, metrics.clone());
        let name = demo.name();
        tokio::spawn(demo.run(updates));
        return (name, Some(control));
    }
    let docker = Docker::new(settings.docker.host.clone(), metrics.clone());
    let name = docker.name();
    tokio::spawn(docker.run(updates));
    (name, None)
}

/// What the chart must heed of the settings.
pub fn policy(settings: &Settings) -> Policy {
    let reserve = |name: String, address, protocol| Reserved { name, address, protocol };
    let mut reserved = vec![reserve("the admin address".to_owned(), settings.admin, Protocol::Tcp)];
    for entry_point in &settings.entry_points {
        reserved.push(reserve(
            format!("entry point {}", entry_point.name),
            entry_point.address,
            Protocol::Tcp,
        ));
    }
    if let Some(dns) = &settings.dns {
        reserved.push(reserve("the DNS server".to_owned(), dns.address, Protocol::Udp));
        reserved.push(reserve("the DNS server".to_owned(), dns.address, Protocol::Tcp));
    }
    Policy {
        exposed_by_default: settings.docker.exposed_by_default,
        network: settings.docker.network.clone(),
        reserved,
        ..Policy::default()
    }
}

/// Opens the access log, where one is asked for.
fn start_access_log(
    settings: &Settings,
    registry: &prometheus::Registry,
) -> Result<Option<(AccessLog, Writer)>, String> {
    let Some(wanted) = &settings.access_log else { return Ok(None) };
    let shown =
        wanted.file.as_ref().map_or_else(|| "standard output".to_owned(), |file| file.display().to_string());
    AccessLog::start(wanted, registry)
        .map(Some)
        .map_err(|error| format!("--access-log: {shown} can't be written: {error}"))
}

type Zone = (dns::Compiler, dns::SharedZone, dns::Metrics);

/// Takes the address of the name server.
fn bind_dns(
    settings: &portolan_config::settings::Dns,
    registry: &prometheus::Registry,
) -> Result<(Zone, dns::Server), String> {
    let metrics = dns::Metrics::register(registry).map_err(|error| error.to_string())?;
    let zone = dns::zone::shared(settings);
    let server = dns::Server::bind(settings, zone.clone(), metrics.clone())
        .map_err(|error| format!("{error}; choose another with --dns-address, or `off`"))?;
    Ok(((dns::Compiler::new(settings), zone, metrics), server))
}

/// Starts the name server, on a thread of its own.
fn serve_dns(server: dns::Server) -> Result<(), String> {
    let thread = std::thread::Builder::new().name("dns".to_owned());
    let run = move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(server.run(std::future::pending()))
    };
    thread
        .spawn(move || {
            if let Err(error) = run() {
                tracing::error!(%error, "the name server ended");
            }
        })
        .map_err(|error| format!("the DNS thread can't start: {error}"))?;
    Ok(())
}
