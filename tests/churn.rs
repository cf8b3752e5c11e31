//! Names while containers come and go: many are asked without a pause, and no answer is wrong, stale or lost.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::dns::{RecordType, ResponseCode};
use crate::harness::{Container, Engine, Portolan, require, resolve};

/// How long it is asked. Before a release: `PORTOLAN_CHURN_SECONDS=600 cargo test --test promises churn`.
const SECONDS: u64 = 15;
/// Queries a second, so that the machine has time for the containers too.
const RATE: &str = "1000";
/// How long an answer may be kept: what it says may be as old.
const TTL: Duration = Duration::from_secs(2);

/// What is true of a replica.
#[derive(Clone, Debug, PartialEq)]
enum Truth {
    /// It can be given work, at this address, as Portolan knows.
    Here(String),
    /// It is being told to stop, or to start.
    Between,
    /// It has ended.
    Gone(String, Instant),
}

type World = Mutex<BTreeMap<&'static str, Truth>>;

fn look(world: &World) -> BTreeMap<&'static str, Truth> {
    world.lock().expect("nobody panics with it").clone()
}

fn turn(world: &World, name: &'static str, truth: Truth) {
    world.lock().expect("nobody panics with it").insert(name, truth);
}

/// Asks once, and holds the answer against what was true all the while.
fn ask(world: &World) {
    let before = look(world);
    let asked = Instant::now();
    let (code, found) = resolve("web", RecordType::A);
    let after = look(world);
    assert_eq!(code, ResponseCode::NoError);
    for (name, truth) in before.iter().filter(|(name, truth)| after.get(*name) == Some(*truth)) {
        match truth {
            Truth::Here(address) => assert!(found.contains(address), "{name} is lost: {found:?} {after:?}"),
            Truth::Gone(address, since) if asked.duration_since(*since) > TTL => {
                assert!(!found.contains(address), "{name} is stale: {found:?} {after:?}");
            }
            Truth::Gone(..) | Truth::Between => {}
        }
    }
}

/// What dnsperf says behind a label.
fn told(report: &str, label: &str) -> String {
    let line = report.lines().find_map(|line| line.trim().strip_prefix(label));
    line.unwrap_or_else(|| panic!("no `{label}`: {report}")).trim().to_owned()
}

#[test]
fn no_answer_is_wrong_stale_or_lost_while_containers_come_and_go() {
    let seconds =
        std::env::var("PORTOLAN_CHURN_SECONDS").map_or(SECONDS, |text| text.parse().expect("seconds"));
    let engine = Engine::start();
    let replicas = ["web-1", "web-2", "web-3", "web-4"];
    for name in replicas {
        engine.run(&Container::new(name).label("portolan.service", "web"));
    }
    engine.run(&Container::new("db"));
    let portolan = Portolan::start(&engine, &["--dns-forward=off"]);
    let world = World::default();
    for name in replicas {
        turn(&world, name, Truth::Here(portolan.await_state(name, "ready").ipv4));
    }
    portolan.await_state("db", "ready");
    let names = "web.portolan.internal A\n_http._tcp.web.portolan.internal SRV\ndb.portolan.internal A\n\
                 web.portolan.internal AAAA\nnosuch.portolan.internal A\n";
    let file = engine.sandbox().write("/run/queries", names);
    let mut load = engine.sandbox().command(require("dnsperf"));
    load.args([
        "-s",
        "127.0.0.1",
        "-p",
        "1053",
        "-d",
        &file,
        "-c",
        "4",
        "-t",
        "30",
        "-Q",
        RATE,
        "-l",
        &seconds.to_string(),
    ]);
    let ends = AtomicBool::new(false);
    let (mut asked, mut turns) = (0_u64, 0_usize);
    let report = thread::scope(|scope| {
        let load = scope.spawn(move || load.output().expect("dnsperf runs"));
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !ends.load(Ordering::SeqCst) {
                ask(&world);
                asked += 1;
            }
            asked
        });
        while !load.is_finished() && !asking.is_finished() {
            let name = replicas[turns % replicas.len()];
            let Some(Truth::Here(address)) = look(&world).remove(name) else { panic!("{name} is here") };
            turn(&world, name, Truth::Between);
            // One that ends by itself, and one that is killed.
            engine.docker(&[if turns % 2 == 0 { "stop" } else { "kill" }, name]);
            turn(&world, name, Truth::Gone(address, Instant::now()));
            if turns % 3 == 0 {
                // Long enough for what is stale to be seen.
                let since = Instant::now();
                while since.elapsed() < TTL * 2 && !asking.is_finished() {
                    thread::yield_now();
                    ask(&world);
                }
            }
            turn(&world, name, Truth::Between);
            engine.docker(&["start", name]);
            turn(&world, name, Truth::Here(portolan.await_state(name, "ready").ipv4));
            turns += 1;
        }
        ends.store(true, Ordering::SeqCst);
        asked = asking.join().expect("every answer is right");
        load.join().expect("no panic")
    });
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    println!("{turns} replicas came and went, {asked} answers were held against them\n{report}");
    assert!(turns > 0 && asked > 100);
    assert!(told(&report, "Queries lost:").starts_with("0 "), "{report}");
    assert_eq!(
        told(&report, "Queries sent:"),
        told(&report, "Queries completed:").split(' ').next().expect("a word")
    );
    let codes = told(&report, "Response codes:");
    assert!(
        codes.contains("NOERROR") && codes.contains("NXDOMAIN") && !codes.contains("SERVFAIL"),
        "{codes}"
    );
}
