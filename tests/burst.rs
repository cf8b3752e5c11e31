//! Two hundred containers' worth of events at once, from a recorded stream: the chart ends at the truth, and soon.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::dns::{RecordType, answers, query, query_tcp};
use crate::harness::{Container, Engine, FakeEngine, NAME_SERVER, PATIENCE, Portolan, Recording, eventually};

/// What becomes of container `number` of the two hundred, as `(state, address)`; `None` when nothing is left of it.
fn fate(number: u32) -> Option<(&'static str, String)> {
    match number {
        0..80 => Some(("ready", Recording::address(number))),
        80..120 => Some(("stopped", String::new())),
        120..160 => None,
        _ => Some(("draining", Recording::address(number))),
    }
}

#[test]
fn a_burst_of_events_ends_at_the_truth_in_few_steps() {
    let recording = Recording::read();
    let engine = FakeEngine::start();
    // Forty are there already.
    for number in 160..200 {
        let life = recording.of_number(number);
        engine.put(&life.running, &life.listed);
    }
    let portolan = Portolan::start(None, &[]);
    portolan.await_state(&Recording::name(199), "ready");
    let (first, inspections) = (generation(&portolan), engine.inspections());
    let delays_before = portolan.metric("portolan_provider_apply_delay_seconds_count");

    let mut lives: Vec<Vec<Value>> = Vec::new();
    for number in 0..200 {
        let life = recording.of_number(number);
        match number {
            0..80 => {
                engine.put(&life.running, &life.listed);
                lives.push(life.until("start"));
            }
            80..120 => {
                engine.put(&life.stopped, &life.listed);
                lives.push(life.until("stop"));
            }
            120..160 => lives.push(life.events),
            // Only the signal: the rest of its life is still to come.
            _ => lives.push(life.events.iter().filter(|event| event["Action"] == "kill").cloned().collect()),
        }
    }
    let events = interleaved(&lives);
    assert!(events.len() > 700, "{} events are no burst", events.len());
    engine.say(&events);

    let expected: BTreeMap<String, (String, String)> = (0..200)
        .filter_map(|number| {
            let (state, address) = fate(number)?;
            Some((Recording::name(number), (state.to_owned(), address)))
        })
        .collect();
    assert_eq!(expected.len(), 160);
    eventually(PATIENCE, "the truth", || {
        let found = endpoints(&portolan);
        let wrong = expected.iter().find(|(name, fate)| found.get(*name) != Some(fate));
        match wrong {
            None if found.len() == expected.len() => Ok(()),
            wrong => Err(format!("{} endpoints; {wrong:?}", found.len())),
        }
    });

    // Every event was counted, and every change measured: at least one a container, at most one an event or inspection.
    let counted = portolan.metric("portolan_provider_events_total");
    assert!((counted - events.len() as f64).abs() < f64::EPSILON, "{counted} of {} events", events.len());
    let inspected = engine.inspections() - inspections;
    let delays = portolan.metric("portolan_provider_apply_delay_seconds_count") - delays_before;
    assert!(delays >= 160.0 && delays <= (events.len() + inspected) as f64, "{delays} delays");
    let published = generation(&portolan) - first;
    println!("{} events, {inspected} inspections: {delays} changes in {published} snapshots", events.len());
    assert!((published * 3) as f64 <= delays, "{published} snapshots for {delays} changes");
    let late = delays + delays_before
        - portolan.metric("portolan_provider_apply_delay_seconds_bucket{le=\"1.6384\"}");
    assert!(late < 1.0, "{late} changes took more than a second and a half to be followed");

    // As many addresses do not fit in a datagram.
    let name = "web.portolan.internal.";
    let cut = query(NAME_SERVER, name, RecordType::A).expect("an answer");
    assert!(cut.metadata.truncation && cut.answers.len() < 80, "{} answers", cut.answers.len());
    let whole = query_tcp(NAME_SERVER, name, RecordType::A).expect("an answer");
    let mut addresses: Vec<String> = (0..80).map(Recording::address).collect();
    addresses.sort();
    assert!(!whole.metadata.truncation);
    assert_eq!(answers(&whole), addresses);
}

/// The first event of each, then the second of each, and so on.
fn interleaved(lives: &[Vec<Value>]) -> Vec<Value> {
    let longest = lives.iter().map(Vec::len).max().unwrap_or_default();
    (0..longest).flat_map(|step| lives.iter().filter_map(move |life| life.get(step)).cloned()).collect()
}

fn generation(portolan: &Portolan) -> u64 {
    portolan.snapshot()["generation"].as_u64().expect("a snapshot has a number")
}

/// State and address of every endpoint, by name.
fn endpoints(portolan: &Portolan) -> BTreeMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let snapshot = portolan.snapshot();
    let services = snapshot["services"].as_array().expect("a list").iter();
    services
        .flat_map(|service| service["endpoints"].as_array().expect("a list"))
        .map(|endpoint| (text(&endpoint["name"]), (text(&endpoint["state"]), text(&endpoint["ipv4"]))))
        .collect()
}

/// Run it by name to record anew, when a newer engine has more to say.
#[test]
#[ignore = "it writes the fixtures that the other tests read"]
fn records_the_life_of_a_container() {
    let engine = Engine::start();
    let directory = Recording::directory();
    fs::create_dir_all(&directory).expect("make the fixtures' directory");
    let ask = |path: &str| ask(&engine, path);
    let keep = |name: &str, body: &str| {
        let value: Value =
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{name}: {error}: {body}"));
        fs::write(directory.join(name), format!("{value:#}\n")).expect("write a fixture");
    };
    let since = now();
    engine.run(&Container::new("recorded").label("portolan.service", "web"));
    engine.serving("recorded", "bridge");
    keep("running.json", &ask("/containers/recorded/json"));
    let list: Value = serde_json::from_str(&ask("/containers/json?all=1")).expect("a list");
    keep("listed.json", &list[0].to_string());
    for name in ["version", "networks"] {
        keep(&format!("{name}.json"), &ask(&format!("/{name}")));
    }
    // The rest of it is about the machine that it was recorded on.
    let info: Value = serde_json::from_str(&ask("/info")).expect("JSON");
    let clock = json!({ "ServerVersion": info["ServerVersion"], "SystemTime": info["SystemTime"] });
    keep("info.json", &clock.to_string());
    engine.docker(&["stop", "recorded"]);
    keep("stopped.json", &ask("/containers/recorded/json"));
    engine.docker(&["rm", "recorded"]);
    let events = ask(&format!("/events?since={since}&until={}", now()));
    fs::write(directory.join("events.ndjson"), events).expect("write a fixture");
}

/// What the engine answers to a request, by HTTP/1.0: until it closes.
fn ask(engine: &Engine, path: &str) -> String {
    let mut stream = UnixStream::connect(engine.host().trim_start_matches("unix://")).expect("its socket");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    body.to_owned()
}

fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}
