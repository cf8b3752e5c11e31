//! Settings as Traefik has them: flags in its spelling, variables, a file; what is wrong with them, and what they do.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Container, Engine, PATIENCE, Portolan, Sandbox, Signal, eventually, http};

/// Runs the program to its end; gives its exit code and what it wrote.
fn ended(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("run it");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The program in the sandbox of this thread, where no engine answers.
fn portolan(arguments: &[&str]) -> Command {
    let mut command = Sandbox::enter().command(Portolan::binary());
    command.args(arguments).env("DOCKER_HOST", "unix:///run/no-engine.sock");
    command
}

/// Writes a file into the sandbox; gives the path that the program has it by.
fn file(name: &str, text: &str) -> String {
    let path = format!("/run/{name}");
    fs::write(Sandbox::enter().path(&path), text).expect("the sandbox takes a file");
    path
}

#[track_caller]
fn status(address: &str, host: &str, path: &str) -> u16 {
    http::get(address, host, path).expect("an answer").status
}

#[test]
fn traefiks_flags_start_it_as_they_are() {
    let engine = Engine::start();
    engine.run(&Container::new("web").label("traefik.http.routers.w.rule", "Host(`a.example`)"));
    engine.run(&Container::new("hidden").label("traefik.http.routers.h.rule", "Host(`h.example`)"));
    let mut portolan = Portolan::start(
        &engine,
        &[
            "--providers.docker=true",
            "--providers.docker.exposedByDefault=true",
            "--entryPoints.Web.address=127.0.0.1:8001",
            "--entrypoints.other.address=127.0.0.1:8002",
            "--ping",
            "--api.dashboard=true",
            "--tracing=true",
            "--metrics.prometheus.entrypoint=other",
            "--log.level",
            "DEBUG",
            "--dns-address=off",
        ],
    );
    portolan.await_state("web", "ready");
    for address in ["127.0.0.1:8001", "127.0.0.1:8002"] {
        eventually(PATIENCE, "the router", || match http::get(address, "a.example", "/") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    // What was asked for is on `traefik`, and nothing else of what the admin address has.
    assert_eq!(status("127.0.0.1:8080", "any", "/ping"), 200);
    assert_eq!(status("127.0.0.1:8080", "any", "/metrics"), 404);
    assert_eq!(status("127.0.0.1:8080", "any", "/api/snapshot"), 404);
    // Metrics are on the entry point that was named, whatever the host, and not on the other.
    assert_eq!(status("127.0.0.1:8002", "any", "/metrics"), 200);
    assert_eq!(status("127.0.0.1:8001", "any", "/metrics"), 404);
    let logs = portolan.logs();
    let warnings: Vec<&str> = logs.lines().filter(|line| line.contains("can't do these yet")).collect();
    assert_eq!(warnings.len(), 1, "one warning: {logs}");
    assert!(warnings[0].contains("--api.dashboard, --tracing"), "{warnings:?}");
    assert!(logs.contains("\"DEBUG\""), "the level is as written: {logs}");
    portolan.signal(Signal::TERM);
    assert_eq!(portolan.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn flags_without_a_verb_mean_run() {
    let sandbox = Sandbox::enter();
    let mut command = portolan(&["--source=demo", "--entryPoints.web.address=127.0.0.1:8001"]);
    command.env("TRAEFIK_API_INSECURE", "true");
    let _process = sandbox.spawn("portolan", command);
    eventually(PATIENCE, "the demo", || match http::get("127.0.0.1:8001", "whoami.localhost", "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(status("127.0.0.1:8080", "any", "/api/version"), 200, "a published port does not take it");
    let stop = http::Connection::open("127.0.0.1:8080").and_then(|mut connection| {
        connection.send("POST /api/demo/replicas/1/stop HTTP/1.1\r\nHost: x\r\n\r\n")?;
        connection.read()
    });
    assert_eq!(stop.expect("an answer").status, 404, "nothing can be changed there");
}

#[test]
fn flags_variables_and_a_file_add_up() {
    let sandbox = Sandbox::enter();
    let path = file(
        "settings.yml",
        "entryPoints:\n  file: {address: '127.0.0.1:8001'}\n  both: {address: '127.0.0.1:8002'}\n\
         dns: {address: 'off'}\nping: {entryPoint: file}\n",
    );
    let mut command = portolan(&["run", "--source=demo", "--configFile", &path]);
    command.arg("--entrypoints.flag.address=127.0.0.1:8004");
    command.env("TRAEFIK_ENTRYPOINTS_BOTH_ADDRESS", "127.0.0.1:8003");
    command.env("PORTOLAN_ENTRY_POINTS", "variable=127.0.0.1:8005");
    let process = sandbox.spawn("portolan", command);
    for address in ["127.0.0.1:8001", "127.0.0.1:8003", "127.0.0.1:8004", "127.0.0.1:8005"] {
        eventually(PATIENCE, "the demo", || match http::get(address, "whoami.localhost", "/") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{address}: {other:?}: {}", process.log())),
        });
    }
    assert!(http::get("127.0.0.1:8002", "whoami.localhost", "/").is_err(), "the variable counts more");
    assert_eq!(status("127.0.0.1:8001", "any", "/ping"), 200);
    std::net::UdpSocket::bind("127.0.0.1:1053").expect("no name server took it");
    assert!(process.log().contains(&path), "the log says which file: {}", process.log());
}

#[test]
fn every_fault_is_told_at_once_and_nothing_is_started() {
    let _sandbox = Sandbox::enter();
    let path = file("wrong.yml", "entryPoints:\n  web:\n    adress: ':80'\nlog:\n  format: xml\n");
    let arguments = ["--config-file", &path, "--providers.dokcer", "--dns-ttl=soon"];
    let (code, out, err) = ended(portolan(&[&["run"], &arguments[..]].concat()));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 4, "{err}");
    for expected in [
        "portolan: --providers.dokcer: there is no such option; did you mean `providers.docker`?",
        "portolan: /run/wrong.yml:3: entryPoints.web.adress: there is no such option; did you mean `entryPoints.web.address`?",
        "portolan: /run/wrong.yml:5: log.format: `xml`: expected auto, text, json or common",
        "portolan: --dns-ttl: `soon` is not a duration",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected}: {err}");
    }
    // Told by `check` too, with where it stands, for people and for programs.
    let (code, out, err) = ended(portolan(&[&["check"], &arguments[..]].concat()));
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert_eq!(out.lines().filter(|line| line.starts_with("fault: ")).count(), 4, "{out}");
    let (code, out, _) = ended(portolan(&[&["check", "-o", "json"], &arguments[..]].concat()));
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let origins: Vec<&str> = report["faults"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|fault| fault["origin"].as_str())
        .collect();
    assert_eq!(code, Some(1));
    for origin in ["flag", "/run/wrong.yml:3", "/run/wrong.yml:5"] {
        assert!(origins.contains(&origin), "{origin}: {origins:?}");
    }
}

#[test]
fn check_names_what_can_not_be_done_yet_and_that_is_no_fault() {
    let _sandbox = Sandbox::enter();
    let path = file("traefik.toml", "[certificatesResolvers.le.acme]\nemail = 'a@example'\n[ping]\n");
    let (code, out, _) = ended(portolan(&["check", "--config-file", &path]));
    assert_eq!(code, Some(0), "{out}");
    assert!(out.starts_with("flags, environment and /run/traefik.toml: fine\n"), "{out}");
    let warning =
        "warning: /run/traefik.toml:2: certificatesResolvers.le.acme.email: Portolan can't do this yet";
    assert!(out.lines().any(|line| line == warning), "{out}");
}

#[test]
fn a_file_that_is_named_has_to_be_there_and_one_in_the_usual_places_is_found() {
    let sandbox = Sandbox::enter();
    for (path, part) in [("/run/nowhere.yml", "can't be read"), ("/etc/passwd", "ends with .yml")] {
        for spelling in ["--configFile", "--config-file", "--CONFIGFILE"] {
            let (code, out, err) = ended(portolan(&["run", spelling, path]));
            assert_eq!((code, out.as_str(), err.lines().count()), (Some(1), "", 1), "{err}");
            assert!(err.contains(path) && err.contains(part), "{err}");
        }
        let mut command = portolan(&["check"]);
        command.env("TRAEFIK_CONFIGFILE", path);
        assert_eq!(ended(command).0, Some(1));
    }
    fs::create_dir_all(sandbox.path("/run/places")).expect("a directory");
    file("places/traefik.yml", "workers: none\n");
    let mut command = portolan(&["check"]);
    command.env("XDG_CONFIG_HOME", "/run/places");
    let (code, out, _) = ended(command);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("/run/places/traefik.yml:1: workers: `none` is not a number"), "{out}");
    // One of the program's own name comes first.
    file("places/portolan.toml", "workers = 1\n");
    let mut command = portolan(&["check"]);
    command.env("XDG_CONFIG_HOME", "/run/places");
    let (code, out, _) = ended(command);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("/run/places/portolan.toml: fine"), "{out}");
}

#[test]
fn before_it_drains_it_goes_on_for_as_long_as_is_written() {
    let mut portolan = Portolan::start(
        None,
        &[
            "--source=demo",
            "--entrypoints.web.address=127.0.0.1:8001",
            "--entrypoints.web.transport.lifecycle.requestacceptgracetimeout=1h",
            "--ping.entrypoint=web",
            "--ping.terminatingstatuscode=418",
        ],
    );
    let ping = || http::get("127.0.0.1:8001", "any", "/ping").map(|answer| answer.status);
    eventually(PATIENCE, "ping", || match ping() {
        Ok(200) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    portolan.signal(Signal::TERM);
    eventually(PATIENCE, "ping to tell of the end", || match ping() {
        Ok(418) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // A load balancer that has not seen it yet is served all the same, on new connections.
    assert_eq!(status("127.0.0.1:8001", "whoami.localhost", "/"), 200);
    portolan.signal(Signal::TERM);
    assert_eq!(portolan.wait_exit(PATIENCE).code(), Some(2), "a second signal waits for nothing");
}

#[test]
fn healthcheck_finds_the_admin_address_where_the_settings_have_it() {
    let _sandbox = Sandbox::enter();
    let path = file("health.yml", "admin: {address: '127.0.0.1:9999'}\n");
    let mut running = Portolan::spawn(None, &["--source=demo", "--admin-address=127.0.0.1:9999"])
        .admin_at("127.0.0.1:9999");
    running.await_ready();
    let mut command = portolan(&["healthcheck", "--ping"]);
    command.env("PORTOLAN_CONFIG_FILE", &path);
    let (code, out, err) = ended(command);
    assert_eq!((code, out.as_str()), (Some(0), "OK\n"), "{err}");
    assert_eq!(ended(portolan(&["healthcheck", "--configFile", &path])).0, Some(0));
    assert_eq!(ended(portolan(&["healthcheck"])).0, Some(1), "nothing is at the usual place");
    let (code, _, err) = ended(portolan(&["ps", "--admin-adress=127.0.0.1:9999"]));
    assert_eq!(code, Some(1));
    assert!(
        err.contains("--admin-adress: there is no such option; did you mean `--admin-address`?"),
        "{err}"
    );
    drop(running);
}
