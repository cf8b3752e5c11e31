//! An engine that only plays back: what a real one said, at the speed of the test, for as many containers as it likes.
//!
//! The recordings in `tests/fixtures/engine` are one container's life, as dockerd told it: see [`Recording`].

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;

use super::engine::SOCKET;
use super::sandbox::Sandbox;

/// What dockerd said of one container, from its creation to its end.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The events of its life, in order.
    pub events: Vec<Value>,
    /// Its inspection while it ran.
    pub running: Value,
    /// Its inspection after it had stopped.
    pub stopped: Value,
    /// Its line of the list while it ran.
    pub listed: Value,
}

impl Recording {
    /// Where recordings are kept.
    pub fn directory() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/engine")
    }

    /// Reads the recording of this repository.
    pub fn read() -> Self {
        let lines = read("events.ndjson");
        let events =
            lines.lines().map(|line| serde_json::from_str(line).expect("an event is JSON")).collect();
        let json = |name| serde_json::from_str(&read(name)).expect("a recording is JSON");
        Self {
            events,
            running: json("running.json"),
            stopped: json("stopped.json"),
            listed: json("listed.json"),
        }
    }

    /// The same life lived by another container: id, name, endpoint and address are of the given number.
    #[must_use]
    pub fn of_number(&self, number: u32) -> Self {
        let endpoint = &self.running["NetworkSettings"]["Networks"]["bridge"];
        let said = |value: &Value| value.as_str().expect("a recording is complete").to_owned();
        let replacements = [
            (said(&self.running["Id"]), Self::id(number)),
            (said(&endpoint["EndpointID"]), format!("{number:064x}")),
            (said(&endpoint["IPAddress"]), Self::address(number)),
            (said(&self.running["Name"]).trim_start_matches('/').to_owned(), Self::name(number)),
        ];
        let again = |value: &Value| {
            let mut text = value.to_string();
            for (from, to) in &replacements {
                text = text.replace(from, to);
            }
            serde_json::from_str(&text).expect("it is still JSON")
        };
        Self {
            events: self.events.iter().map(again).collect(),
            running: again(&self.running),
            stopped: again(&self.stopped),
            listed: again(&self.listed),
        }
    }

    /// The id of the container of this number. Its short form differs, too.
    pub fn id(number: u32) -> String {
        format!("{number:08x}{:056x}", 0x00c0_ffee)
    }

    /// The name of the container of this number.
    pub fn name(number: u32) -> String {
        format!("web-{number}")
    }

    /// The address of the container of this number.
    pub fn address(number: u32) -> String {
        format!("172.17.{}.{}", 1 + number / 250, 1 + number % 250)
    }

    /// Its events up to the last of this action: its life so far.
    pub fn until(&self, action: &str) -> Vec<Value> {
        let end = self.events.iter().rposition(|event| event["Action"] == action);
        let end = end.unwrap_or_else(|| panic!("the recording has no event `{action}`"));
        self.events[..=end].to_vec()
    }
}

fn read(name: &str) -> String {
    let path = Recording::directory().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An engine at the usual socket of the sandbox. Its containers are what the test says they are.
#[derive(Debug)]
pub struct FakeEngine {
    shared: Arc<Shared>,
    // The socket is in it.
    _sandbox: Arc<Sandbox>,
}

#[derive(Debug, Default)]
struct Shared {
    world: Mutex<World>,
    said: Condvar,
}

#[derive(Debug, Default)]
struct World {
    /// Inspection and line of the list, by id.
    containers: BTreeMap<String, (Value, Value)>,
    /// Everything said since the start, each event a line.
    events: Vec<String>,
    inspections: usize,
}

impl FakeEngine {
    /// Starts it, without containers, in the sandbox of this thread.
    pub fn start() -> Self {
        let sandbox = Sandbox::enter();
        let listener = UnixListener::bind(sandbox.path(SOCKET)).expect("make the engine's socket");
        let shared = Arc::new(Shared::default());
        let serving = shared.clone();
        // It ends with the test's process, as it waits for nothing else.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = serving.clone();
                // A client that goes away is its own affair.
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { shared, _sandbox: sandbox }
    }

    /// From now on there is a container with this inspection and this line of the list.
    pub fn put(&self, inspection: &Value, listed: &Value) {
        let id = inspection["Id"].as_str().expect("an inspection has an id").to_owned();
        self.shared.lock().containers.insert(id, (inspection.clone(), listed.clone()));
    }

    /// Says these events, all at once, to everyone who listens.
    pub fn say(&self, events: &[Value]) {
        self.shared.lock().events.extend(events.iter().map(|event| format!("{event}\n")));
        self.shared.said.notify_all();
    }

    /// How many inspections were asked for so far.
    pub fn inspections(&self) -> usize {
        self.shared.lock().inspections
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: UnixStream) -> std::io::Result<()> {
        let mut requests = BufReader::new(stream.try_clone()?);
        let mut answers = stream;
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if requests.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let target = head.split(' ').nth(1).unwrap_or_default();
            let path = target.split('?').next().unwrap_or_default();
            // `/v1.41/events`, or without the version.
            let path = path
                .strip_prefix("/v1.")
                .and_then(|rest| rest.split_once('/'))
                .map_or(path, |(_, path)| path);
            match path.trim_start_matches('/') {
                "events" => return self.tell(&mut answers),
                path => {
                    let (status, body) = self.answer(path);
                    let length = body.len();
                    write!(
                        answers,
                        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
                    )?;
                }
            }
        }
    }

    fn answer(&self, path: &str) -> (&'static str, String) {
        const FOUND: &str = "200 OK";
        let mut world = self.lock();
        match path {
            "_ping" => (FOUND, "OK".to_owned()),
            "version" => (FOUND, read("version.json")),
            "info" => (FOUND, read("info.json")),
            "networks" => (FOUND, read("networks.json")),
            "containers/json" => {
                let lines: Vec<&Value> = world.containers.values().map(|(_, line)| line).collect();
                (FOUND, serde_json::to_string(&lines).expect("JSON"))
            }
            _ => {
                world.inspections += 1;
                let id = path.strip_prefix("containers/").and_then(|rest| rest.strip_suffix("/json"));
                match id.and_then(|id| world.containers.get(id)) {
                    Some((inspection, _)) => (FOUND, inspection.to_string()),
                    None => ("404 Not Found", r#"{"message":"no such container"}"#.to_owned()),
                }
            }
        }
    }

    /// Tells what is said from now on, for as long as the client listens.
    fn tell(&self, answers: &mut UnixStream) -> std::io::Result<()> {
        let mut world = self.lock();
        let mut told = world.events.len();
        answers.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        loop {
            let news = world.events[told..].concat();
            told = world.events.len();
            if news.is_empty() {
                world = self.said.wait(world).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(world);
            write!(answers, "{:x}\r\n{news}\r\n", news.len())?;
            world = self.lock();
        }
    }
}
