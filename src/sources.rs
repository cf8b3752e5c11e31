//! The providers that run: started as the settings say, and others in their place when those change.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portolan_config::settings::{Docker as DockerSettings, Swarm as SwarmSettings};
use portolan_config::{ListenAddress, Settings};
use portolan_discovery::provider::demo::{Demo, DemoControl};
use portolan_discovery::provider::docker::{self, Docker, Swarm};
use portolan_discovery::provider::file::File;
use portolan_discovery::provider::internal::{Internal, InternalPath, InternalService};
use portolan_discovery::{Kept, Metrics, Provider, ProviderName, Update};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::admin::Part;
use crate::cli::Source;

/// Replicas of the demo's service.
const DEMO_REPLICAS: usize = 3;

/// The providers that run.
#[derive(Debug)]
pub struct Sources {
    source: Source,
    metrics: Metrics,
    updates: mpsc::Sender<Update>,
    file: Option<Running>,
    /// The engine's, and that of its Swarm.
    engine: Vec<Running>,
}

/// A provider that runs.
#[derive(Debug)]
struct Running {
    name: ProviderName,
    task: AbortHandle,
}

/// What is there once the providers are started.
pub struct Started {
    pub sources: Sources,
    /// Those whose first word is waited for.
    pub awaited: Vec<ProviderName>,
    /// What steers the demo.
    pub demo: Option<DemoControl>,
}

impl Sources {
    /// Starts the providers.
    pub async fn start(
        source: Source,
        settings: &Settings,
        kept: Option<&Kept>,
        metrics: &Metrics,
        updates: &mpsc::Sender<Update>,
    ) -> Started {
        let mut sources = Self {
            source,
            metrics: metrics.clone(),
            updates: updates.clone(),
            file: None,
            engine: Vec::new(),
        };
        let mut awaited = Vec::new();
        let mut demo = None;
        // Whether it manages a Swarm is asked at once: nothing is served before its services are known, too.
        let is_swarm = sources.expects_swarm(settings, kept).await;
        awaited.extend(sources.start_file(settings));
        if source == Source::Demo {
            let (replicas, steers) = Demo::new(DEMO_REPLICAS, metrics.clone());
            awaited.push(replicas.name());
            tokio::spawn(replicas.run(updates.clone()));
            demo = Some(steers);
        } else {
            awaited.extend(sources.start_engine(settings, is_swarm));
        }
        let paths = internal_paths(settings);
        // Something has to say what there is, also where that is nothing.
        let services = internal_services(settings);
        if !paths.is_empty() || !services.is_empty() || awaited.is_empty() {
            let internal = Internal::new(reached_at(settings.admin), paths, services);
            awaited.push(internal.name());
            tokio::spawn(internal.run(updates.clone()));
        }
        Started { sources, awaited, demo }
    }

    /// Starts others in the place of those that the settings have otherwise now; what they told stands until the others
    /// have spoken. Gives those that are asked no more.
    pub fn follow(&mut self, now: &Settings, wanted: &Settings) -> Vec<ProviderName> {
        let mut gone = Vec::new();
        if now.file != wanted.file {
            gone.extend(self.file.take().map(Running::stop));
            self.start_file(wanted);
            let names = self.file.as_ref();
            gone.retain(|gone| names.is_none_or(|running| running.name != *gone));
        }
        if self.source != Source::Demo && asks_otherwise(now, wanted) {
            let before: Vec<_> = self.engine.drain(..).map(Running::stop).collect();
            // Whether that one manages a Swarm, it says itself.
            self.start_engine(wanted, wanted.swarm.as_ref().is_some_and(|swarm| !swarm.auto));
            let is_there = |name: &ProviderName| self.engine.iter().any(|running| running.name == *name);
            gone.extend(before.into_iter().filter(|name| !is_there(name)));
        }
        gone
    }

    fn start_file(&mut self, settings: &Settings) -> Option<ProviderName> {
        let file = File::new(settings.file.clone()?, self.metrics.clone());
        let name = file.name();
        self.file = Some(self.run(file));
        Some(name)
    }

    /// Starts those that ask the engine; gives those whose first word is waited for. `is_swarm` is whether that of a Swarm's
    /// manager is.
    fn start_engine(&mut self, settings: &Settings, is_swarm: bool) -> Vec<ProviderName> {
        let mut awaited = Vec::new();
        let wanted = &settings.docker;
        let mut docker = wanted.enabled.then(|| Docker::new(wanted.host.clone(), self.metrics.clone()));
        if let Some(wanted) = &settings.swarm {
            let mut swarm = Swarm::new(wanted.host.clone(), wanted.refresh, self.metrics.clone());
            if wanted.auto {
                swarm = swarm.if_manager();
            }
            let owns: watch::Receiver<bool> = swarm.owns_tasks(is_swarm);
            docker = docker.map(|docker| docker.yielding_tasks(owns));
            if is_swarm {
                awaited.push(swarm.name());
            }
            let running = self.run(swarm);
            self.engine.push(running);
        }
        if let Some(docker) = docker {
            awaited.push(docker.name());
            let running = self.run(docker);
            self.engine.push(running);
        }
        awaited
    }

    fn run(&self, provider: impl Provider + 'static) -> Running {
        let name = provider.name();
        Running { name, task: tokio::spawn(provider.run(self.updates.clone())).abort_handle() }
    }

    /// Whether what a Swarm's manager says is waited for: not where an engine answers that manages none.
    async fn expects_swarm(&self, settings: &Settings, kept: Option<&Kept>) -> bool {
        let Some(swarm) = settings.swarm.as_ref().filter(|_| self.source != Source::Demo) else {
            return false;
        };
        // An engine that does not answer manages what it did.
        let was = || kept.is_some_and(|kept| kept.has(docker::SWARM));
        !swarm.auto || docker::is_manager(swarm.host.as_deref()).await || was()
    }
}

impl Running {
    fn stop(self) -> ProviderName {
        self.task.abort();
        self.name
    }
}

/// Whether another engine is to be asked, or in another way; not whether it is judged otherwise what it says.
fn asks_otherwise(now: &Settings, wanted: &Settings) -> bool {
    let docker = DockerSettings {
        network: wanted.docker.network.clone(),
        exposed_by_default: wanted.docker.exposed_by_default,
        default_rule: wanted.docker.default_rule.clone(),
        constraints: wanted.docker.constraints.clone(),
        virtual_hosts: wanted.docker.virtual_hosts,
        use_bind_port_ip: wanted.docker.use_bind_port_ip,
        ..now.docker.clone()
    };
    let swarm = now.swarm.clone().zip(wanted.swarm.clone()).map(|(now, wanted)| SwarmSettings {
        network: wanted.network,
        exposed_by_default: wanted.exposed_by_default,
        default_rule: wanted.default_rule,
        constraints: wanted.constraints,
        ..now
    });
    docker != wanted.docker || swarm.or_else(|| now.swarm.clone()) != wanted.swarm
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

/// What routers of operators may lead to, as Traefik's users write it: `api@internal`.
fn internal_services(settings: &Settings) -> Vec<InternalService> {
    let internal = &settings.internal;
    let all = [
        (internal.api.is_some(), Part::Api),
        (internal.ping.is_some(), Part::Ping),
        (internal.metrics.is_some(), Part::Metrics),
    ];
    let there = all.into_iter().filter(|(is_there, _)| *is_there);
    there.map(|(_, part)| InternalService { name: part.service(), prefix: part.prefix() }).collect()
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
