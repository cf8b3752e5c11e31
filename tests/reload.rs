//! Settings are read again on SIGHUP: entry points open, close and change, and whoever uses another one notices nothing.

use crate::harness::{
    Container, ENTRY_POINT, Engine, Http2Load, Load, PATIENCE, Portolan, Signal, await_http, eventually,
    http, longer,
};

const OTHER: &str = "127.0.0.1:8001";
const FILE: &str = "/run/portolan.yml";
const RELOADS: usize = 100;

/// `web` is there with a deadline of so many seconds, `other` where it is wanted.
fn settings(idle: usize, other: bool, rest: &str) -> String {
    let other = if other { "  other: {address: \"127.0.0.1:8001\"}\n" } else { "" };
    let timeouts = format!("transport: {{respondingTimeouts: {{idleTimeout: {idle}s}}}}");
    format!("entryPoints:\n  web: {{address: \":8000\", asDefault: true, {timeouts}}}\n{other}{rest}")
}

fn reload(portolan: &mut Portolan) {
    let read = |log: String| log.matches("the settings were read again").count();
    let before = read(portolan.logs());
    portolan.signal(Signal::HUP);
    eventually(PATIENCE, "the settings to be read", || match read(portolan.logs()) {
        now if now > before => Ok(()),
        _ => Err(portolan.logs()),
    });
}

fn start(engine: &Engine) -> Portolan {
    engine.run(
        &Container::new("web")
            .label("traefik.http.routers.web.entrypoints", "web,other")
            .label("traefik.http.routers.web.rule", "Host(`web`)"),
    );
    engine.serving("web", "bridge");
    engine.sandbox().write(FILE, &settings(60, false, ""));
    let portolan = Portolan::start(engine, &["--config-file", FILE]);
    portolan.await_state("web", "ready");
    await_http("web", 200);
    portolan
}

#[test]
fn reloads_under_load_lose_no_request() {
    let engine = Engine::start();
    let mut portolan = start(&engine);
    let url = format!("http://{ENTRY_POINT}/");
    let loads = ["keep-alive", "close"].map(|connection| {
        let header = format!("Connection: {connection}");
        Load::start_with(&url, &["--connections", "4", "--header", "Host: web", "--header", &header])
    });
    let http2 = Http2Load::start(ENTRY_POINT, "web");
    for round in 0..RELOADS {
        // `web` changes with each, `other` comes and goes.
        let other = round % 2 == 0;
        engine.sandbox().write(FILE, &settings(60 + round, other, ""));
        reload(&mut portolan);
        eventually(PATIENCE, "requests by these settings", || {
            match portolan.metric("portolan_entrypoint_requests_total{entrypoint=\"web\"}") {
                enough if enough > 150.0 * (round * longer()) as f64 => Ok(()),
                few => Err(few.to_string()),
            }
        });
        // Closing is told to the workers, and done a moment later.
        eventually(PATIENCE, "the other one to follow", || match http::get(OTHER, "web", "/") {
            Ok(answer) if other && answer.status == 200 => Ok(()),
            Err(_) if !other => Ok(()),
            answer => Err(format!("{answer:?}")),
        });
    }
    let http2 = http2.stop();
    assert_eq!(http2.failures, [""; 0], "of {}", http2.answers);
    let mut requests = http2.answers;
    for load in loads {
        let report = load.stop();
        assert_eq!(report.failures(), 0, "{}", report.text);
        requests += report.requests;
    }
    println!("{requests} requests");
    assert!(requests > 10_000 * longer() as u64, "only {requests} requests: no load to speak of");
}

#[test]
fn a_port_that_becomes_an_entry_point_is_no_label_s_any_more_and_is_again() {
    let engine = Engine::start();
    let mut portolan = start(&engine);
    engine.run(&Container::new("published").label("portolan.publish", "8001:80"));
    engine.serving("published", "bridge");
    let answers = |whose: &str| {
        eventually(PATIENCE, &format!("an answer of {whose}"), || match http::get(OTHER, "web", "/") {
            Ok(answer) if answer.text() == format!("{whose}\n") => Ok(()),
            answer => Err(format!("{answer:?}")),
        });
    };
    answers("published");
    engine.sandbox().write(FILE, &settings(60, true, ""));
    reload(&mut portolan);
    answers("web");
    assert!(portolan.await_fault("published").message.contains("entry point other"));
    engine.sandbox().write(FILE, &settings(60, false, ""));
    reload(&mut portolan);
    answers("published");
    // The router that asks for that entry point has a fault again.
    eventually(PATIENCE, "the end of the label's fault", || match portolan.faults() {
        faults if faults.iter().all(|fault| fault.origin != "container published") => Ok(()),
        faults => Err(format!("{faults:?}")),
    });
}

#[test]
fn what_can_not_be_done_is_said_and_changes_nothing() {
    let engine = Engine::start();
    let mut portolan = start(&engine);
    let mut kept = http::Connection::open(ENTRY_POINT).expect("a connection");
    // Named, and left as it is.
    engine.sandbox().write(FILE, &settings(60, true, "workers: 7\n"));
    reload(&mut portolan);
    assert!(portolan.logs().contains("\"options\":\"workers\""), "{}", portolan.logs());
    assert_eq!(http::get(OTHER, "web", "/").expect("an answer").status, 200);
    assert_eq!(portolan.snapshot()["entryPoints"].as_array().map(Vec::len), Some(2));
    // At fault: all of it stays.
    engine.sandbox().write(FILE, "entryPoints: {web: {adress: \":8000\"}}\n");
    portolan.signal(Signal::HUP);
    eventually(PATIENCE, "the fault to be said", || {
        portolan.logs().contains("nothing changes").then_some(()).ok_or("not yet")
    });
    assert!(portolan.logs().contains("adress"), "{}", portolan.logs());
    assert_eq!(http::get(OTHER, "web", "/").expect("an answer").status, 200);
    // A port that another program has: the others follow.
    let _taken = std::net::TcpListener::bind("127.0.0.1:8002").expect("a free port");
    let text = settings(60, false, "  third: {address: \"127.0.0.1:8002\"}\n");
    engine.sandbox().write(FILE, &text);
    reload(&mut portolan);
    assert!(portolan.logs().contains("entry point third can't listen on 127.0.0.1:8002"));
    eventually(PATIENCE, "it to be closed", || match http::get(OTHER, "web", "/") {
        Err(_) => Ok(()),
        Ok(answer) => Err(answer.status),
    });
    assert_eq!(kept.get("web", "/").expect("an answer").status, 200);
}
