//! One process takes over from another, by a signal or by hand: clients come and go on as if it were one.

use std::os::unix::net::UnixDatagram;

use hickory_proto::rr::RecordType;

use crate::harness::process::signal;
use crate::harness::{
    Container, ENTRY_POINT, Engine, Http2Load, Load, NAME_SERVER, PATIENCE, Portolan, Sandbox, Signal,
    await_http, dns, eventually, http, longer, require,
};

const PUBLISHED: &str = "127.0.0.1:8080";
const UPGRADES: usize = 10;

fn engine() -> Engine {
    let engine = Engine::start();
    for name in ["web-1", "web-2"] {
        engine
            .run(&Container::new(name).label("portolan.service", "web").label("portolan.publish", "8080:80"));
        engine.serving(name, "bridge");
    }
    engine
}

fn ready(engine: &Engine, flags: &[&str]) -> Portolan {
    let portolan = Portolan::start(engine, flags);
    for name in ["web-1", "web-2"] {
        portolan.await_state(name, "ready");
    }
    for address in [PUBLISHED, ENTRY_POINT] {
        eventually(PATIENCE, "an answer", || http::get(address, "web", "/"));
    }
    portolan
}

#[test]
fn upgrades_under_load_lose_no_request() {
    let engine = engine();
    let portolan = ready(&engine, &[]);
    let loads: Vec<(String, Load)> = [PUBLISHED, ENTRY_POINT]
        .into_iter()
        .flat_map(|address| ["keep-alive", "close"].map(|connection| (address, connection)))
        .map(|(address, connection)| {
            let header = format!("Connection: {connection}");
            let options = ["--connections", "4", "--header", "Host: web", "--header", &header];
            let load = Load::start_with(&format!("http://{address}/"), &options);
            (format!("{address}, {connection}"), load)
        })
        .collect();
    let http2 = Http2Load::start(ENTRY_POINT, "web");
    let mut pid = portolan.pid();
    for _ in 0..UPGRADES {
        pid = portolan.upgrade(pid);
        assert_eq!(portolan.admin("/readyz").expect("an answer").status, 200);
        let answer = dns::query(NAME_SERVER, "web.portolan.internal.", RecordType::A).expect("an answer");
        assert_eq!(dns::answers(&answer).len(), 2);
        await_http("web", 200);
        eventually(PATIENCE * 12, "requests to this process", || {
            match portolan.metric("portolan_entrypoint_requests_total") {
                enough if enough >= (1500 * longer()) as f64 => Ok(()),
                few => Err(few.to_string()),
            }
        });
    }
    let http2 = http2.stop();
    assert_eq!(http2.failures, [""; 0], "of {}", http2.answers);
    assert!(http2.connections >= UPGRADES as u64, "{} connections", http2.connections);
    println!("HTTP/2: {} answers, {} connections", http2.answers, http2.connections);
    let mut requests = http2.answers;
    for (name, load) in loads {
        let report = load.stop();
        assert_eq!(report.failures(), 0, "{name}: {}", report.text);
        println!("{name}: {} requests, {:.0} a second", report.requests, report.per_second);
        requests += report.requests;
    }
    assert!(requests > 10_000 * longer() as u64, "only {requests} requests: no load to speak of");
    // The newest is asked to stop, and does; those before it have nobody left.
    signal(pid, Signal::TERM);
    eventually(PATIENCE, "the last one to end", || match http::get(ENTRY_POINT, "web", "/") {
        Err(_) => Ok(()),
        Ok(answer) => Err(answer.status),
    });
    let mut first = portolan;
    assert_eq!(first.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn what_was_begun_goes_on_where_it_was_begun() {
    let engine = engine();
    let mut old = ready(&engine, &[]);
    let mut idle = http::Connection::open(ENTRY_POINT).expect("a connection");
    assert_ne!(idle.get("web", "/").expect("an answer").header("connection"), Some("close"));
    let mut half = http::Connection::open(ENTRY_POINT).expect("a connection");
    half.send("POST /body HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nab").expect("half a request");
    let mut published = http::Connection::open(PUBLISHED).expect("a connection");
    assert_eq!(published.get("web", "/").expect("an answer").status, 200);

    let new = Portolan::spawn(&engine, &["--takeover", "--workers=1"]);
    eventually(PATIENCE, "the new one to take over", || {
        old.logs().contains("has taken over\"").then_some(()).ok_or_else(|| old.logs())
    });
    // Who asks for nothing is not sent away: its next request is answered, and told that it is the last.
    let answer = idle.get("web", "/").expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    half.send("cd").expect("the other half");
    assert_eq!(half.read().expect("an answer").status, 200);
    for _ in 0..3 {
        assert_ne!(published.get("web", "/").expect("an answer").header("connection"), Some("close"));
    }
    drop(published);
    assert_eq!(old.wait_exit(PATIENCE).code(), Some(0));
    // The new one has all that the old one had, with however many workers.
    for _ in 0..20 {
        for address in [PUBLISHED, ENTRY_POINT] {
            assert_eq!(http::get(address, "web", "/").expect("an answer").status, 200);
        }
    }
    drop(new);
}

#[test]
fn a_successor_that_does_not_get_ready_changes_nothing() {
    let engine = engine();
    let portolan = ready(&engine, &[]);
    // Its engine does not answer, so that it never knows what there is.
    let waits = Portolan::spawn(&engine, &["--takeover", "--docker-host=unix:///run/nobody.sock"]);
    eventually(PATIENCE, "it to ask", || {
        portolan.logs().contains("another process asks for the sockets").then_some(()).ok_or("not yet")
    });
    assert_eq!(http::get(ENTRY_POINT, "web", "/").expect("an answer").status, 200);
    drop(waits);
    eventually(PATIENCE, "the old one to know", || {
        portolan.logs().contains("the other process did not take over").then_some(()).ok_or("not yet")
    });
    for address in [PUBLISHED, ENTRY_POINT] {
        assert_eq!(http::get(address, "web", "/").expect("an answer").status, 200);
    }
    // Settings at fault end before anything is asked for.
    let mut wrong = Portolan::spawn(&engine, &["--takeover", "--drain-timeout=soon"]);
    assert_eq!(wrong.wait_exit(PATIENCE).code(), Some(1));
    // Another one can.
    portolan.upgrade(portolan.pid());
    assert_eq!(await_http("web", 200).status, 200);
}

#[test]
fn the_service_manager_gives_sockets_and_is_told_how_it_goes() {
    let sandbox = Sandbox::enter();
    let told = UnixDatagram::bind(sandbox.path("/run/notify")).expect("a socket");
    told.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let mut command = sandbox.command(require("systemd-socket-activate"));
    command.args(["--listen=127.0.0.1:8000", "--setenv=NOTIFY_SOCKET=/run/notify"]);
    command.arg(Portolan::binary()).args(["run", "--entry-point=web=127.0.0.1:8000", "--source=demo"]);
    let mut process = sandbox.spawn("activated", command);
    // It is started by the first connection, which waits for it.
    let answer = eventually(PATIENCE, "an answer", || http::get(ENTRY_POINT, "whoami.localhost", "/"));
    assert_eq!(answer.status, 200);
    let mut heard = String::new();
    let mut hear = |what: &str| {
        while !heard.contains(what) {
            let mut datagram = [0; 1024];
            let length = told.recv(&mut datagram).unwrap_or_else(|error| panic!("{what}: {error}: {heard}"));
            heard.push_str(&String::from_utf8_lossy(&datagram[..length]));
        }
    };
    hear("READY=1");
    hear("STATUS=serving 1 service, 3 endpoints");
    process.signal(Signal::TERM);
    hear("STOPPING=1");
    assert_eq!(process.wait_exit(PATIENCE).code(), Some(0));
}
