//! `portolan run` and `portolan demo`: joins the parts, serves until told to stop.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portolan_config::{ListenAddress, Protocol, Settings};
use portolan_discovery::chart::{Policy, Reserved};
use portolan_discovery::provider::demo::{Demo, DemoControl};
use portolan_discovery::provider::docker::{self, ConnectError, Docker, Swarm};
use portolan_discovery::provider::file::File;
use portolan_discovery::provider::internal::{Internal, InternalPath};
use portolan_discovery::{Kept, Provider, ProviderName, Registry, Snapshot, Update};
use portolan_dns as dns;
use portolan_proxy::access_log::{AccessLog, Writer};
use portolan_proxy::{Inherited, Proxy, ProxySettings};
use tokio::sync::{mpsc, oneshot, watch};

use crate::admin::{self, Admin, Shown};
use crate::banner;
use crate::cli::Source;
use crate::command::say::say;
use crate::gather::{self, Gathered};
use crate::handover::{self, Takeover};
use crate::life::Life;
use crate::limits;
use crate::logging;
use crate::manager;
use crate::signals::Signals;
use crate::state::{self, StateDirectory};
use crate::steer::{Naming, Order, Status, Steering};

/// Updates that may wait for the registry; a provider that is faster than that waits.
const UPDATES_MAX: usize = 4096;
/// Orders that may wait for the one who steers.
const ORDERS_MAX: usize = 16;
/// How long a process that was started by the service manager for a client lets that wait for the first complete list.
const ACTIVATED_WAIT: Duration = Duration::from_secs(10);
/// How long what an earlier process kept lets clients wait until it is known whether it is needed.
const KEPT_WAIT: Duration = Duration::from_secs(3);
/// How long the process waits at its end for the name server's last answers.
const NAME_SERVER_WAIT: Duration = Duration::from_secs(2);
/// Replicas of the demo's service.
const DEMO_REPLICAS: usize = 3;

/// Serves what the engine runs, or the demo.
pub fn run(gathered: &Gathered, source: Source, takeover: bool) -> Result<ExitCode, String> {
    // Before any thread is started: it takes variables out of the environment.
    let given = manager::sockets();
    let settings = gathered.settings().map_err(|faults| gather::lines(&faults))?;
    logging::start(&settings.log)?;
    say_what_was_read(gathered);
    limits::raise_open_files();
    // The control plane has this thread to itself.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime can't start: {error}"))?;
    runtime.block_on(serve_until_stopped(&settings, source, given, takeover))
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
    let mut sockets = [Some(&admin_listener), traefik_listener.as_ref()]
        .into_iter()
        .flatten()
        .map(handle)
        .collect::<io::Result<Vec<OwnedFd>>>()
        .map_err(|error| error.to_string())?;
    let directory = settings.state_directory.as_deref();
    let directory = directory.map(|path| StateDirectory::open(path, &registry)).transpose()?;
    // What a process knows that runs is newer than what it last wrote.
    let kept = kept.or_else(|| directory.as_ref()?.read()).filter(|_| source != Source::Demo);
    let is_kept = kept.is_some();
    let (zone, name_server) = match &settings.dns {
        None => (None, None),
        Some(dns_settings) => {
            let (zone, server) = bind_dns(dns_settings, &registry, &mut inherited)?;
            sockets.extend(server.handles().map_err(|error| error.to_string())?);
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
        data_path: settings.data_path,
    };
    let proxy = Proxy::start_held(&proxy_settings, proxy_metrics, inherited);
    let mut proxy = proxy.map_err(|error| error.to_string())?;
    // The workers alone hold on to the access log from here: it ends with the last of them.
    drop(proxy_settings);

    let (updates, received) = mpsc::channel(UPDATES_MAX);
    let (publisher, snapshots) = watch::channel(Arc::new(Snapshot::default()));
    tokio::spawn(proxy.checker().follow(snapshots.clone(), updates.clone()));
    // Whether it manages a Swarm is asked at once: nothing is served before its services are known, too.
    let swarm = wanted_swarm(source, settings, kept.as_ref()).await;
    let (providers, demo) = observe(source, settings, swarm, &discovery_metrics, &updates);
    let orders_of_operators = updates;
    let registry_of_all = Registry::new(policy(settings), providers)
        .with_policy(ProviderName::new(docker::SWARM), swarm_policy(settings));
    let (ask_kept, kept_asks) = mpsc::channel(ORDERS_MAX);
    let kept = Kept { boot: state::boot(), ..kept.unwrap_or_default() };
    let registry_of_all = registry_of_all.keeping(docker::names(), kept, kept_asks);
    tokio::spawn(registry_of_all.run(received, publisher));
    let keeping = directory.map(|directory| directory.keep(ask_kept.clone(), snapshots.clone()));
    let keeping = keeping.map(|keeping| tokio::spawn(keeping).abort_handle());
    let zone_in_place = zone.as_ref().map(|naming| naming.shared.clone());
    let table = proxy.table();
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
    let (name_server_ends, stop) = oneshot::channel();
    let name_server_ended = name_server.map(|server| serve_dns(server, stop)).transpose()?;
    let admin = Arc::new(Admin {
        registry,
        status: status.clone(),
        table,
        settings: settings.clone(),
        zone: zone_in_place,
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
        name_server: name_server_ends,
        reporting: reporting.abort_handle(),
    };
    let code = life.live().await?;
    if let Some(ended) = name_server_ended
        && code == ExitCode::SUCCESS
    {
        // Whatever query it has taken, nobody else will answer.
        let _ = tokio::time::timeout(NAME_SERVER_WAIT, ended).await;
    }
    if let Some(writer) = log_writer
        && code == ExitCode::SUCCESS
    {
        writer.finish();
    }
    Ok(code)
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

/// The Swarm provider, where there is to be one.
struct WantedSwarm<'a> {
    settings: &'a portolan_config::settings::Swarm,
    /// Whether what it says is waited for: not where an engine answers that manages none.
    awaited: bool,
}

async fn wanted_swarm<'a>(
    source: Source,
    settings: &'a Settings,
    kept: Option<&Kept>,
) -> Option<WantedSwarm<'a>> {
    let swarm = settings.swarm.as_ref().filter(|_| source != Source::Demo)?;
    // An engine that does not answer manages what it did.
    let was = || kept.is_some_and(|kept| kept.has(docker::SWARM));
    let awaited = !swarm.auto || docker::is_manager(swarm.host.as_deref()).await || was();
    Some(WantedSwarm { settings: swarm, awaited })
}

/// Starts the providers; gives their names, and what steers the demo.
fn observe(
    source: Source,
    settings: &Settings,
    swarm: Option<WantedSwarm<'_>>,
    metrics: &portolan_discovery::Metrics,
    updates: &mpsc::Sender<Update>,
) -> (Vec<ProviderName>, Option<DemoControl>) {
    let mut names = Vec::new();
    let mut control = None;
    if let Some(source) = &settings.file {
        let file = File::new(source.clone(), metrics.clone());
        names.push(file.name());
        tokio::spawn(file.run(updates.clone()));
    }
    if source == Source::Demo {
        let (demo, steers) = Demo::new(DEMO_REPLICAS, metrics.clone());
        names.push(demo.name());
        tokio::spawn(demo.run(updates.clone()));
        control = Some(steers);
    } else {
        let mut docker =
            settings.docker.enabled.then(|| Docker::new(settings.docker.host.clone(), metrics.clone()));
        if let Some(wanted) = swarm {
            let swarm = start_swarm(&wanted, metrics, updates);
            docker = docker.map(|docker| docker.yielding_tasks(swarm));
            if wanted.awaited {
                names.push(ProviderName::new(docker::SWARM));
            }
        }
        if let Some(docker) = docker {
            names.push(docker.name());
            tokio::spawn(docker.run(updates.clone()));
        }
    }
    let paths = internal_paths(settings);
    // Something has to say what there is, also where that is nothing.
    if !paths.is_empty() || names.is_empty() {
        let internal = Internal::new(reached_at(settings.admin), paths);
        names.push(internal.name());
        tokio::spawn(internal.run(updates.clone()));
    }
    (names, control)
}

/// Starts the Swarm provider; gives whether it tells of tasks.
fn start_swarm(
    wanted: &WantedSwarm<'_>,
    metrics: &portolan_discovery::Metrics,
    updates: &mpsc::Sender<Update>,
) -> watch::Receiver<bool> {
    let WantedSwarm { settings, awaited } = wanted;
    let mut swarm = Swarm::new(settings.host.clone(), settings.refresh, metrics.clone());
    if settings.auto {
        swarm = swarm.if_manager();
    }
    let owns = swarm.owns_tasks(*awaited);
    tokio::spawn(swarm.run(updates.clone()));
    owns
}

/// What of the admin server is reached on entry points for traffic.
fn internal_paths(settings: &Settings) -> Vec<InternalPath> {
    let ping = settings.internal.ping.as_ref().filter(|ping| !ping.manual_routing);
    let metrics = settings.internal.metrics.as_ref().filter(|metrics| !metrics.manual_routing);
    let ping = ping.map(|ping| ("ping", "/ping", &ping.entry_point));
    let metrics = metrics.map(|metrics| ("prometheus", "/metrics", &metrics.entry_point));
    let is_for_routers =
        |name: &str| settings.entry_points.iter().any(|entry_point| entry_point.name == name);
    [ping, metrics]
        .into_iter()
        .flatten()
        .filter(|(_, _, entry_point)| is_for_routers(entry_point))
        .map(|(name, path, entry_point)| InternalPath { name, path, entry_point: entry_point.clone() })
        .collect()
}

/// How this process reaches its own address.
fn reached_at(address: ListenAddress) -> SocketAddr {
    let ip = match address.ip {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(IpAddr::V4(ip)) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(IpAddr::V6(ip)) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Some(ip) => ip,
    };
    SocketAddr::new(ip, address.port)
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

/// Takes the address of the name server.
fn bind_dns(
    settings: &portolan_config::settings::Dns,
    registry: &prometheus::Registry,
    inherited: &mut Inherited,
) -> Result<(Naming, dns::Server), String> {
    let metrics = dns::Metrics::register(registry).map_err(|error| error.to_string())?;
    let (records, fixed) = dns::Records::read(settings)?;
    let shared = dns::zone::shared(settings);
    let given = dns_sockets(settings, inherited);
    let server = dns::Server::with(given, settings, shared.clone(), metrics.clone())
        .map_err(|error| format!("{error}; choose another with --dns-address, or `off`"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32);
    let compiler = dns::Compiler::with_records(settings, &fixed).serials_from(now);
    Ok((Naming { compiler, shared, metrics, records }, server))
}

/// The sockets of the name server that are there already.
fn dns_sockets(settings: &portolan_config::settings::Dns, inherited: &mut Inherited) -> dns::Bound {
    let secure = settings.options.secure.as_ref();
    let mut take = |address: Option<ListenAddress>| {
        let socket = inherited.take(address?, Protocol::Tcp).into_iter().next();
        socket.map(std::net::TcpListener::from)
    };
    let (tcp, tls) = (take(Some(settings.address)), take(secure.and_then(|secure| secure.tls)));
    let https = take(secure.and_then(|secure| secure.https));
    let udp = inherited.take(settings.address, Protocol::Udp).into_iter().map(Into::into).collect();
    dns::Bound { udp, tcp, tls, https }
}

/// Starts the name server, on a thread of its own, until the other end of `stop` is dropped. What it gives ends with the
/// last answer.
fn serve_dns(server: dns::Server, stop: oneshot::Receiver<()>) -> Result<oneshot::Receiver<()>, String> {
    let (ends, ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("dns".to_owned());
    let run = move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(server.run(async { drop(stop.await) }))
    };
    thread
        .spawn(move || {
            let _ends: oneshot::Sender<()> = ends;
            if let Err(error) = run() {
                tracing::error!(%error, "the name server ended");
            }
        })
        .map_err(|error| format!("the DNS thread can't start: {error}"))?;
    Ok(ended)
}
