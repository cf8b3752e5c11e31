//! What the engine says may stall, be cut off, be much, or hold a word that nobody knows: what was known is served, it is
//! said how things are, and in the end the table is the truth.

use std::time::Duration;

use crate::harness::{
    Container, Engine, FakeEngine, PATIENCE, Portolan, Recording, Relay, Way, await_http, eventually,
};

/// A way that falls silent is found out by a ping: every five seconds, with three to answer.
const SILENT_PATIENCE: Duration = Duration::from_secs(30);

/// Portolan asks an engine by a relay. `stays` and `goes` run.
fn start() -> (Engine, Relay, Portolan) {
    let engine = Engine::start();
    for name in ["stays", "goes"] {
        engine.run(&Container::new(name));
        engine.serving(name, "bridge");
    }
    let relay = Relay::start(&engine);
    let host = format!("--docker-host={}", Relay::endpoint());
    let portolan = Portolan::start(&engine, &[&host]);
    for name in ["stays", "goes"] {
        portolan.await_state(name, "ready");
    }
    (engine, relay, portolan)
}

#[track_caller]
fn await_lost(portolan: &Portolan) -> String {
    eventually(SILENT_PATIENCE, "the loss to be noticed", || {
        let connected = portolan.metric("portolan_provider_connected{provider=\"docker\"}");
        portolan.lost().filter(|_| connected < 0.5).ok_or(connected)
    })
}

/// Everything is served as it was last known, and said to be that.
#[track_caller]
fn stands(portolan: &Portolan) {
    for name in ["stays", "goes"] {
        assert_eq!(portolan.endpoint(name).expect("it is known").state, "ready");
    }
    assert_eq!(await_http("stays", 200).text(), "stays\n");
    assert_eq!(portolan.admin("/readyz").expect("an answer").status, 200);
    assert!(portolan.logs().contains("the container engine is lost"), "{}", portolan.logs());
    assert!(portolan.metric("portolan_provider_errors_total{provider=\"docker\"}") > 0.5);
}

#[track_caller]
fn converges(engine: &Engine, portolan: &Portolan) {
    eventually(PATIENCE, "the engine to be heard again", || portolan.lost().map_or(Ok(()), Err));
    portolan.await_state("goes", "stopped");
    engine.run(&Container::new("comes"));
    portolan.await_state("comes", "ready");
    await_http("stays", 200);
}

#[test]
fn a_way_to_the_engine_that_falls_silent_is_found_out_and_empties_nothing() {
    let (engine, relay, portolan) = start();
    // First only events are held back, so that one is missed while every question is answered.
    relay.turn(Way::WithoutEvents);
    engine.docker(&["kill", "goes"]);
    relay.turn(Way::Silent);
    let reason = await_lost(&portolan);
    assert!(reason.contains("ping") || reason.contains("answer"), "{reason}");
    stands(&portolan);
    relay.turn(Way::Open);
    converges(&engine, &portolan);
}

#[test]
fn a_list_that_is_cut_off_is_none() {
    let (engine, relay, portolan) = start();
    relay.turn(Way::CutLists);
    relay.break_off();
    let reason = await_lost(&portolan);
    eventually(PATIENCE, "lists to be cut off", || match relay.cut() {
        0 => Err(reason.clone()),
        _ => Ok(()),
    });
    engine.docker(&["kill", "goes"]);
    stands(&portolan);
    relay.turn(Way::Open);
    converges(&engine, &portolan);
}

#[test]
fn a_container_that_can_not_be_read_costs_nobody_else() {
    let recording = Recording::read();
    let engine = FakeEngine::start();
    let (read, strange) = (recording.of_number(1), recording.of_number(2));
    engine.put(&read.running, &read.listed);
    // A state of another engine's, which no inspection explains either.
    let (mut inspection, mut line) = (strange.running.clone(), strange.listed.clone());
    inspection["State"]["Status"] = "levitating".into();
    line["State"] = "levitating".into();
    engine.put(&inspection, &line);
    let portolan = Portolan::start(None, &[]);
    portolan.await_state(&Recording::name(1), "ready");
    assert!(portolan.endpoint(&Recording::name(2)).is_none(), "nothing is known of it");
    assert!(portolan.logs().contains("these containers can't be read"), "{}", portolan.logs());
    assert!(portolan.metric("portolan_provider_errors_total{provider=\"docker\"}") > 0.5);
    assert!(portolan.lost().is_none());
    // It is asked for until it can be.
    engine.put(&strange.running, &strange.listed);
    portolan.await_state(&Recording::name(2), "ready");
    // Once known, it stands as it was when it can't be read any more.
    engine.put(&inspection, &line);
    engine.say(&strange.until("start"));
    engine.say(&read.events);
    portolan.await_gone(&Recording::name(1));
    assert_eq!(portolan.endpoint(&Recording::name(2)).expect("it is known").state, "ready");
}

#[test]
fn a_flood_of_events_that_mean_nothing_hides_none_that_does() {
    const NOISE: usize = 20_000;
    let recording = Recording::read();
    let engine = FakeEngine::start();
    let lives = [recording.of_number(1), recording.of_number(2)];
    for life in &lives {
        engine.put(&life.running, &life.listed);
    }
    let portolan = Portolan::start(None, &[]);
    portolan.await_state(&Recording::name(1), "ready");
    let mut noise = lives[1].events[0].clone();
    noise["Action"] = "exec_start: /bin/true".into();
    let mut events = vec![noise; NOISE];
    let end = lives[0].events.iter().filter(|event| event["Action"] == "kill" || event["Action"] == "die");
    let end: Vec<_> = end.cloned().collect();
    events.splice(NOISE / 2..NOISE / 2, end.iter().cloned());
    engine.put(&lives[0].stopped, &lives[0].listed);
    engine.say(&events);
    portolan.await_state(&Recording::name(1), "stopped");
    eventually(PATIENCE, "every event to be read", || {
        let counted = portolan.metric("portolan_provider_events_total");
        if counted > (NOISE + end.len()) as f64 - 0.5 { Ok(()) } else { Err(counted) }
    });
    assert_eq!(portolan.endpoint(&Recording::name(2)).expect("it is known").state, "ready");
    assert!(portolan.lost().is_none(), "nobody was too slow");
}
