//! What to try, printed once Portolan is ready: commands that work as they stand, made from what is there.

use std::fmt::Write;
use std::sync::Arc;

use portolan_config::{ListenAddress, Protocol, Settings};
use portolan_discovery::{Router, Snapshot};

use crate::cli::Source;
use crate::command::say::say;
use crate::steer::Status;

/// Prints the banner when the first complete snapshot is in place.
pub async fn show_when_ready(settings: Settings, source: Source, status: Arc<Status>) {
    let mut applied = status.applied.subscribe();
    // Subscribed first, looked at then: no snapshot is missed in between.
    while !status.not_ready().is_empty() {
        if applied.changed().await.is_err() {
            return;
        }
    }
    if let Err(error) = say(&banner(&settings, source, &status.snapshot.load())) {
        tracing::debug!(error, "what to try is not shown");
    }
}

fn banner(settings: &Settings, source: Source, snapshot: &Snapshot) -> String {
    let mut text = format!("\nPortolan {} is ready", env!("CARGO_PKG_VERSION"));
    let endpoints: usize = snapshot.services.iter().map(|service| service.endpoints.len()).sum();
    let services = count(snapshot.services.len(), "service");
    let _ = writeln!(text, ": {services}, {}. Try:\n", count(endpoints, "endpoint"));
    let mut line = |command: String, what: &str| {
        let _ = writeln!(text, "  {command:<66} # {what}");
    };
    if let Some(publication) = snapshot.publications.iter().find(|p| p.publish.protocol == Protocol::Tcp) {
        line(
            format!("curl localhost:{}", publication.publish.host_port),
            "the published port, over all replicas",
        );
    } else if source == Source::Docker {
        line(
            "docker run -d --name hello -l portolan.publish=8080:80 nginx".to_owned(),
            "one label puts port 8080 in front of it",
        );
    }
    let entry_point = settings.entry_points.iter().find(|entry_point| entry_point.protocol == Protocol::Tcp);
    let entry_point = entry_point.map(|entry_point| entry_point.address);
    if let (Some(router), Some(address)) = (snapshot.routers.first(), entry_point)
        && let Some(host) = a_host(router)
    {
        line(format!("curl -H 'Host: {host}' {}", reach(address)), "HTTP, routed by host");
    }
    if let (Some(dns), Some(service)) = (&settings.dns, snapshot.services.first()) {
        let name = service.key.dns_names().into_iter().next().unwrap_or_default();
        let server = reach(ListenAddress { port: 0, ..dns.address }).replace("localhost", "127.0.0.1");
        let server = server.trim_end_matches(":0");
        line(format!("dig @{server} -p {} {name}.{}", dns.address.port, dns.zone), "its replicas, by name");
    }
    line(format!("curl {}/metrics", reach(settings.admin)), "for Prometheus");
    if source == Source::Demo {
        let admin = reach(settings.admin);
        line(
            format!("curl -X POST {admin}/api/demo/replicas/2/stop"),
            "watch traffic move; `start` brings it back",
        );
    }
    line("portolan ps".to_owned(), "what is known, and why it is as it is");
    text.push('\n');
    text
}

/// `1 service`, `2 services`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A host that the router takes, if its rule names one.
fn a_host(router: &Router) -> Option<String> {
    let mut found = router.rule.hosts();
    found.retain(|host| !host.contains('*'));
    let local = found.iter().find(|host| host.ends_with(".localhost")).cloned();
    local.or(found.into_iter().next())
}

/// How somebody on this machine reaches an address.
fn reach(address: ListenAddress) -> String {
    match address.ip {
        Some(ip) if !ip.is_unspecified() && !ip.is_loopback() => address.to_string(),
        _ => format!("localhost:{}", address.port),
    }
}
