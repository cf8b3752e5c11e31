//! The engine may leave and come back; what it said last stands meanwhile, and what changed in between is found out.

use std::time::Duration;

use crate::harness::{
    Container, ENTRY_POINT, Engine, Load, PATIENCE, Portolan, await_addresses, await_http, eventually,
};

/// A frozen engine is found out by a ping: every five seconds, with three to answer.
const FROZEN_PATIENCE: Duration = Duration::from_secs(20);

fn start(flags: &[&str]) -> (Engine, Portolan) {
    let engine = Engine::start_with(flags);
    for name in ["stays", "goes"] {
        engine.run(&Container::new(name));
        engine.serving(name, "bridge");
    }
    let portolan = Portolan::start(&engine, &[]);
    for name in ["stays", "goes"] {
        portolan.await_state(name, "ready");
    }
    assert!(is_connected(&portolan) && portolan.lost().is_none());
    (engine, portolan)
}

fn is_connected(portolan: &Portolan) -> bool {
    portolan.metric("portolan_provider_connected{provider=\"docker\"}") > 0.5
}

fn await_lost(portolan: &Portolan, patience: Duration) -> String {
    eventually(patience, "the loss to be noticed", || match portolan.lost() {
        Some(reason) if !is_connected(portolan) => Ok(reason),
        other => Err(format!("{other:?}")),
    })
}

fn await_back(portolan: &Portolan) {
    eventually(PATIENCE, "the engine to be followed again", || match portolan.lost() {
        None if is_connected(portolan) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// Containers that live on while the engine is away are served as before, and nobody's request fails.
fn survives(mut stop: impl FnMut(&mut Engine)) {
    let (mut engine, portolan) = start(&["--live-restore"]);
    let before = portolan.await_state("stays", "ready");
    let resyncs = portolan.metric("portolan_provider_resyncs_total");
    let load = Load::start(&format!("http://{ENTRY_POINT}/"), "stays", 2);
    let victim = engine.inspect("goes")["State"]["Pid"].as_u64().expect("it runs");

    stop(&mut engine);
    let reason = await_lost(&portolan, PATIENCE);
    assert!(!reason.is_empty());
    assert!(portolan.logs().contains("the container engine is lost"), "{}", portolan.logs());
    assert_eq!(portolan.await_state("stays", "ready"), before, "its last word stands");
    assert_eq!(await_http("stays", 200).text(), "stays\n");
    await_addresses("stays", &[&before.ipv4]);
    assert_eq!(portolan.admin("/readyz").expect("an answer").status, 200, "it goes on serving");
    // Nobody is there to see this.
    engine.sandbox().kill(victim);

    engine.restart();
    await_back(&portolan);
    assert_eq!(portolan.await_state("stays", "ready"), before, "it is the same life");
    portolan.await_state("goes", "stopped");
    assert!(portolan.metric("portolan_provider_resyncs_total") > resyncs, "everything was listed again");
    let report = load.stop();
    assert_eq!(report.failures(), 0, "{}", report.text);
    assert!(report.requests > 100, "{}", report.text);
    // And it is followed as before.
    engine.docker(&["start", "goes"]);
    portolan.await_state("goes", "ready");
}

#[test]
fn containers_are_served_while_a_killed_engine_is_away() {
    survives(Engine::kill);
}

#[test]
fn containers_are_served_while_a_terminated_engine_is_away() {
    survives(|engine| assert!(engine.terminate().success()));
}

/// Without live-restore an engine that is told to stop stops its containers, and one that comes back after a crash too.
#[test]
fn containers_that_end_with_their_engine_are_known_as_stopped() {
    for stop in [Engine::kill, |engine: &mut Engine| assert!(engine.terminate().success())] {
        let (mut engine, portolan) = start(&[]);
        stop(&mut engine);
        await_lost(&portolan, PATIENCE);
        engine.restart();
        await_back(&portolan);
        for name in ["stays", "goes"] {
            portolan.await_state(name, "stopped");
        }
        await_http("stays", 503);
        engine.docker(&["start", "stays"]);
        engine.docker(&["rm", "goes"]);
        portolan.await_state("stays", "ready");
        portolan.await_gone("goes");
        assert_eq!(await_http("stays", 200).text(), "stays\n");
    }
}

#[test]
fn a_frozen_engine_is_noticed() {
    let (mut engine, portolan) = start(&[]);
    engine.freeze();
    let reason = await_lost(&portolan, FROZEN_PATIENCE);
    assert!(reason.contains("ping"), "{reason}");
    assert_eq!(await_http("stays", 200).text(), "stays\n");
    engine.thaw();
    await_back(&portolan);
    engine.docker(&["pause", "goes"]);
    portolan.await_state("goes", "paused");
}

#[test]
fn an_engine_that_comes_later_is_found() {
    let sandbox = crate::harness::Sandbox::enter();
    let mut portolan = Portolan::spawn(None, &["--source=docker"]);
    let not_ready = eventually(PATIENCE, "the admin server", || portolan.admin("/readyz"));
    assert_eq!(not_ready.status, 503);
    assert!(not_ready.text().contains("docker: "), "{}", not_ready.text());
    let engine = Engine::start();
    assert!(std::sync::Arc::ptr_eq(&sandbox, engine.sandbox()));
    engine.run(&Container::new("web"));
    portolan.await_ready();
    portolan.await_state("web", "ready");
}
