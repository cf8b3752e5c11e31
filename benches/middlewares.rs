//! What each middleware adds to a request and its answer, without sockets: nanoseconds, beside a request without any.
//!
//! `cargo bench --bench middlewares`

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use portolan_proxy::{Steps, Way};

#[path = "middlewares/cases.rs"]
mod cases;

use cases::{CASES, Case};

/// A case is measured so often, in turn with all others; the least is what it takes, the rest is what else ran.
const ROUNDS: usize = 15;
/// Of each time.
const ROUND: Duration = Duration::from_millis(20);

fn main() {
    let address = server();
    let forward = format!("forwardAuth: {{address: 'http://{address}/check'}}");
    let mut measured: Vec<Measured> =
        CASES.iter().map(|case| Measured::new(case, case.middlewares)).collect();
    let asks = Case { name: "forwardAuth, of a server on this host", ..CASES[0] };
    measured.push(Measured::new(&asks, &[&forward]));
    for _ in 0..ROUNDS {
        measured.iter_mut().for_each(Measured::round);
    }
    let none = measured[0].least;
    println!("{:<42} {:>10.0}", "request and answer, without a look for any", alone(&CASES[0]));
    println!("{:<42} {:>10} {:>12}", "middleware", "ns", "more by");
    for measured in &measured {
        println!("{:<42} {:>10.0} {:>12.0}", measured.name, measured.least, measured.least - none);
    }
}

struct Measured {
    name: &'static str,
    steps: Steps,
    request: Vec<u8>,
    answer: (Vec<u8>, Vec<u8>),
    /// Nanoseconds of one request.
    least: f64,
}

impl Measured {
    fn new(case: &Case, middlewares: &[&str]) -> Self {
        let request = case.request();
        let steps = Steps::new(middlewares, &request).expect("every case can be done");
        let steps = if case.by_tls { steps.by_tls().expect("a certificate") } else { steps };
        Self { name: case.name, steps, request, answer: case.answer(), least: f64::INFINITY }
    }

    fn round(&mut self) {
        let (begun, mut times) = (Instant::now(), 0_u32);
        while begun.elapsed() < ROUND {
            // The clock is read seldom.
            for _ in 0..16 {
                let passed = self.steps.pass(black_box(&self.request), &self.answer.0, &self.answer.1);
                assert!(black_box(passed) > 0, "{} is refused", self.name);
            }
            times += 16;
        }
        self.least = self.least.min(begun.elapsed().as_secs_f64() * 1e9 / f64::from(times));
    }
}

/// Nanoseconds of a request and its answer where nothing even looks for middlewares.
fn alone(case: &Case) -> f64 {
    let (way, request, (answer, _)) = (Way::new(10), case.request(), case.answer());
    let round = || {
        let begun = Instant::now();
        for _ in 0..1000 {
            assert!(black_box(way.request(black_box(&request)) + way.answer(black_box(&answer))) > 0);
        }
        begun.elapsed().as_secs_f64() * 1e6
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// A server that lets everybody through.
fn server() -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            let _ = client.set_nodelay(true);
            let mut question = [0; 4096];
            while matches!(client.read(&mut question), Ok(1..)) {
                if client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
                    break;
                }
            }
        }
    });
    address
}
