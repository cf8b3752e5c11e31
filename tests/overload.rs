//! A service is given no more than it may have at a time, however many workers there are: what is beyond waits for as long
//! as it may, or is told to come again.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::harness::{ENTRY_POINT, PATIENCE, Portolan, Sandbox, eventually, http};

/// A server that answers nobody until it is told to.
struct Held {
    released: Arc<AtomicBool>,
    /// Requests there, and how many there were at a time at most.
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Held {
    fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("the network is the test's own");
        let held = Self { released: Arc::default(), now: Arc::default(), most: Arc::default() };
        let (released, now, most) = (held.released.clone(), held.now.clone(), held.most.clone());
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (released, now, most) = (released.clone(), now.clone(), most.clone());
                thread::spawn(move || serve(connection, &released, &now, &most));
            }
        });
        held
    }

    fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }

    #[track_caller]
    fn await_requests(&self, count: usize) {
        eventually(PATIENCE, &format!("{count} requests to be there"), || {
            let now = self.now.load(Ordering::SeqCst);
            if now == count { Ok(()) } else { Err(now) }
        });
    }
}

fn serve(mut connection: TcpStream, released: &AtomicBool, now: &AtomicUsize, most: &AtomicUsize) {
    let mut head = Vec::new();
    let mut byte = [0];
    loop {
        match connection.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        while !released.load(Ordering::SeqCst) {
            thread::park_timeout(Duration::from_millis(5));
        }
        now.fetch_sub(1, Ordering::SeqCst);
        if connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").is_err() {
            return;
        }
    }
}

/// Sends so many requests at the same time, each over a connection of its own.
fn ask(count: usize) -> Vec<JoinHandle<http::Response>> {
    (0..count)
        .map(|_| thread::spawn(|| http::get(ENTRY_POINT, "web.test", "/").expect("an answer")))
        .collect()
}

fn statuses(asked: Vec<JoinHandle<http::Response>>) -> Vec<u16> {
    asked.into_iter().map(|asked| asked.join().expect("no panic").status).collect()
}

fn portolan(options: &str, servers: &str) -> Portolan {
    let text = format!(
        "http:\n  routers:\n    web: {{rule: Host(`web.test`), service: web}}\n  services:\n    web: {{loadBalancer: {{{options}, \
         servers: [{servers}]}}}}\n"
    );
    Sandbox::enter().write("/etc/dynamic.yml", &text);
    // More workers than cores: each of them has a share of the clients.
    let portolan =
        Portolan::start(None, &["--source", "demo", "--file", "/etc/dynamic.yml", "--workers", "4"]);
    assert!(!portolan.snapshot()["faults"].to_string().contains("web"), "{}", portolan.snapshot()["faults"]);
    portolan
}

#[test]
fn what_a_service_has_no_place_for_is_told_to_come_again() {
    let _sandbox = Sandbox::enter();
    let held = Held::start("127.0.0.1:7001");
    let portolan = portolan("maxRequests: 5", "{url: 'http://127.0.0.1:7001'}");
    let asked = ask(5);
    held.await_requests(5);
    for answer in ask(15) {
        let answer = answer.join().expect("no panic");
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
        assert_eq!(answer.text(), "the service has all it takes\n");
    }
    let refused = portolan.metric("portolan_refusals_total{reason=\"service_limit\"}");
    assert!((refused - 15.0).abs() < 0.5, "{refused}");
    held.release();
    assert_eq!(statuses(asked), [200; 5]);
    // Places are left again, also those of requests that nobody waits for any more.
    for _ in 0..4 {
        assert!(statuses(ask(5)).iter().all(|status| *status == 200 || *status == 503));
    }
    assert_eq!(statuses(ask(1)), [200]);
    assert_eq!(held.most.load(Ordering::SeqCst), 5, "never more");
}

#[test]
fn who_may_wait_is_served_in_the_end_and_no_replica_has_more_than_it_may() {
    let _sandbox = Sandbox::enter();
    let held = [Held::start("127.0.0.1:7001"), Held::start("127.0.0.1:7002")];
    let portolan = portolan(
        "maxRequestsPerEndpoint: 2, maxPending: 6, pendingTimeout: 60s",
        "{url: 'http://127.0.0.1:7001'}, {url: 'http://127.0.0.1:7002'}",
    );
    let asked = ask(10);
    let pending = || portolan.metric("portolan_service_requests_pending{service=\"web@file\"}");
    eventually(PATIENCE, "six to wait", || {
        let pending = pending();
        if (5.5..6.5).contains(&pending) { Ok(()) } else { Err(pending) }
    });
    for held in &held {
        held.await_requests(2);
    }
    let refused = http::get(ENTRY_POINT, "web.test", "/").expect("an answer");
    assert_eq!((refused.status, refused.text()), (503, "too many requests wait\n".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    held.iter().for_each(Held::release);
    assert_eq!(statuses(asked), [200; 10]);
    assert!(held.iter().all(|held| held.most.load(Ordering::SeqCst) <= 2), "never more than two");
    assert!(pending() < 0.5);
}

/// Kernels wait minutes for who does not answer; the table knows better.
#[test]
fn a_connection_to_a_server_that_leaves_is_not_waited_for() {
    let sandbox = Sandbox::enter();
    let held = Held::start("127.0.0.1:7002");
    held.release();
    // Whatever is sent there is lost, as to a container that is no more.
    sandbox.shell("nft add table inet lost\nnft add chain inet lost in '{ type filter hook input priority 0; }'\nnft add rule inet lost in tcp dport 7001 drop");
    let (gone, there) = ("{url: 'http://127.0.0.1:7001'}", "{url: 'http://127.0.0.1:7002'}");
    let file = |servers: &str| {
        format!(
            "http:\n  routers:\n    web: {{rule: Host(`web.test`), service: web}}\n  services:\n    web: {{loadBalancer: \
             {{serversTransport: patient, servers: [{servers}]}}}}\n  serversTransports:\n    patient: {{forwardingTimeouts: \
             {{dialTimeout: 1h}}}}\n"
        )
    };
    sandbox.write("/etc/dynamic.yml", &file(&format!("{gone}, {there}")));
    let portolan = Portolan::start(None, &["--source", "demo", "--file", "/etc/dynamic.yml"]);
    let asked = ask(6);
    eventually(PATIENCE, "connections to hang", || {
        // 02 is SYN_SENT; 1B59 is 7001.
        let table = fs::read_to_string("/proc/thread-self/net/tcp").expect("the kernel tells");
        let hang = table.lines().filter(|line| line.contains(":1B59 02 ")).count();
        if hang == 3 { Ok(()) } else { Err(hang) }
    });
    assert!(asked.iter().filter(|asked| asked.is_finished()).count() <= 3);
    sandbox.write("/etc/dynamic.yml", &file(there));
    assert_eq!(statuses(asked), [200; 6], "the other one has them all");
    let failures = portolan.metric("portolan_endpoint_failures_total");
    assert!(failures < 0.5, "nobody failed: {failures}");
    let connected =
        TcpStream::connect_timeout(&"127.0.0.1:7001".parse().expect("an address"), Duration::from_millis(50));
    assert_eq!(connected.expect_err("it is dropped").kind(), ErrorKind::TimedOut);
}
