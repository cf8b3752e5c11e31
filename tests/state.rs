//! What was known outlives the process, also while the engine is away: on disk, and in the hands of a successor.

use std::fs;

use crate::harness::{
    Container, ENTRY_POINT, Engine, PATIENCE, Portolan, Signal, await_addresses, await_http, eventually, http,
};

const DIRECTORY: &str = "/run/portolan-state";
const FLAGS: [&str; 1] = ["--state-dir=/run/portolan-state"];

/// An engine whose containers outlive it.
fn engine() -> Engine {
    let engine = Engine::start_with(&["--live-restore"]);
    for name in ["stays", "goes"] {
        engine.run(&Container::new(name));
        engine.serving(name, "bridge");
    }
    engine
}

fn start(engine: &Engine) -> Portolan {
    let portolan = Portolan::start(engine, &FLAGS);
    for name in ["stays", "goes"] {
        portolan.await_state(name, "ready");
    }
    portolan
}

fn file(engine: &Engine, name: &str) -> std::path::PathBuf {
    engine.sandbox().path(format!("{DIRECTORY}/{name}"))
}

/// Waits until both are on disk; ends the process as the kernel does when memory runs out.
fn kill_when_kept(engine: &Engine, mut portolan: Portolan) {
    eventually(PATIENCE, "what is known to be on disk", || {
        let kept = fs::read_to_string(file(engine, "portolan.state")).map_err(|error| error.to_string())?;
        if kept.matches("\"Ready\"").count() == 2 { Ok(()) } else { Err(kept) }
    });
    portolan.signal(Signal::KILL);
    portolan.wait_exit(PATIENCE);
}

fn kept_since(portolan: &Portolan) -> Option<f64> {
    portolan.snapshot()["sources"][0]["keptSince"].as_f64()
}

fn ps(engine: &Engine) -> String {
    let mut command = engine.sandbox().command(Portolan::binary());
    let output = command.arg("ps").output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_restart_while_the_engine_is_away_serves_what_was_known() {
    let mut engine = engine();
    let portolan = start(&engine);
    let before = portolan.await_state("stays", "ready");
    let victim = engine.inspect("goes")["State"]["Pid"].as_u64().expect("it runs");
    assert_eq!(kept_since(&portolan), None);
    kill_when_kept(&engine, portolan);
    engine.kill();
    // Nobody is there to see this.
    engine.sandbox().kill(victim);

    let portolan = Portolan::start(&engine, &FLAGS);
    assert_eq!(portolan.await_state("stays", "ready"), before, "as it was known");
    assert_eq!(http::get(ENTRY_POINT, "stays", "/").expect("an answer").status, 200, "at once");
    await_addresses("stays", &[&before.ipv4]);
    assert!(kept_since(&portolan).is_some());
    assert!(portolan.metric("portolan_state_age_seconds{provider=\"docker\"}") > 0.0);
    let shown = ps(&engine);
    assert!(shown.contains("what an earlier process kept ") && shown.contains(" ago is shown"), "{shown}");
    assert!(portolan.logs().contains("what was kept of it is served until it does"), "{}", portolan.logs());

    engine.restart();
    portolan.await_state("goes", "stopped");
    assert_eq!(portolan.await_state("stays", "ready"), before);
    assert_eq!(kept_since(&portolan), None);
    assert!(portolan.metric("portolan_state_age_seconds{provider=\"docker\"}") < f64::EPSILON);
    assert!(!ps(&engine).contains("does not answer"));
    engine.docker(&["rm", "--force", "stays"]);
    portolan.await_gone("stays");
}

#[test]
fn an_engine_that_hangs_does_not_hold_up_what_was_known() {
    let mut engine = engine();
    let portolan = start(&engine);
    kill_when_kept(&engine, portolan);
    engine.freeze();
    let portolan = Portolan::start(&engine, &FLAGS);
    await_http("stays", 200);
    assert!(kept_since(&portolan).is_some());
    engine.thaw();
    eventually(PATIENCE, "the engine to be heard", || kept_since(&portolan).map_or(Ok(()), Err));
    await_http("stays", 200);
}

#[test]
fn an_engine_that_answers_is_believed_alone() {
    let engine = engine();
    kill_when_kept(&engine, start(&engine));
    engine.docker(&["rm", "--force", "goes"]);
    let portolan = Portolan::start(&engine, &FLAGS);
    assert!(portolan.endpoint("goes").is_none(), "{}", portolan.snapshot());
    await_http("goes", 404);
    await_http("stays", 200);
    assert!(!portolan.logs().contains("what was kept of it is served"), "{}", portolan.logs());
}

#[test]
fn a_state_that_can_not_be_read_is_set_aside_and_nobody_is_told_that_there_is_nothing() {
    let mut engine = engine();
    kill_when_kept(&engine, start(&engine));
    engine.kill();
    let mut bytes = fs::read(file(&engine, "portolan.state")).expect("it is there");
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    fs::write(file(&engine, "portolan.state"), &bytes).expect("it can be written");

    let portolan = Portolan::spawn(&engine, &FLAGS);
    let answer = await_http("stays", 503);
    assert!(answer.text().contains("what runs is not known yet"), "{}", answer.text());
    assert!(portolan.logs().contains("it is damaged"), "{}", portolan.logs());
    assert_eq!(fs::read(file(&engine, "portolan.state.refused")).expect("it is kept"), bytes);
    engine.restart();
    await_http("stays", 200);
    await_http("nobody", 404);
    eventually(PATIENCE, "a new one", || fs::read(file(&engine, "portolan.state")).map(drop));
}

#[test]
fn an_upgrade_while_the_engine_is_away_serves_what_was_known() {
    let mut engine = engine();
    let portolan = Portolan::start(&engine, &[]);
    let before = portolan.await_state("stays", "ready");
    portolan.await_state("goes", "ready");
    engine.kill();
    eventually(PATIENCE, "the loss to be noticed", || portolan.lost().ok_or("not yet"));
    let mut pid = portolan.pid();
    // The second is handed what the first was handed.
    for _ in 0..2 {
        pid = portolan.upgrade(pid);
        assert_eq!(http::get(ENTRY_POINT, "stays", "/").expect("an answer").status, 200);
        assert_eq!(portolan.await_state("stays", "ready"), before);
        await_addresses("stays", &[&before.ipv4]);
        assert!(kept_since(&portolan).is_some());
    }
    engine.restart();
    eventually(PATIENCE, "the engine to be heard", || kept_since(&portolan).map_or(Ok(()), Err));
    await_http("stays", 200);
    engine.docker(&["rm", "--force", "goes"]);
    portolan.await_gone("goes");
    crate::harness::process::signal(pid, Signal::TERM);
}
