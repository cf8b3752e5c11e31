//! Load by every way in, while a test changes what runs: kept connections and a new one for each request, by HTTP/1 and
//! HTTP/2, by the entry point and the published port.

use super::http;
use super::http2::Http2Load;
use super::load::{Load, Report};
use super::portolan::{ENTRY_POINT, Portolan};
use super::wait::{PATIENCE, eventually, longer};

/// Where services of these tests are published.
pub const PUBLISHED: &str = "127.0.0.1:8080";
/// Connections of each way.
const CONNECTIONS: &str = "4";
/// Answers that are load to speak of; ten times as many in the long form.
const ENOUGH: u64 = 10_000;

/// Clients of one service, until they are stopped.
#[derive(Debug)]
pub struct Loads {
    http1: Vec<(String, Load)>,
    http2: Http2Load,
}

impl Loads {
    /// By the entry point, and by the published port.
    #[track_caller]
    pub fn start(host: &str) -> Self {
        Self::by(&[PUBLISHED, ENTRY_POINT], host)
    }

    /// By these; HTTP/2 by the last of them.
    #[track_caller]
    pub fn by(addresses: &[&str], host: &str) -> Self {
        for address in addresses {
            eventually(PATIENCE, "an answer", || match http::get(address, host, "/") {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            });
        }
        let ways = addresses.iter().flat_map(|to| ["keep-alive", "close"].map(|how| (*to, how)));
        let start = |(to, how): (&str, &str)| {
            let (host, connection) = (format!("Host: {host}"), format!("Connection: {how}"));
            let options = ["--connections", CONNECTIONS, "--header", &host, "--header", &connection];
            (format!("{to}, {how}"), Load::start_with(&format!("http://{to}/"), &options))
        };
        let http1 = ways.map(start).collect();
        let http2 = Http2Load::start(addresses.last().expect("there is an address"), host);
        Self { http1, http2 }
    }

    /// Stops them all, and gives what failed of how many, and what each way says of it.
    pub fn stop(self) -> Lost {
        let http2 = self.http2.stop();
        let mut lost = Lost {
            requests: http2.answers + http2.failures.len() as u64,
            failures: http2.failures.len() as u64,
            ways: vec![format!(
                "HTTP/2: {} answers over {} connections, {:?}",
                http2.answers, http2.connections, http2.failures
            )],
        };
        for (name, load) in self.http1 {
            let report: Report = load.stop();
            lost.requests += report.requests;
            lost.failures += report.failures();
            lost.ways.push(format!("{name}: {}", report.text));
        }
        lost
    }

    /// The same, and holds that every request had a good answer.
    #[track_caller]
    pub fn assert_nothing_lost(self) -> u64 {
        let lost = self.stop();
        println!("{} failed of {}", lost.failures, lost.requests);
        assert_eq!(lost.failures, 0, "of {}: {}", lost.requests, lost.ways.join("\n"));
        assert!(lost.requests >= ENOUGH, "only {} requests: no load to speak of", lost.requests);
        lost.requests
    }
}

/// What became of requests.
#[derive(Debug)]
pub struct Lost {
    /// Those that were sent.
    pub requests: u64,
    /// Those without a good answer.
    pub failures: u64,
    /// In words, for each way.
    pub ways: Vec<String>,
}

/// Does something again and again, the number of the round given: once, or in the long form until as many requests were
/// answered meanwhile as that is to see.
pub fn while_loaded(portolan: &Portolan, mut round: impl FnMut(usize)) {
    let answered = || portolan.metric("portolan_entrypoint_requests_total");
    let before = answered();
    for number in 0.. {
        round(number);
        if longer() == 1 || answered() - before > (ENOUGH * longer() as u64) as f64 {
            println!("{} rounds", number + 1);
            return;
        }
    }
}
