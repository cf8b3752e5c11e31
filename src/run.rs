//! `portolan run` and `portolan demo`: joins the parts, serves until told to stop.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use portolan_config::{Protocol, Settings};
use portolan_discovery::chart::{Policy, Reserved};
use portolan_discovery::provider::docker::{self, ConnectError};
use portolan_discovery::{Kept, Registry, Snapshot};
use portolan_dns as dns;
use portolan_proxy::{Inherited, Proxy, ProxySettings};
use tokio::sync::{mpsc, watch};

use crate::admin::{self, Admin, Shown};
use crate::banner;
use crate::cli::Source;
use crate::command::say::say;
use crate::follow::{AccessLogs, Followers, policies};
use crate::gather::{self, Gathered};
use crate::handover::{self, Takeover};
use crate::life::Life;
use crate::limits;
use crate::logging::{self, Logging};
use crate::manager;
use crate::name_server::NameServer;
use crate::signals::Signals;
use crate::sources::{Sources, Started};
use crate::state::{self, StateDirectory};
use crate::steer::{Order, Status, Steering};

/// Updates that may wait for the registry; a provider that is faster than that waits.
const UPDATES_MAX: usize = 4096;
/// Orders that may wait for the one who steers.
const ORDERS_MAX: usize = 16;
/// How long a process that was started by the service manager for a client lets that wait for the first complete list.
const ACTIVATED_WAIT: Duration = Duration::from_secs(10);
/// How long what an earlier process kept lets clients wait until it is known whether it is needed.
const KEPT_WAIT: Duration = Duration::from_secs(3);

/// Serves what the engine runs, or the demo.
pub fn run(gathered: &Gathered, source: Source, takeover: bool) -> Result<ExitCode, String> {
    // Before any thread is started: it takes variables out of the environment.
    let given = manager::sockets();
    let settings = gathered.settings().map_err(|faults| gather::lines(&faults))?;
    let logging = logging::start(&settings.log)?;
    say_what_was_read(gathered);
    limits::raise_open_files();
    // The control plane has this thread to itself.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime can't start: {error}"))?;
    runtime.block_on(serve_until_stopped(&settings, source, given, takeover, logging))
}

/// Which file was read, and what of the settings asks for nothing.
fn say_what_was_read(gathered: &Gathered) {
    if let Some(file) = &gathered.file {
        tracing::info!(file = %file.display(), "settings are read from a file");
    }
    for warning in gathered.written.warnings() {
        tracing::warn!(origin = warning.origin, option = warning.key, "{}", warning.message);
    }
    let lacking = gathered.written.not_implemented();
    if !lacking.is_empty() {
        let named: Vec<String> = lacking
            .iter()
            .map(|fault| match fault.origin.as_str() {
                "flag" | "environment" => fault.key.clone(),
                place => format!("{} ({place})", fault.key),
            })
            .collect();
        tracing::warn!(
            options = named.join(", "),
            "Portolan can't do these yet, and goes on as if they were not written"
        );
    }
}

async fn serve_until_stopped(
    settings: &Settings,
    source: Source,
    given: Vec<OwnedFd>,
    takeover: bool,
    logging: Logging,
) -> Result<ExitCode, String> {
    let signals = Signals::listen().map_err(|error| format!("signals can't be had: {error}"))?;
    let source = choose(source, settings).await?;
    let registry = prometheus::Registry::new();
    let fault = |error: prometheus::Error| format!("metrics can't be registered: {error}");
    let discovery_metrics = portolan_discovery::Metrics::register(&registry).map_err(fault)?;
    let proxy_metrics = portolan_proxy::Metrics::register(&registry).map_err(fault)?;
    let status = Arc::new(Status::new());
    status.entry_points.store(Arc::new(settings.entry_points.clone()));
    admin::metrics::register(&registry, &status).map_err(fault)?;

    let is_awaited = !given.is_empty();
    let Inheritance { takeover, mut inherited, kept } = inherit(settings, given, takeover)?;
    // Every socket is had before anything is served: nothing is left half started.
    let admin_listener = admin::bind(settings.admin, "--admin-address", &mut inherited)
        .map_err(|error| format!("the admin address can't be had: {}: {error}", settings.admin))?;
    let traefik_listener = bind_traefik(settings, &mut inherited)?;
    let handle = |listener: &std::net::TcpListener| listener.try_clone().map(OwnedFd::from);
    let sockets = [Some(&admin_listener), traefik_listener.as_ref()]
        .into_iter()
        .flatten()
        .map(handle)
        .collect::<io::Result<Vec<OwnedFd>>>()
        .map_err(|error| error.to_string())?;
    let directory = settings.state_directory.as_deref();
    let directory = directory.map(|path| StateDirectory::open(path, &registry)).transpose()?;
    // What a process knows that runs is newer than what it last wrote.
    let kept = kept.or_else(|| directory.as_ref()?.read()).filter(|_| source != Source::Demo);
    let is_kept = kept.as_ref().is_some_and(|kept| !kept.sources.is_empty());
    let names = settings.dns.as_ref().map(|settings| {
        let metrics = dns::Metrics::register(&registry).map_err(|error| error.to_string())?;
        NameServer::bind(settings, metrics, &mut inherited)
    });
    let (zone, mut name_server) = names.transpose()?.unzip();
    let mut access_logs = AccessLogs::new(&registry);
    let access_log = access_logs.open(settings.access_log.as_ref())?;
    let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let proxy_settings = ProxySettings {
        entry_points: settings.entry_points.clone(),
        workers: settings.workers,
        host_name,
        access_log,
        data_path: settings.data_path,
    };
    let proxy = Proxy::start_held(&proxy_settings, proxy_metrics, inherited);
    let mut proxy = proxy.map_err(|error| error.to_string())?;
    // The workers alone hold on to the access log from here: it ends with the last of them.
    drop(proxy_settings);

    let (updates, received) = mpsc::channel(UPDATES_MAX);
    let (publisher, snapshots) = watch::channel(Arc::new(Snapshot::default()));
    tokio::spawn(proxy.checker().follow(snapshots.clone(), updates.clone()));
    let started = Sources::start(source, settings, kept.as_ref(), &discovery_metrics, &updates).await;
    let Started { sources, awaited, demo } = started;
    let orders_of_operators = updates;
    let mut registry_of_all = Registry::new(policy(settings), awaited);
    for (provider, policy) in policies(settings) {
        registry_of_all = registry_of_all.with_policy(provider, policy);
    }
    let (ask_kept, kept_asks) = mpsc::channel(ORDERS_MAX);
    let kept = Kept { boot: state::boot(), ..kept.unwrap_or_default() };
    let registry_of_all = registry_of_all.keeping(docker::names(), kept, kept_asks);
    tokio::spawn(registry_of_all.run(received, publisher));
    let keeping = directory.map(|directory| directory.keep(ask_kept.clone(), snapshots.clone()));
    let keeping = keeping.map(|keeping| tokio::spawn(keeping).abort_handle());
    status.zone.store(Arc::new(zone.as_ref().map(|naming| naming.shared.clone())));
    let (table, certificates) = (proxy.table(), proxy.certificates());
    let steering = Steering { proxy, zone, metrics: discovery_metrics, status: status.clone() };
    let (orders, ordered) = mpsc::channel(ORDERS_MAX);
    let steered = tokio::spawn(steering.follow(snapshots, ordered));

    // Another process serves meanwhile; this one may begin once it knows as much.
    if let Some(takeover) = &takeover {
        ready_to_take_over(&status).await?;
        let _ = orders.send(Order::Inherit(takeover.ready())).await;
    } else if is_awaited {
        // A client may have been the reason to start this process; it waits in the socket's queue.
        let _ = tokio::time::timeout(ACTIVATED_WAIT, ready(&status)).await;
    } else if is_kept {
        let _ = tokio::time::timeout(KEPT_WAIT, ready(&status)).await;
    }
    let _ = orders.send(Order::Serve).await;
    name_server.iter_mut().try_for_each(NameServer::serve)?;
    let dns_metrics = name_server.as_ref().map(NameServer::metrics);
    let followers =
        Followers { logging, access_logs, name_server, sources, registry: registry.clone(), dns_metrics };
    let admin = Arc::new(Admin {
        registry,
        status: status.clone(),
        table,
        certificates,
        settings: settings.clone(),
        demo,
        updates: orders_of_operators,
    });
    // A process that was taken over has nothing more to say, on disk neither.
    let mut servers: Vec<_> = keeping.into_iter().collect();
    if let Some(listener) = traefik_listener {
        servers.push(tokio::spawn(admin.clone().serve(listener, Shown::AsTraefik)).abort_handle());
    }
    servers.push(tokio::spawn(admin.serve(admin_listener, Shown::All)).abort_handle());
    if let Some(takeover) = takeover {
        takeover.taken();
        tracing::info!("has taken over");
    }
    let (ask, asks) = mpsc::channel(ORDERS_MAX);
    handover::offer(settings.admin, ask);
    let reporting = tokio::spawn(manager::report(status.clone()));
    tokio::spawn(banner::show_when_ready(settings.clone(), source, status.clone()));

    let life = Life {
        settings: settings.clone(),
        signals,
        status,
        orders,
        steered,
        asks,
        sockets,
        kept: ask_kept,
        servers,
        followers,
        last_answers: None,
        reporting: reporting.abort_handle(),
    };
    life.live().await
}

/// What is there already.
#[derive(Default)]
struct Inheritance {
    /// The process that this one takes over from.
    takeover: Option<Takeover>,
    /// Its sockets, and those of the service manager.
    inherited: Inherited,
    /// What it knows.
    kept: Option<Kept>,
}

fn inherit(settings: &Settings, given: Vec<OwnedFd>, takeover: bool) -> Result<Inheritance, String> {
    let mut found = Inheritance::default();
    let mut sockets = given;
    if takeover {
        match Takeover::begin(settings.admin)? {
            Some((process, mut theirs)) => {
                found.kept = handover::memory::take(&mut theirs);
                sockets.extend(theirs);
                found.takeover = Some(process);
            }
            None => tracing::info!(admin = %settings.admin, "no Portolan runs that could be taken over"),
        }
    }
    for socket in sockets {
        if let Err(error) = found.inherited.add(socket) {
            tracing::warn!(%error, "an inherited socket is of no use");
        }
    }
    Ok(found)
}

/// Waits until everything that is to be served is known.
async fn ready(status: &Status) {
    let mut applied = status.applied.subscribe();
    // Subscribed first, looked at then: no snapshot is missed in between.
    while !status.not_ready().is_empty() {
        if applied.changed().await.is_err() {
            return;
        }
    }
}

/// The same within the time that the other process gives.
async fn ready_to_take_over(status: &Status) -> Result<(), String> {
    tokio::time::timeout(handover::READY_DEADLINE, ready(status)).await.map_err(|_| {
        let why = status.not_ready().join("; ");
        format!("the running Portolan is not taken over, as it is not known what to serve: {why}")
    })
}

/// Decides between engine and demo, where that was left open.
async fn choose(source: Source, settings: &Settings) -> Result<Source, String> {
    if source == Source::Demo || !settings.docker.enabled {
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
            say(&format!("No container engine, so here is the demo: {error}\n"))?;
            Ok(Source::Demo)
        }
        Err(error) => {
            tracing::warn!(%error, "waiting for the container engine (`portolan demo` needs none)");
            Ok(Source::Docker)
        }
    }
}

/// Takes the address of the entry point `traefik`, where something is served there.
fn bind_traefik(
    settings: &Settings,
    inherited: &mut Inherited,
) -> Result<Option<std::net::TcpListener>, String> {
    let Some(address) = settings.internal.address else { return Ok(None) };
    admin::bind(address, "entryPoints.traefik.address", inherited)
        .map(Some)
        .map_err(|error| format!("entry point traefik can't listen on {address}: {error}"))
}

/// What the chart must heed of the settings.
pub fn policy(settings: &Settings) -> Policy {
    let reserve = |name: String, address, protocol| Reserved { name, address, protocol };
    let mut reserved = vec![reserve("the admin address".to_owned(), settings.admin, Protocol::Tcp)];
    for entry_point in &settings.entry_points {
        reserved.push(reserve(
            format!("entry point {}", entry_point.name),
            entry_point.address,
            entry_point.protocol,
        ));
    }
    if let Some(address) = settings.internal.address {
        reserved.push(reserve("entry point traefik".to_owned(), address, Protocol::Tcp));
    }
    if let Some(dns) = &settings.dns {
        reserved.push(reserve("the DNS server".to_owned(), dns.address, Protocol::Udp));
        reserved.push(reserve("the DNS server".to_owned(), dns.address, Protocol::Tcp));
        let secure = dns.options.secure.iter().flat_map(|secure| [secure.tls, secure.https]);
        for address in secure.flatten() {
            reserved.push(reserve("the DNS server".to_owned(), address, Protocol::Tcp));
        }
    }
    Policy {
        exposed_by_default: settings.docker.exposed_by_default,
        network: settings.docker.network.clone(),
        reserved,
        default_rule: settings.docker.default_rule.clone(),
        constraints: settings.docker.constraints.clone(),
        use_bind_port_ip: settings.docker.use_bind_port_ip,
        virtual_hosts: settings.docker.virtual_hosts,
        transport: Arc::new(settings.servers_transport.clone()),
        tcp_transport: Arc::new(settings.tcp_servers_transport.clone()),
    }
}

/// The same for the services of a Swarm.
pub fn swarm_policy(settings: &Settings) -> Policy {
    let policy = policy(settings);
    let Some(swarm) = &settings.swarm else { return policy };
    Policy {
        exposed_by_default: swarm.exposed_by_default,
        network: swarm.network.clone(),
        default_rule: swarm.default_rule.clone(),
        constraints: swarm.constraints.clone(),
        use_bind_port_ip: false,
        virtual_hosts: false,
        ..policy
    }
}
