//! `portolan check`: everything that would be at fault in settings, files and labels, without serving.

mod compose;
mod report;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use portolan_config::settings::FileProvider;
use portolan_config::{Fault, Settings};
use portolan_discovery::provider::docker::{self, Docker, Swarm};
use portolan_discovery::provider::file::File;
use portolan_discovery::{Change, Provider, ProviderName, Registry, Snapshot, Update};
use portolan_proxy::Table;
use tokio::sync::mpsc;

use self::report::Report;
use super::say::say;
use crate::cli::{CheckOptions, Output};
use crate::gather::Gathered;
use crate::run::{policy, swarm_policy};

/// For the engine's first complete list.
const DEADLINE: Duration = Duration::from_secs(30);

/// Checks the settings, then files of dynamic configuration and the labels of Compose files; without those, of what the
/// engine runs, if one answers.
pub fn check(gathered: &Gathered, options: &CheckOptions) -> Result<ExitCode, String> {
    let sources = match &gathered.file {
        Some(file) => format!("flags, environment and {}", file.display()),
        None => "flags and environment".to_owned(),
    };
    let mut warnings = gathered.written.warnings().to_vec();
    warnings.extend(gathered.written.not_implemented());
    let mut report =
        Report { sources, settings: Vec::new(), warnings, engine: None, compose: None, labels: Vec::new() };
    match gathered.settings() {
        Err(faults) => report.settings = faults,
        Ok(settings) if !options.compose.is_empty() => {
            let read = compose::read(&options.compose);
            report.labels = read.faults(&settings, |update| faults_with(&settings, update))?;
            report.warnings.extend(read.warnings.iter().cloned());
            report.compose = Some(read);
        }
        Ok(settings) if settings.docker.enabled => {
            let engine = ask_engine(&settings)?;
            report.labels = match &engine {
                Ok((_, snapshot)) => faults(snapshot, &settings),
                Err(_) => faults_of_files(&settings)?,
            };
            report.engine = Some(engine);
        }
        Ok(settings) => report.labels = faults_of_files(&settings)?,
    }
    if let Ok(Settings { dns: Some(dns), .. }) = gathered.settings() {
        report.settings.extend(portolan_dns::faults(&dns));
    }
    say(&match options.output.output {
        Output::Json => format!("{:#}\n", report.as_json()),
        Output::Table => report.as_lines(),
    })?;
    Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What answers, and all that it runs; or why nothing does.
fn ask_engine(settings: &Settings) -> Result<Result<(String, Snapshot), String>, String> {
    let runtime = runtime()?;
    let engine = match runtime.block_on(docker::probe(settings.docker.host.as_deref())) {
        Ok(engine) => Ok((engine.to_string(), runtime.block_on(list(settings, true))?.snapshot())),
        Err(error) => Err(error.to_string()),
    };
    // Provider tasks end with the runtime; nobody waits for them.
    runtime.shutdown_background();
    Ok(engine)
}

/// What is wrong in files of dynamic configuration, without an engine. What they say of its containers is not checked.
fn faults_of_files(settings: &Settings) -> Result<Vec<Fault>, String> {
    if settings.file.is_none() {
        return Ok(Vec::new());
    }
    let runtime = runtime()?;
    let snapshot = runtime.block_on(list(settings, false))?.snapshot();
    runtime.shutdown_background();
    let mut faults = faults(&snapshot, settings);
    faults.retain(|fault| !fault.message.contains("@docker`"));
    Ok(faults)
}

/// What is wrong in files of dynamic configuration and in what an engine would have told, together.
fn faults_with(settings: &Settings, update: Update) -> Result<Vec<Fault>, String> {
    let runtime = runtime()?;
    let mut registry = runtime.block_on(list(settings, false))?;
    runtime.shutdown_background();
    registry.apply(update, SystemTime::now());
    Ok(faults(&registry.snapshot(), settings))
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime can't start: {error}"))
}

/// Everything that files say and, where it is asked, that the engine runs.
async fn list(settings: &Settings, engine: bool) -> Result<Registry, String> {
    let metrics = portolan_discovery::Metrics::register(&prometheus::Registry::new())
        .map_err(|error| format!("metrics can't be registered: {error}"))?;
    let (updates, mut received) = mpsc::channel(64);
    let mut awaited = Vec::new();
    if engine {
        let docker = Docker::new(settings.docker.host.clone(), metrics.clone());
        awaited.push(docker.name());
        let mut docker = docker;
        if let Some(wanted) = &settings.swarm
            && (!wanted.auto || docker::is_manager(wanted.host.as_deref()).await)
        {
            let swarm = Swarm::new(wanted.host.clone(), wanted.refresh, metrics.clone());
            docker = docker.yielding_tasks(swarm.owns_tasks(true));
            awaited.push(swarm.name());
            tokio::spawn(swarm.run(updates.clone()));
        }
        tokio::spawn(docker.run(updates.clone()));
    }
    if let Some(source) = &settings.file {
        let file = File::new(FileProvider { watch: false, ..source.clone() }, metrics);
        awaited.push(file.name());
        tokio::spawn(file.run(updates));
    }
    let mut registry = Registry::new(policy(settings), awaited.iter().cloned())
        .with_policy(ProviderName::new(docker::SWARM), swarm_policy(settings));
    let complete = async {
        while !awaited.is_empty() {
            let Some(update) = received.recv().await else { break };
            if matches!(update.change, Change::Reset(_) | Change::Configured(_)) {
                awaited.retain(|provider| *provider != update.provider);
            }
            registry.apply(update, SystemTime::now());
        }
        registry
    };
    tokio::time::timeout(DEADLINE, complete)
        .await
        .map_err(|_| format!("the engine gave no complete list within {} s", DEADLINE.as_secs()))
}

/// What the chart, the table and the zone find wrong.
fn faults(snapshot: &Snapshot, settings: &Settings) -> Vec<Fault> {
    compiled(snapshot, settings).1
}

/// What would be steered by, and what of it can't be done as written.
fn compiled(snapshot: &Snapshot, settings: &Settings) -> (Table, Vec<Fault>) {
    let mut faults = snapshot.faults.clone();
    let mut table = Table::default();
    if let Ok(metrics) = portolan_proxy::Metrics::register(&prometheus::Registry::new()) {
        let ledger = portolan_proxy::Ledger::new(metrics);
        let (compiled, found) = portolan_proxy::compile(snapshot, &settings.entry_points, &ledger);
        table = compiled;
        faults.extend(found);
        faults.extend(ledger.look());
        faults.extend(portolan_proxy::tls_faults(snapshot));
        faults.extend(portolan_proxy::faults_of_unused(snapshot));
    }
    if let Some(dns) = &settings.dns {
        faults.extend(portolan_dns::compile(snapshot, dns).1);
    }
    (table, faults)
}

/// What would be served by these settings: what files say, and what the engine runs, where the settings ask for one.
pub(super) fn as_it_would_be(settings: &Settings) -> Result<(Snapshot, Table, Vec<Fault>), String> {
    let runtime = runtime()?;
    let engine =
        settings.docker.enabled && runtime.block_on(docker::probe(settings.docker.host.as_deref())).is_ok();
    let snapshot = runtime.block_on(list(settings, engine))?.snapshot();
    runtime.shutdown_background();
    let (table, faults) = compiled(&snapshot, settings);
    Ok((snapshot, table, faults))
}
