//! What one inspection, or one line of the list, says about a container.
//!
//! It reads the engine's models, which are full of gaps and small lies, and gives one truthful value. It knows nothing of
//! events, nor of other containers.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryStateEnum, EndpointSettings, Health as HealthModel, HealthStatusEnum, PortBinding,
};
use portolan_config::Protocol;

use super::{signal, time};
use crate::chart::virtual_host::{NOT_READ, VARIABLES};
use crate::instance::{Binding, InstanceId, Port};

/// The networks known, by id: whether each is internal (has no way out).
pub(super) type Networks = HashMap<String, bool>;

/// A container as the engine described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Observed {
    pub(super) id: InstanceId,
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) created: SystemTime,
    /// When its present or last life began.
    pub(super) started: Option<SystemTime>,
    /// When its last life ended.
    pub(super) finished: Option<SystemTime>,
    pub(super) stop_signal: i32,
    pub(super) ports: Vec<Port>,
    pub(super) bindings: Vec<Binding>,
    /// What its environment says in nginx-proxy's words.
    pub(super) virtual_host: BTreeMap<String, String>,
    pub(super) reach: Reach,
    pub(super) run: Run,
    pub(super) health: Health,
}

/// By whose networks a container is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Its own, the preferred one first.
    Own(Vec<Attachment>),
    /// The host's.
    Host,
    /// Those of another container, by id or name.
    Of(String),
}

/// A container's place on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attachment {
    pub(super) network: String,
    pub(super) network_id: String,
    pub(super) endpoint_id: String,
    pub(super) ipv4: Option<std::net::Ipv4Addr>,
    pub(super) ipv6: Option<std::net::Ipv6Addr>,
    pub(super) aliases: Vec<String>,
}

/// Whether it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Run {
    Running,
    Paused,
    /// The engine has begun to stop it.
    Stopping,
    /// It does not run, for this reason.
    Stopped(String),
}

/// What its health check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It has none.
    Unchecked,
    /// It has not passed yet.
    Starting,
    Healthy,
    Unhealthy,
}

/// Reads an inspection. `None` when it has no id.
pub(super) fn inspected(model: ContainerInspectResponse, networks: &Networks) -> Option<Observed> {
    let id = model.id.filter(|id| !id.is_empty())?;
    let name = model.name.unwrap_or_default().trim_start_matches('/').to_owned();
    let state = model.state.unwrap_or_default();
    let config = model.config.unwrap_or_default();
    let settings = model.network_settings.unwrap_or_default();
    let mode = model.host_config.and_then(|host| host.network_mode);
    let bound = settings.ports.unwrap_or_default();
    let ports = ports(&config, bound.keys().cloned());
    Some(Observed {
        bindings: bindings(&bound),
        virtual_host: virtual_host(config.env.as_deref().unwrap_or_default()),
        reach: reach(mode.as_deref(), settings.networks.unwrap_or_default(), networks, &name, &id),
        stop_signal: config.stop_signal.as_deref().and_then(signal::number).unwrap_or(signal::TERM),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        created: model.created.as_deref().and_then(time::rfc3339).unwrap_or(SystemTime::UNIX_EPOCH),
        started: state.started_at.as_deref().and_then(time::rfc3339),
        finished: state.finished_at.as_deref().and_then(time::rfc3339),
        run: run(&state),
        health: state.health.as_ref().map_or(Health::Unchecked, health),
        id: InstanceId::new(&id),
        name,
        ports,
    })
}

/// Reads a line of the list, for when an inspection is not to be had: no aliases, no stop signal, no times.
pub(super) fn listed(model: ContainerSummary, networks: &Networks) -> Option<Observed> {
    let id = model.id.filter(|id| !id.is_empty())?;
    let names = model.names.unwrap_or_default();
    // `/web/db` is a name that a legacy link gave it.
    let name = names.iter().map(|name| name.trim_start_matches('/')).find(|name| !name.contains('/'));
    let name = name.unwrap_or_else(|| id.get(..12).unwrap_or(&id)).to_owned();
    let status = model.status.unwrap_or_default();
    let run = match model.state {
        Some(ContainerSummaryStateEnum::RUNNING) => Run::Running,
        Some(ContainerSummaryStateEnum::PAUSED) => Run::Paused,
        Some(ContainerSummaryStateEnum::STOPPING) => Run::Stopping,
        other => Run::Stopped(other.map_or_else(|| "state unknown".to_owned(), |state| state.to_string())),
    };
    let health = match () {
        () if status.contains("(healthy)") => Health::Healthy,
        () if status.contains("(unhealthy)") => Health::Unhealthy,
        () if status.contains("(health: starting)") => Health::Starting,
        () => Health::Unchecked,
    };
    let mode = model.host_config.and_then(|host| host.network_mode);
    let attached = model.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let mut ports: Vec<Port> = model
        .ports
        .unwrap_or_default()
        .into_iter()
        .filter_map(|port| {
            let protocol = port.typ.map_or_else(|| "tcp".to_owned(), |typ| typ.to_string());
            read_port(&format!("{}/{protocol}", port.private_port))
        })
        .collect();
    sort_ports(&mut ports);
    Some(Observed {
        reach: reach(mode.as_deref(), attached, networks, &name, &id),
        stop_signal: signal::TERM,
        labels: model.labels.unwrap_or_default().into_iter().collect(),
        created: model.created.and_then(time::from_seconds).unwrap_or(SystemTime::UNIX_EPOCH),
        started: None,
        finished: None,
        id: InstanceId::new(&id),
        name,
        ports,
        // The list says nothing of the environment, and its ports are read from the next inspection.
        bindings: Vec::new(),
        virtual_host: BTreeMap::new(),
        run,
        health,
    })
}

/// Whether the container has a network that `networks` does not tell about.
pub(super) fn has_stranger(model: &ContainerInspectResponse, networks: &Networks) -> bool {
    let attached = model.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    attached.into_iter().flat_map(HashMap::values).any(|endpoint| {
        endpoint.network_id.as_ref().is_some_and(|id| !id.is_empty() && !networks.contains_key(id))
    })
}

fn run(state: &ContainerState) -> Run {
    use ContainerStateStatusEnum as Status;

    let code = state.exit_code.unwrap_or_default();
    let said = |flag: Option<bool>| flag.unwrap_or(false);
    // Between two tries of a restart policy `Running` and `Restarting` are both set.
    if said(state.restarting) || state.status == Some(Status::RESTARTING) {
        return Run::Stopped(format!("restarting after exit ({code})"));
    }
    match state.status {
        Some(Status::STOPPING) => Run::Stopping,
        Some(Status::CREATED) => Run::Stopped("created".to_owned()),
        Some(Status::REMOVING) => Run::Stopped("removing".to_owned()),
        Some(Status::DEAD) => Run::Stopped("dead".to_owned()),
        Some(Status::EXITED) => Run::Stopped(exited(Some(code))),
        Some(Status::PAUSED) => Run::Paused,
        _ if said(state.paused) => Run::Paused,
        Some(Status::RUNNING) => Run::Running,
        _ if said(state.running) => Run::Running,
        _ => Run::Stopped(exited(Some(code))),
    }
}

/// The reason of a container whose process ended.
pub(super) fn exited(code: Option<i64>) -> String {
    code.map_or_else(|| "exited".to_owned(), |code| format!("exited ({code})"))
}

fn health(model: &HealthModel) -> Health {
    match model.status {
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        // Pausing or stopping the monitor sets `unhealthy` though no probe failed, and without an event
        // (moby: daemon/container/health.go, `CloseMonitorChannel`). The last probe knows better.
        Some(HealthStatusEnum::UNHEALTHY) if model.failing_streak == Some(0) => {
            match model.log.iter().flatten().last().map(|probe| probe.exit_code) {
                Some(Some(0)) => Health::Healthy,
                _ => Health::Starting,
            }
        }
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
        Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) | None => Health::Unchecked,
    }
}

fn reach(
    mode: Option<&str>,
    attached: HashMap<String, EndpointSettings>,
    networks: &Networks,
    name: &str,
    id: &str,
) -> Reach {
    match mode {
        Some("host") => return Reach::Host,
        Some(mode) => {
            if let Some(other) = mode.strip_prefix("container:") {
                return Reach::Of(other.trim_start_matches('/').to_owned());
            }
        }
        None => {}
    }
    let mut ranked: Vec<_> = attached
        .into_iter()
        // It leads to the routing mesh, and nobody else is on it.
        .filter(|(network, _)| network != "ingress")
        .map(|(network, endpoint)| {
            let internal =
                endpoint.network_id.as_ref().and_then(|id| networks.get(id)).copied().unwrap_or(false);
            let priority = endpoint.gw_priority.unwrap_or(0);
            ((internal, -i128::from(priority)), attachment(network, endpoint, name, id))
        })
        .filter(|(_, attachment)| attachment.ipv4.is_some() || attachment.ipv6.is_some())
        .collect();
    ranked.sort_by(|(a_rank, a), (b_rank, b)| a_rank.cmp(b_rank).then_with(|| a.network.cmp(&b.network)));
    Reach::Own(ranked.into_iter().map(|(_, attachment)| attachment).collect())
}

fn attachment(network: String, endpoint: EndpointSettings, name: &str, id: &str) -> Attachment {
    let short = id.get(..12).unwrap_or(id);
    // Since API 1.44 `DNSNames` has everything the engine's own DNS answers to; before, `Aliases` has the most of it.
    let names = endpoint.dns_names.or(endpoint.aliases).unwrap_or_default();
    let mut aliases: Vec<String> = Vec::new();
    for alias in names {
        if alias != name && alias != short && !alias.is_empty() && !aliases.contains(&alias) {
            aliases.push(alias);
        }
    }
    Attachment {
        network_id: endpoint.network_id.unwrap_or_default(),
        endpoint_id: endpoint.endpoint_id.unwrap_or_default(),
        ipv4: endpoint.ip_address.and_then(|ip| ip.parse().ok()),
        ipv6: endpoint.global_ipv6_address.and_then(|ip| ip.parse().ok()),
        network,
        aliases,
    }
}

fn ports(config: &ContainerConfig, bound: impl Iterator<Item = String>) -> Vec<Port> {
    let mut ports: Vec<Port> = config
        .exposed_ports
        .iter()
        .flatten()
        .cloned()
        .chain(bound)
        .filter_map(|text| read_port(&text))
        .collect();
    sort_ports(&mut ports);
    ports
}

/// Ports of the host that lead to the container's.
fn bindings(bound: &HashMap<String, Option<Vec<PortBinding>>>) -> Vec<Binding> {
    let mut bindings: Vec<Binding> = bound
        .iter()
        .filter_map(|(text, bindings)| Some((read_port(text)?, bindings.as_ref()?)))
        .flat_map(|(port, bindings)| {
            bindings.iter().filter_map(move |binding| {
                let host_port = binding.host_port.as_ref()?.parse().ok()?;
                let ip = binding.host_ip.as_ref().and_then(|ip| ip.parse().ok());
                Some(Binding { port: port.clone(), ip, host_port })
            })
        })
        .collect();
    bindings.sort();
    bindings
}

/// The variables that are read; the rest of an environment holds secrets, and is not kept.
fn virtual_host(environment: &[String]) -> BTreeMap<String, String> {
    environment
        .iter()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| VARIABLES.contains(name) || NOT_READ.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn sort_ports(ports: &mut Vec<Port>) {
    ports.sort();
    ports.dedup();
}

/// `80/tcp`, `53/udp`, `80`. SCTP is nothing that Portolan carries.
pub(super) fn read_port(text: &str) -> Option<Port> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some(Port { number: number.parse().ok().filter(|number| *number != 0)?, protocol })
}

#[cfg(test)]
mod tests;
