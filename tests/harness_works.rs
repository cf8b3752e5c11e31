//! The harness itself: a machine for every test, and nothing left of it afterwards.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::harness::{Container, Engine, Load, NGINX_SIGTERM, PATIENCE, Sandbox, eventually, http, require};

#[test]
fn containers_answer_over_ipv4_and_ipv6() {
    let engine = Engine::start();
    engine.network6("both", "fd00:5::/64");
    engine.run(&Container::new("web").network("both").label("a", "b").health("test -f /healthy"));
    for address in [engine.address("web", "both"), engine.address6("web", "both")] {
        let address = SocketAddr::from((address, 80));
        let response = eventually(PATIENCE, "nginx to answer", || http::get(address, "any", "/"));
        assert_eq!((response.status, response.text().as_str()), (200, "web\n"), "{address}");
    }

    let health =
        || engine.inspect("web")["State"]["Health"]["Status"].as_str().unwrap_or_default().to_owned();
    engine.exec("web", &["touch", "/healthy"]);
    eventually(PATIENCE, "the container to be healthy", || match health().as_str() {
        "healthy" => Ok(()),
        other => Err(other.to_owned()),
    });
    assert_eq!(engine.inspect("web")["Config"]["StopSignal"], "SIGQUIT");
    assert_eq!(engine.inspect(NGINX_SIGTERM)["Config"]["StopSignal"], serde_json::Value::Null);
}

#[test]
fn one_connection_carries_many_answers() {
    let engine = Engine::start();
    engine.run(&Container::new("web"));
    let address = engine.serving("web", "bridge");
    let mut connection = http::Connection::open(address).expect("a connection");
    assert_eq!(connection.get("any", "/").expect("an answer").text(), "web\n");
    assert_eq!(connection.get("any", "/1m").expect("an answer").body.len(), 1 << 20);
    assert!(
        connection
            .get("a.b", "/echo?q")
            .expect("an answer")
            .text()
            .starts_with("GET /echo?q HTTP/1.1\nhost: a.b\n")
    );

    let load = Load::start(&format!("http://{address}/"), "any", 4);
    connection.get("any", "/").expect("an answer under load");
    let report = load.stop();
    assert_eq!(report.failures(), 0, "{}", report.text);

    // Graceful: an idle connection is closed, not reset, and the container ends at once.
    engine.docker(&["stop", "web"]);
    assert!(connection.is_closed_by_peer().expect("the end of the connection"));
}

#[test]
fn an_engine_can_be_killed_and_started_again() {
    let mut engine = Engine::start();
    engine.run(&Container::new("web"));
    engine.serving("web", "bridge");
    engine.kill();
    engine.try_docker(&["version"]).expect_err("a dead engine does not answer");
    engine.restart();
    assert_eq!(engine.inspect("web")["State"]["Status"], "exited", "an engine stops what survived its crash");
    engine.docker(&["start", "web"]);
    engine.serving("web", "bridge");
    assert!(engine.terminate().success());
    engine.restart();
    assert_eq!(engine.inspect("web")["State"]["Status"], "exited");
}

#[test]
fn containers_survive_an_engine_with_live_restore() {
    let mut engine = Engine::start_with(&["--live-restore"]);
    engine.run(&Container::new("web"));
    let started = engine.inspect("web")["State"]["StartedAt"].clone();
    let address = engine.serving("web", "bridge");
    for stop in [Engine::kill, |engine: &mut Engine| assert!(engine.terminate().success())] {
        stop(&mut engine);
        eventually(PATIENCE, "nginx to answer without an engine", || http::get(address, "any", "/"));
        engine.restart();
        assert_eq!(engine.inspect("web")["State"]["StartedAt"], started);
    }
}

#[test]
fn a_frozen_engine_goes_on() {
    let mut engine = Engine::start();
    engine.freeze();
    eventually(PATIENCE, "dockerd to stop", || match engine.state() {
        'T' => Ok(()),
        other => Err(format!("it is in state {other}")),
    });
    engine.thaw();
    engine.docker(&["version"]);
}

const PANIC: &str = "as a failed test does";

#[test]
fn nothing_is_left_of_a_sandbox() {
    let home = network();
    let before = fs::read_dir("/etc/docker").map_or(0, Iterator::count);
    let mut name = String::new();
    let mut keeper = 0;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let engine = Engine::start();
        engine.run(&Container::new("web"));
        (name, keeper) = (engine.sandbox().cgroup().to_owned(), engine.sandbox().keeper_pid());
        assert_ne!(network(), home);
        assert!(Arc::ptr_eq(engine.sandbox(), &Sandbox::enter()), "a thread is in one sandbox");
        assert!(!Sandbox::cgroup_dirs(&name).is_empty(), "the container is in the sandbox's control group");
        assert!(namesakes(&name) >= 3, "dockerd, and nginx and its worker by their control group");
        panic!("{PANIC}");
    }));
    let panic = panicked.expect_err("it panicked");
    assert_eq!(panic.downcast_ref::<String>().map(String::as_str), Some(PANIC), "it failed before");
    assert_eq!(network(), home, "the thread is back");
    assert!(!Path::new("/proc").join(keeper.to_string()).exists(), "the sandbox's first process is gone");
    assert_eq!(Sandbox::cgroup_dirs(&name), Vec::<PathBuf>::new());
    assert_eq!(namesakes(&name), 0, "processes are gone");
    assert_eq!(
        fs::read_dir("/etc/docker").map_or(0, Iterator::count),
        before,
        "dockerd wrote to the sandbox's /etc only"
    );
}

/// A test that is killed cannot clean up; the kernel does, all but the control groups, which the next test removes.
#[test]
fn nothing_is_left_of_a_killed_test() {
    let this = std::env::current_exe().expect("the path of this program");
    let mut killed = Command::new(this)
        .args(["--exact", "harness_works::waits_to_be_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("start a test of its own");
    let output = BufReader::new(killed.stdout.take().expect("its output is a pipe"));
    let line =
        output.lines().map_while(Result::ok).find(|line| line.starts_with(READY)).expect("it is ready");
    let name = line.trim_start_matches(READY).trim();
    assert!(namesakes(name) > 0 && !Sandbox::cgroup_dirs(name).is_empty());
    killed.kill().and_then(|()| killed.wait()).expect("kill it");
    eventually(PATIENCE, "the end of what it started", || match namesakes(name) {
        0 => Ok(()),
        left => Err(format!("{left} processes run")),
    });
    let _next = Sandbox::enter();
    assert_eq!(Sandbox::cgroup_dirs(name), Vec::<PathBuf>::new());
}

const READY: &str = "the sandbox is ";

#[test]
#[ignore = "it is the victim of nothing_is_left_of_a_killed_test"]
fn waits_to_be_killed() {
    let engine = Engine::start();
    engine.run(&Container::new("web"));
    // A line of its own, after what the test runner has begun.
    println!("\n{READY}{}", engine.sandbox().cgroup());
    std::thread::park();
}

#[test]
fn a_process_ends_with_the_signal_that_killed_it() {
    let sandbox = Sandbox::enter();
    let mut sleep = sandbox.command(require("sleep"));
    sleep.arg("1000");
    let mut process = sandbox.spawn("sleep", sleep);
    process.signal(crate::harness::Signal::TERM);
    assert_eq!(process.wait_exit(PATIENCE).signal(), Some(15));
}

/// The network namespace of this thread.
fn network() -> PathBuf {
    fs::read_link("/proc/thread-self/ns/net").expect("this thread is in /proc")
}

/// How many processes carry the name in their command line or control groups.
fn namesakes(name: &str) -> usize {
    let processes = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let read = |file: PathBuf| fs::read(file).unwrap_or_default();
    processes
        .filter(|process| {
            ["cmdline", "cgroup"]
                .iter()
                .any(|file| String::from_utf8_lossy(&read(process.path().join(file))).contains(name))
        })
        .count()
}
