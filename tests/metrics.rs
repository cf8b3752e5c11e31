//! What Prometheus gets: names, forms and series, over real traffic.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::dns::RecordType;
use crate::harness::{Container, Engine, PATIENCE, Portolan, await_http, eventually, http, require, resolve};

/// Every metric that operators are promised.
const PROMISED: [&str; 29] = [
    "portolan_build_info",
    "portolan_entrypoint_requests_total",
    "portolan_entrypoint_request_duration_seconds_bucket",
    "portolan_entrypoint_connections_open",
    "portolan_entrypoint_received_bytes_total",
    "portolan_entrypoint_sent_bytes_total",
    "portolan_route_requests_total",
    "portolan_service_requests_total",
    "portolan_service_request_duration_seconds_bucket",
    "portolan_service_connections_open",
    "portolan_service_received_bytes_total",
    "portolan_service_sent_bytes_total",
    "portolan_service_retries_total",
    "portolan_refusals_total",
    "portolan_endpoint_requests_total",
    "portolan_endpoint_connections_total",
    "portolan_endpoint_failures_total",
    "portolan_endpoint_up",
    "portolan_endpoint_state",
    "portolan_provider_events_total",
    "portolan_provider_resyncs_total",
    "portolan_provider_connected",
    "portolan_provider_apply_delay_seconds_bucket",
    "portolan_config_last_reload_success_timestamp_seconds",
    "portolan_dns_requests_total",
    "portolan_dns_responses_total",
    "portolan_dns_request_duration_seconds_bucket",
    "portolan_faults",
    "process_open_fds",
];

/// A service of two replicas, one of which refuses connections, and some traffic of each kind.
fn after_traffic() -> (Engine, Portolan) {
    let engine = Engine::start();
    let replica = |name: &str| {
        Container::new(name).label("portolan.service", "web").label("portolan.publish", "8080:80")
    };
    engine.run(&replica("good"));
    engine.run(&replica("deaf").script("trap 'exit 0' QUIT; while :; do usleep 10000; done"));
    engine.serving("good", "bridge");
    let portolan = Portolan::start(&engine, &[]);
    portolan.await_state("good", "ready");
    portolan.await_state("deaf", "ready");
    for _ in 0..4 {
        assert_eq!(await_http("web", 200).text(), "good\n");
        eventually(PATIENCE, "an answer", || http::get("127.0.0.1:8080", "any", "/"));
    }
    await_http("nobody", 404);
    resolve("web", RecordType::A);
    resolve("nobody", RecordType::A);
    (engine, portolan)
}

#[test]
fn every_promised_metric_is_there_and_promtool_has_nothing_to_say() {
    let (engine, portolan) = after_traffic();
    engine.docker(&["pause", "good"]);
    portolan.await_state("good", "paused");
    let metrics = portolan.metrics();
    for name in PROMISED {
        let found = metrics
            .lines()
            .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        assert!(found, "{name} is missing:\n{metrics}");
    }
    for (selector, expected) in [
        (
            "portolan_entrypoint_requests_total{entrypoint=\"web\",code=\"200\",method=\"GET\",protocol=\"http/1.1\"}",
            4.0,
        ),
        ("portolan_entrypoint_request_duration_seconds_count{entrypoint=\"web\",code=\"200\"}", 4.0),
        ("portolan_entrypoint_requests_total{entrypoint=\"web\",code=\"404\"}", 1.0),
        ("portolan_refusals_total{entrypoint=\"web\",reason=\"no_route\"}", 1.0),
        ("portolan_service_requests_total{service=\"web@docker\",code=\"200\"}", 4.0),
        ("portolan_route_requests_total{route=\"web@docker\",code=\"200\"}", 4.0),
        ("portolan_endpoint_up{service=\"web@docker\",endpoint=\"good\"}", 0.0),
        ("portolan_endpoint_up{service=\"web@docker\",endpoint=\"deaf\"}", 1.0),
        ("portolan_endpoint_state{endpoint=\"good\",state=\"paused\"}", 1.0),
        ("portolan_endpoint_state{endpoint=\"good\",state=\"ready\"}", 0.0),
        ("portolan_provider_events_total{provider=\"docker\",action=\"pause\"}", 1.0),
        ("portolan_provider_connected{provider=\"docker\"}", 1.0),
        ("portolan_dns_responses_total{rcode=\"nxdomain\"}", 1.0),
        ("portolan_dns_requests_total{proto=\"udp\",type=\"A\"}", 2.0),
        ("portolan_entrypoint_connections_open", 0.0),
    ] {
        eventually(PATIENCE, &format!("{selector} to be {expected}"), || match portolan.metric(selector) {
            found if (found - expected).abs() < f64::EPSILON => Ok(()),
            found => Err(format!("{found}:\n{metrics}")),
        });
    }

    let mut promtool = Command::new(require("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start promtool");
    promtool.stdin.take().expect("a pipe").write_all(metrics.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
}

#[test]
fn prometheus_scrapes_it_and_says_up() {
    let (_engine, portolan) = after_traffic();
    let sandbox = crate::harness::Sandbox::enter();
    let configuration = sandbox.write(
        "/run/prometheus/prometheus.yml",
        "scrape_configs:\n- job_name: portolan\n  scrape_interval: 1s\n  static_configs:\n  - targets: ['127.0.0.1:9080']\n",
    );
    let mut prometheus = sandbox.command(require("prometheus"));
    prometheus.args([
        &format!("--config.file={configuration}"),
        "--storage.tsdb.path=/run/prometheus/data",
        "--web.listen-address=127.0.0.1:9090",
    ]);
    let _prometheus = sandbox.spawn("prometheus", prometheus);
    let get = |path: &str| -> Result<serde_json::Value, String> {
        let answer = http::get("127.0.0.1:9090", "prometheus", path).map_err(|error| error.to_string())?;
        serde_json::from_slice(&answer.body).map_err(|_| answer.text())
    };
    eventually(PATIENCE * 2, "the target to be up", || {
        let targets = get("/api/v1/targets")?;
        let target = &targets["data"]["activeTargets"][0];
        if target["health"] == "up" && target["lastError"] == "" { Ok(()) } else { Err(targets.to_string()) }
    });
    // What it stored is what was shown.
    let stored = eventually(PATIENCE, "a stored sample", || {
        let found = get("/api/v1/query?query=portolan_endpoint_up%7Bendpoint%3D%22good%22%7D")?;
        let value = found["data"]["result"][0]["value"][1].as_str().map(str::to_owned);
        value.ok_or_else(|| found.to_string())
    });
    assert_eq!(stored, "1");
    drop(portolan);
}

#[test]
fn the_series_of_a_service_go_with_it() {
    let (engine, portolan) = after_traffic();
    let mentions = |text: &str| portolan.metrics().lines().filter(|line| line.contains(text)).count();
    assert!(mentions("\"web@docker\"") > 10 && mentions("\"good\"") > 3);
    engine.docker(&["rm", "--force", "good", "deaf"]);
    portolan.await_gone("good");
    portolan.await_gone("deaf");
    for gone in ["web@docker", "web:80/tcp@docker", "\"good\"", "\"deaf\""] {
        eventually(PATIENCE, &format!("the series of {gone} to go"), || match mentions(gone) {
            0 => Ok(()),
            _ => Err(portolan
                .metrics()
                .lines()
                .filter(|line| line.contains(gone))
                .collect::<Vec<_>>()
                .join("\n")),
        });
    }
    assert!(mentions("entrypoint=\"web\"") > 3, "the entry point stays");
}
