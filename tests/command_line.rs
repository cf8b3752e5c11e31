//! What people and service managers see: exit codes, one clear line when something is wrong, logs, verbs.

use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Container, Engine, PATIENCE, Portolan, Sandbox, eventually, require};

/// How a run ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the program to its end, in the sandbox of this thread.
fn portolan(arguments: &[&str]) -> Ended {
    let mut command = Sandbox::enter().command(Portolan::binary());
    command.args(arguments);
    ended(command)
}

fn ended(mut command: Command) -> Ended {
    let output = command.env("DOCKER_HOST", "unix:///run/docker.sock").output().expect("run it");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Asserts that a run failed, and said why in one line with all of `parts`, and nothing else.
#[track_caller]
fn assert_fault(ended: &Ended, parts: &[&str]) {
    assert_eq!((ended.code, ended.err.lines().count(), ended.out.as_str()), (Some(1), 1, ""), "{ended:?}");
    assert!(ended.err.starts_with("portolan: "), "{ended:?}");
    for part in parts {
        assert!(ended.err.contains(part), "{part}: {ended:?}");
    }
}

#[test]
fn help_and_version_are_no_faults() {
    let _sandbox = Sandbox::enter();
    let help = portolan(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    for verb in ["run", "demo", "check", "ps", "healthcheck", "version"] {
        assert!(help.out.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}: {}", help.out);
    }
    let run = portolan(&["run", "--help"]);
    assert_eq!(run.code, Some(0));
    for part in ["--entry-point", "PORTOLAN_ENTRY_POINTS", "default: web=:8000"] {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }
    let version = portolan(&["version", "-o", "json"]);
    let version: Value = serde_json::from_str(&version.out).expect("JSON");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_wrong_flag_is_a_fault() {
    let _sandbox = Sandbox::enter();
    let wrong = portolan(&["run", "--no-such-flag"]);
    assert_eq!(wrong.code, Some(1), "2 would mean a forced end");
    assert!(wrong.err.contains("--no-such-flag"), "{wrong:?}");
    let several = portolan(&["run", "--dns-ttl=soon", "--entry-point=web"]);
    assert_eq!((several.code, several.err.lines().count()), (Some(1), 2), "every fault at once: {several:?}");
    assert!(several.err.contains("soon") && several.err.contains("web"), "{several:?}");
    assert_fault(&portolan(&["demo", "--log-level=lou=d=er"]), &["--log-level", "lou=d=er", "debug"]);
}

#[test]
fn a_port_in_use_is_a_fault_that_says_what_to_do() {
    let _sandbox = Sandbox::enter();
    for (address, parts) in [
        ("127.0.0.1:8000", ["entry point", "8000", "another"]),
        ("127.0.0.1:9080", ["admin address", "9080", "--admin-address"]),
        ("127.0.0.1:1053", ["DNS", "1053", "--dns-address"]),
    ] {
        let _taken = TcpListener::bind(address).expect("the port is free");
        assert_fault(&portolan(&["demo"]), &parts);
    }
    let _taken = UdpSocket::bind("127.0.0.1:1053").expect("the port is free");
    assert_fault(&portolan(&["demo"]), &["1053", "--dns-address"]);
}

#[test]
fn a_second_portolan_does_not_take_half_of_the_firsts_traffic() {
    let _first = Portolan::start(None, &["--source=demo"]);
    assert_fault(&portolan(&["demo"]), &["9080"]);
    let elsewhere = ["demo", "--admin-address=127.0.0.1:9081", "--dns-address=off"];
    assert_fault(&portolan(&elsewhere), &["entry point", "8000"]);
}

#[test]
fn a_socket_that_may_not_be_read_is_a_fault_that_says_what_to_do() {
    let engine = Engine::start();
    let mut command = engine.sandbox().command(require("setpriv"));
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(Portolan::binary()).arg("run");
    assert_fault(&ended(command), &["/run/docker.sock", "docker"]);
}

#[test]
fn check_finds_what_is_wrong_with_running_containers() {
    let engine = Engine::start();
    engine.run(&Container::new("web"));
    let fine = portolan(&["check"]);
    assert_eq!(fine.code, Some(0), "{fine:?}");
    assert!(fine.out.contains("1 service,") && fine.out.contains("0 faults"), "{fine:?}");

    engine.run(&Container::new("wrong").label("portolan.publish", "8000:80"));
    engine.run(&Container::new("bad").label("traefik.http.routers.bad.rule", "Hots(`a`)"));
    let faulty = portolan(&["check", "-o", "json"]);
    assert_eq!(faulty.code, Some(1), "{faulty:?}");
    let report: Value = serde_json::from_str(&faulty.out).expect("JSON");
    let origins: Vec<&str> = report["faults"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|fault| fault["origin"].as_str())
        .collect();
    assert_eq!(origins, ["container bad", "container wrong"]);
    assert_eq!(portolan(&["check", "--dns-ttl=soon"]).code, Some(1));
}

#[test]
fn check_reads_the_files_of_the_name_server() {
    let engine = Engine::start();
    let records = engine.sandbox().write("/run/records", "printer A 192.0.2.10\nscanner A nowhere\n");
    let flag = format!("--dns-records={records}");
    let tls = [
        "--dns-tls-address=:853",
        "--dns-tls-certificate=/run/certificate",
        "--dns-tls-key=/run/certificate",
    ];
    let faulty = portolan(&["check", &flag, tls[0], tls[1], tls[2]]);
    assert_eq!(faulty.code, Some(1), "{faulty:?}");
    for origin in ["/run/records: --dns-records: ", "/run/certificate: --dns-tls-certificate: "] {
        assert!(faulty.out.contains(&format!("fault: {origin}")), "{origin}: {faulty:?}");
    }
    engine.sandbox().write("/run/records", "printer A 192.0.2.10\n");
    let fine = portolan(&["check", &flag]);
    assert_eq!(fine.code, Some(0), "{fine:?}");
}

#[test]
fn ps_and_healthcheck_ask_the_one_that_runs() {
    let engine = Engine::start();
    assert_fault(&portolan(&["ps"]), &["no Portolan answers at 127.0.0.1:9080", "--admin-address"]);
    assert_eq!(portolan(&["healthcheck"]).code, Some(1));
    engine.run(&Container::new("web"));
    let mut running =
        Portolan::spawn(&engine, &["--admin-address=127.0.0.1:9999"]).admin_at("127.0.0.1:9999");
    running.await_ready();
    running.await_state("web", "ready");
    let there = "--admin-address=127.0.0.1:9999";
    let ps = portolan(&["ps", there, "-o", "json"]);
    assert_eq!(ps.code, Some(0));
    let shown: Value = serde_json::from_str(&ps.out).expect("JSON");
    assert_eq!(shown, running.snapshot());
    let table = portolan(&["ps", there]).out;
    let row = table.lines().find(|line| line.contains("web@docker")).unwrap_or_else(|| panic!("{table}"));
    for part in ["web", "172.", "ready", "running"] {
        assert!(row.contains(part), "{table}");
    }
    assert_eq!(portolan(&["healthcheck", there]).code, Some(0));
}

#[test]
fn logs_are_json_where_no_person_reads_them() {
    let engine = Engine::start();
    engine.run(&Container::new("wrong").label("portolan.publish", "8000:80"));
    let json = Portolan::start(&engine, &[]);
    json.await_fault("wrong");
    let logs = json.logs();
    let lines: Vec<Value> = logs
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let fault = lines.iter().find(|line| line["level"] == "WARN").unwrap_or_else(|| panic!("{logs}"));
    assert_eq!((&fault["origin"], &fault["label"]), (&"container wrong".into(), &"portolan.publish".into()));
    assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["message"].is_string()), "{logs}");
    drop(json);

    let text = Portolan::start(&engine, &["--log-format=text", "--log-level=warn"]);
    text.await_fault("wrong");
    let new = text.logs()[logs.len()..].to_owned();
    assert!(new.contains("WARN") && !new.contains("INFO") && !new.contains("\"level\""), "{new}");
}

#[test]
fn every_flag_has_an_environment_twin() {
    let sandbox = Sandbox::enter();
    let mut command = sandbox.command(Portolan::binary());
    command.arg("demo").env("PORTOLAN_ADMIN_ADDRESS", "127.0.0.1:9999").env("PORTOLAN_DNS_ADDRESS", "off");
    command.env("PORTOLAN_ENTRY_POINTS", "web=127.0.0.1:8001,other=127.0.0.1:8002");
    let _process = sandbox.spawn("portolan", command);
    for address in ["127.0.0.1:8001", "127.0.0.1:8002"] {
        eventually(PATIENCE, "the demo to answer", || {
            match crate::harness::http::get(address, "whoami.localhost", "/") {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
    UdpSocket::bind("127.0.0.1:1053").expect("no name server took it");
}

#[test]
fn check_reads_compose_files_without_an_engine() {
    let sandbox = Sandbox::enter();
    let labels = "services:\n  web:\n    labels:\n      - traefik.http.routers.web.rule=Host(`${HOST}`)\n";
    let file = "/etc/shop/compose.yaml";
    sandbox.write(file, labels);
    let fine = portolan(&["check", file]);
    assert_eq!((fine.code, fine.err.as_str()), (Some(0), ""), "{fine:?}");
    assert!(fine.out.contains("/etc/shop/compose.yaml: 1 service, 1 label, 0 faults"), "{fine:?}");

    let more = "      - traefik.http.routers.web.entrypoints=wbe\n    deploy:\n      labels:\n        a: b\n        \
                traefik.http.routers.web.rule: Hots(`a`)\n";
    sandbox.write(file, &format!("{labels}{more}"));
    let faulty = portolan(&["check", "--entry-point=web=:80", file]);
    assert_eq!(faulty.code, Some(1), "{faulty:?}");
    let faults: Vec<&str> = faulty.out.lines().filter_map(|line| line.strip_prefix("fault: ")).collect();
    let [entry_point, rule] = faults.as_slice() else { panic!("{faulty:?}") };
    let web = "service web: traefik.http.routers.web";
    assert!(entry_point.starts_with(&format!("{file}:5: {web}.entrypoints: ")), "{entry_point}");
    assert!(rule.starts_with(&format!("{file}:9: {web}.rule: ")), "{rule}");
}
