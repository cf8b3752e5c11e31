//! A way to the engine that may fail in ways of its own: it stops passing on what the engine says, or cuts lists off.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::engine::{Engine, SOCKET};

/// Where it is reached, in the sandbox.
const RELAY: &str = "/run/relay.sock";

/// What it does with the engine's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Passes them on.
    Open = 0,
    /// Passes on answers, but no event.
    WithoutEvents = 1,
    /// Passes on nothing.
    Silent = 2,
    /// Breaks lists of containers off in their midst.
    CutLists = 3,
}

/// The relay. It ends with the test's process.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: PathBuf,
    way: AtomicU8,
    /// Lists that were cut off.
    cut: AtomicUsize,
    open: Mutex<Vec<UnixStream>>,
}

impl Relay {
    /// Starts it before an engine.
    pub fn start(engine: &Engine) -> Self {
        let listener = UnixListener::bind(engine.sandbox().path(RELAY)).expect("make the relay's socket");
        let shared = Arc::new(Shared {
            engine: engine.sandbox().path(SOCKET),
            way: AtomicU8::new(Way::Open as u8),
            cut: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = serving.clone();
                thread::spawn(move || shared.serve(&client));
            }
        });
        Self { shared }
    }

    /// What Portolan is told to ask.
    pub fn endpoint() -> String {
        format!("unix://{RELAY}")
    }

    /// Goes on like this, also with what was begun.
    pub fn turn(&self, way: Way) {
        self.shared.way.store(way as u8, Ordering::SeqCst);
    }

    /// Breaks every connection off, as the end of whoever relays does.
    pub fn break_off(&self) {
        for stream in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many lists were cut off so far.
    pub fn cut(&self) -> usize {
        self.shared.cut.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn is(&self, way: Way) -> bool {
        self.way.load(Ordering::SeqCst) == way as u8
    }

    /// Passes on what both say, one question at a time, until either leaves.
    fn serve(&self, client: &UnixStream) -> Option<()> {
        let engine = UnixStream::connect(&self.engine).ok()?;
        let pair = [client.try_clone().ok()?, engine.try_clone().ok()?];
        self.open.lock().unwrap_or_else(PoisonError::into_inner).extend(pair);
        let asked: Mutex<String> = Mutex::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut from, mut to) = (client, &engine);
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = from.read(&mut bytes) {
                    let text = String::from_utf8_lossy(&bytes[..count]);
                    let line = text.lines().next().unwrap_or_default();
                    if line.starts_with("GET ") {
                        line.clone_into(&mut asked.lock().unwrap_or_else(PoisonError::into_inner));
                    }
                    if to.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                let _ = engine.shutdown(Shutdown::Write);
            });
            self.answer(&engine, client, &asked);
            let _ = client.shutdown(Shutdown::Both);
        });
        Some(())
    }

    fn answer(&self, mut engine: &UnixStream, mut client: &UnixStream, asked: &Mutex<String>) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = engine.read(&mut bytes) {
            let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let is_stream = asked.contains("/events");
            while self.is(Way::Silent) || (is_stream && self.is(Way::WithoutEvents)) {
                thread::park_timeout(Duration::from_millis(10));
            }
            if asked.contains("/containers/json") && self.is(Way::CutLists) {
                self.cut.fetch_add(1, Ordering::SeqCst);
                let _ = client.write_all(&bytes[..count / 2]);
                return;
            }
            if client.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
    }
}
