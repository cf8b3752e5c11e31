//! `portolan check`: everything that would be at fault, without serving.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use portolan_config::{Fault, Settings};
use portolan_discovery::provider::docker::{self, Docker};
use portolan_discovery::{Change, Provider, Registry, Snapshot};
use serde_json::json;
use tokio::sync::mpsc;

use crate::banner::count;
use crate::cli::{CheckOptions, Output};
use crate::run::policy;

/// For the engine's first complete list.
const DEADLINE: Duration = Duration::from_secs(30);

/// Checks flags, then the labels of what the engine runs, if one answers.
pub fn check(options: &CheckOptions) -> Result<ExitCode, String> {
    let settings = options.settings.resolve()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime can't start: {error}"))?;
    let (engine, checked) = match runtime.block_on(docker::probe(settings.docker.host.as_deref())) {
        Ok(engine) => (Ok(engine.to_string()), Some(runtime.block_on(list(&settings))?)),
        Err(error) => (Err(error.to_string()), None),
    };
    // Provider tasks end with the runtime; nobody waits for them.
    runtime.shutdown_background();
    let faults = checked.as_ref().map_or_else(Vec::new, |snapshot| faults(snapshot, &settings));
    match options.output.output {
        Output::Json => print_json(&engine, checked.as_ref(), &faults),
        Output::Table => print_lines(&engine, checked.as_ref(), &faults),
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything that the engine runs, drawn once.
async fn list(settings: &Settings) -> Result<Snapshot, String> {
    let metrics = portolan_discovery::Metrics::register(&prometheus::Registry::new())
        .map_err(|error| format!("metrics can't be registered: {error}"))?;
    let (updates, mut received) = mpsc::channel(64);
    let provider = Docker::new(settings.docker.host.clone(), metrics);
    let mut registry = Registry::new(policy(settings), [provider.name()]);
    tokio::spawn(provider.run(updates));
    let complete = async {
        while let Some(update) = received.recv().await {
            let done = matches!(update.change, Change::Reset(_));
            registry.apply(update, SystemTime::now());
            if done {
                break;
            }
        }
        registry.snapshot()
    };
    tokio::time::timeout(DEADLINE, complete)
        .await
        .map_err(|_| format!("the engine gave no complete list within {} s", DEADLINE.as_secs()))
}

/// What the chart, the table and the zone find wrong.
fn faults(snapshot: &Snapshot, settings: &Settings) -> Vec<Fault> {
    let mut faults = snapshot.faults.clone();
    if let Ok(metrics) = portolan_proxy::Metrics::register(&prometheus::Registry::new()) {
        let ledger = portolan_proxy::Ledger::new(metrics);
        faults.extend(portolan_proxy::compile(snapshot, &settings.entry_points, &ledger).1);
        faults.extend(portolan_proxy::tls_faults(snapshot));
    }
    if let Some(dns) = &settings.dns {
        faults.extend(portolan_dns::compile(snapshot, dns).1);
    }
    faults
}

fn print_json(engine: &Result<String, String>, checked: Option<&Snapshot>, faults: &[Fault]) {
    let faults: Vec<_> = faults
        .iter()
        .map(|fault| json!({ "origin": fault.origin, "label": fault.key, "message": fault.message }))
        .collect();
    let report = json!({
        "engine": engine.as_ref().ok(),
        "notChecked": engine.as_ref().err(),
        "services": checked.map(|snapshot| snapshot.services.len()),
        "routers": checked.map(|snapshot| snapshot.routers.len()),
        "publications": checked.map(|snapshot| snapshot.publications.len()),
        "faults": faults,
    });
    println!("{report:#}");
}

fn print_lines(engine: &Result<String, String>, checked: Option<&Snapshot>, faults: &[Fault]) {
    println!("flags and environment: fine");
    match (engine, checked) {
        (Ok(engine), Some(snapshot)) => println!(
            "{engine}: {}, {}, {}, {}",
            count(snapshot.services.len(), "service"),
            count(snapshot.routers.len(), "router"),
            count(snapshot.publications.len(), "published port"),
            count(faults.len(), "fault")
        ),
        (Ok(_), None) => {}
        (Err(error), _) => println!("labels: not checked, as no container engine answers: {error}"),
    }
    for fault in faults {
        println!("fault: {fault}");
    }
}
