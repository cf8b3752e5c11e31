//! What is asked of whom, as the snapshot has it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_config::dynamic::service::{HealthCheck, HealthCheckMode, Initial};
use portolan_config::dynamic::tcp::TcpHealthCheck;
use portolan_config::tls::Scheme;
use portolan_discovery::{Snapshot, State, Target, TcpUpstream};

use super::Subject;
use super::rhythm::Pace;
use crate::limits::CHECK_INTERVAL_MIN;

/// What is asked of one target.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Probe {
    /// The endpoint's name.
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// What the server goes by; empty where that is its address.
    pub(super) host: Arc<str>,
    pub(super) scheme: Scheme,
    pub(super) question: Question,
    /// How long an answer may take.
    pub(super) timeout: Duration,
    pub(super) pace: Pace,
    /// Whether it is given work before it has answered.
    pub(super) starts_up: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Question {
    Http(Arc<HealthCheck>),
    Grpc(Arc<HealthCheck>),
    /// A connection; perhaps something to say, and how the answer begins.
    Tcp {
        send: String,
        expect: String,
    },
}

/// Everything that the snapshot asks to be checked. Only who runs is asked.
pub(super) fn probes(snapshot: &Snapshot) -> HashMap<Subject, Probe> {
    let mut probes = HashMap::new();
    for upstream in &snapshot.upstreams {
        let Some(check) = &upstream.balancing.health_check else { continue };
        let (check, service) = (Arc::new(check.clone()), Arc::from(upstream.name.as_str()));
        for target in &upstream.targets {
            add(&mut probes, &service, target, |probe| ask_by_http(probe, &check));
        }
    }
    for (name, upstream) in &snapshot.layer_four.tcp_upstreams {
        let TcpUpstream::Targets { upstream, balancing, .. } = &**upstream else { continue };
        let Some(check) = &balancing.health_check else { continue };
        let service = Arc::from(format!("{name} (tcp)"));
        for target in &upstream.targets {
            add(&mut probes, &service, target, |probe| ask_by_tcp(probe, check));
        }
    }
    probes
}

/// How many endpoints each service has that run.
pub(super) fn sizes(snapshot: &Snapshot) -> HashMap<Arc<str>, usize> {
    let judged =
        snapshot.upstreams.iter().filter(|upstream| upstream.balancing.passive_health_check.is_some());
    judged
        .map(|upstream| {
            let count = upstream.targets.iter().filter(|target| runs(target)).count();
            (Arc::from(upstream.name.as_str()), count)
        })
        .collect()
}

fn add(
    probes: &mut HashMap<Subject, Probe>,
    service: &Arc<str>,
    target: &Target,
    meant: impl FnOnce(&mut Probe),
) {
    let endpoint = &target.endpoint;
    // By its provider's word, not by ours.
    let Some(ip) = endpoint.address().filter(|_| runs(target)) else { return };
    let mut probe = Probe {
        name: endpoint.instance.name.clone(),
        address: SocketAddr::new(ip, target.port),
        host: target.host.clone(),
        scheme: target.scheme,
        question: Question::Tcp { send: String::new(), expect: String::new() },
        timeout: Duration::ZERO,
        pace: pace(Duration::ZERO, None, 1, 1),
        starts_up: true,
    };
    meant(&mut probe);
    let subject = Subject { service: service.clone(), endpoint: endpoint.key.clone(), port: target.port };
    probes.insert(subject, probe);
}

fn runs(target: &Target) -> bool {
    target.endpoint.instance.state == State::Ready
}

fn ask_by_http(probe: &mut Probe, check: &Arc<HealthCheck>) {
    match check.scheme.to_ascii_lowercase().as_str() {
        "http" => probe.scheme = Scheme::Http,
        "https" => probe.scheme = Scheme::Https,
        "h2c" => probe.scheme = Scheme::H2c,
        _ => {}
    }
    if check.port != 0 {
        probe.address.set_port(check.port);
        // What it goes by has another port.
        probe.host = Arc::from(probe.host.split(':').next().unwrap_or_default());
    }
    probe.question = match check.mode {
        HealthCheckMode::Http => Question::Http(check.clone()),
        HealthCheckMode::Grpc => Question::Grpc(check.clone()),
        HealthCheckMode::Tcp => Question::Tcp { send: String::new(), expect: String::new() },
    };
    probe.timeout = check.timeout.positive().unwrap_or(CHECK_INTERVAL_MIN);
    probe.pace = pace(check.interval.duration(), check.unhealthy_interval.positive(), check.rise, check.fall);
    probe.starts_up = check.initial == Initial::Up;
}

fn ask_by_tcp(probe: &mut Probe, check: &TcpHealthCheck) {
    if check.port != 0 {
        probe.address.set_port(check.port);
    }
    probe.question = Question::Tcp { send: check.send.clone(), expect: check.expect.clone() };
    probe.timeout = check.timeout.positive().unwrap_or(CHECK_INTERVAL_MIN);
    probe.pace = pace(check.interval.duration(), check.unhealthy_interval.positive(), 1, 1);
}

fn pace(interval: Duration, unhealthy: Option<Duration>, rise: u32, fall: u32) -> Pace {
    let interval = interval.max(CHECK_INTERVAL_MIN);
    let unhealthy_interval = unhealthy.map_or(interval, |unhealthy| unhealthy.max(CHECK_INTERVAL_MIN));
    Pace { interval, unhealthy_interval, rise, fall }
}
